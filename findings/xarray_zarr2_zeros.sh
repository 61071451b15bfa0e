#!/usr/bin/env bash
# xarray takes the fill value of a zarr array of format 2, by default 0, for the mark
# of a missing value: measured zeros open as NaN. In format 3 they do not.
#
# Version: xarray 2026.9.0, zarr 3.1.6, 2026-11-29
# Expected: zeros stay zeros, as the fill value is that of chunks never written.
# Output:
#     format 2 [nan  1.  2. nan]
#     format 3 [0. 1. 2. 0.]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    xarray==2026.9.0 zarr==3.1.6 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import xarray as xr
import zarr

for version, expected in [(2, [np.nan, 1, 2, np.nan]), (3, [0, 1, 2, 0])]:
    group = zarr.open_group("x.zarr", mode="w", zarr_format=version)
    names = {} if version == 2 else {"dimension_names": ["time"]}
    array = group.create_array("load", shape=4, dtype="f8", **names)
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["time"]
    array[:] = [0, 1, 2, 0]
    read = xr.open_zarr("x.zarr", consolidated=False)["load"].values
    print("format", version, read)
    assert np.array_equal(read, expected, equal_nan=True)
END
