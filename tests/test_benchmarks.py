"""The quality benchmark: what it runs, what it skips, what its tables say."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("quality")


def made_up(name, method, latent_dim, seed, **figures):
    return {
        "set": name,
        "method": method,
        "latent_dim": latent_dim,
        "seed": seed,
        "fit_seconds": 1.0,
        "fit_cpu_seconds": 1.0,
        "transform_seconds": 0.1,
        "acc5": 0.5,
        "acc1_tenth": 0.25,
        "commit": "abc",
        "versions": {"numpy": "2"},
        "threads": 1,
        **figures,
    }


@pytest.fixture
def results(tmp_path):
    """A file of results: two sets, two seeds of skvae, one failure."""
    lines = [
        made_up("Coffee", "raw", None, 0, acc1=0.5),
        made_up("Coffee", "pca", 2, 0, acc1=0.5, bound=10.0, reconstruction=0.2),
        made_up("Coffee", "skvae", 2, 0, acc1=0.6, bound=12.0, reconstruction=0.1),
        made_up("Coffee", "skvae", 2, 1, acc1=0.8, bound=16.0, reconstruction=0.2),
        made_up("Trace", "pca", 2, 0, acc1=0.9, bound=10.0, reconstruction=0.2),
        made_up("Trace", "skvae", 2, 0, acc1=0.82, bound=7.0, reconstruction=0.1),
        made_up("watch", "skvae", 2, 0, error="ValueError: no"),
    ]
    path = tmp_path / "quality.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_report_on_made_up_results(quality, results, tmp_path):
    quality.report(results, tmp_path / "quality.png")
    text = results.with_suffix(".md").read_text()
    assert "| Coffee | 0.500 | 0.700 | +0.200 | +4.0 | 0.75 | 1.0 |" in text
    assert "| Trace | 0.900 | 0.820 | -0.080 | -3.0 | 0.50 | 1.0 |" in text
    assert "| **mean** | 0.700 | 0.760 | +0.060 | +0.5 | 0.62 | 1.0 |" in text
    assert "mean 1-NN at least PCA's +0.05 | +0.0600 | met |" in text
    assert "by more than 0.02 | worst -0.080, Trace; 1 below | missed |" in text
    assert "on every set | least -3.0 nats, Trace; above on 1 of 2 | missed |" in text
    assert "failed: skvae, latent_dim 2, watch, seed 0: ValueError: no" in text
    assert (tmp_path / "quality.png").stat().st_size > 0


def test_mean_ranks(quality, results):
    """Coffee, the one set of all three: skvae first, the other two share 2 and 3."""
    ranks, n_sets = quality.mean_ranks(quality.means(quality.read(results)), 2)
    assert n_sets == 1
    assert ranks.to_dict() == {"skvae": 1.0, "raw": 2.5, "pca": 2.5}


def test_run_skips_what_is_finished(quality, results, monkeypatch):
    before = quality.read(results)
    ran = []

    def evaluate(*task):
        ran.append(task)
        if task[0] == "Trace":
            raise ValueError("no")
        return {"acc1": 1.0}

    monkeypatch.setattr(quality, "evaluate", evaluate)
    tasks = list(quality.plan(["Coffee", "Trace"], ["raw", "skvae"], [2], [0]))
    quality.run(tasks, results)
    assert ran == [("Trace", "raw", None, 0)]
    assert quality.read(results)[: len(before)] == before
    assert quality.read(results)[-1]["error"] == "ValueError: no"
    quality.run(tasks, results)
    assert len(ran) == 1


def test_plan_keeps_to_what_a_method_provides(quality):
    tasks = list(quality.plan(["Coffee"], ["raw", "p2"], [2, 16], [0, 1]))
    found = [(task["method"], task["latent_dim"], task["seed"]) for task in tasks]
    assert found == [("raw", None, 0), ("p2", 2, 0), ("raw", None, 1)]


def test_evaluate_pca(quality, monkeypatch):
    """Figures of PCA against scikit-learn's own, two channels in different units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2, 5)) * [[1.0], [100.0]] + [[0.0], [7.0]]
    X[30:, 1] += 1000  # so that classes differ
    y = np.repeat(["a", "b"], 30)
    half = np.arange(60) % 2 == 0
    splits = X[half], y[half], X[~half], y[~half]
    monkeypatch.setattr(quality.data, "load", lambda name: splits)
    found = quality.evaluate("made up", "pca", 3, 0)
    assert found["acc1"] == found["acc5"] == found["acc1_tenth"] == 1.0

    # The same model in the units of X: full covariance, by scikit-learn.
    mean = X[half].mean(axis=(0, 2), keepdims=True)
    std = X[half].std(axis=(0, 2), keepdims=True)
    train, test = (((S - mean) / std).reshape(30, -1) for S in (X[half], X[~half]))
    pca = quality.PCA(3, svd_solver="full").fit(train)
    factors = np.repeat(std.ravel(), 5)
    covariance = pca.get_covariance() * np.outer(factors, factors)
    centre = pca.mean_ * factors + np.repeat(mean.ravel(), 5)
    difference = X[~half].reshape(30, -1) - centre
    squares = np.einsum(
        "ni,ij,nj->n", difference, np.linalg.inv(covariance), difference
    )
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    assert found["bound"] == pytest.approx(-0.5 * (squares.mean() + log_det), rel=1e-5)
    error = np.mean((pca.inverse_transform(pca.transform(test)) - test) ** 2)
    assert found["reconstruction"] == pytest.approx(error, rel=1e-4)


def test_tenth_has_two_of_each_class(quality):
    y = np.repeat([0, 1, 2], [5, 30, 100])
    mask = quality.draw_tenth(y, seed=0)
    assert np.bincount(y[mask]).tolist() == [2, 3, 10]
    assert (mask == quality.draw_tenth(y, seed=0)).all()
    assert (mask != quality.draw_tenth(y, seed=1)).any()
