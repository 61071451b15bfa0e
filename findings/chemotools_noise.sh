#!/usr/bin/env bash
# chemotools' AddNoise is a step of a pipeline that also changes new spectra, so that
# two predictions for a spectrum differ. Its Poisson noise is not centred: it adds
# `scale` times a count, which raises all spectra by that share.
#
# Version: chemotools 0.5.0, scikit-learn 1.9.1, 2026-11-29
# Expected: noise in `fit` alone, which leaves the mean of spectra as it is.
# Output:
#     predictions for one spectrum: 30.4, 27.2, 24.2
#     mean of spectra of 2: gaussian 2.00, poisson 2.20, exponential 2.10
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    chemotools==0.5.0 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from chemotools.augmentation import AddNoise
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

X = np.random.default_rng(0).normal(size=(100, 5)) + 2
y = X @ [1, 2, 3, 4, 5]
model = make_pipeline(AddNoise(scale=0.5, random_state=0), LinearRegression()).fit(X, y)
predicted = [model.predict(X[:1])[0] for _ in range(3)]
print("predictions for one spectrum:", ", ".join(f"{value:.1f}" for value in predicted))
assert np.ptp(predicted) > 1
spectra = np.full((1000, 100), 2.0)
means = {
    kind: AddNoise(kind, scale=0.1, random_state=0).fit_transform(spectra).mean()
    for kind in ("gaussian", "poisson", "exponential")
}
shown = ", ".join(f"{kind} {mean:.2f}" for kind, mean in means.items())
print("mean of spectra of 2:", shown)
assert abs(means["gaussian"] - 2) < 0.01
assert abs(means["poisson"] - 2.2) < 0.01
assert abs(means["exponential"] - 2.1) < 0.01
END
