"""The schedule's values, and progress: one line in a terminal, few lines elsewhere."""

import io
import re
import signal
import sys

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skvae import ConvVAETransformer
from skvae.training import make_net
from skvae.training.callbacks import one_cycle
from skvae.training.make_net import MIN_RISE

# The learning rate


def test_one_cycle_rises_within_a_tenth_and_falls_to_nothing():
    rates = np.array([one_cycle(step, 1000) for step in range(1001)])
    assert rates[0] == pytest.approx(0.02)
    assert rates.argmax() == pytest.approx(100, abs=3)
    assert rates.max() == pytest.approx(1.0, abs=1e-3)
    assert (np.diff(rates[:98]) > 0).all()
    assert (np.diff(rates[101:]) < 0).all()
    assert rates[1000] == pytest.approx(0.0, abs=1e-9)
    # A cosine: half way at the middle, and as far from 1 before as from 0 after.
    middle = rates[100:]
    np.testing.assert_allclose(middle + middle[::-1], 1.0, atol=1e-9)
    assert middle[225] == pytest.approx((1 + 2**-0.5) / 2, abs=1e-9)


class Rates(Callback):
    def on_train_begin(self, net, **kwargs):
        self.rates_ = []

    def on_batch_begin(self, net, training=True, **kwargs):
        if training:
            groups = net.optimizer_.param_groups
            self.rates_.append([group["lr"] for group in groups])


