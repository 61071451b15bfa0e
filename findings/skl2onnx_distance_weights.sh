#!/usr/bin/env bash
# skl2onnx makes distances negative and then takes the maximum with 1e-6, so nearest
# neighbours that are weighted by distance get equal weights (sklearn-onnx, issue 1214).
# Probabilities, regressions and some labels are wrong, without a warning.
#
# Version: skl2onnx 1.20.0, scikit-learn 1.9.1, onnxruntime 1.32.0, 2026-11-29
# Expected: the graph gives the model's numbers, to 1e-6.
# Output:
#     classifier: labels differ for 9 of 200; probabilities by 0.33,
#         from those of uniform weights by 0.00
#     regressor: differs by 0.17, from uniform weights by 0.00
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check skl2onnx==1.20.0 \
    scikit-learn==1.9.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

rng = np.random.default_rng(0)
X, X_test = rng.standard_normal((2, 200, 2)).astype(np.float32)
y = (X[:, 0] + 0.5 * rng.standard_normal(200) > 0).astype(int)


def run(model, **options):
    graph = to_onnx(model, X[:1], target_opset=18, **options)
    return InferenceSession(graph.SerializeToString()).run(None, {"X": X_test})


by_distance, uniform = (
    KNeighborsClassifier(6, weights=weights).fit(X, y)
    for weights in ("distance", "uniform")
)
labels, found = run(by_distance, options={"zipmap": False})
n_wrong = (labels != by_distance.predict(X_test)).sum()
error, same = (
    np.abs(found - m.predict_proba(X_test)).max() for m in (by_distance, uniform)
)
print(f"classifier: labels differ for {n_wrong} of 200; probabilities by {error:.2f},")
print(f"    from those of uniform weights by {same:.2f}")
assert n_wrong > 5
assert error > 0.1
assert same < 1e-6
by_distance, uniform = (
    KNeighborsRegressor(6, weights=weights).fit(X, X[:, 0])
    for weights in ("distance", "uniform")
)
found = run(by_distance)[0].ravel()
error, same = (np.abs(found - m.predict(X_test)).max() for m in (by_distance, uniform))
print(f"regressor: differs by {error:.2f}, from uniform weights by {same:.2f}")
assert error > 0.1
assert same < 1e-6
END
