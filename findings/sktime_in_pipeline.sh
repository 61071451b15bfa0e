#!/usr/bin/env bash
# sktime's transformers delete all their attributes in `fit`. scikit-learn 1.9 gives
# each step of a Pipeline one, of its callbacks, and takes it back after the fit, which
# fails. sktime's classifiers lack the tags that scikit-learn's searches read.
#
# Version: sktime 1.2.0, scikit-learn 1.9.1, 2026-11-29
# Expected: a fitted pipeline and scores.
# Output:
#     Pipeline: AttributeError: 'Tabularizer' object has no attribute
#       '_parent_callback_ctx'
#     cross_val_score: AttributeError: 'SklearnClassifierPipeline' object has no
#       attribute '__sklearn_tags__'
#     sktime's own pipeline and evaluate: 1.0 1.0
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    sktime==1.2.0 scikit-learn==1.9.1 pandas==3.0.6 numpy==2.3.5
venv/bin/python -W ignore::FutureWarning - <<'END'
import re

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sktime.classification.model_evaluation import evaluate
from sktime.pipeline import make_pipeline as make_sktime_pipeline
from sktime.transformations.panel.reduce import Tabularizer

y = np.tile(["a", "b"], 20)
X = np.random.default_rng(0).normal(size=(40, 1, 10)) + 5 * (y == "b")[:, None, None]
of_sktime = make_sktime_pipeline(Tabularizer(), LogisticRegression())
attempts = {
    "Pipeline": lambda: make_pipeline(Tabularizer(), LogisticRegression()).fit(X, y),
    "cross_val_score": lambda: cross_val_score(of_sktime, X, y),
}
messages = []
for name, attempt in attempts.items():
    try:
        attempt()
    except AttributeError as error:
        message = re.search("('[A-Z].*? attribute '.*?')", str(error))[1]
        print(f"{name}: AttributeError: {message}")
        messages.append(message)
assert "_parent_callback_ctx" in messages[0]
assert "__sklearn_tags__" in messages[1]
accuracy = (of_sktime.fit(X, y).predict(X) == y).mean()
score = evaluate(of_sktime, X=X, y=y, cv=3)["test_accuracy_score"].mean()
print("sktime's own pipeline and evaluate:", accuracy, score)
assert accuracy == score == 1
END
