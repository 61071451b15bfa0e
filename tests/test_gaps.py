"""Missing values, from fit to impute, against closed forms and whole signals."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.model.gaps import GapFiller, conditioned_on_measured, last_of_best
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.noise import sources_of

NAN = float("nan")
X, Y = make_load_profiles(90, n_timepoints=48, random_state=0)
SHAPES = {"2-D": X, "3-D": X.reshape(90, 2, 24)}


def with_gaps(X, share=0.3, seed=0):
    """X with single points missing; the first signal is whole, the second half so."""
    X = X.copy()
    is_missing = np.random.default_rng(seed).random(X.shape) < share
    is_missing[0], is_missing[1, ..., : X.shape[-1] // 2] = False, True
    X[is_missing] = np.nan
    return X


GAPS = with_gaps(X)


def make_vae(**params):
    return ConvVAETransformer(
        4, **{"random_state": 0, "max_epochs": 1, "device": "cpu", **params}
    )


@pytest.fixture(scope="module")
def vae():
    return make_vae(max_epochs=3).fit(GAPS)


# What fills a gap


def gaussian_conditional(filler, x):
    """Mean and std of missing values of one signal x (c, t) by its joint density."""
    buffers = {k: v.double().numpy() for k, v in filler.named_buffers()}
    c, t, k = buffers["loadings"].shape
    loadings = buffers["loadings"].reshape(c * t, k)
    lags = np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
    covariance = loadings @ loadings.T + np.diag(np.repeat(buffers["white"], t))
    for rho, weights in zip(buffers["correlation"], buffers["mixing"].T, strict=True):
        covariance += np.kron(np.outer(weights, weights), rho**lags)
    mean, x = buffers["mean"].ravel(), x.ravel().astype(np.float64)
    known = ~np.isnan(x)
    of_known = np.linalg.solve(covariance[known][:, known], covariance[known])
    conditional = covariance - covariance[:, known] @ of_known
    filled = np.where(known, x, mean + of_known.T @ (x - mean)[known])
    std = buffers["excess"] * np.sqrt(conditional.diagonal().clip(min=0))
    return filled.reshape(c, t), np.where(known, 0, std).reshape(c, t)


@pytest.mark.parametrize("shape", [(1, 48), (2, 24), (6, 8), (48, 1)])
def test_a_gap_is_filled_by_the_conditional_of_a_normal(shape):
    signals = torch.from_numpy(X.reshape(90, *shape))
    filler = GapFiller(*shape).fit(signals)
    filler.correlation.copy_(torch.linspace(0.9, 0.5, shape[0]))
    filler.excess.fill_(1.5)
    gaps = with_gaps(signals.numpy())[1:7]
    found = filler(torch.from_numpy(gaps), return_std=True).numpy()
    for got, x in zip(found, gaps, strict=True):
        np.testing.assert_allclose(got, gaussian_conditional(filler, x), atol=1e-5)


def test_whole_signals_pass_through_the_filler_untouched():
    x = torch.from_numpy(X[:, None])
    assert GapFiller(1, 48).fit(x)(x) is x


def test_filling_beats_interpolation_and_the_mean_in_long_gaps():
    whole = X[60:]
    gaps = whole.copy()
    gaps[:, 20:30] = np.nan
    imputed = make_vae(max_epochs=0).fit(with_gaps(X[:60])).impute(gaps)
    steps = np.arange(48)
    known = np.delete(steps, np.s_[20:30])
    interpolated = np.array([np.interp(steps, known, x[known]) for x in whole])
    mean = np.broadcast_to(X[:60].mean(axis=0), whole.shape)

    def error(filled):
        return np.square(filled - whole)[:, 20:30].mean()

    assert error(imputed) < 0.9 * min(error(interpolated), error(mean))


def channels_of_sources(n_samples, n_channels, noise, rng):
    """Signals (n, c, 60) of 2 autoregressive sources, and noise; the mixing, (c, 2)."""
    sources = rng.standard_normal((n_samples, 2, 60))
    for t in range(1, 60):
        for source, rho in enumerate((0.6, 0.95)):
            sources[:, source, t] *= np.sqrt(1 - rho**2)
            sources[:, source, t] += rho * sources[:, source, t - 1]
    mixing = rng.standard_normal((n_channels, 2))
    signals = np.einsum("cs,nst->nct", mixing, sources)
    return signals + noise * rng.standard_normal(signals.shape), mixing


@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_noise_is_told_from_its_covariance_over_time_and_channels(n_channels):
    rng = np.random.default_rng(0)
    noise, true = channels_of_sources(600, n_channels, 0.5, rng)
    noise[rng.random(noise.shape) < 0.2] = np.nan
    mixing, correlation, white = sources_of(noise)
    scale = np.square(true).sum(axis=1).mean()
    for lag in (0, 1, 2, 4):
        found = mixing * correlation**lag @ mixing.T
        expected = true * np.array([0.6, 0.95]) ** lag @ true.T
        if lag == 0:
            found, expected = (
                found + np.diag(white),
                expected + 0.25 * np.eye(len(true)),
            )
        np.testing.assert_allclose(found, expected, atol=0.1 * scale)


def test_channels_that_tell_nothing_of_each_other_are_kept_apart():
    noise = np.random.default_rng(0).standard_normal((5, 3, 10))
    correlations = np.corrcoef(noise.swapaxes(0, 1).reshape(3, -1))
    mixing, _, white = sources_of(noise)
    found = np.abs(mixing @ mixing.T + np.diag(white)) / noise.var()
    is_other = ~np.eye(3, dtype=bool)
    assert found[is_other].max() < 0.5 * np.abs(correlations[is_other]).max()


def rmse(filled, whole, gaps):
    return np.sqrt(np.mean(np.square(filled - whole)[np.isnan(gaps)]))


def lose_channels(whole, rng, n_lost=1):
    """Signals whose channels, so many, are lost for a third of the time."""
    gaps = whole.copy()
    for x in gaps:
        start = rng.integers(40)
        x[rng.permutation(len(x))[:n_lost], start : start + 20] = np.nan
    return gaps


@pytest.mark.parametrize(("n_channels", "n_lost"), [(4, 1), (8, 3)])
def test_a_lost_channel_is_filled_by_the_others_at_the_same_instant(n_channels, n_lost):
    rng = np.random.default_rng(0)
    signals, _ = channels_of_sources(260, n_channels, 0.1, rng)
    train, whole = signals[:200], signals[200:]
    gaps = lose_channels(whole, rng, n_lost)
    instants = train.swapaxes(1, 2).reshape(-1, n_channels)
    expected = gaps.copy()
    for x in expected:
        lost = np.isnan(x).any(axis=1)
        where = np.isnan(x[lost][0])
        model = Ridge().fit(instants[:, ~lost], instants[:, lost])
        x[np.ix_(lost, where)] = model.predict(x[~lost][:, where].T).T.reshape(
            n_lost, -1
        )
    imputed = make_vae(max_epochs=0).fit(train).impute(gaps)
    assert rmse(imputed, whole, gaps) < 1.03 * rmse(expected, whole, gaps)


@pytest.mark.parametrize("max_epochs", [0, 5])
def test_a_missing_day_is_filled_no_worse_than_by_the_decoder_or_other_days(max_epochs):
    whole, _ = make_load_profiles(200, random_state=0)
    rng, gaps = np.random.default_rng(0), whole.reshape(200, 7, 48).copy()
    gaps[np.arange(200), rng.integers(7, size=200)] = np.nan
    other_days = np.tile(np.nanmean(gaps, axis=1), 7)
    gaps = gaps.reshape(200, 336)
    vae = make_vae(max_epochs=max_epochs).fit(gaps)
    error = rmse(vae.impute(gaps), whole, gaps)
    assert error < rmse(vae.reconstruct(gaps), whole, gaps)
    assert error < rmse(other_days, whole, gaps)


def test_signals_of_one_shape_and_many_levels_are_filled_up_to_their_noise():
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 0.8, (200, 1))
    whole = level * np.tile(1 + np.sin(np.arange(24) / 24 * 2 * np.pi) ** 2, 5)
    whole += 0.1 * rng.standard_normal(whole.shape)
    gaps = whole.reshape(200, 5, 24).copy()
    gaps[np.arange(200), rng.integers(5, size=200)] = np.nan
    gaps = gaps.reshape(200, 120)
    assert rmse(make_vae(max_epochs=0).fit(gaps).impute(gaps), whole, gaps) < 0.104


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    time = np.arange(60) / 60
    shapes = np.sin(np.outer((6, 10, 14, 18), np.pi * time))
    weights = rng.standard_normal((80, 4))
    weights[::2, :2] = weights[1::2, 2:] = 0  # rows in turns have nothing in common
    whole = weights @ shapes + 0.05 * rng.standard_normal((80, 60))
    gaps = whole.copy()
    gaps[:, 20:35] = np.nan
    errors = []
    for order in (np.arange(80), rng.permutation(80)):
        vae = make_vae(max_epochs=0).fit(whole[order])
        errors.append(rmse(vae.impute(gaps), whole, gaps))
    assert max(errors) < 1.2 * min(errors)


def test_the_last_round_that_is_not_clearly_worse_is_taken():
    errors = np.tile(np.arange(10.0), (4, 1))
    errors[2] += [3, -1] * 5  # worse by 1 of a standard error of less
    assert last_of_best(errors) == 3
    errors[3] += 0.1
    assert last_of_best(errors) == 1
    errors[3] += [0.5, -0.6] * 5
    assert last_of_best(errors) == 3
    assert last_of_best(errors[:, :0]) == 3


# How far off it may be

KINDS = ("points", "blocks", "channel")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained_on", ["whole", "gaps"])
def test_errors_are_within_two_standard_deviations_as_often_as_told(kind, trained_on):
    rng = np.random.default_rng(1)
    signals, _ = channels_of_sources(400, 3, 0.2, rng)
    signals += 2 * rng.standard_normal((400, 1, 1)) * np.sin(np.arange(60) / 5)
    gaps = lose_channels(signals, rng)
    if kind == "points":
        gaps = np.where(rng.random(signals.shape) < 0.3, np.nan, signals)
    elif kind == "blocks":
        gaps = np.where(np.isnan(gaps).any(axis=1, keepdims=True), np.nan, signals)
    train = (gaps if trained_on == "gaps" else signals)[:200]
    vae = make_vae(max_epochs=0).fit(train)
    filled, std = vae.impute(gaps[200:], return_std=True)
    is_missing = np.isnan(gaps[200:])
    assert (std[~is_missing] == 0).all()
    is_near = np.abs(filled - signals[200:]) < 2 * std
    assert 0.90 < is_near[is_missing].mean() < 0.99
    np.testing.assert_array_equal(filled, vae.impute(gaps[200:]))


def test_standard_deviations_come_as_X_does_and_in_its_units():
    vae = make_vae(max_epochs=0).fit(GAPS)
    _, std = vae.impute(GAPS, return_std=True)
    filled, of_frame = vae.impute(pd.DataFrame(GAPS, index=range(5, 95)), True)
    np.testing.assert_array_equal(of_frame, std)
    assert of_frame.index.equals(filled.index)
    assert of_frame.columns.equals(filled.columns)
    _, of_list = vae.impute([GAPS[1], GAPS[2, :30]], return_std=True)
    np.testing.assert_array_equal(of_list[0], std[1])
    assert of_list[1].shape == (30,)
    _, of_tensor = vae.impute(torch.from_numpy(GAPS), return_std=True)
    np.testing.assert_array_equal(of_tensor, std)
    _, of_more = (
        make_vae(max_epochs=0)
        .fit(5 - 1000 * GAPS)
        .impute(5 - 1000 * GAPS, return_std=True)
    )
    np.testing.assert_allclose(of_more, 1000 * std, rtol=0.01, atol=1)
    assert (vae.impute(X, return_std=True)[1] == 0).all()


# The bound


@pytest.mark.parametrize("signals", SHAPES)
@pytest.mark.parametrize("train", ["whole", "gaps"])
def test_the_bound_is_the_marginal_of_probabilistic_pca(signals, train):
    whole = SHAPES[signals]
    gaps = with_gaps(whole)
    vae = make_vae(max_epochs=0, feature_weight=0)
    vae.fit(whole if train == "whole" else gaps)
    linear = vae.module_.decoder.linear
    loadings = linear.weight.detach().double().numpy()
    mean = linear.bias.detach().double().numpy()
    noise = 0.5 / vae.reconstruction_weight_ * np.eye(len(mean))
    covariance = loadings @ loadings.T + noise
    offset, scale = vae.scaler_.offset_, vae.scaler_.scale_
    expected = []
    for x in gaps.reshape(90, *vae.module_.decoder.shape):
        known = ~np.isnan(x).ravel()
        marginal = multivariate_normal(mean[known], covariance[np.ix_(known, known)])
        log_det = np.broadcast_to(np.log(scale), x.shape).ravel()[known].sum()
        scaled = ((x - offset) / scale).ravel()[known]
        expected.append(marginal.logpdf(scaled) - log_det)
    np.testing.assert_allclose(vae.score_samples(gaps), expected, rtol=1e-4, atol=1e-3)


def test_posterior_of_gaps_is_bayes_rule():
    rng = np.random.default_rng(0)
    loadings = torch.from_numpy(rng.standard_normal((12, 3)))
    filled = torch.from_numpy(rng.standard_normal((5, 1, 12)))
    x = filled.clone()
    x[:, :, 3:7] = NAN
    noise = 0.3
    precision = torch.eye(3) + loadings.T @ loadings / noise
    z_mean = filled[:, 0] @ loadings / noise @ precision.inverse()
    z_log_var = -(1 + loadings.square().sum(dim=0) / noise).log().expand(5, 3)
    x_hat = (z_mean @ loadings.T)[:, None]
    mean, scale_tril = conditioned_on_measured(
        z_mean, z_log_var, x, filled, x_hat, loadings, noise
    )
    known = torch.ones(12, dtype=torch.bool)
    known[3:7] = False
    precision = torch.eye(3) + loadings[known].T @ loadings[known] / noise
    expected = filled[:, 0, known] @ loadings[known] / noise @ precision.inverse()
    torch.testing.assert_close(mean, expected)
    covariance = (scale_tril @ scale_tril.mT)[0]
    torch.testing.assert_close(covariance, precision.inverse())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_errors_and_their_gradients_are_over_what_was_measured(likelihood):
    x_hat = torch.rand(4, 2, 6, dtype=torch.float64) * 0.8 + 0.1
    x = torch.rand(4, 2, 6, dtype=torch.float64)
    gaps = torch.rand(x.shape) < 0.4
    x_hat.requires_grad_()
    distortion = LIKELIHOODS[likelihood].distortion(x_hat, x.masked_fill(gaps, NAN))
    (gradient,) = torch.autograd.grad(distortion.sum(), x_hat)
    errors = LIKELIHOODS[likelihood].errors(x_hat, x)
    expected = torch.stack([e[~gap].sum() for e, gap in zip(errors, gaps, strict=True)])
    torch.testing.assert_close(distortion, expected)
    assert (gradient[gaps] == 0).all()
    assert gradient.isfinite().all()


# The estimator

SETTINGS = {
    "defaults": {},
    "closed form": {"max_epochs": 0},
    "thread's VAE": {"linear_path": False, "batch_norm": True},
    "laplace": {"likelihood": "laplace"},
    "bernoulli": {"likelihood": "bernoulli", "scale": "minmax"},
    "minmax": {"scale": "minmax"},
    "unscaled": {"scale": None},
    "labels": {"label_weight": 2.0},
    "labels, two latents": {"latent_dim": 2, "label_weight": 2.0},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3},
}


@pytest.mark.parametrize("signals", SHAPES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_method_takes_gaps(signals, setting):
    gaps = with_gaps(SHAPES[signals])
    vae = make_vae().set_params(**SETTINGS[setting]).fit(gaps, Y)
    for values in (
        vae.transform(gaps),
        *vae.posterior(gaps),
        vae.reconstruct(gaps),
        vae.score_samples(gaps),
        vae.score_samples(gaps, n_importance=3),
        vae.impute(gaps),
    ):
        assert len(values) == len(gaps)
        assert np.isfinite(values).all()
    assert all(np.isfinite(values).all() for values in vae.history_.values())
    vae.partial_fit(gaps, Y)
    assert np.isfinite(vae.transform(gaps)).all()


@pytest.mark.parametrize("shape", [(1, 48), (8, 30), (20, 13), (40, 9)])
def test_what_fills_a_signal_depends_on_no_other(shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3)) @ rng.standard_normal((3, np.prod(shape)))
    x = x.reshape(60, *shape) + 0.1 * rng.standard_normal((60, *shape))
    filler = GapFiller(*shape).fit(torch.from_numpy(x))
    x[rng.random(x.shape) < 0.2] = np.nan
    x = torch.from_numpy(x)  # of float64, in which the last bit would differ
    whole = filler(x, return_std=True)
    for rows in ([1], [5, 1, 7], range(20, 60)):
        assert filler(x[list(rows)], return_std=True).equal(whole[list(rows)])


@pytest.mark.parametrize("signals", SHAPES)
@pytest.mark.parametrize("setting", ["defaults", "thread's VAE"])
def test_latents_of_a_signal_depend_on_no_other(setting, signals):
    gaps = with_gaps(SHAPES[signals])
    vae = make_vae().set_params(**SETTINGS[setting]).fit(gaps)

    def results(gaps):
        imputed = vae.impute(gaps, return_std=True)
        return vae.transform(gaps), vae.score_samples(gaps), *imputed

    whole = results(gaps)
    for rows in ([1], [0, 1], [5, 1, 7], range(20, 60)):
        for one, all_ in zip(results(gaps[list(rows)]), whole, strict=True):
            np.testing.assert_array_equal(one, all_[list(rows)])


def test_whole_signals_have_the_same_latents_beside_signals_with_gaps(vae):
    both = np.concatenate([GAPS, X])
    for method in (vae.transform, vae.score_samples, vae.reconstruct):
        np.testing.assert_array_equal(method(both)[90:], method(X))


def test_impute_fills_gaps_and_touches_nothing_else(vae):
    imputed = vae.impute(GAPS)
    assert imputed.dtype == GAPS.dtype
    known = ~np.isnan(GAPS)
    np.testing.assert_array_equal(imputed[known], GAPS[known])
    assert np.isfinite(imputed).all()
    np.testing.assert_array_equal(vae.impute(X), X)
    assert np.isnan(GAPS).any()  # it is a copy


def test_noise_is_that_of_measured_values():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 2)) @ rng.standard_normal((2, 40))
    X = X + 0.5 * rng.standard_normal(X.shape)
    whole = make_vae(max_epochs=0, feature_weight=0, scale=None).fit(X)
    gaps = clone(whole).fit(with_gaps(X))
    variances = [0.5 / vae.reconstruction_weight_ for vae in (whole, gaps)]
    assert variances[0] == pytest.approx(PCA(4).fit(X).noise_variance_, rel=0.01)
    assert variances[1] == pytest.approx(0.25, rel=0.1)


def test_posterior_is_wider_where_less_was_measured(vae):
    half = X.copy()
    half[:, 24:] = np.nan
    assert (vae.posterior(half)[1] > vae.posterior(X)[1]).all()


def test_gaps_that_leave_something_everywhere_are_taken():
    gaps = GAPS.copy()
    gaps[:, [10, 30]] = np.nan  # time steps that no signal has
    with pytest.warns(UserWarning, match=r"2 time steps .* first time step 10 of chan"):
        vae = make_vae().fit(gaps)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(vae.impute(gaps)).all()
        one_value = np.full((1, 48), np.nan)
        one_value[0, 3] = 0.5
        assert np.isfinite(vae.transform(one_value)).all()


@pytest.mark.parametrize("n_samples", [2, 3, 5])
def test_as_many_components_as_signals_leave_no_noise(n_samples):
    gaps = GAPS[:n_samples]
    for max_epochs in (0, 2):
        vae = make_vae(max_epochs=max_epochs).fit(gaps)
        for values in (vae.transform(gaps), vae.score_samples(gaps), vae.impute(gaps)):
            assert np.isfinite(values).all()


def test_what_was_not_measured_at_all_is_refused(vae):
    gaps = GAPS.copy()
    gaps[[4, 6]] = np.nan
    with pytest.raises(
        ValueError, match=r"2 samples that are all NaN, first sample 4\."
    ):
        make_vae().fit(gaps)
    with pytest.raises(
        ValueError, match=r"2 samples that are all NaN, first sample 4\."
    ):
        vae.transform(gaps)
    gaps = SHAPES["3-D"].copy()
    gaps[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"no measured value in the channels \[1\]"):
        make_vae().fit(gaps)
    one_channel = SHAPES["3-D"][:5].copy()
    one_channel[:, 1] = np.nan
    fitted = make_vae().fit(SHAPES["3-D"])
    assert np.isfinite(fitted.impute(one_channel)).all()


def test_infinity_stays_an_error_beside_gaps(vae):
    gaps = GAPS.copy()
    gaps[3, 2] = -np.inf
    message = "infinity, first in sample 3, channel 0, time step 2"
    for call in (vae.transform, vae.impute, make_vae().fit):
        with pytest.raises(ValueError, match=message):
            call(gaps)


def test_signals_that_are_streamed_may_have_gaps(monkeypatch, tmp_path):
    np.save(tmp_path / "x.npy", GAPS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = make_vae().fit(GAPS).transform(GAPS)
    monkeypatch.setattr("skvae.training.data.RESIDENT_BYTES", 0)
    got = make_vae().fit(mapped).transform(mapped)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_a_search_over_a_pipeline_takes_gaps():
    pipeline = Pipeline([("vae", make_vae()), ("knn", KNeighborsClassifier(3))])
    search = GridSearchCV(pipeline, {"vae__latent_dim": [2, 4]}, cv=2).fit(GAPS, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert get_tags(pipeline[0]).input_tags.allow_nan
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(GAPS), search.predict(GAPS))


def test_a_gap_in_one_of_many_long_signals_is_filled():
    X = np.random.default_rng(0).standard_normal((300, 600)).cumsum(axis=1)
    X[7, 3] = np.nan
    vae = ConvVAETransformer(2, max_epochs=0, feature_weight=0, random_state=0)
    low, high = np.sort(X[7, [2, 4]])
    assert low - 1 < vae.fit(X).impute(X)[7, 3] < high + 1
