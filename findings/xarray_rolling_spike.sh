#!/usr/bin/env bash
# The rolling statistics of xarray depend on whether bottleneck is installed. With it,
# one infinite or very large sample spoils all later windows, as bottleneck keeps a
# running sum: they are NaN, or another value. Without it, only the windows that hold
# the sample are affected, as in pandas.
#
# Version: xarray 2026.9.0, bottleneck 1.6.0, numpy 2.3.5, 2026-11-29
# Expected: equal results; windows without the sample do not change.
# Output:
#     bottleneck   mean after inf [nan nan nan] after 1e9 in float32 0.1673
#     NumPy        mean after inf [3.5 4.5 5.5] after 1e9 in float32 -0.1520
#     standard deviation of 1, 2 after 1e10: 0.0 with bottleneck, 0.5 with NumPy
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    xarray==2026.9.0 bottleneck==1.6.0 numpy==2.3.5 pandas==3.0.6
venv/bin/python -W ignore - <<'END'
import numpy as np
import xarray as xr

noise = np.random.default_rng(0).normal(size=1000).astype("float32")
noise[100] = 1e9  # a saturated sample, 900 before the end
signals = [[1, np.inf, 3, 4, 5, 6], noise, [1e10, 1, 2, 1, 2, 1]]
signals = [xr.DataArray(signal, dims="time") for signal in signals]
std = {}
for name, used in [("bottleneck", True), ("NumPy", False)]:
    with xr.set_options(use_bottleneck=used):
        after_inf = signals[0].rolling(time=2).mean().values[3:]
        last = signals[1].rolling(time=10).mean().values[-1]
        std[name] = signals[2].rolling(time=2).std().values[-1]
    print(f"{name:12} mean after inf {after_inf} after 1e9 in float32 {last:.4f}")
    assert np.isnan(after_inf).all() == used
    assert (abs(last - noise[-10:].mean()) > 0.1) == used
text = "standard deviation of 1, 2 after 1e10: {bottleneck} with bottleneck, "
print((text + "{NumPy} with NumPy").format(**std))
assert std["bottleneck"] == 0 and std["NumPy"] == 0.5
END
