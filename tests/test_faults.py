"""Faults: what is interrupted, diverges or is killed leaves everything as it was."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import conftest
import numpy as np
import pytest
import torch
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.training.net import Adam

TINY = conftest.TINY | {"max_epochs": 2}


@pytest.fixture(scope="module")
def fitted(waves):
    return ConvVAETransformer(**TINY).fit(waves)


def weights(estimator):
    net = estimator.net_
    tensors = [*net.module_.state_dict().values()]
    for state in net.optimizer_.state.values():
        tensors += state.values()
    return [tensor.clone() for tensor in tensors]


# Ctrl-C

INTERRUPTED = """
import os, sys
import numpy as np
from skvae import ConvVAETransformer
from skvae.training.net import VAENet

X = np.random.default_rng(0).standard_normal((64, 24))
net = dict(conv_channels=(4,), hidden_dims=(8,), max_epochs=1, random_state=0)
fitted = ConvVAETransformer(2, **net).fit(X)
before = vars(fitted).copy()
Z = fitted.transform(X)

epoch = VAENet.run_single_epoch
def run_single_epoch(net, *args, **kwargs):
    epoch(net, *args, **kwargs)
    if len(net.history) == 3 and kwargs["training"]:
        print("third epoch", flush=True)
VAENet.run_single_epoch = run_single_epoch

for estimator in (
    ConvVAETransformer(2),
    fitted,
    fitted.set_params(warm_start=True),
    ConvVAETransformer(2, early_stopping=True, patience=10**9),
    ConvVAETransformer(2, checkpoint=os.path.join(sys.argv[1], "checkpoint")),
):
    estimator.set_params(**net | {"max_epochs": 10**9})
    try:
        estimator.fit(X)
    except KeyboardInterrupt as error:
        assert "epoch" in str(error), repr(error)
        print("interrupted", hasattr(estimator, "net_"), flush=True)
fitted.set_params(max_epochs=1)
for name, value in before.items():
    assert name == "warm_start" or vars(fitted)[name] is value, name
assert np.array_equal(fitted.transform(X), Z)
"""


def test_ctrl_c_ends_fit_and_leaves_the_estimator_as_it_was(tmp_path):
    """Real signals to a real process, while it trains in each of five ways."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(120, process.kill)  # rather than wait for ever
    watchdog.start()
    with process:
        for is_fitted in (False, True, True, False, False):
            assert process.stdout.readline() == "third epoch\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == f"interrupted {is_fitted}\n"
        assert process.wait(60) == 0
    watchdog.cancel()
    assert os.listdir(tmp_path) == ["checkpoint"]


# Divergence


