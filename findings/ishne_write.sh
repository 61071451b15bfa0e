#!/usr/bin/env bash
# ishneholterlib reads a Holter ECG (ISHNE) as millivolts and writes it again one step
# nearer to zero for some values, as it cuts instead of rounding. Writing also turns the
# signal in memory back into steps. A second write scales these, and they wrap.
#
# Version: ishneholterlib 2020.5.29, numpy 1.26.4, 2026-11-29
# Expected: the same steps each time, and the same signal in memory.
# Output:
#     y.ecg: 22 of 1200 steps differ, by at most 1
#     in memory [-600.  599.] instead of [-1.5     1.4975] mV
#     z.ecg: 1199 of 1200 steps differ, by at most 33118
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    ishneholterlib==2020.5.29 numpy==1.26.4
venv/bin/python - <<'END'
import struct
import warnings
from pathlib import Path

import numpy as np
from crccheck.crc import Crc16CcittFalse
from ishneholterlib import Holter

warnings.simplefilter("ignore")
steps = np.arange(-600, 600, dtype="<i2")
spec = [1] + [-9] * 11
header = struct.pack("<4ih", 0, len(steps), 522, 522, 1)
header += b"".ljust(100, b"\0") + struct.pack("<2h", 1, 1)  # names, sex, race
header += struct.pack("<12h", 1, 1, 1970, 1, 1, 2024, 1, 1, 2024, 0, 0, 0)
header += struct.pack("<38h", 1, *spec, *spec, 2500, *spec[1:], 0)  # 2500 nV a step
header += b"digital".ljust(40, b"\0") + struct.pack("<h", 200) + bytes(80 + 80 + 88)
crc = struct.pack("<H", Crc16CcittFalse.calc(header))
Path("x.ecg").write_bytes(b"ISHNE1.0" + crc + header + steps.tobytes())


def read(name):
    """Return the recording and its steps."""
    holter = Holter(name)
    assert holter.is_valid()
    holter.load_data()
    return holter, np.frombuffer(Path(name).read_bytes()[522:], "<i2")


holter, first = read("x.ecg")
signal = holter.lead[0].data.copy()
assert (first == steps).all()
for name, expected in [("y.ecg", (22, 1)), ("z.ecg", (1199, 33118))]:
    holter.filename = name
    holter.deidentify()  # as it reads text as bytes, and writes it from strings
    holter.write_file()
    _, written = read(name)
    off = abs(written.astype(int) - steps)
    print(f"{name}: {(off > 0).sum()} of 1200 steps differ, by at most {off.max()}")
    assert ((off > 0).sum(), off.max()) == expected
    if name == "y.ecg":
        data = holter.lead[0].data
        print("in memory", data[[0, -1]], "instead of", signal[[0, -1]], "mV")
        assert np.allclose(data, steps)
END
