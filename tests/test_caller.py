"""Whoever calls: modes of PyTorch, a fork, numbers of NumPy, interruptions, names."""

import contextlib
import copy
import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest
import torch
from conftest import TINY
from skorch.callbacks import Callback
from torch.utils.data import DataLoader

from skvae import ConvVAETransformer, threads


@pytest.fixture(scope="module")
def gappy(waves):
    X = waves[:60].copy()
    X[::3, 5:9] = np.nan
    return X


@pytest.fixture(scope="module")
def fitted(gappy):
    return ConvVAETransformer(**TINY).fit(gappy)


# Modes of PyTorch


@contextlib.contextmanager
def setting(set_, value, before):
    set_(value)
    try:
        yield
    finally:
        set_(before)


MODES = {
    **{
        str(dtype): lambda dtype=dtype: setting(
            torch.set_default_dtype, dtype, torch.float32
        )
        for dtype in (torch.float64, torch.float16, torch.bfloat16)
    },
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device": lambda: torch.device("meta"),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
}


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


def bits(estimator):
    state = estimator.module_.state_dict().values()
    return joblib.hash(
        [[w.numpy() for w in state], estimator.latent_scale_, estimator.history_]
    )


@pytest.mark.parametrize(
    "params",
    [
        {"label_weight": 2.0, "early_stopping": True},
        {"label_weight": 2.0, "latent_dim": 1, "likelihood": "laplace"},  # with a head
        {"linear_path": False, "batch_norm": True, "checkpoint": "checkpoint"},
    ],
)
def test_a_fit_has_the_same_bits_in_any_mode(gappy, tmp_path, mode, params):
    y = np.digitize(gappy[:, 20], [-0.5, 0.0, 0.5])
    found = []
    for inside in (contextlib.nullcontext, mode):
        vae = ConvVAETransformer(**TINY | params)
        if params.get("checkpoint"):  # of another fit
            vae.set_params(checkpoint=tmp_path / inside.__name__)
        with inside():
            found.append(bits(vae.fit(gappy, y)))
            found.append(bits(vae.partial_fit(gappy[:20], y[:20])))
    assert found[:2] == found[2:]


def test_a_fitted_model_gives_the_same_bits_in_any_mode(fitted, gappy, tmp_path, mode):
    def results():
        Z = fitted.transform(gappy)
        fitted.save(tmp_path / "model")
        loaded = ConvVAETransformer.load(tmp_path / "model")
        return [
            Z,
            fitted.transform(gappy[:1]),
            fitted.inverse_transform(Z),
            fitted.posterior(gappy),
            fitted.impute(gappy, return_std=True),
            fitted.impute(torch.tensor(gappy, device="cpu")).numpy(),
            fitted.score_samples(gappy),
            fitted.score_samples(gappy, n_importance=3),
            fitted.sample(2, noise=True),
            repr(fitted.summary()),
            loaded.transform(gappy),
            pickle.loads(pickle.dumps(fitted)).transform(gappy),
        ]

    expected = results()
    with mode():
        found = results()
    assert [joblib.hash(r) for r in found] == [joblib.hash(r) for r in expected]


@pytest.mark.parametrize("make", ["fit", "load", "pickle", "deepcopy"])
def test_what_is_made_in_inference_mode_trains_on_outside(
    fitted, gappy, tmp_path, make
):
    fitted.save(tmp_path / "model", training=True)
    with torch.inference_mode():
        vae = {
            "fit": lambda: ConvVAETransformer(**TINY).fit(gappy),
            "load": lambda: ConvVAETransformer.load(tmp_path / "model"),
            "pickle": lambda: pickle.loads(pickle.dumps(fitted)),
            "deepcopy": lambda: copy.deepcopy(fitted),
        }[make]()
        assert np.array_equal(vae.transform(gappy), fitted.transform(gappy))
    z = torch.zeros(3, 2)
    vae.module_.decode(z).sum().backward()
    assert all(p.grad is not None for p in vae.module_.decoder.parameters())
    lost = make == "pickle"  # of what a pickle does not hold
    with pytest.warns(UserWarning, match="lost") if lost else contextlib.nullcontext():
        vae.partial_fit(gappy)


def test_the_modes_of_the_caller_stay(fitted, gappy):
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        torch.set_default_dtype(torch.float64)
        try:
            ConvVAETransformer(**TINY).fit(gappy).transform(gappy)
            assert torch.zeros(1).dtype is torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.zeros(1).device.type == "meta"
        assert torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        fitted.transform(gappy)
        assert not torch.is_grad_enabled()


# A probability is no density


