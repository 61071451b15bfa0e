#!/usr/bin/env bash
# UMAP's transform of the training data returns the stored embedding, but only of all
# rows in their order. A part of them, or another order, lies elsewhere, and a new row
# depends on the rows beside it. A random_state is set.
#
# Version: umap-learn 0.5.12, 2026-11-29
# Expected: one place for each row.
# Output:
#     standard deviations of a group in the embedding [0.84 0.81]
#     rows move at most: all 0.00, half 2.83, reversed 2.83
#     new rows one by one and together: 2.11
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    umap-learn==0.5.12 numba==0.63.1 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python -W ignore - <<'END'
import numpy as np
from umap import UMAP

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 8)) + np.repeat([0, 4], 100)[:, None]
new = rng.normal(size=(20, 8)) + 2
model = UMAP(random_state=0)
fitted = model.fit_transform(X)


def move(one, other):
    return np.linalg.norm(one - other, axis=1).max()


spread = fitted[:100].std(axis=0)
print("standard deviations of a group in the embedding", spread.round(2))
whole = move(model.transform(X), fitted)
half = move(model.transform(X[:100]), fitted[:100])
back = move(model.transform(X[::-1])[::-1], fitted)
print(f"rows move at most: all {whole:.2f}, half {half:.2f}, reversed {back:.2f}")
one_by_one = np.concatenate([model.transform(row[None]) for row in new])
moved = move(model.transform(new), one_by_one)
print(f"new rows one by one and together: {moved:.2f}")
assert whole == 0 and min(half, back, moved) > 0.3 * spread.max()
END