@pytest.mark.parametrize("start", ["new", "fitted", "warm", "partial"])
def test_divergence_names_the_epoch_and_leaves_the_estimator(waves, fitted, start):
    estimator = ConvVAETransformer(**TINY)
    if start != "new":
        estimator.fit(waves)
        before, before_weights = vars(estimator).copy(), weights(estimator)
    estimator.set_params(lr=1e30, warm_start=start == "warm")
    if start not in ("warm", "partial"):  # whose optimizer's state must be of its class
        estimator.set_params(net_params={"optimizer": torch.optim.SGD})
    train = estimator.partial_fit if start == "partial" else estimator.fit
    with pytest.raises(FloatingPointError, match=r"epoch 1\b.*Lower lr \(now 1e\+30\)"):
        train(waves)
    if start == "new":
        assert not hasattr(estimator, "net_")
        assert not hasattr(estimator, "n_features_in_")
        return
    for name, value in before.items():
        if not name.endswith("_"):
            continue
        assert vars(estimator)[name] is value
    for a, b in zip(weights(estimator), before_weights, strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(estimator.transform(waves), fitted.transform(waves))


def test_weights_that_the_last_step_ruined_are_noticed(waves, monkeypatch):
    """The loss of the last epoch is finite; the weights after its last step are not."""
    step = Adam.step

    def last_step(optimizer, closure=None):
        loss = step(optimizer, closure)
        with torch.no_grad():
            optimizer.param_groups[0]["params"][0].fill_(torch.nan)
        return loss

    monkeypatch.setattr(Adam, "step", last_step)
    estimator = ConvVAETransformer(**TINY, batch_size=1000)
    estimator.set_params(max_epochs=1)
    with pytest.raises(FloatingPointError, match="epoch 1"):
        estimator.fit(waves)
    assert not hasattr(estimator, "net_")


# Numbers at the edges


def edge_signals():
    time = np.linspace(0, 2 * np.pi, 24)
    phase = np.linspace(0, 3, 33)[:, None]
    X = np.sin(time + phase)
    constant = np.stack([X, np.full_like(X, 7.0)], axis=1)
    return {
        "two samples": X[:2],
        "a remainder of 1": X,  # 33 = 32 + 1
        "one timepoint": X[:, :1],
        "constant channel": constant,
        "all constant": np.full((9, 24), 3.0),
        "all zero": np.zeros((9, 24)),
        "repeated sample": np.repeat(X[:1], 9, axis=0),
        "offset 1e6": X + 1e6,
        "offset 1e9": X + 1e9,
        "amplitude 1e-12": X * 1e-12,
        "amplitude 1e-30": X * 1e-30,
        "amplitude 1e30": X * 1e30,
        "denormal": X * 1e-310,
        "float32 denormal": (X * 1e-40).astype(np.float32),
        "float16": X.astype(np.float16),
        "mixed channels": np.stack([X * 1e-12, X * 1e12 + 1e13], axis=1),
        "integers": np.round(100 * X).astype(np.int64),
        "huge integers": np.round(100 * X).astype(np.int64) + 2**60,
        "boolean": X > 0,
        "one outlier": np.where(np.arange(X.size).reshape(X.shape) == 5, 1e6, X),
    }


# Some of these signals hold nothing to learn, or an outlier, and the fit says so.
@pytest.mark.filterwarnings("ignore:X has (the value|values far)")
@pytest.mark.filterwarnings("ignore:No latent dimension is active")
@pytest.mark.parametrize("scale", ["standard", "minmax"])
@pytest.mark.parametrize("name", edge_signals())
def test_numbers_at_the_edges_give_a_round_trip_that_makes_sense(name, scale):
    X = edge_signals()[name]
    estimator = ConvVAETransformer(**TINY, scale=scale).fit(X)
    Z = estimator.transform(X)
    X_hat = estimator.inverse_transform(Z)
    assert np.isfinite(Z).all()
    assert np.isfinite(X_hat).all()
    assert np.isfinite(estimator.score_samples(X)).all()
    assert np.isfinite(estimator.sample(3, noise=True)).all()
    # At least as near, channel by channel, as the nearest constant; and not farther
    # than float32, in which the result is, can say.
    X = X.astype(np.float64).reshape(len(X), -1, 24 if X.shape[-1] == 24 else 1)
    X_hat = X_hat.astype(np.float64).reshape(X.shape)
    error = np.abs(X_hat - X).max(axis=(0, 2))
    extent = X.max(axis=(0, 2)) - X.min(axis=(0, 2))
    resolution = np.maximum(np.finfo(np.float32).eps * np.abs(X).max(), 1e-44)
    assert (error <= 1.2 * extent + resolution).all()


@pytest.mark.parametrize("method", ["transform", "score_samples", "reconstruct"])
def test_one_sample_is_enough_after_fitting(waves, fitted, method):
    one, all_of_them = (getattr(fitted, method)(X) for X in (waves[:1], waves))
    np.testing.assert_array_equal(one, all_of_them[:1])


def test_one_sample_is_too_few_to_fit(waves):
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2 is required"):
        ConvVAETransformer(**TINY).fit(waves[:1])


@pytest.mark.parametrize("scale", ["standard", "minmax", None])
@pytest.mark.parametrize("factor", [1e36, 1e300])
def test_signals_that_would_not_fit_float32_are_refused(waves, factor, scale):
    estimator = ConvVAETransformer(**TINY, scale=scale)
    with pytest.raises(ValueError, match=r"values as large as .* at most 1e\+35"):
        estimator.fit(waves.astype(np.float64) * factor)
    assert not hasattr(estimator, "net_")


# Of what is far off on purpose, before it is too far.
@pytest.mark.filterwarnings("ignore:X has the value")
@pytest.mark.parametrize("method", ["transform", "score_samples", "posterior"])
def test_signals_far_from_the_fitted_ones_give_an_error_and_no_nan(
    waves, fitted, method
):
    assert np.isfinite(getattr(fitted, method)(waves[:3] * 1e10)).all()
    for factor in (1e38, 1e300):
        with pytest.raises(ValueError, match="float32 does not suffice"):
            getattr(fitted, method)(waves[:3].astype(np.float64) * factor)


def test_latents_far_from_the_fitted_ones_give_an_error_and_no_nan(fitted):
    with pytest.raises(ValueError, match="float32 does not suffice"):
        fitted.inverse_transform([[1e300, 0.0]])


# Several at once


def test_threads_share_a_fitted_estimator(waves, fitted):
    """8 threads, 200 calls each: not one bit differs."""
    X = waves[:20]
    expected = fitted.transform(X), fitted.score_samples(X[:2])

    def call(i):
        for j in range(200):
            if not np.array_equal(fitted.transform(X), expected[0]):
                return False
            if j % 20 == 0 and not np.array_equal(
                fitted.score_samples(X[:2]), expected[1]
            ):
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(call, range(8)))


def make_search(memory=None, **kwargs):
    pipeline = Pipeline(
        [("vae", ConvVAETransformer(**TINY)), ("knn", KNeighborsClassifier())],
        memory=memory,
    )
    return GridSearchCV(pipeline, cv=2, refit=False, **kwargs)


def test_a_grid_search_survives_a_candidate_that_fails(waves):
    y = waves.mean(axis=1) > 0
    sgd = {"optimizer": torch.optim.SGD}
    grid = {"vae__lr": [1e-3, 1e30], "vae__net_params": [sgd]}
    search = make_search(param_grid=grid, n_jobs=2, error_score=np.nan)
    with (
        pytest.warns(FitFailedWarning, match=r"FloatingPointError: The loss became"),
        pytest.warns(UserWarning, match="scores are non-finite"),
    ):
        search.fit(waves, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])

    with pytest.raises(FloatingPointError, match="Lower lr"):
        make_search(param_grid=grid, error_score="raise").fit(waves, y)


def test_a_killed_grid_search_does_not_refit_what_memory_holds(
    waves, tmp_path, monkeypatch
):
    y = waves.mean(axis=1) > 0
    n_fits = 0
    fit = ConvVAETransformer._fit

    def counted(*args, **kwargs):
        nonlocal n_fits
        if n_fits == 3:
            raise KeyboardInterrupt
        n_fits += 1
        return fit(*args, **kwargs)

    monkeypatch.setattr(ConvVAETransformer, "_fit", counted)
    grid = {"vae__latent_dim": [1, 2, 3]}
    with pytest.raises(KeyboardInterrupt):
        make_search(str(tmp_path), param_grid=grid).fit(waves, y)
    assert n_fits == 3

    n_fits = -100
    search = make_search(str(tmp_path), param_grid=grid).fit(waves, y)
    assert n_fits == -100 + 6 - 3
    expected = make_search(param_grid=grid).fit(waves, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
