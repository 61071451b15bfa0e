"""Checkpoints: a fit that was killed goes on, and ends with the same bits."""

import os

import conftest
import numpy as np
import pytest
import torch

from skvae import ConvVAETransformer
from skvae.saving import files
from skvae.training.net import VAENet

TINY = conftest.TINY | {"conv_channels": (4, 4), "hidden_dims": (8, 8), "max_epochs": 4}
SETTINGS = {
    "plain": {},
    "noisy": {
        "batch_norm": True,
        "dropout": 0.2,
        "linear_path": False,
        "net_params": {"module__hidden_dropout": 0.2},
    },
    "labels": {"label_weight": 1.0, "likelihood": "laplace"},
    "numbers": {"label_weight": 1.0, "linear_path": False},
    "signal alone": {"feature_weight": 0.0, "dropout": 0.2},
    "stopping": {"early_stopping": True, "patience": 2, "max_epochs": 9, "lr": 0.03},
    "warm-up": {
        "early_stopping": True,
        "patience": 2,
        "net_params": {"kl_warmup": 0.5},
    },
    "sgd": {
        "net_params": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
    },
    "constant rate": {"net_params": {"lr_schedule": None}, "linear_path": False},
    "printing": {"verbose": 1},
}


@pytest.fixture(scope="module")
def waves(waves):
    return waves[:40]


class Killed(Exception):
    pass


@pytest.fixture
def killed_fit(monkeypatch):
    """A fit that ends after a number of epochs, in the middle of writing or not."""

    def killed_fit(estimator, X, y=None, *, after, in_writing=False):
        n_epochs = 0
        replace = os.replace

        def counted_replace(*args):
            nonlocal n_epochs
            n_epochs += 1
            if in_writing and n_epochs > after:
                raise Killed
            replace(*args)
            if not in_writing and n_epochs == after:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", counted_replace)
            with pytest.raises(Killed):
                estimator.fit(X, y)
        assert not hasattr(estimator, "net_")

    return killed_fit


@pytest.fixture
def trained(monkeypatch):
    """The number of epochs trained, in a list of one item."""
    n_epochs = [0]
    run = VAENet.run_single_epoch

    def counted(net, *args, training, **kwargs):
        n_epochs[0] += training
        return run(net, *args, training=training, **kwargs)

    monkeypatch.setattr(VAENet, "run_single_epoch", counted)
    return n_epochs


def assert_same_bits(a, b, X, y=None):
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    np.testing.assert_array_equal(a.score_samples(X), b.score_samples(X))
    np.testing.assert_array_equal(a.kl_per_dim_, b.kl_per_dim_)
    assert a.n_epochs_ == b.n_epochs_
    assert a.best_epoch_ == b.best_epoch_
    for name, values in a.history_.items():
        np.testing.assert_array_equal(values, b.history_[name])
    for e in (a, b):
        e.set_params(checkpoint=None).partial_fit(X, y)
    np.testing.assert_array_equal(a.transform(X), b.transform(X))


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
# Networks that start from random weights collapse in so few steps, and say so.
@pytest.mark.filterwarnings("ignore:No latent dimension is active")
@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_killed_fit_goes_on_to_the_same_bits(
    waves, tmp_path, killed_fit, trained, setting, after, caplog
):
    X, params = waves, TINY | SETTINGS[setting]
    y = X.mean(axis=1) if setting == "numbers" else np.arange(len(X)) % 4
    expected = ConvVAETransformer(**params).fit(X, y)
    n_epochs, trained[0] = trained[0], 0
    after = min(after, n_epochs - 1)

    params["checkpoint"] = tmp_path / "checkpoint"
    killed_fit(ConvVAETransformer(**params), X, y, after=after)
    assert trained == [after]
    with caplog.at_level("INFO", logger="skvae"):
        estimator = ConvVAETransformer(**params).fit(X, y)
    assert f"{after} epochs are in checkpoint {params['checkpoint']}" in caplog.text
    assert trained == [n_epochs]
    assert_same_bits(estimator, expected, X, y)
    assert os.listdir(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_fit_killed_while_writing_goes_on(waves, tmp_path, killed_fit, after):
    params = TINY | {"checkpoint": str(tmp_path / "checkpoint")}
    killed_fit(ConvVAETransformer(**params), waves, after=after, in_writing=True)
    # What a SIGKILL would have left behind; and what is the user's own.
    (tmp_path / "checkpoint.ab3fdef0.tmp").write_bytes(b"half a file")
    (tmp_path / "checkpoint.mine.tmp").write_bytes(b"not skvae's")
    estimator = ConvVAETransformer(**params).fit(waves)
    assert_same_bits(estimator, ConvVAETransformer(**TINY).fit(waves), waves)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "checkpoint.mine.tmp"]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_ctrl_c_while_writing_is_no_early_stopping(
    waves, tmp_path, monkeypatch, early_stopping
):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    params = TINY | {"checkpoint": tmp_path / "checkpoint"}
    estimator = ConvVAETransformer(**params, early_stopping=early_stopping)
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 1"):
        estimator.fit(waves)
    assert not hasattr(estimator, "net_")
    assert os.listdir(tmp_path) == []


def test_the_time_left_is_that_of_this_run(waves, tmp_path, killed_fit, capsys):
    """A clock that another machine started says nothing."""
    params = TINY | {"checkpoint": tmp_path / "checkpoint", "verbose": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: 1e9)
        killed_fit(ConvVAETransformer(**params), waves, after=2)
    capsys.readouterr()
    ConvVAETransformer(**params).fit(waves)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch 3/4", "epoch 4/4"]
    assert lines[0].endswith(" 0:00:00")


