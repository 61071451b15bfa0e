#!/usr/bin/env bash
# scikit-learn up to 1.8 reads the column names of a frame by the interchange protocol,
# which polars 2 has removed. Nothing is reported: the scaler has no names, and columns
# in another order are scaled with the mean of another column.
#
# Version: scikit-learn 1.8.0, polars 1.44.2 and 2.1.0, 2026-11-29
# Expected: an error for the order of the columns, or one value for both orders.
# Output:
#     polars 1.44.2 names ['a' 'b'] other order: ValueError
#     polars 2.1.0 names None other order: [101.0, -99.0] instead of [1.0, 1.0]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
cat > names.py <<'END'
import sys

import polars as pl
from sklearn.preprocessing import StandardScaler

frame = pl.DataFrame({"a": [1.0, 3.0], "b": [101.0, 103.0]})
scaler = StandardScaler().fit(frame)
names = getattr(scaler, "feature_names_in_", None)
try:
    swapped = scaler.transform(frame[["b", "a"]])[1].tolist()
    other = f"{swapped} instead of {scaler.transform(frame)[1].tolist()}"
except ValueError as error:
    other = type(error).__name__
print("polars", pl.__version__, "names", names, "other order:", other)
is_old = sys.argv[1] == "old"
assert (names is not None) == is_old
assert (other == "ValueError") == is_old
END
for kind in old new; do
    version=$([ $kind = old ] && echo 1.44.2 || echo 2.1.0)
    python3 -m venv $kind
    $kind/bin/pip install --quiet --disable-pip-version-check \
        scikit-learn==1.8.0 polars==$version numpy==2.3.5
    $kind/bin/python names.py $kind
done
