#!/usr/bin/env bash
# pyedflib's writer replaces values outside the limits without a warning: NaN and 1e9
# become the lowest value, 5 the highest where the limits are -2 and 2.
#
# Version: pyedflib 0.1.42, 2026-11-29
# Expected: an error or a warning, or else the nearest limit.
# Output:
#     written [1.e+00    nan 5.e+00 1.e+09] read [ 0.99998474 -2.          2.         -2.        ]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyedflib==0.1.42 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np
import pyedflib
from pyedflib import highlevel

warnings.simplefilter("error")
header = highlevel.make_signal_header(
    "a", sample_frequency=100, physical_min=-2, physical_max=2
)
signal = np.zeros(100)
signal[:4] = [1, np.nan, 5, 1e9]
writer = pyedflib.EdfWriter("x.edf", 1)
writer.setSignalHeader(0, header)
writer.writeSamples([signal])
writer.close()
read = highlevel.read_edf("x.edf")[0][0, :4]
print("written", signal[:4], "read", read)
assert np.allclose(read, [1, -2, 2, -2], atol=1e-4)
END
