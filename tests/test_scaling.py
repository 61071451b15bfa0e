"""Scaling against scikit-learn, at the edges of float32, and its log-determinant."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skvae import ConvVAETransformer, scaling
from skvae.scaling import ChannelScaler, offset_and_scale


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.standard_normal((30, 2, 7)) * [[3.0], [0.1]] + [[5.0], [-2.0]]


@pytest.mark.parametrize(
    ("kind", "reference"), [("standard", StandardScaler), ("minmax", MinMaxScaler)]
)
@pytest.mark.parametrize("block_values", [1, 100, 2**22])
def test_each_channel_is_scaled_as_scikit_learn_does(
    X, kind, reference, block_values, monkeypatch
):
    monkeypatch.setattr(scaling, "BLOCK_VALUES", block_values)
    scaled = ChannelScaler(kind).fit(X).transform(X)
    assert scaled.dtype == np.float32
    for c in range(2):
        expected = reference().fit_transform(X[:, c].reshape(-1, 1)).ravel()
        np.testing.assert_allclose(scaled[:, c].ravel(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["standard", "minmax", None])
def test_inverse_transform_inverts(X, kind):
    scaler = ChannelScaler(kind).fit(X)
    np.testing.assert_allclose(
        scaler.inverse_transform(scaler.transform(X)), X, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("offset", "amplitude", "dtype"),
    [
        (1e6, 1.0, np.float64),
        (0.0, 1e-12, np.float32),
        (0.0, 1e30, np.float32),
        (0.0, 1e-42, np.float64),
    ],
)
def test_extreme_units_do_not_matter(offset, amplitude, dtype):
    signal = np.random.default_rng(0).standard_normal((20, 1, 9))
    X = (offset + amplitude * signal).astype(dtype)
    scaled = ChannelScaler("standard").fit(X).transform(X)
    expected = (signal - signal.mean()) / signal.std()
    np.testing.assert_allclose(scaled, expected, atol=1e-3)


@pytest.mark.parametrize("cut", [1, 300, 999])
def test_scalers_of_parts_are_merged_to_the_last_digits(cut):
    centred = np.random.default_rng(0).standard_normal((1000, 1))
    values = 2.0**27 + centred
    centred = values - 2.0**27  # exact
    parts = [StandardScaler().fit(part) for part in np.split(values, [cut])]
    offset, scale = offset_and_scale(parts)
    assert scale == pytest.approx(centred.std(), rel=2e-10)
    assert offset - 2.0**27 == pytest.approx(centred.mean(), abs=1e-7)
    constant = [StandardScaler().fit(np.full((n, 1), 0.1)) for n in (cut, 1000 - cut)]
    assert offset_and_scale(constant) == (pytest.approx(0.1), 0.0)
    ranges = [MinMaxScaler().fit(part) for part in np.split(values, [cut])]
    assert offset_and_scale(ranges) == (values.min(), np.ptp(values))


@pytest.mark.parametrize("offset", [0.1, 12345.678, 1e6])
def test_float32_is_scaled_as_exactly_as_float64(offset):
    rng = np.random.default_rng(0)
    X = (offset + rng.standard_normal((20, 1, 9))).astype(np.float32)
    scaler = ChannelScaler("standard").fit(X)
    exact = scaler.transform(X.astype(np.float64))
    np.testing.assert_array_equal(scaler.transform(X), exact)
    naive = (X - np.float32(scaler.offset_)) / np.float32(scaler.scale_)
    assert offset < 1 or abs(naive - exact).max() > 1e-5


@pytest.mark.parametrize("kind", ["standard", "minmax", None])
def test_transform_copies(kind):
    X = np.ones((3, 1, 4), np.float32)
    X[0] = 0
    X.flags.writeable = False
    scaled = ChannelScaler(kind).fit(X).transform(X)
    assert scaled.flags.writeable
    assert not np.shares_memory(scaled, X)


@pytest.mark.parametrize("shape", [(3, 8), (1, 8), (3, 1, 8), (2, 4)])
def test_other_shapes_are_refused_not_broadcast(shape):
    scaler = ChannelScaler("standard").fit(np.random.default_rng(0).random((9, 2, 4)))
    with pytest.raises(ValueError, match=r"Expected \(n_samples, 2, .*reshape"):
        scaler.transform(np.ones(shape))


# float32 has steps of 1/1024 at 10_000, and of 8 at 1e8.
@pytest.mark.parametrize("kind", ["standard", "minmax", None])
@pytest.mark.parametrize(
    ("offsets", "amplitude", "dtype"),
    [
        ([0.0, 0.0], 1.0, "float32"),
        ([0.0, 1000.0], 1.0, "float32"),
        ([1e8, -1e8], 1e6, "float32"),
        ([0.0, 1e5], 1.0, "float64"),
        ([-1e8, 1.7e9], 1.0, "float64"),
        ([0.0, 1.0], 1e-6, "float64"),
    ],
)
def test_float64_comes_back_where_float32_is_too_coarse(
    X, kind, offsets, amplitude, dtype
):
    X = (X - X.mean(axis=(0, 2), keepdims=True)) / X.std(axis=(0, 2), keepdims=True)
    X = np.reshape(offsets, (2, 1)) + amplitude * X
    scaler = ChannelScaler(kind).fit(X)
    back = scaler.inverse_transform(scaler.transform(X))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, X, rtol=0, atol=1e-3 * amplitude)
    # It is of the fitted scaler, not of the data.
    assert scaler.inverse_transform(np.zeros((1, 2, 7), np.float32)).dtype == dtype
    too_coarse = abs(X.astype(np.float32) - X).max() > 1e-3 * amplitude
    assert dtype == "float64" or not too_coarse


def test_a_constant_needs_no_float64(X):
    X[:, 1] = 123456.789
    scaler = ChannelScaler("standard").fit(X)
    back = scaler.inverse_transform(scaler.transform(X))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back[:, 1], np.float32(123456.789))


def test_a_scaler_of_an_older_version_gives_float32(X):
    older = ChannelScaler("standard").fit(X + 1e8)
    del older.dtype_
    assert older.inverse_transform(older.transform(X + 1e8)).dtype == np.float32


def waves(n_samples=60, seed=0):
    rng = np.random.default_rng(seed)
    phase = np.arange(48) / 8 + rng.normal(0, 0.3, (n_samples, 1))
    return np.sin(phase) + 0.1 * rng.standard_normal((n_samples, 48))


CLOSED = {"latent_dim": 3, "max_epochs": 0, "random_state": 0}


@pytest.mark.parametrize("scale", ["standard", "minmax", None])
@pytest.mark.parametrize("offset", [1e8, -1.7e9])
def test_signals_come_back_from_a_large_offset(scale, offset):
    """As without it: float32 would round them to the next 8, or 128."""
    X = waves()
    gaps = X.copy()
    gaps[::2, 10:16] = np.nan

    def results(offset):
        vae = ConvVAETransformer(**CLOSED, scale=scale).fit(gaps + offset)
        assert vae.transform(X + offset).dtype == np.float32
        Z = np.zeros((1, 3))
        signals = [
            vae.impute(gaps + offset),
            vae.reconstruct(X + offset),
            vae.inverse_transform(Z),
            vae.sample(5, random_state=0),
            vae.impute([x[:40] for x in gaps + offset])[0],
            vae.impute(torch.from_numpy(gaps + offset)).numpy(),
            vae.impute(pd.DataFrame(gaps + offset)).to_numpy(),
            vae.set_output(transform="pandas").reconstruct(X + offset).to_numpy(),
        ]
        assert all(x.dtype == np.float64 for x in signals) or not offset
        return [x - offset for x in signals]

    for found, expected in zip(results(offset), results(0.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.1)
        assert np.std(found - expected) < 0.02


@pytest.mark.parametrize("kind", ["standard", "minmax"])
@pytest.mark.parametrize("constant", [0.0, 5.0, 0.1])
def test_a_constant_channel_has_the_scale_of_the_others(X, kind, constant):
    living = ChannelScaler(kind).fit(X).scale_
    dead = np.full((30, 2, 7), constant)
    dead[3, 0, 2] = np.nan
    scaler = ChannelScaler(kind).fit(np.concatenate([dead[:, :1], X, dead], axis=1))
    np.testing.assert_allclose(scaler.scale_[1:3], living, rtol=1e-12)
    mean = np.sqrt(np.mean(living**2))
    np.testing.assert_allclose(scaler.scale_[[0, 3, 4]], mean, rtol=1e-12)
    np.testing.assert_allclose(scaler.offset_[[0, 3, 4]], constant, rtol=1e-12)


@pytest.mark.parametrize("scale", ["standard", "minmax"])
@pytest.mark.parametrize("linear_path", [True, False])
def test_dead_channels_do_not_set_the_unit(scale, linear_path):
    """Latents and score change with the unit of X as if there were none."""
    S = np.stack([waves(), waves(seed=1)], axis=1)
    dead = np.zeros((60, 2, 48))
    dead[0, 0, :3] = np.nan

    def fitted(X):
        params = CLOSED | {"scale": scale, "linear_path": linear_path}
        vae = ConvVAETransformer(**params).fit(X)
        return vae, np.linalg.norm(vae.transform(X).std(axis=0)), vae.score(X)

    vae, spread, score = fitted(np.concatenate([S, dead], axis=1))
    # A power of 2, so that nothing is rounded.
    _, small_spread, small_score = fitted(np.concatenate([S, dead], axis=1) / 2**20)
    assert small_spread == pytest.approx(spread / 2**20, rel=1e-3)
    n_measured = 4 * 48 - 3 / 60
    expected = score + n_measured * 20 * np.log(2)
    assert small_score == pytest.approx(expected, abs=1.0)
    assert vae.set_params(whiten=True).fit(S).latent_scale_ == pytest.approx(1.0)
    if linear_path:
        alone = fitted(S)[1]
        assert spread == pytest.approx(alone, rel=0.3)


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_constant_channel_is_only_shifted(kind):
    X = np.full((4, 1, 5), 7.0)
    scaler = ChannelScaler(kind).fit(X)
    assert not scaler.transform(X).any()
    np.testing.assert_array_equal(scaler.inverse_transform(scaler.transform(X)), X)


def test_log_det_matches_the_jacobian(X):
    scaler = ChannelScaler("standard").fit(X)
    # transform is affine, so unit steps give its Jacobian, exactly up to rounding.
    base = scaler.transform(np.zeros((1, 2, 7))).ravel()
    steps = scaler.transform(np.eye(14).reshape(14, 2, 7)).reshape(14, 14)
    _, expected = np.linalg.slogdet((steps - base).astype(np.float64))
    whole, first_only = scaler.log_det(np.array([[7, 7], [3, 0]]))
    assert whole == pytest.approx(expected, rel=1e-4)
    assert first_only == pytest.approx(-3 * np.log(scaler.scale_[0, 0]))


def test_without_scaling_no_offset_leads_out_of_the_unit_range():
    X = 0.5 + 1e-5 * np.random.default_rng(0).random((40, 20))
    vae = ConvVAETransformer(2, likelihood="bernoulli", scale=None, max_epochs=0)
    assert not vae.fit(X).scaler_.offset_.any()
    np.testing.assert_allclose(vae.reconstruct(X), X, rtol=1e-3)
