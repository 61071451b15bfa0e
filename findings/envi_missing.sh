#!/usr/bin/env bash
# An ENVI image names a scale ("reflectance scale factor") and the number that stands
# for a missing value ("data ignore value"). spectral divides that number by the scale
# too: -9999 becomes -0.9999, and the number in the metadata finds no pixel. asarray()
# of the same image scales nothing.
#
# Version: spectral 0.24, 2026-11-29
# Expected: NaN or -9999, and the same values from both.
# Output:
#     load() [ 0.01    0.02   -0.9999] missing: -9999
#     asarray() [  100   200 -9999] missing: -9999
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    spectral==0.24 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from spectral.io import envi

head = {"reflectance scale factor": 10000, "data ignore value": -9999}
head["wavelength"] = [400, 500, 600]
stored = np.array([[[100, 200, -9999]]], "int16")
envi.save_image("x.hdr", stored, metadata=head)
image = envi.open("x.hdr")
missing = image.metadata["data ignore value"]
loaded, array = image.load()[0, 0], image.asarray()[0, 0]
print("load()", loaded, "missing:", missing)
print("asarray()", array, "missing:", missing)
assert np.allclose(loaded, [0.01, 0.02, -0.9999])
assert np.allclose(image[0, 0], loaded)
assert array.tolist() == [100, 200, -9999] and float(missing) == -9999
END
