#!/usr/bin/env bash
# tsfresh computes the features of an integer column in the column's type. In int16, as
# converters deliver a recording, the sum of squares wraps and is negative, and the
# part of the energy in a tenth of the signal is 1076. There is no warning.
#
# Version: tsfresh 0.21.2, pandas 3.0.6, numpy 2.3.5, 2026-11-29
# Expected: the features of the same values in float64.
# Output:
#     abs_energy                       int16 -19006     float64 838841794
#     root_mean_square                 int16 21.571     float64 2896.27656
#     energy_ratio, first tenth        int16 1076.4     float64 0.0597088144
#     19 of 783 features differ
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    tsfresh==0.21.2 pandas==3.0.6 numpy==2.3.5 scipy==1.17.1 scikit-learn==1.9.1
venv/bin/python -W ignore - <<'END'
import numpy as np
import pandas as pd
from tsfresh import extract_features

values = (np.random.default_rng(0).normal(size=100) * 3000).astype("int16")
frame = pd.DataFrame({"id": 1, "time": range(100), "v": values})
options = dict(column_id="id", column_sort="time", disable_progressbar=True, n_jobs=0)
whole = extract_features(frame, **options).iloc[0].astype(float)
floats = extract_features(frame.astype({"v": float}), **options).iloc[0].astype(float)
ratio = "energy_ratio_by_chunks__num_segments_10__segment_focus_0"
for name in ["abs_energy", "root_mean_square", ratio]:
    one, other = whole["v__" + name], floats["v__" + name]
    name = "energy_ratio, first tenth" if name == ratio else name
    print(f"{name:32} int16 {one:<10.5g} float64 {other:.9g}")
same = np.isclose(whole, floats, equal_nan=True)
print((~same).sum(), "of", len(same), "features differ")
assert whole["v__abs_energy"] < 0 < floats["v__abs_energy"]
assert abs(whole["v__" + ratio]) > 100 > 1 > floats["v__" + ratio]
END
