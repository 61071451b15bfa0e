#!/usr/bin/env bash
# A dict with the keys False and True comes back from a skops file with True alone, as
# the key is read as bool("False"). A classifier's weights of a rare event lose one.
#
# Version: skops 0.16.0, scikit-learn 1.9.1, 2026-11-29
# Expected: equal dicts, or an error.
# Output:
#     {False: 0.1, True: 1.0} -> {True: 1.0}
#     {'1': 'a', 1: 'b'} -> {'1': 'b'}
#     of 20 events, found by the model refitted, and by that of the file: 20 0
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    skops==0.16.0 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import skops.io
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression


def again(value):
    return skops.io.loads(skops.io.dumps(value))


for pairs, expected in (
    ({False: 0.1, True: 1.0}, {True: 1.0}),
    ({"1": "a", 1: "b"}, {"1": "b"}),
):
    print(pairs, "->", again(pairs))
    assert again(pairs) == expected
X = np.repeat([[0.0], [1.0]], 100, axis=0)
y = np.repeat([False, True, False], [100, 20, 80])  # a fifth of those with X = 1
model = LogisticRegression(class_weight={False: 0.1, True: 1.0}).fit(X, y)
other = again(model)
found = [int(clone(m).fit(X, y).predict(X)[y].sum()) for m in (model, other)]
print("of 20 events, found by the model refitted, and by that of the file:", *found)
assert found == [20, 0]
END
