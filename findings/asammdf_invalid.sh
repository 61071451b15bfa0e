#!/usr/bin/env bash
# asammdf drops the invalid samples of a signal, so the signal is shorter than another
# one of the same clock. Its frame instead interpolates them linearly, and repeats the
# last value of a channel that ended early.
#
# Version: asammdf 8.8.28, 2026-11-29
# Expected: NaN or a mask in both.
# Output:
#     signal [1. 2. 8. 7.] of 6 samples
#                  load  clock  short
#     timestamps
#     0.0          1.0    0.0    1.0
#     1.0          2.0    1.0    5.0
#     2.0          4.0    2.0    5.0
#     ...
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    asammdf==8.8.28 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from asammdf import MDF, Signal

times = np.arange(6.0)
invalid = np.array([False, False, True, True, False, False])
load = Signal([1.0, 2, 9, 9, 8, 7], times, name="load", invalidation_bits=invalid)
short = Signal([1.0, 5], times[:2], name="short")
with MDF() as file:
    file.append([load, Signal(times, times, name="clock")])
    file.append([short])
    file.save("x.mf4")
with MDF("x.mf4") as file:
    signal = file.get("load").samples
    frame = file.to_dataframe()
print("signal", signal, "of 6 samples\n", frame)
assert signal.tolist() == [1, 2, 8, 7]
assert frame["load"].tolist() == [1, 2, 4, 6, 8, 7]
assert frame["short"].tolist() == [1, 5, 5, 5, 5, 5]
END
