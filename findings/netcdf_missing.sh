#!/usr/bin/env bash
# netCDF4 and xarray disagree on which samples are missing. netCDF4 masks a measured
# -32767, the default fill value of int16, in a variable that names no fill value, and
# everything outside of valid_range. xarray keeps both, and reads samples that nobody
# wrote as -32767.
#
# Version: netCDF4 1.7.5.1.post1, xarray 2026.9.0, 2026-11-29
# Expected: the same samples in both.
# Output:
#     netCDF4 measured [1 -- 2] limited [1 -- 2] unwritten [1 -- --]
#     xarray measured [     1 -32767      2] limited [ 1 99  2]
#         unwritten [     1 -32767 -32767]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    netCDF4==1.7.5.1.post1 xarray==2026.9.0 numpy==2.3.5
venv/bin/python - <<'END'
import netCDF4
import numpy as np
import xarray

with netCDF4.Dataset("x.nc", "w") as file:
    file.createDimension("time", 3)
    names = ("measured", "limited", "unwritten")
    measured, limited, unwritten = (
        file.createVariable(name, "int16", ("time",)) for name in names
    )
    measured[:] = [1, -32767, 2]
    limited.valid_range = np.array([0, 10], "int16")
    limited[:] = [1, 99, 2]
    unwritten[0] = 1

with netCDF4.Dataset("x.nc") as file:
    masked = {name: file[name][:] for name in names}
with xarray.open_dataset("x.nc", engine="netcdf4") as file:
    kept = {name: file[name].to_numpy() for name in names}
print("netCDF4", *(f"{name} {values}" for name, values in masked.items()))
print("xarray", *(f"{name} {values}" for name, values in kept.items()))
assert [np.ma.getmaskarray(masked[name]).tolist() for name in names] == [
    [False, True, False],
    [False, True, False],
    [False, True, True],
]
assert [kept[name].tolist() for name in names] == [
    [1, -32767, 2],
    [1, 99, 2],
    [1, -32767, -32767],
]
END
