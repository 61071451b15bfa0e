#!/usr/bin/env bash
# heartpy counts the samples where it should count the steps between them: 1 s of a
# timer of 10 ms has 101 Hz, and the rate depends on the length. Over midnight the rate
# of clock times, whose format is the default one, is negative.
#
# Version: heartpy 1.2.7, 2026-11-29
# Expected: 100 Hz three times, and 100 Hz or an error at midnight.
# Output:
#     10 samples: 111.11 Hz
#     100 samples: 101.01 Hz
#     1000 samples: 100.10 Hz
#     10 s over midnight: -0.0116 Hz
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    heartpy==1.2.7 scipy==1.17.1 matplotlib==3.10.8 numpy==2.3.5 setuptools==80.9.0
venv/bin/python - <<'END'
from datetime import datetime, timedelta

import heartpy
import numpy as np

for n, expected in [(10, 111.11), (100, 101.01), (1000, 100.10)]:
    rate = heartpy.get_samplerate_mstimer(10 * np.arange(n))
    print(f"{n} samples: {rate:.2f} Hz")
    assert abs(rate - expected) < 0.01

start = datetime(2024, 1, 1, 23, 59, 55)
clock = [start + timedelta(milliseconds=10 * i) for i in range(1001)]
rate = heartpy.get_samplerate_datetime([f"{time:%H:%M:%S.%f}" for time in clock])
print(f"10 s over midnight: {rate:.4f} Hz")
assert -0.012 < rate < -0.011
END
