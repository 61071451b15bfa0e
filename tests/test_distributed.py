"""Several processes that fit one model: the model of one process, in all of them.

Real ones, with gloo, on this machine. Not tested here: GPUs, and NCCL.
"""

import contextlib
import datetime
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skvae import ConvVAETransformer, distributed
from skvae.datasets import make_load_profiles
from skvae.model import moments

X, Y = make_load_profiles(120, n_timepoints=48, random_state=0)
HALF = np.where(np.arange(120) % 2, Y, -1)
GAPS = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
GAPS[:70, :3] = np.nan  # nothing measured there in the first process
SORTED = np.argsort(Y, kind="stable")  # so that each process has classes of its own
# Training that moves nothing shows what it starts from, and the held-out noise.
STILL = {"max_epochs": 1, "lr": 1e-30}
# Parameters, X, y, and where to cut it.
FITS = {
    "defaults": (STILL, X, None, 70),
    "sums": (STILL, X, None, 70),
    "six channels": (STILL, X.reshape(120, 6, 8), None, 70),
    "signal alone": ({**STILL, "feature_weight": 0.0}, X, None, 70),
    "minmax": ({**STILL, "scale": "minmax"}, X, None, 70),
    "labels": ({**STILL, "label_weight": 2.0}, X, HALF, 70),
    "labels of its own": ({**STILL, "label_weight": 2.0}, X[SORTED], Y[SORTED], 70),
    "labels of text, all in one": (
        {**STILL, "label_weight": 2.0},
        X,
        np.array([-1] * 70 + [f"class {label}" for label in Y[70:]], dtype=object),
        70,
    ),
    "numbers": ({**STILL, "label_weight": 2.0}, X, X.sum(axis=1), 70),
    "gaps": (STILL, GAPS, None, 70),
    "a share of two": (STILL, X, None, 2),
    "closed form": ({"max_epochs": 0}, X, None, 70),
}
TRAINED = {
    "trained": ({"feature_weight": 0.0, "max_epochs": 6}, X, None, 70),
    "a share of two, trained": ({"feature_weight": 0.0, "max_epochs": 6}, X, None, 2),
    "stopped early": ({"early_stopping": True, "max_epochs": 6}, X, None, 70),
    "stopped early, two": ({"early_stopping": True, "max_epochs": 3}, X, None, 2),
    "taught by a head": (
        {"latent_dim": 2, "label_weight": 1.0, "max_epochs": 3},
        X,
        HALF,
        70,
    ),
    "from random weights": (
        {"linear_path": False, "batch_norm": True, "max_epochs": 3},
        X,
        None,
        70,
    ),
}


def make_vae(**params):
    return ConvVAETransformer(**{"random_state": 0, "device": "cpu", **params})


@contextlib.contextmanager
def as_sums(name):
    """More signals than are kept as rows, where the name says so."""
    limit = moments.MAX_VALUES
    moments.MAX_VALUES = 1000 if name == "sums" else limit
    yield
    moments.MAX_VALUES = limit


def fit(name, share=None):
    params, signals, y, cut = {**FITS, **TRAINED}[name]
    own = [slice(None), slice(cut), slice(cut, None)][0 if share is None else 1 + share]
    with as_sums(name):
        vae = make_vae(**params).fit(signals[own], None if y is None else y[own])
    learned = {
        key: value
        for key, value in vars(vae).items()
        if key.endswith("_") and isinstance(value, (np.ndarray, float, int))
    }
    learned |= {f"history {key}": value for key, value in vae.history_.items()}
    learned |= vae.module_.state_dict()
    learned |= {"offset": vae.scaler_.offset_, "scale": vae.scaler_.scale_}
    learned["latents"] = vae.transform(signals)
    return {key: np.asarray(value) for key, value in learned.items()}


