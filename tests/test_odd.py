"""The README's recipe for odd signals: what it finds, and that it is measured."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

ROOT = Path(__file__).parents[1]
RECIPE = re.search(
    r"### Odd signals\n.*?```python\n(.*?)```",
    (ROOT / "README.md").read_text(),
    re.DOTALL,
)[1]
N_SAMPLES = 200
ODD = {"dead": 3, "zero": 50, "dying": 90, "spike": 120, "noisy": 170}


def recipe(X, model):
    """The oddness of signals, and the rows of the five oddest, with a model of ours."""
    names = {"X": X, "np": np}
    names["ConvVAETransformer"] = lambda *args, **params: model
    exec(RECIPE, names)
    return names["oddness"](X, model.reconstruct(X)), names["oddest"]


class MeanSignal:
    """In place of a model: every signal is reconstructed as the mean of all."""

    def fit(self, X):
        self.mean = np.nanmean(np.asarray(X), axis=0)
        return self

    def reconstruct(self, X):
        return np.broadcast_to(self.mean, np.shape(X))


@pytest.fixture(name="odd")
def odd_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("odd")


@pytest.fixture(scope="module")
def planted():
    X = make_load_profiles(N_SAMPLES, n_timepoints=168, random_state=0)[0]
    rng = np.random.default_rng(0)
    X[ODD["dead"]] = X[ODD["dead"]].mean()
    X[ODD["zero"]] = 0
    X[ODD["dying"], 84:] = X[ODD["dying"], 84]
    X[ODD["spike"], 100] += 5 * X.std()
    X[ODD["noisy"]] = rng.normal(X[ODD["noisy"]].mean(), 0.01, 168)
    return X


@pytest.fixture(scope="module")
def vae():
    return ConvVAETransformer(8, random_state=0)


@pytest.fixture(scope="module")
def found(planted, vae):
    return recipe(planted, vae)


def test_signals_planted_are_among_the_oddest(planted, found):
    oddness, oddest = found
    rank = (-oddness).argsort().argsort()
    ranks = {name: rank[row] for name, row in ODD.items()}
    assert max(ranks.values()) < 0.1 * N_SAMPLES, ranks
    np.testing.assert_array_equal(oddest, rank.argsort()[:5])


def test_likelihood_alone_finds_dead_meters_normal(planted, vae, found):
    rank = vae.score_samples(planted).argsort().argsort()  # `found` has fitted it
    assert min(rank[ODD[name]] for name in ("dead", "zero", "noisy")) > 0.5 * N_SAMPLES
    assert rank[ODD["noisy"]] > 0.95 * N_SAMPLES


def test_the_benchmark_measures_the_recipe(odd, planted, vae, found):
    left = planted - vae.reconstruct(planted)
    statistics = odd.statistics(planted[:, None], left[:, None])
    np.testing.assert_allclose(odd.oddness(statistics), found[0], rtol=1e-5)


def test_oddness_is_of_the_signal_and_not_of_its_row(planted):
    order = np.random.default_rng(0).permutation(N_SAMPLES)
    oddness, _ = recipe(planted, MeanSignal())
    shuffled, _ = recipe(planted[order], MeanSignal())
    np.testing.assert_allclose(shuffled, oddness[order])


def test_gaps_frames_and_channels():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2, 40)).cumsum(axis=2)
    X[7, 1, 20] += 100
    X[rng.random(X.shape) < 0.2] = np.nan
    assert np.isfinite(X[7, 1, 19:22]).all()
    oddness, _ = recipe(X, MeanSignal())
    assert oddness.argmax() == 7
    of_channels = [recipe(X[:, c], MeanSignal())[0] for c in range(2)]
    np.testing.assert_allclose(oddness, np.mean(of_channels, axis=0))


# NumPy warns of statistics of no values, which the recipe leaves out.
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
def test_a_channel_without_values_leaves_the_others_ranked():
    X = np.random.default_rng(0).standard_normal((60, 2, 40))
    X[7, 1, 20] += 100
    X[3, 1] = np.nan
    oddness, _ = recipe(X, MeanSignal())
    assert np.isfinite(oddness).all()
    assert 7 in oddness.argsort()[-6:]
