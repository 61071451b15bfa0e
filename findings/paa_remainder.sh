#!/usr/bin/env bash
# PAA, the means of segments, cuts a signal of 19 samples in three ways. tslearn's PAA
# ignores the last nine samples, so its SAX misses an event there. pyts' windows
# overlap, so samples count twice. aeon's segments have one or two samples.
#
# Version: tslearn 0.10.0, pyts 0.14.1, aeon 1.6.0, 2026-11-29
# Expected: every sample in one segment.
# Output:
#     tslearn, 10 segments of 0 to 18: 0.0 1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0
#     aeon, 10 segments of 0 to 18: 0.5 2.5 4.5 6.5 8.5 10.5 12.5 14.5 16.5 18.0
#     pyts, windows of 8 samples of 0 to 18: 3.5 9.5 14.5
#     SAX without and with a step at sample 12:
#     [2 2 2 2 2 2 2 2 2 2] [2 2 2 2 2 2 2 2 2 2]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    tslearn==0.10.0 pyts==0.14.1 aeon==1.6.0 numpy==2.3.5 scikit-learn==1.9.1
venv/bin/python -W ignore - <<'END'
import numpy as np
from aeon.transformations.collection.dictionary_based import PAA
from pyts.approximation import PiecewiseAggregateApproximation as PytsPAA
from tslearn.piecewise import PiecewiseAggregateApproximation as TslearnPAA
from tslearn.piecewise import SymbolicAggregateApproximation as TslearnSAX

signal = np.arange(19.0)
of_tslearn = TslearnPAA(10).fit_transform(signal[None, :, None]).ravel()
of_aeon = PAA(10).fit_transform(signal[None, None]).ravel()
of_pyts = PytsPAA(window_size=8).transform(signal[None]).ravel()
print("tslearn, 10 segments of 0 to 18:", *of_tslearn)
print("aeon, 10 segments of 0 to 18:", *of_aeon)
print("pyts, windows of 8 samples of 0 to 18:", *of_pyts)
assert of_tslearn.tolist() == list(range(10))
assert of_aeon.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5, 16.5, 18]
assert of_pyts.tolist() == [3.5, 9.5, 14.5]
step = np.where(signal < 12, 0.0, 100.0)
pair = np.stack([np.zeros(19), step])[:, :, None]
flat, stepped = TslearnSAX(10, alphabet_size_avg=4).fit_transform(pair)[:, :, 0]
print("SAX without and with a step at sample 12:")
print(flat, stepped)
assert np.array_equal(flat, stepped)
END
