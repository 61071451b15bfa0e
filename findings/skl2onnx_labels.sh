#!/usr/bin/env bash
# Graphs of three classifiers give other labels than scikit-learn, without a warning.
# SGD with log loss: the label is the first class whose probability rounds to the
# highest, not the one with the highest score. One against the rest of LinearSVC: the
# score is taken for a probability, and must exceed 0.5 instead of 0. Isotonic
# calibration: the nearest step, where scikit-learn interpolates. And labels of QDA
# have shape (1, n_samples).
#
# Version: skl2onnx 1.20.0, scikit-learn 1.9.1, onnxruntime 1.32.0, 2026-11-29
# Expected: no label differs, and all have shape (150,).
# Output:
#     LogisticRegression: 0 labels differ, shape (150,); probabilities by 1e-07
#     SGDClassifier: 7 labels differ, shape (150,); probabilities by 7e-09
#     OneVsRestClassifier: 10 labels differ, shape (150,)
#     CalibratedClassifierCV: 1 labels differ, shape (150,); probabilities by 1e-01
#     QuadraticDiscriminantAnalysis: 0 labels differ, shape (1, 150); probabilities by
#         2e-07
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
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

X, y = load_iris(return_X_y=True)
X, is_third = X.astype(np.float32), y == 2


def check(model, y):
    model.fit(X, y)
    graph = to_onnx(model, X[:1], target_opset=18, options={"zipmap": False})
    session = InferenceSession(graph.SerializeToString())
    labels, probabilities = session.run(None, {"X": X})
    n_wrong = (labels.ravel() != model.predict(X)).sum()
    name = type(model).__name__
    print(f"{name}: {n_wrong} labels differ, shape {labels.shape}", end="")
    if hasattr(model, "predict_proba"):
        error = np.abs(probabilities - model.predict_proba(X)).max()
        print(f"; probabilities by {error:.0e}", end="")
    print()
    return n_wrong, labels


n_wrong, labels = check(LogisticRegression(), y)
assert n_wrong == 0 and labels.shape == (150,)
assert check(SGDClassifier(loss="log_loss", random_state=0), y)[0] > 0
rest = OneVsRestClassifier(LinearSVC(random_state=0))
n_wrong, labels = check(rest, is_third)
assert n_wrong > 0
assert np.array_equal(labels, rest.decision_function(X) > 0.5)
isotonic = CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=2)
assert check(isotonic, y)[0] > 0
n_wrong, labels = check(QuadraticDiscriminantAnalysis(), y)
assert n_wrong == 0 and labels.shape == (1, 150)
END
