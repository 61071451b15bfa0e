#!/usr/bin/env bash
# mne's get_coef with inverse_transform=True sends a pattern through the
# inverse_transform of the steps, as if it were a signal. A StandardScaler or a PCA
# adds the mean of the data, which then looks like the pattern of the classifier.
#
# Version: mne 1.13.2, scikit-learn 1.9.1, 2026-11-29
# Expected: the pattern in the units of the data; only channel 0 differs by class.
# Output:
#     without a scaler   [4.6, -0.0, 0.4, -0.2]
#     StandardScaler     [4.7, 10.0, 20.2, 29.9]
#     PCA                [4.6, 10.0, 20.2, 29.9]
#     mean of the data   [-0.0, 10.0, 19.9, 30.1]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mne==1.13.2 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from mne.decoding import LinearModel, get_coef
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X = np.random.default_rng(0).normal(size=(200, 4)) + np.array([0, 10, 20, 30])
y = X[:, 0] > 0


def pattern(*steps):
    model = make_pipeline(*steps, LinearModel(LogisticRegression())).fit(X, y)
    return get_coef(model, "patterns_", inverse_transform=len(steps) > 0)


plain, scaled, rotated = pattern(), pattern(StandardScaler()), pattern(PCA(4))
print("without a scaler  ", plain.round(1).tolist())
print("StandardScaler    ", scaled.round(1).tolist())
print("PCA               ", rotated.round(1).tolist())
print("mean of the data  ", X.mean(axis=0).round(1).tolist())
assert np.abs(plain[1:]).max() < 0.5
for got in (scaled, rotated):
    assert np.allclose(got - X.mean(axis=0), plain, atol=0.5)
    assert got.argmax() == 3
END