def run(rank, address, function, answers):
    """A process of the group: `function` of its rank, sent back."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")  # as pytest does
    timeout = datetime.timedelta(seconds=60)
    dist.init_process_group(
        "gloo", init_method=address, rank=rank, world_size=2, timeout=timeout
    )
    try:
        answers.put((rank, function(rank)))
    except BaseException as error:
        answers.put((rank, error))
        raise
    dist.destroy_process_group()


def start(function, folder):
    """Two processes that run a function, and the queue of their answers."""
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(["skvae", "skvae.datasets"])  # imported once
    answers = context.Queue()
    arguments = f"file://{folder}/group", function, answers
    started = [context.Process(target=run, args=(i, *arguments)) for i in range(2)]
    for process in started:
        process.start()
    return started, answers


def in_two_processes(function, folder):
    started, answers = start(function, folder)
    found = {}
    for _ in started:
        rank, found[rank] = answers.get(timeout=240)
        assert not isinstance(found[rank], BaseException), found[rank]
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return found[0], found[1]


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].keys() == second[name].keys()
        for key in first[name]:
            message = f"{name}: {key}"
            np.testing.assert_array_equal(first[name][key], second[name][key], message)


def test_the_comparison_sees_a_bit():
    values = {"fit": {"z": np.ones(3)}}
    assert_same_bits(values, values)
    with pytest.raises(AssertionError, match="fit: z"):
        assert_same_bits(values, {"fit": {"z": np.array([1, 1, 1 + 1e-15])}})


def fit_still(rank):
    return {name: fit(name, rank) for name in FITS}


def test_two_processes_fit_what_one_does(tmp_path):
    """Up to training: scaling, features, components, decoder, noise."""
    first, second = in_two_processes(fit_still, tmp_path)
    assert_same_bits(first, second)
    for name, found in first.items():
        expected = fit(name)
        assert expected.keys() == found.keys()
        for key in expected:
            if expected[key].dtype.kind in "OU":
                np.testing.assert_array_equal(found[key], expected[key])
            elif not key.startswith("history"):  # with other draws of z
                atol = 1e-6 * np.abs(expected[key]).max(initial=1e-20)
                np.testing.assert_allclose(
                    found[key], expected[key], atol=atol, err_msg=f"{name}: {key}"
                )
    assert first["labels of its own"]["classes_"].tolist() == list(range(7))


def train(rank):
    return {name: fit(name, rank) for name in TRAINED}


def test_what_two_processes_train(tmp_path):
    """As different from one's as two seeds are, without features to be drawn."""
    first, second = in_two_processes(train, tmp_path)
    assert_same_bits(first, second)
    params, *_ = TRAINED["trained"]
    latents = [
        make_vae(**params, random_state=seed).fit_transform(X) for seed in range(5)
    ]
    distance = max(np.abs(z - latents[0]).max() for z in latents[1:])
    for name in ("trained", "a share of two, trained"):
        difference = np.abs(first[name]["latents"] - latents[0]).max()
        assert difference <= max(2 * distance, 1e-5)
        losses = first[name]["history train_loss"]
        assert losses[1:].min() < losses[0]
    # Of what both hold back; a share of two holds nothing back.
    for name in ("stopped early", "stopped early, two"):
        losses = first[name]["history valid_loss"]
        assert np.isfinite(losses).all()
        assert first[name]["best_epoch_"] == 1 + losses.argmin()


class StopAfterTwo:
    """Of scikit-learn's callbacks one that ends training, and asks for nothing."""

    n_epochs = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.fitted = fitted_estimator
        self.n_epochs += context.task_name == "epoch"
        return self.n_epochs == 2


def stop_in_the_second(rank):
    vae, stop = make_vae(max_epochs=6), StopAfterTwo()
    if rank == 1:
        vae.set_callbacks(stop)
    vae.fit(X[:70] if rank else X[70:])
    found = {"n_epochs": vae.n_epochs_, "latents": vae.transform(X)}
    return {"fit": {k: np.asarray(v) for k, v in found.items()}}


@pytest.mark.skipif(
    not hasattr(ConvVAETransformer, "set_callbacks"), reason="scikit-learn before 1.9"
)
def test_a_callback_of_one_process_ends_training_in_both(tmp_path):
    first, second = in_two_processes(stop_in_the_second, tmp_path)
    assert_same_bits(first, second)
    assert first["fit"]["n_epochs"] == 2


