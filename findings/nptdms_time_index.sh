#!/usr/bin/env bash
# npTDMS joins channels of several rates by time, which it computes as a product: 3 x
# 0.1 s and 1 x 0.3 s are two rows, though both were read at the same time.
#
# Version: npTDMS 1.13.0, pandas 3.0.6, 2026-11-29
# Expected: every third row has both.
# Output:
#          fast  slow
#     0.0   0.0   0.0
#     0.1   1.0   NaN
#     0.2   2.0   NaN
#     0.3   NaN   1.0
#     0.3   3.0   NaN
#     ...
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    npTDMS==1.13.0 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from nptdms import ChannelObject, TdmsFile, TdmsWriter


def channel(name, n, step):
    times = {"wf_increment": step, "wf_start_offset": 0.0}
    return ChannelObject("group", name, np.arange(float(n)), times)


with TdmsWriter("x.tdms") as file:
    file.write_segment([channel("fast", 10, 0.1), channel("slow", 4, 0.3)])
frame = TdmsFile.read("x.tdms")["group"].as_dataframe(time_index=True)
print(frame)
assert len(frame) == 13
assert frame.notna().all(axis=1).sum() == 1  # the first
END
