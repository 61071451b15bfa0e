#!/usr/bin/env bash
# In the NumPy format of datasets, the dtype of integers depends on the rows read
# together: if one value is missing, all are float32, and integers above 2 ** 24
# change. Floats are always float32, though the column is float64.
#
# Version: datasets 5.2.0, 2026-11-29
# Expected: float64 for float64, and for integers with gaps too, as in pandas.
# Output:
#     {'count': List(Value('int64')), 'load': List(Value('float64'))}
#     row 1 alone: int64 [16777217        2] with row 0: float32 [1.6777216e+07 2.0000000e+00]
#     load: float32
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from datasets import Dataset

rows = {"count": [[16777217, None], [16777217, 2]], "load": [[0.1, 0.2], [0.3, 0.4]]}
data = Dataset.from_dict(rows)
print(data.features)
data = data.with_format("numpy")
alone, together = data[1]["count"], data[:]["count"]
print("row 1 alone:", alone.dtype, alone, "with row 0:", together.dtype, together[1])
assert alone.dtype == np.int64 and alone[0] == 16777217
assert together.dtype == np.float32 and together[1, 0] == 16777216
print("load:", data[:]["load"].dtype)
assert data[:]["load"].dtype == np.float32
END