# What a process may be given that the other is not: a fit that raises in both.
BAD = {
    "time steps": (lambda i: make_vae().fit(X[:, : 48 - i]), r"\(1, 47\) in process 1"),
    "dimensions": (lambda i: make_vae().fit(X[:, None] if i else X), "dimensions of X"),
    "infinity": (
        lambda i: make_vae().fit(np.where(X < 1, X, np.inf if i else 1.0)),
        "contains infinity",
    ),
    "one signal": (lambda i: make_vae().fit(X[: 2 - i]), r"1 sample\(s\)"),
    "parameters": (lambda i: make_vae(latent_dim=4 + i).fit(X), "latent_dim is 5 in"),
    "a bad parameter": (lambda i: make_vae(beta=-i).fit(X), "'beta' parameter"),
    "units, not scaled": (
        lambda i: make_vae(scale=None).fit(X * (1e20 if i else 1)),
        "needs another `scale`",
    ),
    "a fit to go on from": (lambda i: fitted_in_one(i), "to go on from is False in"),
    "what it goes on from": (lambda i: go_on_from(i), "fitted model, as a hash"),
    "units": (lambda i: make_vae().fit(X * (1e36 if i else 1)), "as large as"),
    "no y": (lambda i: teach([None, Y][i]), "requires y"),
    "fewer y": (lambda i: teach(Y[: 120 - i]), r"y has shape \(119,\)"),
    "text": (lambda i: teach([Y, Y.astype(str)][i]), "y is text is True in process 1"),
    "callback": (
        lambda i: make_vae(callbacks=[1][:i]).fit(X),
        "callbacks has 1",
    ),
    "columns of y": (lambda i: teach(X[:, : 2 + i]), "columns of y is 3 in process 1"),
    "classes": (
        lambda i: make_vae(label_weight=1.0).partial_fit(X, Y, range(7 + i)),
        "classes is .*in process 1",
    ),
    "a GPU": (lambda i: make_vae(device=["cpu", "cuda"][i]).fit(X), "sees no GPU"),
    "divergence": (lambda i: make_vae(lr=1e30, max_epochs=3).fit(X), "in epoch"),
    "search": (
        lambda i: GridSearchCV(
            make_vae(), {"latent_dim": [2]}, cv=2, error_score="raise"
        ).fit(X),
        "Search first",
    ),
    "checkpoint": (lambda i: make_vae(checkpoint="fit").fit(X), "checkpoint is for"),
}


if hasattr(ConvVAETransformer, "set_callbacks"):  # scikit-learn 1.9
    BAD["a callback"] = (lambda i: watched(i).fit(X), "no more")


def go_on_from(rank):
    """Each process goes on from a model of its own."""
    vae = make_vae(max_epochs=1, warm_start=True).fit(X)
    vae.latent_scale_ = vae.latent_scale_ * (1 + rank)
    return vae.fit(X)


def fitted_in_one(rank):
    """Training that goes on in the first process, and begins in the other."""
    fitted = make_vae(max_epochs=1).fit(X)
    return (make_vae(max_epochs=1) if rank else fitted).partial_fit(X)


class Fails(StopAfterTwo):
    def on_fit_task_end(self, estimator, context):
        raise ValueError("no more")


def watched(rank):
    """With a callback of scikit-learn's in the second process alone."""
    vae = make_vae(max_epochs=3)
    return vae.set_callbacks(Fails()) if rank else vae


def teach(y):
    return make_vae(label_weight=1.0).fit(X, y)


def head_loss(X, y):
    """The loss of a head that does not learn, in a history."""
    vae = make_vae(latent_dim=2, label_weight=1.0, dropout=0.0, **STILL)
    return float(vae.fit(X, y).history_["train_label"][-1])


def errors(rank):
    found = {}
    for name, (function, _) in BAD.items():
        try:
            function(rank)
        except (TypeError, ValueError, FloatingPointError) as error:
            message = re.sub(r"^In process \d: ", "", str(error))
            found[name] = type(error).__name__, message
    labels = Y if rank else np.full(120, -1)  # all of them lie with one process
    found["label"] = head_loss(X, labels)
    found["after them"] = make_vae(max_epochs=1).fit_transform(X[:5]).shape
    return found


def test_an_error_in_one_process_is_raised_in_both(tmp_path):
    first, second = in_two_processes(errors, tmp_path)
    assert first == second
    assert first.pop("after them") == (5, 8)
    both = np.concatenate([np.full(120, -1), Y])
    expected = head_loss(np.concatenate([X, X]), both)
    assert first.pop("label") == pytest.approx(expected, rel=0.05)
    assert first.keys() == BAD.keys()
    for name, (_, message) in BAD.items():
        assert re.search(message, first[name][1]), first[name]


