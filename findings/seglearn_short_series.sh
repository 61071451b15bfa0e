#!/usr/bin/env bash
# seglearn's Segment drops a series shorter than the window, and its label, without a
# warning.
#
# Version: seglearn 1.2.5, scikit-learn 1.9.1, 2026-11-29
# Expected: an error, a warning, or a padded window.
# Output:
#     series of 50, 10 and 48 time steps: (4, 24, 2) [0 0 2 2]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    seglearn==1.2.5 scikit-learn==1.9.1 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np
from seglearn.transform import Segment

warnings.simplefilter("error")
series = [np.zeros((50, 2)), np.ones((10, 2)), np.zeros((48, 2))]
windows, labels, _ = Segment(24, overlap=0).fit_transform(series, np.array([0, 1, 2]))
print("series of 50, 10 and 48 time steps:", windows.shape, labels)
assert windows.shape == (4, 24, 2) and labels.tolist() == [0, 0, 2, 2]
END
