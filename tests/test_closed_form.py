"""The closed form against scikit-learn, on rows and on sums of their products."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from skvae import ConvVAETransformer
from skvae.model import closed_form, moments
from skvae.model.closed_form import (
    Views,
    fit_components,
    held_out_noise,
    linear_start,
    principal_components,
)
from skvae.model.features import RandomConvolutions
from skvae.model.moments import Rows, Sums, gather
from skvae.model.regression import Choice
from skvae.training import data as training_data
from skvae.training import fit, start

N_VALUES, N_FEATURES, N_TARGETS = 12, 20, 3


@pytest.fixture(scope="module")
def views():
    """Signal (150, 12), features (150, 20), correlated with it, and target (150, 3)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 4)) @ rng.standard_normal((4, N_VALUES))
    x += 0.3 * rng.standard_normal(x.shape) + 2.0
    features = np.tanh(x @ rng.standard_normal((N_VALUES, N_FEATURES)) / 5)
    features = 0.5 + 0.2 * features + 0.05 * rng.standard_normal(features.shape)
    target = np.sin(6 * features[:, :N_TARGETS]) + 0.3 * rng.standard_normal((150, 3))
    return x, features, target


def as_rows(*parts):
    ones = np.ones((len(parts[0]), 1))
    return np.concatenate([ones, *parts], axis=1)


def in_blocks(rows, is_labelled=None, n_folds=5, as_sums=False, n_targets=N_TARGETS):
    """Rows of folds, labelled and unlabelled apart, as `gather` gives them."""
    if is_labelled is None:
        is_labelled = np.zeros(len(rows), dtype=bool)
    blocks = []
    for i, (_, fold) in enumerate(KFold(n_folds).split(rows)):
        for labelled in (False, True):
            values = rows[fold][is_labelled[fold] == labelled]
            if len(values):
                values = sums_of(values).rows() if as_sums else values
                blocks.append(Rows(values, i, (labelled,) * n_targets))
    return blocks


def sums_of(rows):
    """`Sums` of rows, which stay as they are."""
    return Sums(rows.shape[1]).add(rows.copy())


def signed(a, like):
    """Columns of a with the signs of those of `like`."""
    return a * np.sign((a * like).sum(axis=0))


def assert_same_up_to_sign(actual, expected, rtol):
    """Columns of the same directions, relative to the largest value."""
    atol = rtol * np.abs(expected).max()
    np.testing.assert_allclose(signed(actual, expected), expected, rtol=0, atol=atol)


def assert_same_components(actual, expected, rtol=1e-8):
    for name in ("mean", "std", "elsewhere", "variance", "n_samples"):
        np.testing.assert_allclose(
            getattr(actual, name), getattr(expected, name), rtol=rtol, err_msg=name
        )
    assert_same_up_to_sign(actual.directions.T, expected.directions.T, rtol)
    assert_same_up_to_sign(actual.loadings, expected.loadings, rtol)


# Components


def test_signs_are_all_that_the_comparison_forgives():
    a = np.arange(6.0).reshape(3, 2)
    assert_same_up_to_sign(a * [1, -1], a, 1e-8)
    with pytest.raises(AssertionError):
        assert_same_up_to_sign(a + 1e-6 * np.eye(3, 2), a, 1e-8)


@pytest.mark.parametrize("feature_weight", [0.3, 1.0, 4.0])
def test_components_are_pca_of_the_views_side_by_side(views, feature_weight):
    x, features, _ = views
    fitted = fit_components(
        in_blocks(as_rows(x, features)),
        Views(N_VALUES, N_FEATURES, feature_weight, 0.0),
        5,
        seed=0,
    )
    signal = x - x.mean(axis=0)
    scale = np.sqrt(x.var(axis=0, ddof=1).sum())
    standard = StandardScaler().fit_transform(features)
    standard /= np.sqrt(standard.var(axis=0, ddof=1).sum())
    side_by_side = np.hstack([signal / scale, feature_weight * standard])
    pca = PCA(5).fit(side_by_side)

    inputs = np.hstack([x, features]) - fitted.mean
    scores = inputs @ fitted.directions.T
    assert_same_up_to_sign(
        scores, PCA(5, whiten=True).fit_transform(side_by_side), 1e-8
    )
    expected_std = scale * np.sqrt(pca.explained_variance_)
    np.testing.assert_allclose(fitted.std, expected_std, rtol=1e-8)
    in_signal = np.square(pca.components_[:, :N_VALUES]).sum(axis=1)
    np.testing.assert_allclose(fitted.elsewhere, 1 - in_signal, rtol=1e-8)
    regression = LinearRegression().fit(scores, x)
    np.testing.assert_allclose(fitted.loadings, regression.coef_, atol=1e-10)
    left = np.square(x - regression.predict(scores)).sum() / (len(x) - 1)
    assert fitted.noise(5) == pytest.approx(left / (N_VALUES - 5), rel=1e-8)


