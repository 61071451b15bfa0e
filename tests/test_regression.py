"""The ridge behind a target's view, against scikit-learn's on what is left out."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from skvae import ConvVAETransformer
from skvae.model.closed_form import Views
from skvae.model.moments import Rows, Sums
from skvae.model.regression import (
    MIXES,
    PENALTIES,
    choose,
    coefficients,
    gram,
    leave_folds_out,
    leave_one_out,
)

N_VALUES, N_FEATURES = 6, 9
VIEWS = Views(N_VALUES, N_FEATURES, 1.0, 1.0)
SCALE = np.linspace(0.5, 1.5, N_VALUES + N_FEATURES)


def draw(n_samples, n_targets=2, noise=0.5, seed=0):
    """Inputs (n, 15), and targets of which each is told by one of the views."""
    rng = np.random.default_rng(seed)
    inputs = 1 + rng.standard_normal((n_samples, N_VALUES + N_FEATURES))
    y = np.empty((n_samples, n_targets))
    y[:, ::2] = inputs[:, :1] - inputs[:, 1:2]
    y[:, 1::2] = inputs[:, -1:] + inputs[:, -2:-1]
    return inputs, y + noise * rng.standard_normal(y.shape)


def in_blocks(inputs, y, known=None, n_folds=5, as_sums=False):
    """`Rows` by fold and by what is known of y, 0 where it is not."""
    known = np.ones(y.shape, dtype=bool) if known is None else known
    rows = np.column_stack([np.ones(len(y)), inputs, np.where(known, y, 0.0)])
    folds, blocks = np.arange(len(y)) % n_folds, []
    for fold in range(n_folds):
        for pattern in np.unique(known, axis=0):
            values = rows[(folds == fold) & (known == pattern).all(axis=1)]
            if len(values):
                values = Sums(values.shape[1]).add(values).rows() if as_sums else values
                blocks.append(Rows(values, fold, tuple(pattern.tolist())))
    return blocks


def weighted(inputs, option):
    weights = np.repeat(option[:2], (N_VALUES, N_FEATURES))
    return inputs * SCALE * weights


def penalty_of(inputs, relative):
    """scikit-learn's alpha, at most 1e12 in place of infinity."""
    return min(relative, 1e12) * np.square(inputs - inputs.mean(axis=0)).sum()


def errors_by_refits(inputs, y, mix, penalties):
    """Squared errors (p, n, t) of signals left out, by fits of all others."""
    inputs = weighted(inputs, mix)
    alphas = np.array([penalty_of(inputs, penalty) for penalty in penalties])
    # All penalties at once, as if of more targets.
    model = Ridge(np.repeat(alphas, y.shape[1]), solver="svd")
    y = np.tile(y, len(penalties))
    errors = np.square(y - cross_val_predict(model, inputs, y, cv=LeaveOneOut()))
    return np.stack(np.split(errors, len(penalties), axis=1))


@pytest.mark.parametrize("n_samples", [2, 10, 40])
@pytest.mark.parametrize("mix", MIXES)
def test_leave_one_out_is_a_refit_without_each_signal(n_samples, mix):
    """Fewer signals than columns, and more."""
    inputs, y = draw(n_samples)
    weights = np.repeat(mix, (N_VALUES, N_FEATURES))
    found = dict(leave_one_out(inputs * SCALE, y, weights))
    assert list(found) == PENALTIES.tolist()
    some = PENALTIES[[0, 1, 5, 9, 13]]
    expected = errors_by_refits(inputs, y, mix, some)
    errors = [found[penalty] for penalty in some]
    np.testing.assert_allclose(errors, expected, rtol=1e-5, atol=1e-9)
    # The own residuals, which PITFALLS of many columns are about, are others.
    own = Ridge(penalty_of(inputs, 1e-4)).fit(inputs, y).predict(inputs)
    assert np.square(y - own).sum() < 0.9 * found[PENALTIES[13]].sum()


