#!/usr/bin/env bash
# wfdb's rdrecord averages the samples of a frame by default, and includes the mark of
# an invalid sample, -32768.
#
# Version: wfdb 4.3.1, 2026-11-29
# Expected: NaN for a frame with an invalid sample, or the mean of the valid ones.
# Output:
#     written  [ 1.  3. nan  5.  7.  7.]
#     read     [   2.   -161.34    7.  ]
#     unsmoothed [ 1.  3. nan  5.  7.  7.]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    wfdb==4.3.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import wfdb

fast, slow = np.array([1.0, 3.0, np.nan, 5.0, 7.0, 7.0]), np.array([1.0, 2.0, 3.0])
wfdb.wrsamp(
    "x",
    fs=10,
    units=["mV", "mV"],
    sig_name=["fast", "slow"],
    e_p_signal=[fast, slow],
    samps_per_frame=[2, 1],
    fmt=["16", "16"],
    adc_gain=[100, 100],
    baseline=[0, 0],
)
averaged = wfdb.rdrecord("x").p_signal[:, 0]
print("written ", fast, "\nread    ", averaged)
each = wfdb.rdrecord("x", smooth_frames=False).e_p_signal[0]
print("unsmoothed", each)
assert np.allclose(averaged, [2, (-32768 / 100 + 5) / 2, 7], atol=0.01)
assert np.array_equal(each, fast, equal_nan=True)
END
