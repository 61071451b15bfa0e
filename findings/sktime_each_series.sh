#!/usr/bin/env bash
# In a pipeline of sktime, a scikit-learn transformer is fitted to each series alone,
# with its time steps as samples, in `transform` too. A scaler removes the levels by
# which the series differ.
#
# Version: sktime 1.2.0, scikit-learn 1.9.1, 2026-11-29
# Expected: one fit to the table of series, as in a pipeline of scikit-learn.
# Output:
#     TabularToSeriesAdaptor(transformer=StandardScaler())
#     [[-1.22474487  0.          1.22474487]
#      [-1.22474487  0.          1.22474487]
#      [-0.70710678 -0.70710678  1.41421356]]
#     of the table: [[-0.76, -0.75, -0.74], [1.41, 1.41, 1.41], [-0.65, -0.67, -0.67]]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    sktime==1.2.0 scikit-learn==1.9.1 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np

warnings.simplefilter("ignore", FutureWarning)
from sklearn.preprocessing import StandardScaler
from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier

X = np.array([[[0.0, 1, 2]], [[100, 110, 120]], [[5, 5, 6]]])
pipeline = StandardScaler() * KNeighborsTimeSeriesClassifier(1, distance="euclidean")
pipeline.fit(X, np.array([0, 1, 2]))
adapter = pipeline.steps_[0][1]
print(adapter)
scaled = adapter.clone().fit_transform(X)[:, 0]
print(scaled)
assert np.allclose(scaled.mean(axis=1), 0)
assert np.allclose(scaled[0], scaled[1])  # of levels 1 and 110
once = StandardScaler().fit_transform(X[:, 0])
print("of the table:", once.round(2).tolist())
assert not np.allclose(once, scaled, atol=0.5)
END