def test_folds_left_out_are_refits_without_each_fold():
    inputs, y = draw(60)
    inputs, y = (part - part.mean(axis=0) for part in (inputs, y))
    folds = np.arange(60) % 4
    weights = np.repeat((1.0, 0.3), (N_VALUES, N_FEATURES))
    grams = np.stack([gram(inputs, y, folds == fold) for fold in range(4)])
    found = dict(leave_folds_out(grams, weights))
    assert list(found) == PENALTIES.tolist()
    for penalty in PENALTIES[[1, 7, 12]]:
        for fold in range(4):
            kept, left = (inputs * weights)[folds != fold], folds == fold
            alpha = penalty * np.square(kept).sum()
            model = Ridge(alpha, fit_intercept=False).fit(kept, y[folds != fold])
            errors = np.square(y[left] - model.predict(inputs[left] * weights))
            np.testing.assert_allclose(
                found[penalty][fold], errors.sum(axis=0), rtol=1e-7
            )
    np.testing.assert_allclose(
        found[np.inf], [np.square(y[folds == fold]).sum(axis=0) for fold in range(4)]
    )


@pytest.mark.parametrize("classes", [False, True])
def test_the_choice_is_the_least_error_of_all_refits(classes):
    inputs, y = draw(25, n_targets=3)
    if classes:
        y = (y == y.max(axis=1, keepdims=True)).astype(float)
    choice = choose(in_blocks(inputs, y), VIEWS._replace(classes=classes), SCALE)
    totals = {
        (*mix, penalty): errors.sum(axis=0)
        for mix in MIXES
        for penalty, errors in zip(
            PENALTIES, errors_by_refits(inputs, y, mix, PENALTIES), strict=True
        )
    }
    if classes:
        assert (choice.options == choice.options[0]).all()
        totals = {option: sums.sum() for option, sums in totals.items()}
        least = min(totals.values())
        assert totals[tuple(choice.options[0])] == pytest.approx(least, rel=1e-6)
    else:
        for k, option in enumerate(choice.options):
            least = min(sums[k] for sums in totals.values())
            assert totals[tuple(option)][k] == pytest.approx(least, rel=1e-6)
        # Each column is told by another view.
        assert choice.options[0, 0] > choice.options[0, 1]
        assert choice.options[1, 1] > choice.options[1, 0]