def test_it_goes_on_twice(waves, tmp_path, killed_fit):
    params = TINY | {"checkpoint": tmp_path / "checkpoint"}
    for _ in range(3):
        killed_fit(ConvVAETransformer(**params), waves, after=1)
    estimator = ConvVAETransformer(**params).fit(waves)
    assert_same_bits(estimator, ConvVAETransformer(**TINY).fit(waves), waves)


def test_a_finished_fit_is_read_back(waves, tmp_path, trained):
    params = TINY | {"checkpoint": tmp_path / "checkpoint"}
    first = ConvVAETransformer(**params).fit(waves)
    trained[0] = 0
    second = ConvVAETransformer(**params).fit(waves)
    assert trained == [0]
    assert_same_bits(first, second, waves)


def test_an_unseeded_fit_goes_on(waves, tmp_path, killed_fit):
    """The seed is in the file: the split and the start are those of the first fit."""
    params = TINY | {"checkpoint": tmp_path / "checkpoint", "random_state": None}
    params |= {"early_stopping": True}
    killed_fit(ConvVAETransformer(**params), waves, after=2)
    seed = files.read(tmp_path / "checkpoint", "checkpoint")["seed"]
    estimator = ConvVAETransformer(**params).fit(waves)
    assert files.read(tmp_path / "checkpoint", "checkpoint")["seed"] == seed
    assert len(estimator.history_["train_loss"]) == 4


def test_a_warm_start_goes_on(waves, tmp_path, killed_fit):
    def fitted():
        return ConvVAETransformer(**TINY, warm_start=True).fit(waves[:30])

    expected = fitted().fit(waves)
    path = tmp_path / "checkpoint"
    with pytest.raises(AssertionError, match="assert not True"):  # it is still fitted
        killed_fit(fitted().set_params(checkpoint=path), waves, after=2)
    estimator = fitted().set_params(checkpoint=path).fit(waves)
    assert_same_bits(estimator, expected, waves)
    other = ConvVAETransformer(**TINY, warm_start=True, checkpoint=path)
    with pytest.raises(ValueError, match="differs in fitted"):
        other.fit(waves)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, r"differs in lr: 0\.\d+ there, 0\.5 here\. Restore"),
        ({"latent_dim": 3, "beta": 2.0}, r"beta: 1\.0 there, 2\.0 here; latent_dim"),
        ({"conv_channels": [4, 8]}, "differs in conv_channels"),
        ({"feature_weight": 0.5}, r"feature_weight: 1\.0 there, 0\.5 here"),
        ({"net_params": {"optimizer": torch.optim.SGD}}, "differs in net_params"),
        ({"random_state": 1}, "differs in random_state"),
        ({"verbose": 1, "warm_start": True}, None),
    ],
)
def test_other_parameters_are_refused_by_name(waves, tmp_path, change, message):
    params = TINY | {"checkpoint": tmp_path / "checkpoint"}
    ConvVAETransformer(**params).fit(waves)
    before = (tmp_path / "checkpoint").read_bytes()
    other = ConvVAETransformer(**params | change)
    if message is None:
        other.fit(waves)
        return
    with pytest.raises(ValueError, match=message):
        other.fit(waves)
    assert (tmp_path / "checkpoint").read_bytes() == before


def test_other_data_are_refused(waves, tmp_path):
    params = TINY | {"checkpoint": tmp_path / "checkpoint", "label_weight": 1.0}
    y = waves.mean(axis=1) > 0
    ConvVAETransformer(**params).fit(waves, y)
    changed = waves.copy()
    changed[-1, -1] += 1e-6
    for X, labels, message in [
        (changed, y, "differs in X: "),
        (waves[:-1], y[:-1], "differs in X: .* y: "),
        (waves.astype(np.float64), y, "differs in X: "),
        (waves, ~y, "differs in y: "),
    ]:
        with pytest.raises(ValueError, match=message):
            ConvVAETransformer(**params).fit(X, labels)


def test_a_damaged_file_is_refused(waves, tmp_path):
    path = tmp_path / "checkpoint"
    estimator = ConvVAETransformer(**TINY, checkpoint=path).fit(waves)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        ConvVAETransformer(**TINY, checkpoint=path).fit(waves)
    estimator.save(path)
    with pytest.raises(ValueError, match=r"estimator.*Expected kind .checkpoint"):
        ConvVAETransformer(**TINY, checkpoint=path).fit(waves)


def test_callbacks_are_refused(waves, tmp_path):
    from skorch.callbacks import EpochTimer

    path = tmp_path / "checkpoint"
    estimator = ConvVAETransformer(**TINY, checkpoint=path, callbacks=[EpochTimer()])
    with pytest.raises(ValueError, match="Use checkpoint=None, or no callbacks"):
        estimator.fit(waves)
    assert os.listdir(tmp_path) == []


def test_nothing_is_written_unless_asked(waves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "replacing", None)
    ConvVAETransformer(**TINY).fit(waves).partial_fit(waves).transform(waves)
    ConvVAETransformer(**TINY, checkpoint="checkpoint").partial_fit(waves)
    assert os.listdir(tmp_path) == []


def test_the_checkpoint_is_not_in_the_pickle(waves, tmp_path):
    import pickle

    plain = ConvVAETransformer(**TINY).fit(waves)
    other = ConvVAETransformer(**TINY, checkpoint=tmp_path / "checkpoint").fit(waves)
    assert len(pickle.dumps(other)) < len(pickle.dumps(plain)) + 3000