@pytest.mark.parametrize("feature_weight", [0.0, 1.0])
@pytest.mark.parametrize("classes", [False, True])
def test_with_labels_a_third_view_is_the_ridge_prediction(
    views, classes, feature_weight
):
    x, features, target = views
    if classes:
        target = target == target.max(axis=1, keepdims=True)
    is_labelled = np.arange(150) % 3 > 0
    options = Views(N_VALUES, N_FEATURES, feature_weight, 2.0, classes)
    rows = as_rows(x, features, target)
    fitted = fit_components(in_blocks(rows, is_labelled), options, 5, seed=0)

    parts = [x, StandardScaler().fit_transform(features)]
    signal, standard = (
        part / np.sqrt(part.var(axis=0, ddof=1).sum()) for part in parts
    )
    predicted = []
    for column, (a, b, penalty) in zip(target.T, fitted.choice.options, strict=True):
        inputs = np.hstack([a * signal, b * standard])
        known = inputs[is_labelled]
        model = Ridge(penalty * len(known) * known.var(axis=0).sum())
        predicted.append(model.fit(known, column[is_labelled]).predict(inputs))
    predicted = np.array(predicted).T
    predicted *= 2.0 / np.sqrt(predicted.var(axis=0, ddof=1).sum())
    assert (fitted.choice.trust > 0.3).all()
    side_by_side = np.hstack(
        [signal, feature_weight * standard, predicted * fitted.choice.trust]
    )
    expected = PCA(5, whiten=True).fit_transform(side_by_side)
    scores = (np.hstack([x, features]) - fitted.mean) @ fitted.directions.T
    assert_same_up_to_sign(scores, expected, 1e-7)


@pytest.mark.parametrize("as_sums", [False, True])
def test_a_target_of_noise_has_no_weight(views, as_sums):
    x, features, _ = views
    noise = np.random.default_rng(3).standard_normal((150, 1))
    rows = as_rows(x, features, noise)
    blocks = in_blocks(rows, np.ones(150, bool), as_sums=as_sums, n_targets=1)
    without = Views(N_VALUES, N_FEATURES, 1.0, 0.0)
    expected = fit_components(blocks, without, 5, seed=0)
    actual = fit_components(blocks, without._replace(label_weight=2.0), 5, seed=0)
    assert actual.choice.trust == [0.0]
    assert_same_components(actual, expected)
    # What can be predicted has.
    rows[:, -1] += 3 * x[:, 0]
    blocks = in_blocks(rows, np.ones(150, bool), as_sums=as_sums, n_targets=1)
    told = fit_components(blocks, without._replace(label_weight=2.0), 5, seed=0)
    assert 0.9 < told.choice.trust[0] < 1.0
    assert np.abs(told.std - expected.std).max() > 0.1 * expected.std[0]


def test_what_unlabelled_signals_have_for_a_target_does_not_matter(views):
    x, features, target = views
    is_labelled = np.arange(150) % 3 > 0
    options = Views(N_VALUES, N_FEATURES, 1.0, 2.0)
    other = np.where(is_labelled[:, None], target, 1e3)
    first, second = (
        fit_components(
            in_blocks(as_rows(x, features, y), is_labelled), options, 5, seed=0
        )
        for y in (target, other)
    )
    np.testing.assert_array_equal(first.directions, second.directions)
    # And what they have for features does.
    changed = features + 0.3 * (1 - is_labelled[:, None]) * features[:, :1]
    third = fit_components(
        in_blocks(as_rows(x, changed, target), is_labelled), options, 5, seed=0
    )
    assert np.abs(third.directions - first.directions).max() > 1e-3


