#!/usr/bin/env bash
# The filter Delta of numcodecs stores differences and restores values by adding them
# up. With floats, a NaN makes the rest of its chunk NaN, and after a spike of 1e8 the
# values are others. How much is lost depends on the length of the chunks. Without the
# filter, or with integers, the signal comes back as it was.
#
# Version: numcodecs 0.16.6, zarr 3.1.6, 2026-11-29
# Expected: one NaN, and 1, 2, 3 after the spike; or an error.
# Output:
#     chunks of 8: [0.0, 1.0, nan, nan, nan, nan, nan, nan]
#     chunks of 4: [0.0, 1.0, nan, nan, 4.0, 5.0, 6.0, 7.0]
#     spike: [100000000.0, 0.0, 1.0, 2.0]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    numcodecs==0.16.6 zarr==3.1.6 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np
import zarr
from zarr.codecs.numcodecs import Delta

warnings.simplefilter("ignore")  # that the codec is not in the specification


def restored(signal, chunk):
    array = zarr.create_array(
        {}, data=signal, chunks=(chunk,), filters=[Delta(dtype=signal.dtype.str)]
    )
    return array[:].tolist()


signal = np.arange(8, dtype="float32")
assert restored(signal, 8) == signal.tolist()
signal[2] = np.nan
for chunk, lost in [(8, 6), (4, 2)]:
    values = restored(signal, chunk)
    print(f"chunks of {chunk}:", values)
    assert np.isnan(values).sum() == lost
spike = np.array([1e8, 1, 2, 3], "float32")
print("spike:", restored(spike, 4))
assert restored(spike, 4) == [1e8, 0, 1, 2]
END
