#!/usr/bin/env bash
# ObsPy's merge masks a gap. Under the mask, floats are NaN, but integers, as
# recorders store them, are -2 ** 31, and numpy.asarray drops the mask.
#
# Version: obspy 1.5.1, 2026-11-29
# Expected: numpy.asarray returns NaN or zeros, or raises an error.
# Output:
#     float64 [0.0 1.0 2.0 -- -- 0.0 1.0 2.0] [ 0.  1.  2. nan nan  0.  1.  2.]
#     int32 [0 1 2 -- -- 0 1 2] [          0           1           2 -2147483648 -2147483648           0
#                1           2]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    obspy==1.5.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from obspy import Stream, Trace

for dtype in ("float64", "int32"):
    first, second = Trace(np.arange(3, dtype=dtype)), Trace(np.arange(3, dtype=dtype))
    second.stats.starttime += 5
    data = Stream([first, second]).merge()[0].data
    print(dtype, data, np.asarray(data))
    gap = np.asarray(data)[3:5]
    assert np.isnan(gap).all() if dtype == "float64" else (gap == -(2**31)).all()
END
