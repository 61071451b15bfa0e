#!/usr/bin/env bash
# Linear interpolation of gaps at both ends of a signal is three things. pyts' imputer
# continues the line through the two nearest samples, far out of range; pandas repeats
# the last sample and leaves the first gap; xarray fills neither.
#
# Version: pyts 0.14.1, pandas 3.0.6, xarray 2026.9.0, 2026-11-29
# Expected: the same rule, and no value outside the range of the samples.
# Output:
#     pyts   [33.  25.  17.   9.   1.   1.5  2.   0.  -2.  -4. ]
#     pandas [nan nan nan 9.  1.  1.5 2.  0.  0.  0. ]
#     xarray [nan nan nan 9.  1.  1.5 2.  0.  nan nan]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyts==0.14.1 pandas==3.0.6 xarray==2026.9.0 numpy==2.3.5 scikit-learn==1.9.1
venv/bin/python - <<'END'
import numpy as np
import pandas as pd
import xarray as xr
from pyts.preprocessing import InterpolationImputer

nan = np.nan
gaps = np.array([nan, nan, nan, 9, 1, nan, 2, 0, nan, nan])
of_pyts = InterpolationImputer().transform(gaps[None])[0]
of_pandas = pd.Series(gaps).interpolate().to_numpy()
of_xarray = xr.DataArray(gaps, dims="time").interpolate_na("time").to_numpy()
print("pyts  ", of_pyts)
print("pandas", of_pandas)
print("xarray", of_xarray)
middle = [9, 1, 1.5, 2, 0]
np.testing.assert_array_equal(of_pyts, [33, 25, 17, *middle, -2, -4])
np.testing.assert_array_equal(of_pandas, [nan, nan, nan, *middle, 0, 0])
np.testing.assert_array_equal(of_xarray, [nan, nan, nan, *middle, nan, nan])
END
