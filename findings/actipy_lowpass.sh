#!/usr/bin/env bash
# A resting accelerometer shows 1 g and misses some samples. The low-pass filter of
# actipy takes NaN for 0 g: the samples beside the gap become 0.70 to 1.09 g, even if it
# is a single sample. Where the rows are left out instead, it filters across the gap:
# 0 g before 4 s without rows and 1 g after them become a ramp.
#
# Version: actipy 3.8.3, pandas 3.0.6, 2026-11-29
# Expected: 1 g, and 0 and 1 g on the sides of the gap.
# Output:
#     before 50 NaN: [1.09 1.   0.7 ]
#     before 1 NaN: [1.06 0.91 0.7 ]
#     beside 4 s without rows: [-0.   0.3  0.7  1. ]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    actipy==3.8.3 pandas==3.0.6 scipy==1.17.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import pandas as pd
from actipy.processing import lowpass

times = pd.date_range("2024-01-01", periods=1000, freq="10ms", name="time")


def filtered(x, times):
    """Return x after the filter of 20 Hz."""
    frame = pd.DataFrame({"x": x, "y": 0.0, "z": 0.0}, index=times)
    return lowpass(frame, 100)[0]["x"].to_numpy()


assert np.allclose(filtered(np.ones(1000), times), 1)
for missing, expected in [(50, [1.09, 1.00, 0.70]), (1, [1.06, 0.91, 0.70])]:
    x = np.ones(1000)
    x[500 : 500 + missing] = np.nan
    before = filtered(x, times)[497:500]
    print(f"before {missing} NaN:", before.round(2))
    assert np.allclose(before, expected, atol=0.01)

x = np.repeat([0.0, 1.0], 300)
beside = filtered(x, times.delete(slice(300, 700)))[298:302]
print("beside 4 s without rows:", beside.round(2))
assert np.allclose(beside, [0, 0.3, 0.7, 1], atol=0.01)
END
