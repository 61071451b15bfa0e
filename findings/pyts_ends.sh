#!/usr/bin/env bash
# pyts' InterpolationImputer continues the line beyond the first and the last measured
# value of a series. A cubic one reaches 88 in a series from 1 to 4. "previous" fills
# the start of a series with a value that comes later.
#
# Version: pyts 0.14.1, 2026-11-29
# Expected: the nearest measured value, as from numpy.interp, or NaN.
# Output:
#     given      [nan nan nan  1.  3.  2.  4. nan nan nan]
#     linear     [-5. -3. -1.  1.  3.  2.  4.  6.  8. 10.]
#     cubic      [-83. -36. -10.   1.   3.   2.   4.  15.  41.  88.]
#     previous   [1. 1. 1. 1. 3. 2. 4. 4. 4. 4.]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyts==0.14.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from pyts.preprocessing import InterpolationImputer

nan = np.nan
X = np.array([[nan, nan, nan, 1, 3, 2, 4, nan, nan, nan]])
print("given     ", X[0])
filled = {}
for strategy in ("linear", "cubic", "previous"):
    filled[strategy] = InterpolationImputer(strategy=strategy).transform(X)[0]
    print(f"{strategy:<10}", filled[strategy].round())
assert np.allclose(filled["linear"][[0, -1]], [-5, 10])
assert np.allclose(filled["cubic"][[0, -1]], [-83, 88])
assert np.allclose(filled["previous"][:3], 1)
END
