#!/usr/bin/env bash
# Without `picks`, each method of mne's Epochs takes other channels: get_data all,
# average the data channels, the covariance the good ones. A spectrum names the bad
# channels, and its get_data leaves them out: names and rows do not match.
#
# Version: mne 1.13.2, 2026-11-29
# Expected: the same channels, or as many names as rows.
# Output:
#     get_data 5, average 3, covariance 2
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
info = mne.create_info(
    ["Fp1", "C3", "C4", "EOG", "STI"], 100.0, ["eeg", "eeg", "eeg", "eog", "stim"]
)
wave = np.sin(2 * np.pi * 10 * np.arange(200) / 100)
X = np.array([10, 1, 2, 1, 0])[:, None] * wave + np.zeros((20, 1, 1))
epochs = mne.EpochsArray(X, info)
epochs.info["bads"] = ["Fp1"]
counts = (
    epochs.get_data().shape[1],
    epochs.average().get_data().shape[0],
    mne.compute_covariance(epochs).data.shape[0],
)
print("get_data {}, average {}, covariance {}".format(*counts))
spectrum = epochs.compute_psd(fmin=10, fmax=10)
names, rows = spectrum.ch_names, spectrum.get_data()[0, :, 0]
shapes = spectrum.shape, spectrum.get_data().shape
print(f"spectrum of shape {shapes[0]}, names {names}, get_data {shapes[1]}")
unit = spectrum.get_data(picks="C3")[0, 0, 0]
by_name = {name: round(row / unit) for name, row in zip(names, rows)}
print("power by name:", by_name)
rows = spectrum.get_data(exclude=())[0, :, 0]
with_bad = {name: round(row / unit) for name, row in zip(names, rows)}
print("with exclude=():", with_bad)
assert counts == (5, 3, 2)
assert shapes == ((20, 3, 1), (20, 2, 1))
assert by_name == {"Fp1": 1, "C3": 4}
assert with_bad == {"Fp1": 100, "C3": 1, "C4": 4}
END
