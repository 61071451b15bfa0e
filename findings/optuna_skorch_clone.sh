#!/usr/bin/env bash
# Optuna's pruning callback for skorch works in one fit, but a net that has it cannot be
# cloned, so no cross-validation can prune: it stores its arguments as _trial and
# _monitor, and scikit-learn takes these for the names of the arguments.
#
# Version: optuna 5.0.0, optuna-integration 5.0.0, skorch 1.4.0, scikit-learn 1.9.1,
#     torch 2.13.0, 2026-11-29
# Expected: scores, as skorch clones its other callbacks.
# Output:
#     fit: ok
#     cross_val_score: SkorchPruningCallback.__init__() got an unexpected keyword
#       argument '_trial'
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    optuna==5.0.0 optuna-integration==5.0.0 skorch==1.4.0 scikit-learn==1.9.1 \
    torch==2.13.0 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import optuna
import torch
from optuna_integration import SkorchPruningCallback
from sklearn.model_selection import cross_val_score
from skorch import NeuralNetClassifier

optuna.logging.set_verbosity(optuna.logging.CRITICAL)
X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)


def tried(run):
    def objective(trial):
        net = NeuralNetClassifier(
            torch.nn.Linear,
            module__in_features=3,
            module__out_features=2,
            criterion=torch.nn.CrossEntropyLoss,
            callbacks=[SkorchPruningCallback(trial, "valid_loss")],
            max_epochs=2,
            verbose=0,
        )
        run(net)
        return 0.0

    try:
        optuna.create_study().optimize(objective, n_trials=1)
    except TypeError as error:
        return str(error)
    return "ok"


fitted = tried(lambda net: net.fit(X, y))
scored = tried(lambda net: cross_val_score(net, X, y, error_score="raise"))
print("fit:", fitted)
print("cross_val_score:", scored)
assert fitted == "ok"
assert "unexpected keyword argument '_trial'" in scored
END
