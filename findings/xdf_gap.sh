#!/usr/bin/env bash
# An XDF recording at 4 Hz loses 100 s after the first minute. pyxdf closes the gap and
# spreads it over all samples: the times stay even, the rate becomes 1.8 Hz, and times
# are off by up to 50 s. A gap must last 1 s and also 500 samples (125 s here) to count
# as one. At 100 Hz 4 s are closed, without the warning about the rate.
#
# Version: pyxdf 1.17.5, 2026-11-29
# Expected: the stored times, which have the gap, up to jitter.
# Output:
#     rate 4 Hz, gap 100 s: largest step 0.56 s, error 49.8 s, 1.78 Hz
#     rate 100 Hz, gap 4 s: largest step 0.01 s, error 2.0 s, 95.24 Hz
#     rate 100 Hz, gap 6 s: largest step 6.01 s, error 0.0 s, 100.00 Hz
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyxdf==1.17.5 numpy==2.3.5
venv/bin/python - <<'END'
import struct
from pathlib import Path

import numpy as np
import pyxdf

STREAM = "<info><name>s</name><type>EDA</type><channel_count>1</channel_count>"
STREAM += "<nominal_srate>{}</nominal_srate><channel_format>float32</channel_format>"
STREAM += "</info>"


def chunk(tag, content):
    return struct.pack("<BIH", 4, len(content) + 2, tag) + content


def read(rate, gap):
    """Return the stored and the read times."""
    minute = np.arange(0, 60, 1 / rate)
    stored = 1000 + np.concatenate([minute, minute + 60 + gap])
    samples = b"".join(struct.pack("<Bdf", 8, time, 0) for time in stored)
    parts = [(1, b"<info><version>1.0</version></info>")]
    stream = struct.pack("<I", 1)
    parts += [(2, stream + STREAM.format(rate).encode())]
    parts += [(3, stream + struct.pack("<BI", 4, len(stored)) + samples)]
    parts += [(6, stream + b"<info></info>")]
    recorded = b"XDF:" + b"".join(chunk(*part) for part in parts)
    Path("x.xdf").write_bytes(recorded)
    (found,), _ = pyxdf.load_xdf("x.xdf")
    times = found["time_stamps"]
    step, error = np.diff(times).max(), abs(times - stored).max()
    found_rate = found["info"]["effective_srate"]
    print(f"rate {rate} Hz, gap {gap} s: largest step {step:.2f} s,", end=" ")
    print(f"error {error:.1f} s, {found_rate:.2f} Hz")
    return step, error


step, error = read(4, 100)
assert step < 1 and error > 49
step, error = read(100, 4)
assert step < 0.02 and error > 1.9
step, error = read(100, 6)
assert step > 6 and error < 1e-6
END
