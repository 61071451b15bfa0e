#!/usr/bin/env bash
# One frame of readings (meter, time), read by two packages. With rows in the order of
# time, sktime mixes the meters. aeon does not, but sorts the meters by name, so
# labels in the order of the frame are assigned to other meters.
#
# Version: aeon 1.6.0, sktime 1.2.0, 2026-11-29
# Expected: one signal per meter, in the order of the frame, in both, or an error.
# Output:
#     in the order of time: sktime [[10.0, 20.0], [11.0, 21.0]] aeon [[10.0, 11.0], [20.0, 21.0]]
#     meters m2, m10, m1: sktime [[20.0, 21.0], [100.0, 101.0], [10.0, 11.0]] aeon [[10.0, 11.0], [100.0, 101.0], [20.0, 21.0]]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    aeon==1.6.0 sktime==1.2.0 pandas==3.0.6 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import numpy as np
import pandas as pd

warnings.simplefilter("ignore", FutureWarning)
from aeon.utils.conversion import convert_collection
from sktime.datatypes import convert_to


def frame(rows):
    index = pd.MultiIndex.from_tuples(rows, names=["meter", "time"])
    values = [10 * int(meter[1:]) + time for meter, time in rows]
    return pd.DataFrame({"load": np.array(values, float)}, index=index)


by_time = frame([(meter, time) for time in (0, 1) for meter in ("m1", "m2")])
of_sktime = convert_to(by_time, "numpy3D")[:, 0].tolist()
of_aeon = convert_collection(by_time, "numpy3D")[:, 0].tolist()
print("in the order of time: sktime", of_sktime, "aeon", of_aeon)
assert of_sktime == [[10, 20], [11, 21]]
assert of_aeon == [[10, 11], [20, 21]]

by_meter = frame([(meter, time) for meter in ("m2", "m10", "m1") for time in (0, 1)])
of_sktime = convert_to(by_meter, "numpy3D")[:, 0].tolist()
of_aeon = convert_collection(by_meter, "numpy3D")[:, 0].tolist()
print("meters m2, m10, m1: sktime", of_sktime, "aeon", of_aeon)
assert of_sktime == [[20, 21], [100, 101], [10, 11]]
assert of_aeon == [[10, 11], [100, 101], [20, 21]]
END
