#!/usr/bin/env bash
# A spectrum of mne's Epochs names the bad channels and counts them in its shape, but
# its get_data leaves them out: names and rows do not match, and zip gives the power of
# C4 to C3. get_data of the Epochs themselves keeps the bad channels.
#
# Version: mne 1.13.2, 2026-11-29
# Expected: as many names as rows, in both.
# Output:
#     Epochs: 3 names, get_data (20, 3, 200)
#     spectrum of shape (20, 3, 1), names ['Fp1', 'C3', 'C4'], get_data (20, 2, 1)
#     power by name: {'Fp1': 1, 'C3': 4}
#     with exclude=(): {'Fp1': 100, 'C3': 1, 'C4': 4}
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mne==1.13.2 numpy==2.3.5
venv/bin/python - <<'END'
import mne
import numpy as np

mne.set_log_level("ERROR")
info = mne.create_info(["Fp1", "C3", "C4"], 100.0, "eeg")
wave = np.sin(2 * np.pi * 10 * np.arange(200) / 100)
X = np.array([10, 1, 2])[:, None] * wave + np.zeros((20, 1, 1))
epochs = mne.EpochsArray(X, info)
epochs.info["bads"] = ["Fp1"]
print(f"Epochs: {len(epochs.ch_names)} names, get_data {epochs.get_data().shape}")
spectrum = epochs.compute_psd(fmin=10, fmax=10)
names, rows = spectrum.ch_names, spectrum.get_data()[0, :, 0]
shapes = spectrum.shape, spectrum.get_data().shape
print(f"spectrum of shape {shapes[0]}, names {names}, get_data {shapes[1]}")
unit = spectrum.get_data(picks="C3")[0, 0, 0]
by_name = {name: round(row / unit) for name, row in zip(names, rows, strict=False)}
print("power by name:", by_name)
rows = spectrum.get_data(exclude=())[0, :, 0]
with_bad = {name: round(row / unit) for name, row in zip(names, rows, strict=True)}
print("with exclude=():", with_bad)
assert epochs.get_data().shape == (20, 3, 200)
assert shapes == ((20, 3, 1), (20, 2, 1))
assert by_name == {"Fp1": 1, "C3": 4}
assert with_bad == {"Fp1": 100, "C3": 1, "C4": 4}
END
