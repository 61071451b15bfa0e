#!/usr/bin/env bash
# An interrupted recording (EDF+D) whose second record starts 4 s late. MNE and edfio
# close the gap without a warning, pyedflib and wfdb refuse the file.
#
# Version: mne 1.13.2, edfio 0.4.18, pyedflib 0.1.42, wfdb 4.3.1, 2026-11-29
# Expected: a marked or filled gap, or an error, in all four.
# Output:
#     mne 2.99 s ['note']
#     edfio (300,)
#     pyedflib refuses: x.edf: The file is discontinuous and cannot be read
#     wfdb refuses: EDF+ File: interrupted data records (not currently supported)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    edfio==0.4.18 mne==1.13.2 pyedflib==0.1.42 wfdb==4.3.1 numpy==2.3.5
venv/bin/python - <<'END'
import warnings
from pathlib import Path

import edfio
import mne
import numpy as np
from pyedflib import highlevel
from wfdb.io.convert.edf import read_edf

warnings.simplefilter("error")
signal = edfio.EdfSignal(np.arange(300.0), 100, label="a", physical_range=(0, 300))
note = edfio.EdfAnnotation(0.5, None, "note")
edfio.Edf([signal], annotations=[note], data_record_duration=1).write("x.edf")
recorded = Path("x.edf").read_bytes().replace(b"EDF+C", b"EDF+D")
for start, later in [(b"+1", b"+5"), (b"+2", b"+6")]:
    mark = b"\x14\x14"
    assert recorded.count(start + mark) == 1
    recorded = recorded.replace(start + mark, later + mark)
Path("x.edf").write_bytes(recorded)

raw = mne.io.read_raw_edf("x.edf", verbose="warning")
print("mne", raw.times[-1], "s", list(raw.annotations.description))
assert raw.n_times == 300 and list(raw.annotations.description) == ["note"]
closed = edfio.read_edf("x.edf").signals[0].data
print("edfio", closed.shape)
assert closed.shape == (300,)
for name, read in [("pyedflib", highlevel.read_edf), ("wfdb", read_edf)]:
    try:
        read("x.edf")
    except Exception as error:
        print(name, "refuses:", error)
    else:
        raise AssertionError(name)
END
