#!/usr/bin/env bash
# mlflow infers a signature from a frame whose columns have two levels, channel and time
# step, and then refuses the same frame. Times of day as columns infer too, but cannot
# be saved.
#
# Version: mlflow 3.17.2, pandas 3.0.6, scikit-learn 1.9.1, 2026-11-29
# Expected: an error from infer_signature, or predictions.
# Output:
#     numbers: predicts
#     two levels: MlflowException: Failed to enforce schema
#     times of day: TypeError: Object of type Timedelta is not JSON serializable
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mlflow==3.17.2 pandas==3.0.6 scikit-learn==1.9.1 skops==0.16.0 numpy==2.3.5
venv/bin/python - <<'END'
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

signals = np.random.default_rng(0).normal(size=(20, 6))
y = (signals[:, 0] > 0).astype(int)


def tried(columns, path):
    X = pd.DataFrame(signals, columns=columns)
    model = LogisticRegression().fit(signals, y)
    signature = infer_signature(X, model.predict(signals))
    options = {"signature": signature, "pip_requirements": ["scikit-learn==1.9.1"]}
    try:
        mlflow.sklearn.save_model(model, path, **options)
        mlflow.pyfunc.load_model(path).predict(X)
    except (MlflowException, TypeError) as error:
        return f"{type(error).__name__}: {str(error).split(' of data')[0]}"
    return "predicts"


levels = pd.MultiIndex.from_product([["imported", "exported"], [0, 1, 2]])
outcomes = {
    "numbers": tried(np.arange(400.0, 412.0, 2), "numbers"),
    "two levels": tried(levels, "levels"),
    "times of day": tried(pd.timedelta_range(0, periods=6, freq="30min"), "times"),
}
for name, outcome in outcomes.items():
    print(f"{name}: {outcome}")
assert outcomes["numbers"] == "predicts"
assert "Failed to enforce schema" in outcomes["two levels"]
assert "not JSON serializable" in outcomes["times of day"]
END