@pytest.mark.parametrize("as_sums", [False, True])
def test_trust_is_the_root_of_what_is_predicted_and_nothing_in_noise(as_sums):
    trusts = []
    for noise in (0.01, 1.4, 1e6):
        inputs, y = draw(300, noise=noise)
        blocks = in_blocks(inputs, y, as_sums=as_sums)
        trusts.append(choose(blocks, VIEWS, SCALE).trust)
    np.testing.assert_allclose(trusts[0], 1.0, atol=0.01)
    np.testing.assert_allclose(trusts[1], np.sqrt(0.5), atol=0.07)
    np.testing.assert_array_equal(trusts[2], 0.0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n_samples", [30, 100])
def test_noise_is_hardly_trusted(seed, n_samples):
    """Labels too, whose trust is no less where they are told badly."""
    inputs, _ = draw(n_samples, seed=seed)
    rng = np.random.default_rng(100 + seed)
    numbers = rng.standard_normal((n_samples, 1))
    labels = np.eye(3)[rng.integers(0, 3, n_samples)]
    assert choose(in_blocks(inputs, numbers), VIEWS, SCALE).trust < 0.35
    classes = VIEWS._replace(classes=True)
    assert (choose(in_blocks(inputs, labels), classes, SCALE).trust < 0.9).all()


@pytest.mark.parametrize("as_sums", [False, True])
def test_columns_known_of_some_signals_are_fits_on_those(as_sums):
    inputs, y = draw(200, n_targets=4)
    known = np.random.default_rng(1).random(y.shape) < 0.6
    known[:, 1] = np.arange(200) < 100
    known[:, 2] = ~known[:, 1]  # known of the other half
    known[:, 3] = False
    blocks = in_blocks(inputs, y, known, as_sums=as_sums)
    choice = choose(blocks, VIEWS, SCALE)
    slopes = coefficients(blocks, VIEWS, SCALE, choice)
    assert choice.trust[3] == 0
    np.testing.assert_array_equal(slopes[:, 3], 0.0)
    for k in range(3):
        rows = known[:, k]
        if not as_sums:
            alone = choose(in_blocks(inputs[rows], y[rows][:, [k]]), VIEWS, SCALE)
            np.testing.assert_allclose(choice.options[k], alone.options[0])
            np.testing.assert_allclose(choice.trust[k], alone.trust[0], rtol=1e-6)
        a = weighted(inputs[rows], choice.options[k])
        model = Ridge(penalty_of(a, choice.options[k, 2])).fit(a, y[rows, k])
        expected = weighted(model.coef_, choice.options[k])
        np.testing.assert_allclose(slopes[:, k], expected, rtol=1e-6, atol=1e-10)


def test_one_known_signal_predicts_nothing():
    inputs, y = draw(20)
    known = np.zeros(y.shape, dtype=bool)
    known[3, 0] = True
    blocks = in_blocks(inputs, y, known)
    choice = choose(blocks, VIEWS, SCALE)
    np.testing.assert_array_equal(choice.trust, 0.0)
    np.testing.assert_array_equal(coefficients(blocks, VIEWS, SCALE, choice), 0.0)


# What the latents are worth


def spectra(n_samples, seed=0):
    """Sums of four peaks that overlap, and the first one's height."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 200)
    peaks = [(0.35, 0.03), (0.4, 0.05), (0.6, 0.04), (0.5, 0.3)]
    peaks = [np.exp(-((t - centre) ** 2) / 2 / width**2) for centre, width in peaks]
    heights = rng.uniform(0, 1, (n_samples, 4))
    noise = rng.normal(0, 0.01, (n_samples, 200))
    return heights @ np.array(peaks) + noise, 40 * heights[:, 0]


def root_mean_square_errors(reducer, X, y):
    """Of linear regression and of neighbours, behind the same latents of five folds."""
    models = LinearRegression(), KNeighborsRegressor(5)
    predicted = np.empty((2, len(y)))
    for rows, left in KFold(5, shuffle=True, random_state=0).split(X):
        Z = reducer.fit_transform(X[rows], y[rows])
        Z_left = reducer.transform(X[left])
        for k, model in enumerate(models):
            predicted[k, left] = model.fit(Z, y[rows]).predict(Z_left)
    return np.sqrt(np.square(predicted - y).mean(axis=1))


def vae(**params):
    params = {"label_weight": 2.0, "max_epochs": 0, "random_state": 0} | params
    return ConvVAETransformer(6, device="cpu", **params)


@pytest.mark.parametrize("n_samples", [25, 80])
def test_a_concentration_is_told_as_well_as_by_pca_and_brings_its_like_together(
    n_samples,
):
    X, y = spectra(n_samples)
    by_pca, told = (root_mean_square_errors(r, X, y) for r in (PCA(6), vae()))
    assert told[0] < 1.5 * by_pca[0]
    assert told[1] < 0.6 * by_pca[1]


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("seed", range(4))
def test_noise_costs_nothing(seed):
    X, _ = spectra(60, seed)
    y = np.random.default_rng(seed).standard_normal(60)
    taught, plain = (
        root_mean_square_errors(vae(label_weight=weight), X, y) for weight in (2.0, 0.0)
    )
    assert (taught < 1.1 * plain).all()


@pytest.mark.parametrize("kind", ["numbers", "columns", "labels"])
def test_of_y_that_cannot_be_predicted_a_warning_says_so(kind):
    X, told = spectra(80)
    noise = np.random.default_rng(1).standard_normal(80)
    y = {
        "numbers": noise,
        "columns": np.column_stack([told, noise]),
        "labels": np.where(noise > 0, "a", "b"),
    }[kind]
    message = r"predicted in columns \[1\]: " if kind == "columns" else "predicted: "
    with pytest.warns(UserWarning, match=f"y cannot be {message}.*label_weight=0"):
        Z = vae().fit_transform(X, y)
    if kind != "columns":
        np.testing.assert_array_equal(Z, vae(label_weight=0.0).fit_transform(X))


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_numbers_that_say_nothing_do_not_hide_one_that_does():
    X, y = spectra(80)
    noise = np.random.default_rng(0).standard_normal((80, 5))
    known = np.random.default_rng(1).random(noise.shape) < 0.6
    beside = np.column_stack([y, np.where(known, noise, np.nan)])
    train, test = slice(50), slice(50, None)
    errors = []
    for target in (y[:, None], beside):
        model = vae().fit(X[train], target[train])
        knn = KNeighborsRegressor(3).fit(model.transform(X[train]), y[train])
        left = knn.predict(model.transform(X[test])) - y[test]
        errors.append(np.sqrt(np.mean(np.square(left))))
    assert errors[1] < 1.15 * errors[0]
