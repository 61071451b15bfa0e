"""Calibration: what is held back tells what training signals cannot."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skvae import ConvVAETransformer, transformer
from skvae.calibration import choose_shift, cross_validate, shifted_copies


def bumps(n_samples, spread, seed=0):
    """Bumps of random height, at the middle of 100 points give or take `spread`."""
    rng = np.random.default_rng(seed)
    center = 50 + rng.integers(-spread, spread + 1, (n_samples, 1, 1))
    height = rng.uniform(0.5, 1.5, (n_samples, 1, 1))
    bump = height * np.exp(-0.5 * ((np.arange(100) - center) / 4) ** 2)
    return bump + 0.02 * rng.standard_normal(bump.shape)


def test_shifts_are_chosen_where_signals_are_not_aligned():
    assert choose_shift(bumps(60, 0), 3, seed=0)[0] == 0
    assert choose_shift(bumps(25, 6), 3, seed=0)[0] > 0
    assert choose_shift(bumps(25, 6), 3, seed=0, may_shift=False)[0] == 0


def test_noise_is_that_of_signals_not_fitted():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 1, 200))  # nothing but noise of variance 1
    noise = cross_validate(X, 8, seed=0, shift=0)[1]
    assert noise == pytest.approx(1.0, abs=0.1)
    pca_residual = np.linalg.svd(X[:, 0] - X[:, 0].mean(0))[1][8:] ** 2
    assert pca_residual.sum() / (30 * 192) < 0.8  # of those fitted it is too small


def test_shifted_copies_repeat_their_edges():
    x = bumps(200, 0)
    copies = shifted_copies(x, 2).reshape(5, 200, 100)
    np.testing.assert_array_equal(copies[0, :, :-2], x[:, 0, 2:])
    np.testing.assert_array_equal(copies[0, :, -1], x[:, 0, -1])


def test_weight_suits_held_out_signals_and_training_is_not_trusted_blindly():
    """On few noisy signals a long training overfits: it must not cost likelihood."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((230, 3)) @ rng.standard_normal((3, 40))
    X += 0.5 * rng.standard_normal(X.shape)
    params = {"random_state": 0, "mixup": 0, "input_noise": 0}
    start = ConvVAETransformer(3, max_epochs=0, **params).fit(X[:30])
    vae = ConvVAETransformer(3, max_epochs=150, lr=1e-2, **params).fit(X[:30])
    error = np.square((vae.reconstruct(X) - X) / vae.scaler_.scale_).mean(axis=1)
    variance = 0.5 / vae.reconstruction_weight_
    assert variance > error[:30].mean()
    assert variance == pytest.approx(error[30:].mean(), rel=0.3)
    assert vae.score(X[30:]) > start.score(X[30:]) - 1.0
    assert vae.held_back_excess_ > 1.0


@pytest.mark.parametrize("label_weight", [0.0, 1.0])
def test_labels_are_not_given_up_for_the_likelihood(label_weight, monkeypatch):
    """Where a network that overfits is trusted less, one taught labels is not."""
    trusts = []

    def choose_trust(*args):
        calibration = transformer_choose_trust(*args)
        trusts.append(calibration[0])
        return calibration

    transformer_choose_trust = transformer.choose_trust
    monkeypatch.setattr(transformer, "choose_trust", choose_trust)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 40)), np.arange(30) % 2
    params = {"label_weight": label_weight, "mixup": 0, "input_noise": 0}
    ConvVAETransformer(3, max_epochs=50, lr=1e-2, random_state=0, **params).fit(X, y)
    assert len(trusts) == 1
    assert (trusts[0] == 1.0) is (label_weight > 0)


def test_fits_in_threads_do_not_disturb_each_other(waves):
    before = torch.get_rng_state()

    def fit(_):
        vae = ConvVAETransformer(2, max_epochs=1, random_state=0)
        return vae.fit_transform(waves[:60])

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(fit, range(6))
    for other in others:
        np.testing.assert_array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
