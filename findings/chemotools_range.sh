#!/usr/bin/env bash
# chemotools' RangeCut takes the limits in the given order as positions on the axis.
# On a falling axis, as infrared spectra have, a smaller first limit selects no
# column. The last band is never selected.
#
# Version: chemotools 0.5.0, 2026-11-29
# Expected: all bands from 1004 to 1019 on an axis of either direction.
# Output:
#     rising [1004. 1018.] falling (1, 0) other [1019. 1005.]
#     No features were selected: either the data is too noisy or the selection test too strict.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    chemotools==0.5.0 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np
from chemotools.feature_selection import RangeCut

axis = np.arange(1000.0, 1024)
rising = RangeCut(1004, 1019, x_axis=axis).fit_transform(axis[None])[0]
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    falling = RangeCut(1004, 1019, x_axis=axis[::-1]).fit_transform(axis[::-1][None])
other = RangeCut(1019, 1004, x_axis=axis[::-1]).fit_transform(axis[::-1][None])[0]
print("rising", rising[[0, -1]], "falling", falling.shape, "other", other[[0, -1]])
print(said[0].message)
assert rising[[0, -1]].tolist() == [1004, 1018]
assert falling.shape == (1, 0)
assert other[[0, -1]].tolist() == [1019, 1005]
END
