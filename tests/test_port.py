"""The network against the thread's Keras model, with equal weights.

It needs the packages of the `bench` extra, and is skipped without: ``pytest -m slow
tests/test_port.py`` where these are installed.
"""

import importlib
import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # not ours to mend
@pytest.mark.parametrize("n_timepoints", [336, 151])
def test_keras_with_equal_weights(n_timepoints, monkeypatch):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    port = importlib.import_module("port")
    differences, loss, n_parameters = port.equality(n_timepoints, n_signals=8)
    assert differences.pop("loss") < 1e-6 * loss  # what float32 resolves
    assert max(differences.values()) < 1e-5
    if n_timepoints == 336:
        assert n_parameters == [58740, 24769]
