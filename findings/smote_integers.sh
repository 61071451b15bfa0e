#!/usr/bin/env bash
# SMOTE on whole numbers cuts the decimals of its new signals off, instead of rounding.
# New signals of zeros and ones, states of a device, have far fewer ones. Readings of a
# converter move towards zero by almost half a step.
#
# Version: imbalanced-learn 0.14.2, scikit-learn 1.9.1, 2026-11-29
# Expected: the share of ones of the rare class, or values in between as floats.
# Output:
#     share of ones: measured 0.51, new 0.31 as integers, 0.51 as floats
#     mean of readings: measured -9.04, new -8.62 as integers, -9.04 as floats
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    imbalanced-learn==0.14.2 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np
from imblearn.over_sampling import SMOTE

warnings.simplefilter("error")
rng = np.random.default_rng(0)
y = np.repeat([0, 1], [200, 20])


def means(X):
    """Of the rare signals, and of new ones from integers and from floats."""
    new = (SMOTE(random_state=0).fit_resample(x, y)[0][220:] for x in (X, X * 1.0))
    return np.array([X[y == 1].mean(), *(signals.mean() for signals in new)])


states = (rng.random((220, 48)) < 0.5).astype(int)
readings = rng.integers(-12, -5, (220, 48))
ones, levels = means(states), means(readings)
text = "measured {:.2f}, new {:.2f} as integers, {:.2f} as floats"
print("share of ones:", text.format(*ones))
print("mean of readings:", text.format(*levels))
assert ones[1] < ones[0] - 0.15 and abs(ones[2] - ones[0]) < 0.02
assert 0.3 < levels[1] - levels[2] < 0.6
END
