"""Progress: one line that updates in a terminal, few lines anywhere else."""

import io
import re
import sys

import numpy as np
import pytest

from skvae import ConvVAETransformer


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(monkeypatch, stream, X, y=None, **settings):
    """What the run that counts prints to the stream, and the estimator."""
    monkeypatch.setattr(sys, "stdout", stream)
    vae = ConvVAETransformer(2, random_state=0, **settings).fit(X, y)
    monkeypatch.undo()
    text = stream.getvalue()
    return text[text.find("    epoch ") :], vae


def test_the_rehearsal_is_announced(waves, monkeypatch):
    stream = io.StringIO()
    progress(monkeypatch, stream, waves[:40], max_epochs=2, verbose=2)
    first = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert first == ["rehearsal", "1/2", "2/2", "epoch", "1/2", "2/2"]


def test_quiet_by_default(waves, monkeypatch):
    stream = Terminal()
    progress(monkeypatch, stream, waves[:40], max_epochs=2)
    assert stream.getvalue() == ""


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


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_verbose_2_has_a_line_for_each_epoch(waves, monkeypatch, stream):
    text, vae = progress(
        monkeypatch,
        stream(),
        waves[:40],
        np.arange(40) % 2,
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
        lr_schedule=None,
    )
    assert vae.n_epochs_ < 100
    last = re.split("[\r\n]", text.rstrip("\n"))[-1].split()
    assert last[0] == f"{vae.n_epochs_}/100"
    assert last[-1] == "0:00:00"
    assert text.endswith("\n")


def test_no_epoch_prints_nothing(waves, monkeypatch):
    stream = Terminal()
    progress(monkeypatch, stream, waves[:40], max_epochs=0, verbose=1)
    assert stream.getvalue() == ""


def test_a_fit_that_is_interrupted_ends_its_line(waves, monkeypatch):
    from skorch.callbacks import Callback

    class CtrlC(Callback):
        def on_batch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    vae = ConvVAETransformer(2, max_epochs=9, verbose=1, callbacks=[CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        vae.fit(waves[:40])
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue().split("\r")[-1].split()[0] == "2/9"
