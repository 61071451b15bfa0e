#!/usr/bin/env bash
# With DTW, one NaN inside one of 20 series makes tslearn's KMeans give all other series
# one label: the two groups are lost, without a warning. NaN at the end is a shorter
# series, which is right, and the Euclidean metric raises an error.
#
# Version: tslearn 0.10.0, 2026-11-29
# Expected: an error, or a sample that is left out.
# Output:
#     NaN at the end 1 1 1 1 1 1 1 1 1 1 0 0 0 0 0 0 0 0 0 0 inertia 6.36
#     NaN inside     1 1 1 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 inertia nan
#     Euclidean: Input contains NaN.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    tslearn==0.10.0 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python -W ignore:h5py - <<'END'
import numpy as np
from tslearn.clustering import TimeSeriesKMeans

whole = np.random.default_rng(0).normal(size=(20, 15, 1))
whole[:10] += 3  # two groups, far apart
shorter, gap = whole.copy(), whole.copy()
shorter[3, 14] = gap[3, 5] = np.nan
groups = []
for name, X in [("NaN at the end", shorter), ("NaN inside", gap)]:
    model = TimeSeriesKMeans(2, metric="dtw", max_iter=5, random_state=0).fit(X)
    print(f"{name:14}", *model.labels_, "inertia", model.inertia_.round(2))
    groups.append(np.delete(model.labels_, 3))
assert len(set(groups[0][:9])) == len(set(groups[0][9:])) == 1
assert groups[0][0] != groups[0][-1]
assert len(set(groups[1])) == 1 and np.isnan(model.inertia_)
try:
    TimeSeriesKMeans(2).fit(gap)
except ValueError as error:
    print("Euclidean:", error)
END