def test_the_score_of_zeros_and_ones_does_not_depend_on_their_units():
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(40, 16)) < rng.uniform(size=(40, 1))).astype(np.float32)
    params = TINY | {"likelihood": "bernoulli", "scale": "minmax"}
    vae, other = (ConvVAETransformer(**params).fit(c * X) for c in (1, 5))
    np.testing.assert_array_equal(vae.score_samples(X), other.score_samples(5 * X))
    assert (other.score_samples(5 * X, n_importance=3) < 0).all()


# A fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
# Python 3.12 warns of just what is tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("fits", [False, True])
def test_a_child_forked_while_another_thread_fits_does_not_hang(waves, fitted, fits):
    X = waves[:40]
    is_held, may_end = threading.Event(), threading.Event()

    def hold():
        with (
            threads.forked_random_state(0),
            threads.torch_threads(1),
            threads.THREADS_LOCK,
        ):
            is_held.set()
            may_end.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(60)
    child = os.fork()
    if child == 0:
        try:
            if fits:
                ConvVAETransformer(**TINY | {"max_epochs": 0}).fit(X)
            fitted.transform(X)
            os._exit(7 if threads.THREADS_OUTSIDE else 0)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    status = 0, 0
    while status == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
        status = os.waitpid(child, os.WNOHANG)
    if status == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    may_end.set()
    thread.join()
    assert status == (child, 0)


# Numbers of NumPy


SMALL = np.uint8


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"stride": SMALL(4)}, {"stride": 4}),
        ({"kernel_size": SMALL(8), "latent_dim": SMALL(3)}, {"latent_dim": 3}),
        ({"conv_channels": np.array([16, 32], np.int8)}, {"conv_channels": (16, 32)}),
        ({"hidden_dims": [SMALL(200)], "linear_path": False},
         {"hidden_dims": (200,), "linear_path": np.bool_(False)}),
        ({"n_channels": SMALL(2)}, {"n_channels": 2}),
        ({"batch_size": SMALL(24), "max_epochs": np.int8(2)}, {"max_epochs": 2}),
        ({"random_state": SMALL(3)}, {"random_state": 3}),
        ({"dropout": np.float16(0.5), "linear_path": False},
         {"dropout": 0.5, "linear_path": False}),
        ({"net_params": {"n_threads": np.int64(1)}}, {"net_params": {"n_threads": 1}}),
        ({"net_params": {"module__output_kernel_size": SMALL(5)}},
         {"net_params": {"module__output_kernel_size": 5}}),
        ({"net_params": {"criterion__free_bits": np.float32(0.5)}},
         {"net_params": {"criterion__free_bits": 0.5}}),
    ],
)  # fmt: skip
def test_numbers_of_numpy_are_those_of_python(waves, tmp_path, params, expected):
    params = TINY | {"checkpoint": tmp_path / "checkpoint"} | params
    expected = TINY | {"checkpoint": tmp_path / "checkpoint"} | expected
    X = np.tile(waves[:60], 6)  # of more time steps than SMALL holds
    vae = ConvVAETransformer(**params)
    given = vae.get_params()
    assert bits(vae.fit(X)) != 0
    for name, value in vae.get_params().items():
        assert value is given[name]
    # The checkpoint is that of the same fit, and so the second trains no more.
    other = ConvVAETransformer(**expected).fit(X)
    assert bits(other) == bits(vae)
    assert isinstance(vae.n_channels_in_, int)

    vae.save(tmp_path / "model", training=True)
    loaded = ConvVAETransformer.load(tmp_path / "model").set_params(**expected)
    assert bits(loaded.partial_fit(X)) == bits(other.partial_fit(X))


def test_counts_of_numpy_are_those_of_python(fitted, waves):
    expected = fitted.sample(200, random_state=0)
    np.testing.assert_array_equal(fitted.sample(SMALL(200), random_state=0), expected)
    bounds = fitted.score_samples(waves[:3], n_importance=SMALL(200))
    expected = fitted.score_samples(waves[:3], n_importance=200)
    np.testing.assert_array_equal(bounds, expected)


# Interruptions


class Stop(Callback):
    """Raises KeyboardInterrupt, or is interrupted, in one of its methods."""

    def __init__(self, where, epoch=2, by_signal=False):
        self.where = where
        self.epoch = epoch
        self.by_signal = by_signal

    def notify(self, where, net):
        if where == self.where and len(net.history) == self.epoch:
            if self.by_signal:
                signal.raise_signal(signal.SIGINT)
            raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self.notify("on_epoch_begin", net)

    def on_epoch_end(self, net, **kwargs):
        self.notify("on_epoch_end", net)

    def on_batch_begin(self, net, **kwargs):
        self.notify("on_batch_begin", net)

    def on_batch_end(self, net, **kwargs):
        self.notify("on_batch_end", net)


