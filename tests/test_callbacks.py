"""The schedule's values, and the lines that show progress."""

import re

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


def progress(capsys, X, y=None, **settings):
    """The lines that a fit prints, and the estimator."""
    vae = ConvVAETransformer(2, random_state=0, **settings).fit(X, y)
    return capsys.readouterr().out.splitlines(), vae


def numbers(line):
    """The epoch, as printed, and the terms by name."""
    epoch, *terms, time_left = line.split(", ")
    assert re.fullmatch(r"time left \d:\d\d:\d\d", time_left)
    assert epoch.startswith("epoch ")
    terms = (term.rpartition(" ") for term in terms)
    return epoch.split()[1], {name: float(value) for name, _, value in terms}


def test_quiet_by_default(waves, capsys):
    lines, _ = progress(capsys, waves[:40], max_epochs=2)
    assert lines == []


def test_the_first_process_of_a_group_alone_prints(waves, monkeypatch, capsys):
    monkeypatch.setattr(make_net, "rank", lambda: 1)
    lines, _ = progress(capsys, waves[:40], max_epochs=2, verbose=2)
    assert lines == []


@pytest.mark.parametrize(
    ("max_epochs", "expected"),
    [(0, []), (1, [1]), (3, [1, 2, 3]), (25, [3, 5, 8, 10, 13, 15, 18, 20, 23, 25])],
)
def test_verbose_1_has_ten_lines(waves, capsys, max_epochs, expected):
    lines, _ = progress(capsys, waves[:40], max_epochs=max_epochs, verbose=1)
    assert [numbers(line)[0] for line in lines] == [
        f"{i}/{max_epochs}" for i in expected
    ]


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_verbose_2_has_a_line_for_each_epoch(waves, capsys):
    lines, vae = progress(
        capsys,
        waves[:40],
        np.arange(40) % 4,  # more than two latents keep apart by a linear map
        max_epochs=12,
        verbose=2,
        label_weight=1.0,
        early_stopping=True,
    )
    history = vae.history_
    assert len(lines) == 12
    for i, line in enumerate(lines):
        epoch, terms = numbers(line)
        assert epoch == f"{i + 1}/12"
        means = {
            part: [history[f"{part}_{name}"][i] for name in ("reconstruction", "kl")]
            for part in ("train", "valid")
        }
        assert terms == pytest.approx(
            {
                "ELBO": -sum(means["train"]),
                "reconstruction": means["train"][0],
                "KL": means["train"][1],
                "label": history["train_label"][i],
                "valid ELBO": -sum(means["valid"]),
            },
            abs=0.006,
        )
    assert lines[-1].endswith("time left 0:00:00")


def test_the_last_line_is_that_of_the_epoch_that_stopped(waves, capsys):
    lines, vae = progress(
        capsys,
        waves[:40],
        max_epochs=100,
        verbose=1,
        early_stopping=True,
        patience=1,
        lr=0.1,
        net_params={"lr_schedule": None},
    )
    assert vae.n_epochs_ < 100
    assert numbers(lines[-1])[0] == f"{vae.n_epochs_}/100"
    assert lines[-1].endswith(" 0:00:00")


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_lines_are_logged(waves, capsys, caplog, verbose):
    caplog.set_level("INFO", logger="skvae")
    lines, _ = progress(capsys, waves[:40], max_epochs=20, verbose=verbose)
    records = [r for r in caplog.records if r.name == "skvae"]
    assert {r.levelname for r in records} == {"INFO"}
    first, *logged = [r.getMessage() for r in records]
    assert first == "closed form of 40 signals"
    assert len(logged) == (20 if verbose == 2 else 10)
    assert lines == (logged if verbose else [])


def test_nothing_is_logged_unless_asked_for(waves, caplog):
    caplog.set_level("WARNING", logger="skvae")
    vae = ConvVAETransformer(2, max_epochs=1).fit(waves[:40])
    assert not caplog.records
    assert "progress" not in dict(vae.net_.callbacks_)
