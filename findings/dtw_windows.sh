#!/usr/bin/env bash
# A warping window of 1 is one step in tslearn and pyts, the whole series in aeon, and
# none in dtaidistance, where a window of 0 gives infinity. With 20 and 14 samples and a
# window of 0, tslearn widens the band to the difference, aeon and pyts tilt it.
#
# Version: tslearn 0.10.0, aeon 1.6.0, dtaidistance 2.5.1, pyts 0.14.1, 2026-11-29
# Expected: other units perhaps, but an equal distance for an equal band.
# Output:
#     lengths window  tslearn aeon dtaidistance pyts
#     20, 20  0      [5.04 5.04  inf 5.04]
#     20, 20  1      [4.   2.4  5.04 4.  ]
#     20, 14  0      [4.67 7.55  inf 7.27]
#     no window: [2.4  3.36]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    tslearn==0.10.0 aeon==1.6.0 dtaidistance==2.5.1 pyts==0.14.1 \
    scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python -W ignore - <<'END'
import numpy as np
from aeon.distances import dtw_distance as aeon
from dtaidistance.dtw import distance as dtaidistance
from pyts.metrics import dtw as pyts
from tslearn.metrics import dtw as tslearn


def distances(x, y, window):
    band = dict(method="sakoechiba", options={"window_size": window})
    sakoe = dict(global_constraint="sakoe_chiba", sakoe_chiba_radius=window)
    return [
        tslearn(x, y, **sakoe),
        aeon(x, y, window=window) ** 0.5,  # aeon's distance is squared
        dtaidistance(x, y, window=window),
        pyts(x, y, **band),
    ]


x, other, short = np.split(np.random.default_rng(0).normal(size=54), [20, 40])
print("lengths window  tslearn aeon dtaidistance pyts")
found = []
for y, window in [(other, 0), (other, 1), (short, 0)]:
    row = np.array(distances(x, y, window))
    print(f"{len(x)}, {len(y)}  {window}     ", row.round(2))
    found.append(row)
free = tslearn(x, other), tslearn(x, short)
print("no window:", np.round(free, 2))
equal = np.isclose(found[0], np.linalg.norm(x - other))
assert equal.tolist() == [True, True, False, True] and np.isinf(found[0][2])
assert np.isclose(found[1][1], free[0]) and np.isclose(found[1][2], found[0][0])
assert np.isclose(found[1][0], found[1][3]) and found[1][0] < found[0][0]
assert found[2][0] < 5 < 7 < found[2][3] < found[2][1] and np.isinf(found[2][2])
END
