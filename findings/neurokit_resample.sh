#!/usr/bin/env bash
# Three peaks in 10 s at 100 Hz, resampled to 1000 Hz. The default method of neurokit2
# stretches the signal so that the last sample of both falls together: peaks come late,
# the more so the later they are, up to a sample of 10 ms. "pandas" moves all of them by
# 9 ms the other way. A ramp is not a ramp at its ends.
#
# Version: neurokit2 0.3.0, 2026-11-29
# Expected: peaks at 1, 5 and 9 s, as "numpy", "FFT" and "poly" have them.
# Output:
#     interpolation [1.001, 5.005, 9.008]
#     pandas [0.991, 4.991, 8.991]
#     numpy [1.0, 5.0, 9.0]
#     FFT [1.0, 5.0, 9.0]
#     poly [1.0, 5.0, 9.0]
#     ramp 0, 1, ... 9 from 10 to 20 Hz: [0.   0.31 0.93 1.47 1.9 ]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    neurokit2==0.3.0 scipy==1.17.1 numpy==2.3.5
venv/bin/python - <<'END'
import neurokit2 as nk
import numpy as np

times = np.arange(1000) / 100
peaks = (1, 5, 9)
signal = sum(np.exp(-(((times - peak) / 0.03) ** 2)) for peak in peaks)
assert nk.signal_resample.__defaults__[-1] == "interpolation"
for method in ("interpolation", "pandas", "numpy", "FFT", "poly"):
    resampled = nk.signal_resample(
        signal, sampling_rate=100, desired_sampling_rate=1000, method=method
    )
    assert len(resampled) == 10_000
    # the largest value within 0.5 s of each peak
    starts = [1000 * peak - 500 for peak in peaks]
    found = [(i + np.argmax(resampled[i : i + 1000])) / 1000 for i in starts]
    print(method, [float(time) for time in found])
    expected = {"interpolation": [1.001, 5.005, 9.008], "pandas": [0.991, 4.991, 8.991]}
    assert found == expected.get(method, list(peaks))

ramp = nk.signal_resample(np.arange(10.0), sampling_rate=10, desired_sampling_rate=20)
print("ramp 0, 1, ... 9 from 10 to 20 Hz:", ramp[:5].round(2))
assert np.allclose(ramp[:5], [0, 0.31, 0.93, 1.47, 1.90], atol=0.01)
END
