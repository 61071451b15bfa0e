#!/usr/bin/env bash
# 2.5 s at 100 Hz in EDF, whose records last 1 s. pyedflib fills the last record with
# half a step instead of zero, MNE repeats the last value and annotates it, edfio
# raises an error.
#
# Version: pyedflib 0.1.42, edfio 0.4.18, mne 1.13.2, 2026-11-29
# Expected: 250 samples from each.
# Output:
#     pyedflib 300 [5.70901045e-01 3.05180438e-05 3.05180438e-05]
#     mne 300 {np.float64(5.709425627643664e-05)} ['BAD_ACQ_SKIP']
#     edfio _Signal duration of 2.5s is not exactly divisible by data_record_duration of 1.0s
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pyedflib==0.1.42 edfio==0.4.18 mne==1.13.2 numpy==2.3.5
venv/bin/python - <<'END'
import edfio
import mne
import numpy as np
from pyedflib import highlevel

signal = np.sin(np.arange(250) / 9)
header = highlevel.make_signal_header(
    "a", sample_frequency=100, physical_min=-2, physical_max=2
)
highlevel.write_edf("x.edf", signal[None], [header])
read = highlevel.read_edf("x.edf")[0][0]
print("pyedflib", len(read), read[[249, 250, 299]])
assert len(read) == 300
assert len(set(read[250:])) == 1 and 0 < read[250] < 1e-4 < abs(signal[249])

raw = mne.io.RawArray(1e-4 * signal[None], mne.create_info(1, 100.0, "eeg"), verbose=0)
mne.export.export_raw("y.edf", raw, verbose=0)
again = mne.io.read_raw_edf("y.edf", verbose=0)
tail = again.get_data()[0, 249:]
print("mne", again.n_times, set(tail), again.annotations.description)
assert again.n_times == 300 and len(set(tail)) == 1
assert list(again.annotations.description) == ["BAD_ACQ_SKIP"]

try:
    edfio.Edf([edfio.EdfSignal(signal, 100)])
except ValueError as error:
    print("edfio", error)
else:
    raise AssertionError("edfio wrote it")
END
