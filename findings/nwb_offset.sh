#!/usr/bin/env bash
# Integers in an NWB file become a signal by a factor (conversion) and an offset. neo
# applies the factor, through the unit, and leaves the offset out: a signal around
# 100 V is read as one around 2 mV.
#
# Version: neo 0.14.6, pynwb 4.2.0, 2026-11-29
# Expected: 100.000 to 100.004 V in both.
# Output:
#     pynwb [100.    100.001 100.002 100.003 100.004] volts
#     neo [0 1 2 3 4] 1.0 mV
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    neo==0.14.6 pynwb==4.2.0 numpy==2.3.5
venv/bin/python - <<'END'
from datetime import datetime, timezone

import neo
import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

start = datetime(2024, 1, 1, tzinfo=timezone.utc)
file = NWBFile(session_description="a", identifier="a", session_start_time=start)
stored = np.arange(5, dtype="int16")
series = TimeSeries(
    name="a", data=stored, unit="volts", rate=10.0, conversion=1e-3, offset=100.0
)
file.add_acquisition(series)
with NWBHDF5IO("x.nwb", "w") as writer:
    writer.write(file)

with NWBHDF5IO("x.nwb", "r") as reader:
    series = reader.read().acquisition["a"]
    volts = series.get_data_in_units()
    print("pynwb", volts, series.unit)
    assert np.allclose(volts, [100, 100.001, 100.002, 100.003, 100.004])
(segment,) = neo.NWBIO("x.nwb", "r").read_all_blocks()[0].segments
signal = segment.analogsignals[0]
print("neo", signal.magnitude.ravel(), signal.units)
assert signal.magnitude.ravel().tolist() == [0, 1, 2, 3, 4]
assert float(signal.units.rescale("V")) == 1e-3
END