@pytest.mark.parametrize("n_samples", [30, 100])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_without_features_it_is_probabilistic_pca(n_samples, k):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 3)) @ rng.standard_normal((3, 40))
    X += 0.5 * rng.standard_normal(X.shape) + 3.0
    vae = ConvVAETransformer(k, feature_weight=0.0, max_epochs=0, random_state=0)
    vae.fit(X)
    pca = PCA(k, svd_solver="full").fit(X)
    variance = np.square(vae.scaler_.scale_) / (2 * vae.reconstruction_weight_)
    np.testing.assert_allclose(variance, pca.noise_variance_, rtol=1e-4)
    np.testing.assert_allclose(
        vae.score_samples(X), pca.score_samples(X), rtol=1e-4, atol=0.02
    )
    shrinkage = 1 - pca.noise_variance_ / pca.explained_variance_
    assert_same_up_to_sign(vae.transform(X), pca.transform(X) * shrinkage, 1e-3)
    own = pca.transform(X) * shrinkage @ pca.components_ + pca.mean_
    np.testing.assert_allclose(
        vae.reconstruct(X), own, atol=1e-3 * np.abs(X).max(), rtol=0
    )


def test_the_first_components_of_many_columns_are_approximated_well():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((700, 10)) * np.arange(10, 0, -1)
    rows = rows @ rng.standard_normal((10, 650)) + rng.standard_normal((700, 650))
    vectors, squares = principal_components(rows, 4, seed=0)
    _, s, vt = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(squares, s[:4] ** 2, rtol=1e-3)
    assert (np.abs((vectors * vt[:4]).sum(axis=1)) > 0.999).all()


# Sums instead of rows


@pytest.mark.parametrize("n_samples", [5, 150])
def test_rows_of_sums_have_the_same_products(views, n_samples):
    rows = as_rows(*views)[:n_samples]
    rows[:, 3] = 0.0
    products = rows.T @ rows
    few = sums_of(rows).rows()
    assert few.shape == products.shape
    np.testing.assert_allclose(
        few.T @ few, products, rtol=1e-9, atol=1e-9 * products.max()
    )


def test_an_error_of_the_thread_that_adds_is_raised(monkeypatch):
    def fail(self, values):
        raise MemoryError("no")

    monkeypatch.setattr(moments, "MAX_VALUES", 0)
    monkeypatch.setattr(Sums, "add", fail)
    known = np.zeros((10, 0), bool)
    with pytest.raises(MemoryError, match="no"):
        gather(lambda index: np.ones((len(index), 3)), 3, known, seed=0)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("n_parts", [1, 2, 7, 150])
def test_sums_of_any_parts_add_up_to_those_of_all(views, n_parts, offset):
    """Against NumPy's mean and covariance."""
    values = views[1] + offset
    rng = np.random.default_rng(n_parts)
    ends = np.sort(rng.integers(0, 150, n_parts - 1))
    total = Sums(N_FEATURES)
    for part in np.split(values, ends):
        if len(part):
            total.add(part.copy())
    assert total.n == 150
    np.testing.assert_allclose(total.mean, values.mean(axis=0), rtol=1e-12)
    products = 149 * np.cov(values.T)
    atol = 1e-12 * products.max() * max(1.0, offset)
    np.testing.assert_allclose(
        np.triu(total.products), np.triu(products), rtol=1e-12, atol=atol
    )


@pytest.mark.parametrize("label_weight", [0.0, 2.0])
@pytest.mark.parametrize("n_folds", [2, 5])
def test_components_of_sums_are_those_of_rows(views, label_weight, n_folds):
    rows = as_rows(*views)
    is_labelled = np.arange(150) % 4 > 0
    options = Views(N_VALUES, N_FEATURES, 1.0, label_weight)
    whole = in_blocks(rows, is_labelled, 5)
    expected = fit_components(whole, options, 5, seed=0)
    for as_sums in (False, True):
        blocks = in_blocks(rows, is_labelled, n_folds, as_sums)
        actual = fit_components(blocks, options, 5, seed=0, choice=expected.choice)
        assert_same_components(actual, expected)