def rates_of_fit(X, method="fit", **params):
    vae = ConvVAETransformer(
        2, lr=1e-3, batch_size=20, callbacks=[("rates", Rates())], random_state=0
    )
    getattr(vae.set_params(**params), method)(X)
    return np.array(dict(vae.net_.callbacks_)["rates"].rates_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_each_step_of_a_fit_has_its_rate(waves, early_stopping):
    rates = rates_of_fit(waves, max_epochs=4, early_stopping=early_stopping)
    n_steps = 4 * 8  # 200 less 40 that test training, 180 less 36
    expected = 1e-3 * np.array(
        [one_cycle(i, n_steps, MIN_RISE) for i in range(n_steps)]
    )
    assert rates.shape == (n_steps, 2)
    by_size = np.sort(rates, axis=1)
    np.testing.assert_allclose(by_size[:, 1], expected)
    np.testing.assert_allclose(by_size[:, 0], expected / 10)  # the linear decoder's


def test_the_rate_is_constant_where_asked_and_in_partial_fit(waves):
    params = {"linear_path": False}
    constant = {"net_params": {"lr_schedule": None}, "max_epochs": 2}
    assert set(rates_of_fit(waves, **params, **constant).ravel()) == {1e-3}
    rates = rates_of_fit(waves, "partial_fit", **params)
    np.testing.assert_allclose(rates, 0.3e-3)


def test_any_optimizer_of_torch_has_the_schedule(waves):
    params = {"net_params": {"optimizer": torch.optim.SGD}, "linear_path": False}
    rates = rates_of_fit(waves, max_epochs=8, **params)
    assert rates.max() > 0.9e-3 > 0.1e-3 > rates[-1]


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(monkeypatch, stream, X, y=None, **settings):
    """What a fit prints to the stream, and the estimator."""
    monkeypatch.setattr(sys, "stdout", stream)
    vae = ConvVAETransformer(2, random_state=0, **settings).fit(X, y)
    monkeypatch.undo()
    return stream.getvalue(), vae


def test_quiet_by_default(waves, monkeypatch):
    text, _ = progress(monkeypatch, Terminal(), waves[:40], max_epochs=2)
    assert text == ""


def test_the_first_process_of_a_group_alone_prints(waves, monkeypatch):
    monkeypatch.setattr(make_net, "rank", lambda: 1)
    text, _ = progress(monkeypatch, io.StringIO(), waves[:40], max_epochs=2, verbose=2)
    assert text == ""


def test_a_terminal_has_one_line_that_updates(waves, monkeypatch):
    text, _ = progress(monkeypatch, Terminal(), waves[:40], max_epochs=12, verbose=1)
    head, line, end = text.split("\n")
    assert head.split() == ["epoch", "ELBO", "reconstruction", "KL", "time", "left"]
    assert end == ""
    start, *updates = line.split("\r")
    assert start == ""
    assert [update.split()[0] for update in updates] == [
        f"{i}/12" for i in range(1, 13)
    ]
    assert len({len(update) for update in updates}) == 1  # nothing of the last is left


def test_a_narrow_terminal_does_not_wrap_the_line(waves, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text, _ = progress(monkeypatch, Terminal(), waves[:40], max_epochs=2, verbose=1)
    line = text.split("\n")[1]
    assert max(map(len, line.split("\r"))) == 39


@pytest.mark.parametrize(
    ("max_epochs", "expected"),
    [(1, [1]), (3, [1, 2, 3]), (25, [3, 5, 8, 10, 13, 15, 18, 20, 23, 25])],
)
def test_a_pipe_has_ten_lines(waves, monkeypatch, max_epochs, expected):
    text, _ = progress(
        monkeypatch, io.StringIO(), waves[:40], max_epochs=max_epochs, verbose=1
    )
    assert "\r" not in text
    _, *lines = text.splitlines()
    assert [line.split()[0] for line in lines] == [
        f"{i}/{max_epochs}" for i in expected
    ]


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_verbose_2_has_a_line_for_each_epoch(waves, monkeypatch, stream):
    text, vae = progress(
        monkeypatch,
        stream(),
        waves[:40],
        np.arange(40) % 4,  # more than two latents keep apart by a linear map
        max_epochs=12,
        verbose=2,
        label_weight=1.0,
        early_stopping=True,
    )
    assert "\r" not in text
    head, *lines = text.splitlines()
    assert "label valid ELBO time left" in re.sub(" +", " ", head)
    assert max(map(len, text.splitlines())) <= 79
    assert len(lines) == 12
    history = vae.history_
    for i, line in enumerate(lines):
        epoch, elbo, reconstruction, kl, label, valid_elbo, left = line.split()
        assert epoch == f"{i + 1}/12"
        terms = [history[f"train_{name}"][i] for name in ("reconstruction", "kl")]
        valid = [history[f"valid_{name}"][i] for name in ("reconstruction", "kl")]
        shown = [float(cell) for cell in (elbo, reconstruction, kl, label, valid_elbo)]
        expected = [-sum(terms), *terms, history["train_label"][i], -sum(valid)]
        assert shown == pytest.approx(expected, abs=0.006)
        assert re.fullmatch(r"\d:\d\d:\d\d", left)
    assert left == "0:00:00"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_last_line_is_that_of_the_epoch_that_stopped(waves, monkeypatch, stream):
    text, vae = progress(
        monkeypatch,
        stream(),
        waves[:40],
        max_epochs=100,
        verbose=1,
        early_stopping=True,
        patience=1,
        lr=0.1,
        net_params={"lr_schedule": None},
    )
    assert vae.n_epochs_ < 100
    last = re.split("[\r\n]", text.rstrip("\n"))[-1].split()
    assert last[0] == f"{vae.n_epochs_}/100"
    assert last[-1] == "0:00:00"
    assert text.endswith("\n")


def test_no_epoch_prints_nothing(waves, monkeypatch):
    text, _ = progress(monkeypatch, Terminal(), waves[:40], max_epochs=0, verbose=1)
    assert text == ""


def test_a_fit_that_is_interrupted_ends_its_line(waves, monkeypatch):
    class CtrlC(Callback):
        def on_batch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                signal.raise_signal(signal.SIGINT)

    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    vae = ConvVAETransformer(2, max_epochs=9, verbose=1, callbacks=[CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        vae.fit(waves[:40])
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue().split("\r")[-1].split()[0] == "2/9"


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_lines_that_stay_are_logged(waves, monkeypatch, caplog, verbose):
    caplog.set_level("INFO", logger="skvae")
    settings = {"max_epochs": 20, "verbose": verbose}
    text, vae = progress(monkeypatch, io.StringIO(), waves[:40], **settings)
    records = [r for r in caplog.records if r.name == "skvae"]
    assert {r.levelname for r in records} == {"INFO"}
    assert records[0].getMessage() == "closed form of 40 signals"
    assert len(records) == 1 + (20 if verbose == 2 else 10)
    message = records[-1].getMessage()
    elbo = -vae.history_["train_reconstruction"][-1] - vae.history_["train_kl"][-1]
    assert message.startswith(f"epoch 20/20, ELBO {elbo:.2f}, ")
    if verbose:
        cells = re.findall(r"[-/\d.:]+(?=,|$)", message)
        assert text.splitlines()[-1].split() == cells
    else:
        assert text == ""


def test_nothing_is_logged_unless_asked_for(waves, caplog):
    caplog.set_level("WARNING", logger="skvae")
    vae = ConvVAETransformer(2, max_epochs=1).fit(waves[:40])
    assert not caplog.records
    assert "progress" not in dict(vae.net_.callbacks_)