# Training


def one_step(rank):
    """Bytes that a step sends, and the averaged gradient of a linear model."""
    sent = []
    all_reduce = dist.all_reduce

    def counted(values, *args):
        sent.append(values.numel() * values.element_size())
        return all_reduce(values, *args)

    dist.all_reduce = counted
    own = slice(0, 30) if rank == 0 else slice(30, 120)
    params = {"max_epochs": 2, "batch_size": 64, "early_stopping": True}
    params["linear_path"] = False  # nothing tests training
    vae = make_vae(**params).fit(X[own])
    dist.all_reduce = all_reduce
    model = torch.nn.Linear(48, 1).double()
    for parameter in model.parameters():
        torch.nn.init.ones_(parameter)
    model(torch.from_numpy(X[own]).double()).square().mean().backward()
    distributed.average_gradients(model.parameters(), len(X[own]) / len(X))
    norm = torch.nn.BatchNorm1d(1, momentum=1.0)
    norm(torch.tensor([[10.0 * rank - 1], [10.0 * rank + 1]]))
    norm.running_var.fill_(1.0)  # of each alone
    distributed.average_batch_norm(norm, 0.5)
    assert norm.running_mean.item() == pytest.approx(5)
    assert norm.running_var.item() == pytest.approx(1 + 25)
    n_trained = sum(p.numel() for p in vae.module_.parameters() if p.requires_grad)
    return sent, 4 * n_trained, model.weight.grad.numpy()


def test_a_step_sends_the_gradient_of_all_signals_once(tmp_path):
    n_bytes, n_trained, gradient = in_two_processes(one_step, tmp_path)[0]
    n_steps = n_bytes.count(max(n_bytes))
    assert max(n_bytes) <= n_trained
    assert n_steps == 2 * 2  # 90 less 9 held back, in batches of 64, twice
    assert sum(n_bytes) < n_steps * n_trained * 1.1
    weights = np.ones(48)
    values = X.astype(np.float64)
    expected = 2 * ((values @ weights + 1)[:, None] * values).mean(axis=0)
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-10)


class Told(Callback):
    """Writes a file once training goes on."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, net, **kwargs):
        Path(self.path).touch()


def train_for_long(folder, rank):
    vae = make_vae(max_epochs=100_000, callbacks=[Told(folder / f"trains{rank}")])
    with pytest.raises(RuntimeError) as error:
        vae.fit(X)
    return str(error.value), hasattr(vae, "net_")


def test_where_one_process_is_killed_the_other_ends_with_an_error(tmp_path):
    (killed, other), answers = start(partial(train_for_long, tmp_path), tmp_path)
    trains = [tmp_path / f"trains{rank}" for rank in range(2)]
    deadline = time.monotonic() + 120
    while not all(path.exists() for path in trains):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    rank, (message, is_fitted) = answers.get(timeout=70)  # the group's is 60 s
    assert rank == 1
    assert message
    assert not is_fitted
    for process in (killed, other):
        process.join(30)
        assert not process.is_alive()
    assert {path.name for path in tmp_path.iterdir()} <= {"group", "trains0", "trains1"}


def test_the_script_for_torchrun(tmp_path):
    recipe = distributed.__doc__.split("::\n\n")[1]
    end = "import os, pathlib\npathlib.Path('ended-' + os.environ['RANK']).touch()"
    (tmp_path / "fit.py").write_text(f"{dedent(recipe)}\n{end}")
    for rank, part in enumerate((X[:70], X[70:])):
        np.save(tmp_path / f"signals-{rank}.npy", part)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # Its exit status is no help: after the end of the script, 1 of 20 times on a busy
    # machine, a thread of gloo's wants the interpreter that is gone, and aborts.
    subprocess.run(
        [*torchrun, "--standalone", "fit.py"],
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert {path.name for path in tmp_path.glob("ended-*")} == {"ended-0", "ended-1"}
    vae = ConvVAETransformer.load(tmp_path / "vae.safetensors")
    assert vae.transform(X).shape == (120, 8)
    offset = X.astype(np.float64).mean()  # of all, not of the first's
    assert vae.scaler_.offset_[0, 0] == pytest.approx(offset, rel=1e-9)
    assert abs(X[:70].mean() - offset) > 1e-6 * abs(offset)