def test_blocks_of_two_halves_are_those_of_all(views):
    """Rows, their sums, and rows beside sums: what keeps learning adds such blocks."""
    rows, is_labelled = as_rows(*views), np.arange(150) % 4 > 0
    options = Views(N_VALUES, N_FEATURES, 1.0, 2.0)
    expected = fit_components(in_blocks(rows, is_labelled), options, 5, seed=0)
    for kinds in ((False, False), (True, True), (True, False)):
        blocks = []
        for half, as_sums in zip((slice(70), slice(70, None)), kinds, strict=True):
            blocks += in_blocks(rows[half], is_labelled[half], as_sums=as_sums)
        same = fit_components(blocks, options, 5, seed=0, choice=expected.choice)
        assert_same_components(same, expected)
        own = fit_components(blocks, options, 5, seed=0).choice
        np.testing.assert_allclose(own.trust, expected.choice.trust, atol=0.15)


def test_constant_features_are_dropped_from_sums_too(views):
    x, features, _ = views
    padded = np.hstack([features[:, :10], np.full((150, 10), 0.875)])
    rows = as_rows(x, padded)
    options = Views(N_VALUES, N_FEATURES, 1.0, 0.0)
    alone = Views(N_VALUES, 10, 1.0, 0.0)
    expected = fit_components(in_blocks(as_rows(x, padded[:, :10])), alone, 5, seed=0)
    for as_sums in (False, True):
        actual = fit_components(in_blocks(rows, as_sums=as_sums), options, 5, seed=0)
        np.testing.assert_allclose(actual.std, expected.std, rtol=1e-7)


