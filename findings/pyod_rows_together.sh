#!/usr/bin/env bash
# In pyod, ECOD and COPOD rank the new rows together with the training rows. An outlier
# that comes alone is found; when 500 of them come together, few or none are.
#
# Version: pyod 3.6.7, 2026-11-29
# Expected: one score for a row, whatever comes with it, as from IForest.
# Output:
#     ECOD     one by one 1.00 found, together 0.04; score of the first 21.2, 5.2
#     COPOD    one by one 1.00 found, together 0.00; score of the first 21.2, 3.4
#     IForest  one by one 1.00 found, together 1.00; score of the first 0.2, 0.2
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyod==3.6.7 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python -W ignore - <<'END'
import numpy as np
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 4))
faulty = rng.normal(size=(500, 4)) + 5
for model in [ECOD(), COPOD(), IForest(random_state=0)]:
    model.fit(X)
    alone = np.mean([model.predict(row[None])[0] for row in faulty[:50]])
    together = model.predict(faulty)[:50].mean()
    scores = [model.decision_function(rows)[0] for rows in (faulty[:1], faulty)]
    text = f"one by one {alone:.2f} found, together {together:.2f}; "
    text += "score of the first {:.1f}, {:.1f}".format(*scores)
    print(f"{type(model).__name__:8} {text}")
    assert alone == 1 and (together < 0.2) == (type(model) is not IForest)
END
