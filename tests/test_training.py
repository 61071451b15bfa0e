"""Batches, seeds, devices and what the skorch net does differently."""

import random

import numpy as np
import pytest
import torch
from scipy import stats

from skvae import ConvVAETransformer, training
from skvae.scaling import ChannelScaler
from skvae.training import (
    Batches,
    SignalDataset,
    decoder_gains,
    draw_seed,
    forked_random_state,
    map_batches,
    mix_pairs,
    n_batches,
    resolve_device,
)


def make_dataset(n_samples, y=None):
    X = np.arange(n_samples * 2.0).reshape(n_samples, 1, 2)
    return SignalDataset(X, ChannelScaler(None).fit(X), y)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n_samples", [2, 3, 7, 8, 9, 16, 17])
def test_batches_hold_every_sample_once_and_never_one_alone(n_samples, shuffle):
    batches = Batches(make_dataset(n_samples), 8, shuffle)
    xs = [x for x, _ in batches]
    assert len(xs) == len(batches) == n_batches(n_samples, 8)
    assert min(map(len, xs)) > 1
    assert sorted(torch.cat(xs)[:, 0, 0].tolist()) == list(range(0, 2 * n_samples, 2))


def test_batches_are_shuffled_anew_each_epoch():
    batches = Batches(make_dataset(40), 8, shuffle=True)
    first, second = (torch.cat([x for x, _ in batches]) for _ in range(2))
    assert not torch.equal(first, second)


def test_subset_and_sample_take_the_samples_they_say():
    dataset = make_dataset(300).subset(np.arange(290, 300))
    assert len(dataset) == 10
    np.testing.assert_array_equal(dataset.sample(10)[:, 0, 0], np.arange(580, 600, 2))
    sample = make_dataset(300).sample(10)
    assert len(np.unique(sample[:, 0, 0])) == len(sample) == 256


def test_mixup_mixes_signals_and_labels_alike():
    torch.manual_seed(0)
    x = torch.eye(500)[:, None]
    mixed, labels = mix_pairs(x, x[:, 0], 0.4)
    torch.testing.assert_close(mixed[:, 0], labels)
    torch.testing.assert_close(mixed.sum(dim=2), torch.ones(500, 1))
    own = torch.diagonal(mixed[:, 0])
    alone = (mixed.amax(dim=(1, 2)) == 1.0) & (own == 1.0)  # partnered with itself
    assert stats.kstest(own[~alone].numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    assert mix_pairs(x, x, 0.0)[0] is x


def test_decoder_gains_match_the_jacobian():
    torch.manual_seed(0)
    decoder = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 7)
    ).double()
    z = torch.randn(4, 3, dtype=torch.float64)
    gains = decoder_gains(decoder, z, step=1e-4)
    for gain, point in zip(gains, z, strict=True):
        jacobian = torch.autograd.functional.jacobian(decoder, point)
        torch.testing.assert_close(gain, jacobian.square().sum(dim=0))


@pytest.mark.parametrize("n_samples", [1, 15, 16, 17, 100])
def test_map_batches_gives_every_sample_its_result(n_samples, monkeypatch):
    monkeypatch.setattr(training, "INFERENCE_VALUES", 100)
    values = np.arange(3.0 * n_samples, dtype=np.float32).reshape(n_samples, 3)
    result = map_batches(lambda x: 2 * x, values.__getitem__, n_samples, 3, "cpu")
    np.testing.assert_array_equal(result, 2 * values)


def test_map_batches_halves_its_batches_when_memory_runs_out():
    sizes = []

    def function(x):
        sizes.append(len(x))
        if len(x) > 100:
            raise torch.cuda.OutOfMemoryError
        return x

    values = np.ones((1000, 4), np.float32)
    result = map_batches(function, values.__getitem__, 1000, 400, "cpu")
    np.testing.assert_array_equal(result, values)
    assert sizes[0] > 100 >= sizes[-1] >= training.MIN_INFERENCE_BATCH


def test_map_batches_gives_up_at_the_smallest_batch():
    def function(x):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        map_batches(function, np.ones((99, 4), np.float32).__getitem__, 99, 4, "cpu")


def test_forked_random_state_leaves_the_global_states_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with forked_random_state(3):
        first = torch.rand(2)
    with forked_random_state(3):
        assert torch.equal(first, torch.rand(2))
    draw_seed(None)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


@pytest.mark.parametrize(
    ("device", "has_cuda", "expected"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
        ("cuda:1", True, "cuda:1"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_device_is_resolved_when_used(
    device, has_cuda, expected, training, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert resolve_device(device, training=training) == expected


def test_a_missing_gpu_stops_training_but_not_inference():
    with pytest.raises(ValueError, match=r"device='cuda:0'.*no GPU.*device='auto'"):
        resolve_device("cuda:0", training=True)
    with pytest.warns(UserWarning, match="The CPU is used"):
        assert resolve_device("cuda:0", training=False) == "cpu"


def test_early_stopping_stops_and_restores_the_best_epoch(waves):
    """Against an equal net trained for exactly `best_epoch_` epochs."""
    params = {
        "random_state": 0,
        "early_stopping": True,
        "lr": 0.02,
        "lr_schedule": None,
    }
    stopped = ConvVAETransformer(12, max_epochs=60, patience=3, **params).fit(waves)
    assert stopped.n_epochs_ == stopped.best_epoch_ + 3 < 60
    losses = stopped.history_["valid_loss"]
    assert min(losses) < 0  # where a relative threshold has the wrong sign
    assert np.argmin(losses) + 1 == stopped.best_epoch_
    equal = ConvVAETransformer(
        12, max_epochs=stopped.best_epoch_, patience=60, **params
    ).fit(waves)
    assert equal.best_epoch_ == stopped.best_epoch_
    for ours, theirs in zip(
        stopped.module_.parameters(), equal.module_.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_early_stopping_waits_for_the_warm_up(waves):
    vae = ConvVAETransformer(
        2,
        early_stopping=True,
        patience=1,
        kl_warmup=0.8,
        lr=0.1,
        max_epochs=20,
        lr_schedule=None,
        random_state=0,
    ).fit(waves)
    assert vae.n_epochs_ >= 16


def test_history_is_that_of_all_samples_not_of_the_last_batch(waves):
    """With frozen weights an epoch's terms are those of one pass in one batch."""
    params = {
        "lr": 1e-30,
        "mixup": 0,
        "input_noise": 0,
        "max_epochs": 1,
        "random_state": 0,
        "linear_path": True,
        "lr_schedule": None,
    }
    small = ConvVAETransformer(2, batch_size=33, **params).fit(waves).history_
    whole = ConvVAETransformer(2, batch_size=200, **params).fit(waves).history_
    np.testing.assert_allclose(small["train_kl"], whole["train_kl"], rtol=1e-4)
    assert small["train_kl"] == pytest.approx(small["train_kl_per_dim"].sum())


def test_divergence_raises_with_advice_and_leaves_nothing_fitted(waves):
    vae = ConvVAETransformer(2, lr=1e20, lr_schedule=None, max_epochs=5)
    with pytest.raises(FloatingPointError, match=r"epoch.*Lower lr"):
        vae.fit(waves)
    assert not vae.__sklearn_is_fitted__()
    assert vars(vae) == vars(ConvVAETransformer(**vae.get_params()))
