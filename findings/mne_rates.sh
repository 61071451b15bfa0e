#!/usr/bin/env bash
# MNE resamples the signals of an EDF file to its highest rate by an FFT of the whole
# file. A step in a slow channel rings, and the end of the signal leaks into its
# start.
#
# Version: mne 1.13.2, 2026-11-29
# Expected: repeated or interpolated samples, within the range of the measured values.
# Output:
#     measured 0 to 100; read -14.1 to 114.1
#     its first samples, 1 s before the step: [  0.   -6.1 -10.5 -13.1 -14.1]
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
step = np.repeat([0.0, 100.0], 20)  # 2 s at 20 Hz
limits = {"physical_dimension": "uV", "physical_range": (-200, 200)}
signals = [edfio.EdfSignal(np.zeros(400), 200, label="fast", **limits)]
signals.append(edfio.EdfSignal(step, 20, label="slow", **limits))
edfio.Edf(signals).write("x.edf")
slow = mne.io.read_raw_edf("x.edf", verbose="warning").get_data(units="uV")[1]
print(f"measured 0 to 100; read {slow.min():.1f} to {slow.max():.1f}")
print("its first samples, 1 s before the step:", slow[:5].round(1))
assert slow.min() < -10 and slow.max() > 110 and slow[:10].min() < -10
END