@pytest.mark.parametrize("n_features", [20, 800])
def test_constant_features_of_many_do_not_pass_for_features(n_features):
    """Sums of products are rounded: what that leaves of a constant is no variance."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 5))
    features = rng.uniform(size=(1000, n_features))
    features[:, ::2] = 0.875
    rows = as_rows(x, features)
    options = Views(5, n_features, 1.0, 0.0)
    expected = fit_components([Rows(rows, 0, ())], options, 3, seed=0)
    blocks = [Rows(sums_of(rows).rows(), 0, ())]
    actual = fit_components(blocks, options, 3, seed=0)
    np.testing.assert_allclose(actual.std, expected.std, rtol=1e-6)


def test_an_offset_does_not_eat_the_signal_in_sums(views):
    """Signals that come unscaled, of values around 10 000."""
    x = views[0] + 1e4
    rows = as_rows(x)
    options = Views(N_VALUES, 0, 0.0, 0.0)
    expected = fit_components([Rows(rows, 0, ())], options, 3, seed=0)
    blocks = [Rows(sums_of(rows).rows(), 0, ())]
    actual = fit_components(blocks, options, 3, seed=0)
    np.testing.assert_allclose(actual.std, expected.std, rtol=1e-4)


# Noise


@pytest.mark.parametrize("as_sums", [False, True])
@pytest.mark.parametrize("n_latents", [1, 4])
def test_held_out_noise_is_that_of_a_loop_over_folds(views, n_latents, as_sums):
    x = views[0]
    blocks = in_blocks(as_rows(x), as_sums=as_sums)
    squares = 0.0
    for kept, fold in KFold(5).split(x):
        pca = PCA(n_latents, svd_solver="full").fit(x[kept])
        decoded = pca.inverse_transform(pca.transform(x[fold]))
        squares += np.square(x[fold] - decoded).sum()
    expected = squares / len(x) / (N_VALUES - n_latents)
    actual = held_out_noise(blocks, Views(N_VALUES, 0, 0.0, 0.0), n_latents, seed=0)
    assert actual == pytest.approx(expected, rel=1e-8)
    fitted = fit_components(blocks, Views(N_VALUES, 0, 0.0, 0.0), n_latents, seed=0)
    assert actual > fitted.noise(n_latents)


def test_held_out_noise_of_few_wide_signals_is_not_that_of_training():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 200))  # nothing but noise of variance 1
    blocks = in_blocks(as_rows(x))
    noise = held_out_noise(blocks, Views(200, 0, 0.0, 0.0), 8, seed=0)
    assert noise == pytest.approx(1.0, abs=0.1)


def test_held_out_noise_where_all_labels_are_in_one_fold(views):
    is_labelled = np.zeros(150, dtype=bool)
    is_labelled[:10] = True
    blocks = in_blocks(as_rows(*views), is_labelled)
    options = Views(N_VALUES, N_FEATURES, 1.0, 2.0)
    assert 0 < held_out_noise(blocks, options, 2, seed=0) < 10


def test_folds_are_predicted_as_was_chosen_once(views, monkeypatch):
    blocks = in_blocks(as_rows(*views), np.ones(150, dtype=bool))
    options = Views(N_VALUES, N_FEATURES, 1.0, 2.0)
    fitted = fit_components(blocks, options, 2, seed=0)
    monkeypatch.setattr(closed_form, "choose", None)
    noise = held_out_noise(blocks, options, 2, 0, fitted.choice)
    assert noise > fitted.noise(2)


# Reading


class Reader:
    """Values of signals by index, which remembers what was asked for."""

    def __init__(self, values):
        self.values = values
        self.asked = []

    def __call__(self, index):
        self.asked.append(np.array(index))
        return as_rows(np.asarray(self.values[index], dtype=np.float64))


@pytest.mark.parametrize("as_sums", [False, True])
def test_each_signal_is_read_once_and_is_in_one_fold(tmp_path, monkeypatch, as_sums):
    """60 000 signals of 48 points, from a memory map."""
    monkeypatch.setattr(moments, "MAX_VALUES", 2**20 if as_sums else 2**23)
    path = tmp_path / "signals.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float32, (60_000, 48))
    rng = np.random.default_rng(0)
    X[:] = rng.standard_normal((60_000, 1)) * np.sin(np.arange(48))
    X += 0.1 * rng.standard_normal(X.shape, dtype=np.float32)
    X.flush()
    read = Reader(np.load(path, mmap_mode="r"))
    is_labelled = np.arange(60_000) % 10 == 0
    blocks = gather(read, 49, is_labelled[:, None], seed=0)

    np.testing.assert_array_equal(np.sort(np.concatenate(read.asked)), range(60_000))
    assert max(len(index) for index in read.asked) <= (4096 if as_sums else 12_000)
    assert sum(len(block.values) for block in blocks) == (490 if as_sums else 60_000)
    sizes = [block.values[:, 0] @ block.values[:, 0] for block in blocks]
    folds = np.bincount([block.fold for block in blocks], weights=sizes)
    np.testing.assert_allclose(folds, 12_000)
    labelled = sum(
        s for s, block in zip(sizes, blocks, strict=True) if block.known == (True,)
    )
    assert labelled == pytest.approx(6000)

    fitted = fit_components(blocks, Views(48, 0, 0.0, 0.0), 3, seed=0)
    pca = PCA(3, svd_solver="covariance_eigh").fit(np.asarray(X, dtype=np.float64))
    np.testing.assert_allclose(
        np.square(fitted.std), pca.explained_variance_, rtol=1e-6
    )
    direction = fitted.directions[0] / np.linalg.norm(fitted.directions[0])
    assert abs(direction @ pca.components_[0]) == pytest.approx(1, abs=1e-8)


def test_a_fit_reads_each_signal_of_a_memory_map_once_for_its_sums(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(moments, "MAX_VALUES", 2**12)
    monkeypatch.setattr(training_data, "RESIDENT_BYTES", 2**12)
    asked = []
    plain_gather = start.gather

    def spied_gather(read, *args):
        def spied(index):
            asked.append(index)
            return read(index)

        return plain_gather(spied, *args)

    monkeypatch.setattr(start, "gather", spied_gather)
    path = tmp_path / "signals.npy"
    X = np.random.default_rng(0).standard_normal((3000, 16)).cumsum(axis=1)
    np.save(path, X.astype(np.float32))
    X = np.load(path, mmap_mode="r")
    params = {"max_epochs": 0, "random_state": 0, "device": "cpu"}
    vae = ConvVAETransformer(3, feature_weight=0.0, **params).fit(X)
    np.testing.assert_array_equal(np.sort(np.concatenate(asked)), range(3000))
    pca = PCA(3).fit(X)
    shrinkage = 1 - pca.noise_variance_ / pca.explained_variance_
    assert_same_up_to_sign(vae.transform(X), pca.transform(X) * shrinkage, 1e-3)


@pytest.mark.parametrize(("is_streamed", "max_epochs"), [(0, 0), (0, 1), (1, 0)])
def test_features_of_a_signal_are_computed_once(monkeypatch, is_streamed, max_epochs):
    """But for those few that means are over, where they are not kept."""
    if is_streamed:
        monkeypatch.setattr(moments, "MAX_VALUES", 2**12)
        monkeypatch.setattr(start, "MAX_VALUES", 2**12)
        monkeypatch.setattr(training_data, "RESIDENT_BYTES", 2**12)
    monkeypatch.setattr(fit, "STATISTICS_VALUES", 2**8)
    n_read = []
    plain_forward = RandomConvolutions.forward

    def spied_forward(self, x):
        n_read.append(len(x))
        return plain_forward(self, x)

    monkeypatch.setattr(RandomConvolutions, "forward", spied_forward)
    X = np.random.default_rng(0).standard_normal((2000, 16)).cumsum(axis=1)
    params = {"max_epochs": max_epochs, "random_state": 0, "device": "cpu"}
    ConvVAETransformer(3, **params).fit(X)
    # 32 are filled, 256 described, and 400 test what training gains.
    n_again = 32 + is_streamed * (1 + 256 + 400)
    assert 2000 <= sum(n_read) <= 2000 + n_again


def test_a_streamed_fit_with_features_and_labels_is_the_resident_one(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 20)).cumsum(axis=1)
    y = 1 + (X[:, 5] > 0).astype(int)
    y[::3] = -1
    # Signals are left out one by one, sums by folds, which may choose otherwise.
    choice = Choice(np.tile([1.0, 0.3, 1e-3], (2, 1)), np.ones(2))
    monkeypatch.setattr(closed_form, "choose", lambda *args: choice)
    params = {"max_epochs": 0, "random_state": 0, "device": "cpu", "label_weight": 1.0}
    expected = ConvVAETransformer(3, **params).fit_transform(X, y)
    monkeypatch.setattr(moments, "MAX_VALUES", 2**12)
    monkeypatch.setattr(training_data, "RESIDENT_BYTES", 2**12)
    streamed = ConvVAETransformer(3, **params).fit_transform(X, y)
    assert_same_up_to_sign(streamed, expected, 1e-4)


def test_few_long_signals_go_by_the_dual():
    """100 signals of 20 000 points: no matrix of 20 000 by 20 000."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 3)) @ rng.standard_normal((3, 20_000))
    x += rng.standard_normal(x.shape)
    read = Reader(x)
    blocks = gather(read, 20_001, np.zeros((100, 0), dtype=bool), seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(read.asked)), range(100))
    fitted = fit_components(blocks, Views(20_000, 0, 0.0, 0.0), 3, seed=0)
    s = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.square(fitted.std), s[:3] ** 2 / 99, rtol=1e-8)
    scores = (x - fitted.mean) @ fitted.directions.T
    np.testing.assert_allclose(np.cov(scores.T), np.eye(3), atol=1e-8)


