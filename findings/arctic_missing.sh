#!/usr/bin/env bash
# A counter appears in the second part of a table. ArcticDB reads the rows before that
# as measured zeros. Its own queries see them as missing: the mean of an hour is NaN
# where the table says 0, and no row is below 5.
#
# Version: arcticdb 6.28.2, pandas 2.3.3, 2026-11-29
# Expected: NaN in both, as in pandas.concat.
# Output:
#                          load  count
#     2024-01-01 00:00:00   1.0      0
#     2024-01-01 00:30:00   2.0      0
#     2024-01-01 01:00:00   3.0     10
#     2024-01-01 01:30:00   4.0     20
#     mean [nan, 15.0]
#     below 5: 0 rows
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    arcticdb==6.28.2 pandas==2.3.3 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import pandas as pd
from arcticdb import Arctic, LibraryOptions, QueryBuilder

times = pd.date_range("2024-01-01", periods=4, freq="30min")
before = pd.DataFrame({"load": [1.0, 2.0]}, index=times[:2])
after = pd.DataFrame({"load": [3.0, 4.0], "count": [10, 20]}, index=times[2:])
options = LibraryOptions(dynamic_schema=True)
library = Arctic("lmdb://x").create_library("a", options)
library.write("s", before)
library.append("s", after)

frame = library.read("s").data
print(frame)
assert frame["count"].tolist() == [0, 0, 10, 20]
hourly = QueryBuilder().resample("1h").agg({"count": "mean"})
mean = library.read("s", query_builder=hourly).data["count"].tolist()
print("mean", mean)
assert np.isnan(mean[0]) and mean[1] == 15
query = QueryBuilder()
below = library.read("s", query_builder=query[query["count"] < 5]).data
print("below 5:", len(below), "rows")
assert len(below) == 0
END
