#!/usr/bin/env bash
# dask.dataframe.from_pandas converts a column of arrays to their printed text: of a
# long signal six values and dots remain. read_parquet of the same column keeps the
# arrays.
#
# Version: dask 2026.8.0, pandas 3.0.6, pyarrow 26.0.1, 2026-11-29
# Expected: a column of objects, or an error.
# Output:
#     string '[ 0.12573022 -0.13210486  0.64042265 ... -2.01881162 -0.90942756\n  0.36922933]'
#     from Parquet: ndarray (2000,)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    dask[dataframe]==2026.8.0 pandas==3.0.6 pyarrow==26.0.1 numpy==2.3.5
venv/bin/python - <<'END'
import dask.dataframe as dd
import numpy as np
import pandas as pd

frame = pd.DataFrame({"signal": list(np.random.default_rng(0).normal(size=(4, 2000)))})
there_and_back = dd.from_pandas(frame, npartitions=1).compute()
print(there_and_back.dtypes["signal"], repr(there_and_back["signal"][0]))
assert isinstance(there_and_back["signal"][0], str)
assert " ... " in there_and_back["signal"][0]
frame.to_parquet("x.parquet")
kept = dd.read_parquet("x.parquet").compute()["signal"][0]
print("from Parquet:", type(kept).__name__, kept.shape)
assert np.array_equal(kept, frame["signal"][0])
END