WHERE = ["on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_callback_stops_training_as_in_skorch(waves, where, early_stopping, epoch):
    params = TINY | {"max_epochs": 4, "early_stopping": early_stopping}
    stop = Stop(where, epoch)
    vae = ConvVAETransformer(**params, callbacks=[stop], verbose=2).fit(waves[:60])
    n_epochs = epoch if where in ("on_epoch_end", "on_batch_end") else epoch - 1
    assert vae.n_epochs_ == n_epochs
    assert all(len(values) == n_epochs for values in vae.history_.values())
    assert np.isfinite(vae.transform(waves)).all()
    if where == "on_epoch_end":
        # At the constant rate, those of a shorter fit.
        params |= {"net_params": {"lr_schedule": None}}
        vae = ConvVAETransformer(**params, callbacks=[stop]).fit(waves[:60])
        shorter = ConvVAETransformer(**params | {"max_epochs": epoch})
        assert bits(vae) == bits(shorter.fit(waves[:60]))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("is_fitted", [False, True])
def test_ctrl_c_within_a_callback_is_an_interruption(waves, where, is_fitted):
    vae = ConvVAETransformer(**TINY | {"max_epochs": 4})
    if is_fitted:
        vae.fit(waves[:60])
    vae.set_params(callbacks=[Stop(where, by_signal=True)])
    before = vars(vae).copy()
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 2"):
        vae.fit(waves[:60])
    assert vars(vae) == before
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_callback_stops_a_fit_in_another_thread(waves):
    vae = ConvVAETransformer(**TINY | {"max_epochs": 4, "callbacks": [Stop(WHERE[1])]})
    thread = threading.Thread(target=vae.fit, args=(waves[:60],))
    thread.start()
    thread.join()
    assert vae.n_epochs_ == 2


# Names in `net_params`


@pytest.mark.parametrize(
    "name",
    [
        *("kwargs", "train_split__cv", "nothing__at_all", "hidden_dropout"),
        *("optimizer__nothing", "optimizer__params", "module__kernel"),
        *("criterion__free", "modulo__init"),
    ],
)
def test_names_that_reach_nothing_are_refused(waves, name):
    """By skorch, PyTorch and Python, who say which."""
    vae = ConvVAETransformer(**TINY, net_params={name: 1})
    argument = name.rpartition("__")[2] if name.startswith(PARTS) else name
    with pytest.raises(ValueError, match=rf"^net_params: .* argument\b.*\b{argument}"):
        vae.fit(waves[:60])
    assert not hasattr(vae, "net_")


PARTS = ("module__", "criterion__", "optimizer__")


@pytest.mark.parametrize(
    "name",
    [
        *("iterator_train__num_workers", "iterator_train__drop_last"),
        *("iterator_train__dataset", "iterator_train__in_step", "iterator_train"),
        *("iterator_valid", "iterator_valid__shuffle", "dataset", "dataset__length"),
        *("module", "criterion", "module__n_targets", "train_split"),
    ],
)
def test_names_that_fit_sets_are_refused(waves, name):
    value = DataLoader if name.endswith(("_train", "_valid")) else 1
    vae = ConvVAETransformer(**TINY, net_params={name: value})
    with pytest.raises(ValueError, match=f"net_params has '{name}', which fit sets"):
        vae.fit(waves[:60])


@pytest.mark.parametrize(
    "name",
    [
        *("iterator_train__batch_size", "iterator_valid__batch_size", "callbacks"),
        *("callbacks__counting__n", "optimizer__lr"),
    ],
)
def test_names_of_parameters_are_refused(waves, name):
    vae = ConvVAETransformer(**TINY, net_params={name: []})
    with pytest.raises(
        ValueError, match=r"is a parameter of (the estimator|a callback)"
    ):
        vae.fit(waves[:60])


def test_names_that_reach_something_work(waves):
    params = TINY | {"max_epochs": 2}
    usual = bits(ConvVAETransformer(**params).fit(waves[:60]))
    changed = {"iterator_train__shuffle": False, "optimizer__betas": (0.5, 0.9)}
    for name, value in changed.items():
        vae = ConvVAETransformer(**params, net_params={name: value})
        assert bits(vae.fit(waves[:60])) != usual
    vae = ConvVAETransformer(**params, net_params={"optimizer__param_groups": []})
    vae.fit(waves[:60])
    assert len(vae.net_.optimizer_.param_groups) == 1