def test_of_many_wide_signals_a_random_part_is_taken(monkeypatch):
    monkeypatch.setattr(moments, "MAX_WIDTH", 32)
    monkeypatch.setattr(moments, "MAX_VALUES", 41 * 60)
    read = Reader(np.random.default_rng(0).standard_normal((500, 40)))
    parts = []
    for seed in (0, 0, 1):
        read.asked = []
        blocks = gather(read, 41, np.zeros((500, 0), dtype=bool), seed)
        assert sum(len(block.values) for block in blocks) == 60
        parts.append(np.sort(np.concatenate(read.asked)))
    assert len(set(parts[0])) == 60
    np.testing.assert_array_equal(parts[0], parts[1])
    assert (parts[0] != parts[2]).any()
    assert parts[0].max() > 250


@pytest.mark.parametrize("as_sums", [False, True])
def test_signals_are_gathered_by_what_is_known_of_them(monkeypatch, as_sums):
    monkeypatch.setattr(moments, "MAX_VALUES", 2**10 if as_sums else 2**23)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((600, 6))
    known = np.column_stack([np.arange(600) % 2 == 0, np.arange(600) % 3 == 0])
    blocks = gather(Reader(values), 7, known, seed=0)
    keys = [(block.fold, block.known) for block in blocks]
    assert len(keys) == len(set(keys)) == 5 * 4
    for pattern in {block.known for block in blocks}:
        rows = values[(known == pattern).all(axis=1)]
        found = [block.values for block in blocks if block.known == pattern]
        products = sum(part.T @ part for part in found)
        np.testing.assert_allclose(products, as_rows(rows).T @ as_rows(rows), atol=1e-9)


