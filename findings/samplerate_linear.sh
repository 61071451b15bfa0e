#!/usr/bin/env bash
# samplerate's converters "linear" and "zero_order_hold" delay the signal by one sample
# of the input, even if the rate stays. The sinc converters do not.
#
# Version: samplerate 0.2.4, 2026-11-29
# Expected: no delay, as the sinc converters.
# Output:
#     sinc_best        [0.009 0.991 2.008 2.992]  middle shifted by 0.00 samples
#     linear           [0. 0. 1. 2.]  middle shifted by 1.00 samples
#     zero_order_hold  [0. 0. 1. 2.]  middle shifted by 1.00 samples
#     at half the rate, linear [0. 1. 3. 5.]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    samplerate==0.2.4 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import samplerate

ramp = np.arange(1000.0)
for converter in ["sinc_best", "linear", "zero_order_hold"]:
    same = samplerate.resample(ramp, 1, converter)
    delay = np.mean((ramp - same)[400:600])
    text = f"middle shifted by {delay:.2f} samples"
    print(f"{converter:16} {same[:4].round(3)}  {text}")
    assert abs(delay - (converter != "sinc_best")) < 1e-3
half = samplerate.resample(ramp, 0.5, "linear")
print("at half the rate, linear", half[:4])
assert half[:4].tolist() == [0, 1, 3, 5]
END
