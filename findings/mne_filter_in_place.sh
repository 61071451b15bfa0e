#!/usr/bin/env bash
# transform of mne's TemporalFilter and FilterEstimator writes the filtered signals
# into the array that it is given. What comes after a fit, as predict or score, filters
# these signals again, and the array no longer holds the recording. The result is a view
# of that array too. mne's Scaler leaves X alone.
#
# Version: mne 1.13.2, scikit-learn 1.9.1, 2026-11-29
# Expected: X as it was, so that transform gives what fit_transform gave.
# Output:
#     TemporalFilter: X changed by 2.63; a second result differs by 0.18
#     FilterEstimator: X changed by 2.63; a second result differs by 0.18
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mne==1.13.2 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python - <<'END'
import mne
import numpy as np
from mne.decoding import FilterEstimator, Scaler, TemporalFilter, Vectorizer
from sklearn.pipeline import make_pipeline

mne.set_log_level("ERROR")
kept = np.random.default_rng(0).normal(size=(20, 2, 200))
info = mne.create_info(2, 100.0, "eeg")
filters = TemporalFilter(None, 20.0, sfreq=100.0), FilterEstimator(info, None, 20.0)
for step in filters:
    X = kept.copy()
    pipeline = make_pipeline(step, Vectorizer())
    first = pipeline.fit_transform(X, np.arange(20))
    assert np.shares_memory(first, X)
    first, change = first.copy(), np.abs(X - kept).max()
    difference = np.abs(pipeline.transform(X) - first).max()
    text = f"X changed by {change:.2f}; a second result differs by {difference:.2f}"
    print(f"{type(step).__name__}: {text}")
    assert change > 1
    assert difference > 0.1
X = kept.copy()
Scaler(scalings="mean").fit_transform(X)
assert np.array_equal(X, kept)
END