def test_of_many_patterns_a_random_part_of_the_signals_is_taken(monkeypatch):
    monkeypatch.setattr(moments, "MAX_VALUES", 10 * 300)
    rng = np.random.default_rng(0)
    known = rng.random((1000, 5)) < 0.5
    read = Reader(rng.standard_normal((1000, 9)))
    blocks = gather(read, 10, known, seed=0)
    assert sum(len(block.values) for block in blocks) == 300
    assert all((block.values[:, 0] == 1).all() for block in blocks)
    few = gather(read, 10, known & [True, True, False, False, False], seed=0)
    assert sum(block.values[:, 0] @ block.values[:, 0] for block in few) == (
        pytest.approx(1000)
    )


# Data that leave little to fit


def degenerate():
    rng = np.random.default_rng(0)
    rank_two = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 30))
    return {
        "rank two": rank_two,
        "two signals": rng.standard_normal((2, 30)),
        "two equal signals": np.tile(rng.standard_normal(30), (2, 1)),
        "constant signals": rng.standard_normal((20, 1)) * np.ones(30),
        "all the same": np.ones((20, 30)),
        "fewer than latents": rng.standard_normal((5, 30)),
        "one point": rng.standard_normal((40, 1)),
        "one of them differs": np.eye(20, 30)[:1] * np.eye(20)[:, :1] + 1.0,
        "zeros and ones": rng.integers(0, 2, (30, 30)).astype(float),
    }


# Signals that are all the same give latents that say nothing, and the fit says so.
@pytest.mark.filterwarnings("ignore:No latent dimension is active")
@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("name", degenerate())
@pytest.mark.parametrize("as_sums", [False, True])
@pytest.mark.parametrize("label_weight", [0.0, 2.0])
def test_everything_is_finite(name, as_sums, label_weight, monkeypatch):
    if as_sums:
        monkeypatch.setattr(moments, "MAX_VALUES", 0)
    X = degenerate()[name]
    y = np.arange(len(X)) % 2
    vae = ConvVAETransformer(
        8, label_weight=label_weight, max_epochs=1, random_state=0, device="cpu"
    )
    Z = vae.fit(X, y).transform(X)
    assert Z.shape == (len(X), 8)
    for values in (Z, vae.score_samples(X), vae.reconstruct(X), vae.latent_scale_):
        assert np.isfinite(values).all()


@pytest.mark.parametrize("as_sums", [False, True])
def test_no_more_components_than_the_data_have(as_sums):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 30))
    blocks = in_blocks(as_rows(x), as_sums=as_sums)
    fitted = fit_components(blocks, Views(30, 0, 0.0, 0.0), 8, seed=0)
    real = fitted.std > 1e-3 * fitted.std[0]
    assert real.sum() == 2
    start = linear_start(fitted, 8, 10, noise=0.01, own_noise=0.01)
    assert all(torch.isfinite(part).all() for part in start)
    assert start.components.shape == (10, 30)
    np.testing.assert_allclose(start.variances[2:], 1.0, atol=1e-3)
