"""Which signals come in which batch, with what the network reads of them."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skvae import ConvVAETransformer, batches
from skvae.scaling import ChannelScaler
from skvae.training import data, memory
from skvae.training.data import Batches, ScaledSignals, SignalDataset, n_batches

# Stands in for a network: what is trained reads twice the signal, flat.
DOUBLING = SimpleNamespace(represent=lambda x: 2 * x.flatten(1))


def make_dataset(n_samples, *, with_y=False, device="cpu"):
    """Signals whose first value is twice their number, which is y too."""
    X = np.arange(n_samples * 2.0).reshape(n_samples, 1, 2)
    signals = ScaledSignals(X, ChannelScaler(None).fit(X), device)
    if device == "cpu":
        signals.represent_by(DOUBLING, signals.all_rows())
    y = np.arange(n_samples, dtype=np.float32)[:, None] if with_y else None
    return SignalDataset(signals, y)


def numbers(dataset, index=slice(None)):
    return (dataset.signals.read(dataset.rows[index])[:, 0, 0] / 2).tolist()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n_samples", [2, 3, 7, 8, 9, 16, 17])
def test_batches_hold_every_sample_once_and_never_one_alone(n_samples, shuffle):
    batches = Batches(make_dataset(n_samples), 8, shuffle)
    xs = [x for _, (x,) in batches]
    assert len(xs) == len(batches) == n_batches(n_samples, 8)
    assert min(map(len, xs)) > 1
    assert sorted(torch.cat(xs)[:, 0, 0].tolist()) == list(range(0, 2 * n_samples, 2))


def test_a_batch_size_of_1_is_possible():
    assert [len(h) for h, _ in Batches(make_dataset(5), 1)] == [1] * 5


def test_batches_are_shuffled_anew_each_epoch():
    batches = Batches(make_dataset(40), 8, shuffle=True)
    first, second = (torch.cat([x for _, (x,) in batches]) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("with_y", [True, False])
def test_input_signal_and_target_belong_together(with_y, kept, monkeypatch):
    """However often they were split, sampled and shuffled; in memory or streamed."""
    monkeypatch.setattr(ScaledSignals, "_fits", lambda self: kept)
    dataset, _ = make_dataset(300, with_y=with_y).split(200)
    dataset = dataset.subset(torch.arange(0, 200, 2)).sample(64)
    for h, (x, *y) in Batches(dataset, 16, shuffle=True):
        assert x.shape == (16, 1, 2)
        assert torch.equal(h, 2 * x[:, 0])
        assert len(y) == with_y
        if with_y:
            assert torch.equal(2 * y[0][:, 0], x[:, 0, 0])


def test_split_subset_and_sample_take_the_samples_they_say():
    dataset = make_dataset(300)
    first, second = dataset.split(90)
    assert len(first) == 90
    assert sorted(numbers(first) + numbers(second)) == list(range(300))
    assert numbers(first) != list(range(90))
    last = dataset.subset(torch.arange(290, 300))
    assert numbers(last) == numbers(last.sample(10)) == list(range(290, 300))
    sample = numbers(dataset.sample(100))
    assert len(set(sample)) == len(sample) == 100
    assert np.mean(sample) == pytest.approx(149.5, abs=50)  # of all of them


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("linear_path", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_data_larger_than_what_is_kept_trains_alike(
    waves, monkeypatch, linear_path, labelled
):
    params = {"max_epochs": 2, "batch_size": 33, "random_state": 0}
    params |= {"linear_path": linear_path, "label_weight": float(labelled)}
    y = np.arange(len(waves)) % 4
    kept = ConvVAETransformer(2, **params).fit(waves, y)
    monkeypatch.setattr(data, "RESIDENT_BYTES", 0)
    read = ConvVAETransformer(2, **params).fit(waves, y)
    # Components of batches of another size are rounded otherwise; signals are not.
    rtol = 1e-4 if linear_path else 0
    np.testing.assert_allclose(
        read.transform(waves), kept.transform(waves), rtol=rtol, atol=rtol
    )
    np.testing.assert_allclose(
        read.history_["train_loss"], kept.history_["train_loss"], rtol=rtol
    )


def test_signals_on_disk_are_not_read_whole(waves, monkeypatch, tmp_path):
    """More than is kept: each access is a few rows."""
    np.save(tmp_path / "X.npy", np.tile(waves, (20, 1)))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    sizes = []
    transform = ChannelScaler.transform

    def recorded(self, X):
        sizes.append(len(X))
        return transform(self, X)

    monkeypatch.setattr(ChannelScaler, "transform", recorded)
    monkeypatch.setattr(data, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(batches, "INFERENCE_TIMEPOINTS", {"cpu": 2**12})
    monkeypatch.setattr(memory, "REMEMBERED_VALUES", 2**12)
    vae = ConvVAETransformer(2, max_epochs=1, feature_weight=0.0, random_state=0)
    vae.fit(X)
    assert sum(sizes) >= len(X)
    assert max(sizes) < len(X)


def test_streamed_rows_are_looked_up_in_main_memory(monkeypatch):
    """On the device, "meta" here, each batch would wait for the step before.

    Not tested here: that copies to a real GPU do not wait, for which it takes one.
    """
    monkeypatch.setattr(ScaledSignals, "_fits", lambda self: False)
    dataset = make_dataset(200, with_y=True, device="meta")
    dataset.signals.h = torch.zeros(200, 2)
    assert dataset.rows.device.type == dataset.y.device.type == "cpu"
    first, _ = dataset.split(90)
    batches = list(Batches(first, 32, shuffle=True))
    assert [len(h) for h, _ in batches] == [32, 32, 26]
    for h, (x, y) in batches:
        assert {part.device.type for part in (h, x, y)} == {"meta"}


def test_memory_that_torch_keeps_is_free_for_data(monkeypatch):
    """Not tested here: that a GPU reports these numbers so."""
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 20)
    assert data.free_cuda_memory(torch.device("cuda")) == 150


def test_in_a_group_a_split_leaves_the_draws_of_all_processes_in_step(monkeypatch):
    """Shares of unequal sizes would draw other kernels after it."""
    monkeypatch.setattr(data, "n_processes", lambda: 2)
    drawn = []
    for n_samples in (50, 70):
        torch.manual_seed(0)
        first, second = make_dataset(n_samples).split(40)
        rows = torch.cat([first.rows, second.rows])
        assert rows.sort().values.tolist() == list(range(n_samples))
        assert rows.tolist() != list(range(n_samples))
        drawn.append(torch.rand(3))
    torch.testing.assert_close(*drawn, rtol=0, atol=0)
