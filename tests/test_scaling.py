"""Scaling against scikit-learn, at the edges of float32, and its log-determinant."""

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skvae import scaling
from skvae.scaling import ChannelScaler, merged


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
    scaler = merged([*parts, StandardScaler()])  # the last has seen nothing
    assert scaler.scale_[0] == pytest.approx(centred.std(), rel=2e-10)
    assert scaler.mean_[0] - 2.0**27 == pytest.approx(centred.mean(), abs=1e-7)
    assert scaler.n_samples_seen_ == 1000
    constant = [StandardScaler().fit(np.full((n, 1), 0.1)) for n in (cut, 1000 - cut)]
    assert merged(constant).scale_ == [1.0]


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
