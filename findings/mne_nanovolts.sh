#!/usr/bin/env bash
# MNE converts the EDF units uV and mV to volts, but reads nV and uv as volts without
# a warning.
#
# Version: mne 1.13.2, 2026-11-29
# Expected: 50 nV are 5e-8 V, and an unknown unit raises a warning.
# Output:
#     50 mV is read as 0.05 V
#     50 uV is read as 5e-05 V
#     50 nV is read as 50 V
#     50 uv is read as 50 V
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mne==1.13.2 edfio==0.4.18 numpy==2.3.5
venv/bin/python - <<'END'
import warnings

import edfio
import mne
import numpy as np

warnings.simplefilter("error")
for unit, expected in [("mV", 0.05), ("uV", 5e-5), ("nV", 50), ("uv", 50)]:
    signal = edfio.EdfSignal(
        np.arange(100.0), 100, physical_dimension=unit, physical_range=(0, 100)
    )
    edfio.Edf([signal]).write("x.edf")
    raw = mne.io.read_raw_edf("x.edf", verbose="warning")
    value = raw.get_data(picks=0, units="V")[0, 50]
    print(f"50 {unit} is read as {value:.3g} V")
    assert np.isclose(value, expected, rtol=1e-3)
END
