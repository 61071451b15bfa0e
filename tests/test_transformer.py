"""ConvVAETransformer: the model against PCA, the contract with its users."""

import copy
import inspect
import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
)
from torch.distributions import Bernoulli, Laplace, Normal

from skvae import ConvVAETransformer, threads
from skvae.datasets import make_load_profiles
from skvae.saving import files

# DESIGN's P2, the final script of the thread.
P2 = {
    "latent_dim": 2,
    "reconstruction_weight": 100,
    "linear_path": False,
    "conv_channels": (16, 16, 32, 32),
    "stride": 2,
    "hidden_dims": (64, 16),
    "dropout": 0.3,
    "batch_norm": True,
    "scale": None,
    "lr": 1e-3,
    "batch_size": 32,
    "net_params": {
        "module__hidden_dropout": 0.5,
        "module__output_activation": "sigmoid",
        "module__init": "torch",
        "lr_schedule": None,
    },
}


def random_gaussian(n_samples=400, n_features=30, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_samples, 6)) * [9, 6, 4, 3, 2, 1.5]
    noise = 0.5 * rng.standard_normal((n_samples, n_features))
    return factors @ rng.standard_normal((6, n_features)) + noise + 20.0


class Counts(skorch.callbacks.Callback):
    """Cannot be cloned."""

    def __init__(self):
        self.n_seen = 0


@pytest.fixture(scope="module")
def fitted(waves):
    return ConvVAETransformer(3, max_epochs=3, random_state=0).fit(waves)


@pytest.fixture(scope="module")
def profiles():
    return make_load_profiles(600, random_state=0)


# The model


@pytest.mark.parametrize("data", ["gaussian", "digits"])
@pytest.mark.parametrize("k", [1, 2, 8])
def test_without_training_it_is_probabilistic_pca(data, k):
    X = random_gaussian() if data == "gaussian" else load_digits().data[:, 1:]
    vae = ConvVAETransformer(k, feature_weight=0, max_epochs=0, random_state=0).fit(X)
    pca = PCA(k).fit(X)
    np.testing.assert_allclose(
        vae.score_samples(X), pca.score_samples(X), rtol=1e-4, atol=0.02
    )
    assert vae.score(X) == pytest.approx(pca.score(X), abs=2e-3)
    shrinkage = 1 - pca.noise_variance_ / pca.explained_variance_
    scores = pca.transform(X) * shrinkage
    latents = vae.transform(X)
    signs = np.sign((scores * latents).sum(axis=0))
    np.testing.assert_allclose(latents, signs * scores, rtol=1e-3, atol=5e-3)


def test_whiten_gives_latents_in_units_of_the_prior():
    X = random_gaussian()
    params = {"max_epochs": 2, "random_state": 0}
    natural = ConvVAETransformer(3, **params).fit(X)
    white = ConvVAETransformer(3, whiten=True, **params).fit(X)
    np.testing.assert_allclose(
        white.transform(X) * natural.latent_scale_, natural.transform(X), rtol=1e-5
    )
    assert 0.5 < white.transform(X).std() < 1.5 < natural.transform(X).std()


@pytest.mark.parametrize("whiten", [False, True])
def test_latents_decode_to_the_reconstruction(waves, whiten):
    vae = ConvVAETransformer(3, whiten=whiten, max_epochs=2, random_state=0).fit(waves)
    x = torch.from_numpy(vae.scaler_.transform(waves[:, None]))
    with torch.no_grad():
        expected = vae.module_.decode(vae.module_.encode(x)[0])[:, 0].numpy()
    expected = expected * vae.scaler_.scale_ + vae.scaler_.offset_
    np.testing.assert_allclose(vae.reconstruct(waves), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n_samples", "n_features", "latent_dim"),
    [(5, 3, 8), (4, 60, 8), (50, 1, 1), (50, 1, 4), (2, 10, 2), (40, 6, 6)],
)
def test_any_number_of_latents_for_any_data(n_samples, n_features, latent_dim):
    X = np.random.default_rng(0).standard_normal((n_samples, n_features))
    for max_epochs in (0, 2):
        vae = ConvVAETransformer(latent_dim, max_epochs=max_epochs, random_state=0)
        assert vae.fit_transform(X).shape == (n_samples, latent_dim)
        assert np.isfinite(vae.score(X))
        assert np.isfinite(vae.reconstruct(X)).all()


def test_constant_signals_do_not_blow_up():
    X = np.full((20, 2, 9), 3.0)
    with pytest.warns(UserWarning, match=r"No latent dimension is active.*lower beta"):
        vae = ConvVAETransformer(2, random_state=0, max_epochs=5).fit(X)
    assert vae.n_active_dims_ == 0
    np.testing.assert_allclose(vae.reconstruct(X), X, atol=1e-2)
    assert np.isfinite(vae.score(X))


def test_one_constant_channel_among_others():
    rng = np.random.default_rng(0)
    X = np.stack([rng.standard_normal((30, 12)), np.full((30, 12), 5.0)], axis=1)
    vae = ConvVAETransformer(2, max_epochs=3, random_state=0).fit(X)
    np.testing.assert_allclose(vae.reconstruct(X)[:, 1], 5.0, atol=0.1)


def test_training_raises_the_bound_and_beats_the_mean_signal(waves):
    """And so the target is X: skorch's default for y=None is to learn zeros."""
    X = waves + 10
    start = ConvVAETransformer(4, max_epochs=0, random_state=0).fit(X[:150])
    vae = ConvVAETransformer(4, max_epochs=30, random_state=0).fit(X[:150])
    assert vae.score(X[150:]) > start.score(X[150:])
    error = np.square(vae.reconstruct(X[150:]) - X[150:]).mean()
    assert error < 0.5 * np.square(X[:150].mean(axis=0) - X[150:]).mean()


@pytest.mark.slow
def test_p2_separates_the_classes_of_load_profiles(profiles):
    """Far above chance, 1/7, and better than the network before training."""
    X, y = profiles

    def accuracy(**params):
        vae = ConvVAETransformer(**{**P2, **params}, random_state=0).fit(X[:400])
        knn = KNeighborsClassifier(5).fit(vae.transform(X[:400]), y[:400])
        return knn.score(vae.transform(X[400:]), y[400:])

    untrained = accuracy(max_epochs=0)
    trained = accuracy(max_epochs=40)
    assert trained > 0.35
    assert trained > untrained + 0.1


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli"])
@pytest.mark.parametrize("reconstruction_weight", ["auto", 5.0])
def test_every_likelihood_trains_and_scores(likelihood, reconstruction_weight):
    X, _ = make_load_profiles(80, n_timepoints=48, random_state=0)
    scale = "minmax" if likelihood == "bernoulli" else "standard"
    vae = ConvVAETransformer(
        2,
        likelihood=likelihood,
        reconstruction_weight=reconstruction_weight,
        scale=scale,
        max_epochs=5,
        random_state=0,
    ).fit(X)
    assert np.isfinite(vae.score(X))
    if reconstruction_weight != "auto":
        assert vae.reconstruction_weight_ == 5.0
    samples = vae.sample(5, noise=True, random_state=0)
    assert samples.shape == (5, 48)
    assert np.isfinite(samples).all()


def log_joint_on_grid(vae, X, z):
    """log p(x, z) of a model of one latent, in nats, in the units of X, (n, len(z)).

    Of the model only what it decodes to is used, its weight and its units.
    """
    x = (X[:, None] - vae.scaler_.offset_) / vae.scaler_.scale_
    x = torch.from_numpy(x)
    with torch.no_grad():
        x_hat = vae.module_.decode(z[:, None].float()).double()  # (len(z), 1, t)
    weight = vae.reconstruction_weight_
    density = {
        "gaussian": lambda: Normal(x_hat, (2 * weight) ** -0.5),
        "laplace": lambda: Laplace(x_hat, 1 / weight),
        "bernoulli": lambda: Bernoulli(probs=x_hat, validate_args=False),
    }[vae.likelihood]()
    log_prior = Normal(0.0, 1.0).log_prob(z)
    log_joint = torch.stack(
        [density.log_prob(row).sum(dim=(1, 2)) + log_prior for row in x]
    )
    return log_joint - len(X[0]) * float(np.log(vae.scaler_.scale_).sum())


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli"])
def test_the_bound_is_below_the_likelihood_and_rises_to_it(likelihood, linear_path):
    """Of a trained decoder that is not linear, against numerical integration."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(-1.5, 1.5, (80, 1))
    X = 5 + 3 * np.sin(np.linspace(0, 6, 12) + phase)
    X += 0.3 * rng.standard_normal(X.shape)
    if likelihood == "bernoulli":
        X = (X > 5).astype(float)
    vae = ConvVAETransformer(
        1,
        likelihood=likelihood,
        scale="minmax" if likelihood == "bernoulli" else "standard",
        linear_path=linear_path,
        lr=1e-2,
        max_epochs=60,
        batch_norm=not linear_path,
        random_state=0,
    ).fit(X)
    assert vae.n_active_dims_ == 1
    with torch.no_grad():  # it is not linear
        left, middle, right = vae.module_.decode(torch.tensor([[-1.0], [0.0], [1.0]]))
        assert (left + right - 2 * middle).abs().max() > 0.05
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    step = 0.005
    log_joint = log_joint_on_grid(vae, X, z)
    exact = (log_joint.logsumexp(dim=1) + np.log(step)).numpy()
    # The bound with the posterior that the encoder gives, over the same grid.
    mean, std = (
        torch.from_numpy(values / vae.latent_scale_).double()
        for values in vae.posterior(X)
    )
    log_q = Normal(mean, std).log_prob(z)
    elbo = ((log_q.exp() * (log_joint - log_q)).sum(dim=1) * step).numpy()
    assert (elbo < exact + 1e-3).all()

    # Sixteen draws, the same for each signal: near it, one by one and on average.
    scores = vae.score_samples(X)
    assert scores.mean() == pytest.approx(elbo.mean(), abs=1.0)
    assert np.corrcoef(scores, elbo)[0, 1] > 0.98
    assert vae.score(X) < exact.mean() + 0.3
    bound = vae.score_samples(X, n_importance=1000).mean()
    assert bound == pytest.approx(exact.mean(), abs=0.3)
    assert abs(bound - exact.mean()) < abs(elbo.mean() - exact.mean()) + 0.1


def test_importance_weighted_bound_rises_to_the_exact_value():
    """With too wide a posterior the ELBO is loose, and more draws make it tighter."""
    X = random_gaussian(n_samples=200, n_features=6)
    vae = ConvVAETransformer(2, feature_weight=0, max_epochs=0, random_state=0).fit(X)
    exact = PCA(2).fit(X).score(X)
    assert vae.score_samples(X, n_importance=5).mean() == pytest.approx(exact, abs=1e-3)
    with torch.no_grad():
        vae.module_.encoder.z_log_var += 1.0
    bounds = [vae.score_samples(X, n_importance=k).mean() for k in (1, 10, 300)]
    assert bounds[0] < bounds[1] < bounds[2] < exact + 0.1
    assert bounds[2] == pytest.approx(exact, abs=0.1)


def test_score_is_in_the_units_of_X(waves):
    """Signals a thousand times as large have a density 1000**-48 times as large."""
    params = {"max_epochs": 3, "random_state": 0}
    small = ConvVAETransformer(3, **params).fit(waves)
    large = ConvVAETransformer(3, **params).fit(1000.0 * waves)
    shift = 48 * np.log(1000)
    assert small.score(waves) - large.score(1000.0 * waves) == pytest.approx(
        shift, rel=1e-4
    )
    np.testing.assert_allclose(
        1000 * small.latent_scale_, large.latent_scale_, rtol=1e-3
    )


def test_posterior_agrees_with_transform_and_with_the_prior(fitted, waves):
    mean, std = fitted.posterior(waves)
    np.testing.assert_array_equal(mean, fitted.transform(waves))
    z, std = mean / fitted.latent_scale_, std / fitted.latent_scale_
    kl = -np.log(std) + (std**2 + z**2 - 1) / 2
    np.testing.assert_allclose(kl.mean(axis=0), fitted.kl_per_dim_, rtol=1e-4)


def test_samples_look_like_the_signals():
    X = random_gaussian()
    vae = ConvVAETransformer(6, feature_weight=0, max_epochs=0, random_state=0).fit(X)
    samples = vae.sample(20_000, noise=True, random_state=1)
    np.testing.assert_allclose(samples.mean(axis=0), X.mean(axis=0), atol=0.7)
    np.testing.assert_allclose(
        np.cov(samples.T), np.cov(X.T), atol=0.05 * np.cov(X.T).max()
    )
    np.testing.assert_array_equal(vae.sample(4), vae.sample(4))
    assert not np.array_equal(vae.sample(4), vae.sample(4, random_state=3))


def test_wide_kl_weight_collapses_and_says_so(waves):
    with pytest.warns(UserWarning, match="No latent dimension is active"):
        vae = ConvVAETransformer(
            2, beta=1e6, linear_path=False, max_epochs=20, lr=3e-2, random_state=0
        ).fit(waves)
    assert vae.n_active_dims_ == 0


# Labels


def test_labels_pull_the_classes_apart():
    X, y = make_load_profiles(400, n_classes=3, n_timepoints=48, random_state=0)
    accuracies = []
    for label_weight in (0.0, 2.0):
        vae = ConvVAETransformer(4, label_weight=label_weight, random_state=0)
        Z = vae.fit(X[:200], y[:200]).transform(X)
        knn = KNeighborsClassifier(1).fit(Z[:200], y[:200])
        accuracies.append(knn.score(Z[200:], y[200:]))
    assert accuracies[1] > accuracies[0] + 0.05


def test_latents_tell_of_numbers():
    """Of two, in other units, some of them missing, for signals not fitted."""
    rng = np.random.default_rng(0)
    frequency, noise = rng.uniform(1, 2, (2, 400, 1))
    angle = frequency * np.linspace(0, 40, 96) + rng.uniform(0, 7, (400, 1))
    X = np.sin(angle) + 0.2 * noise * rng.standard_normal((400, 96))
    y = np.hstack([1000 * frequency + 5, noise])
    known = y.copy()
    known[:50, 0] = np.nan
    scores = []
    for label_weight in (0.0, 2.0):
        vae = ConvVAETransformer(
            2, label_weight=label_weight, max_epochs=1, random_state=0
        ).fit(X[:200], known[:200])
        Z = vae.transform(X)
        linear = LinearRegression().fit(Z[50:200], y[50:200])
        scores.append(linear.score(Z[200:], y[200:]))
    assert scores[1] > scores[0] + 0.2
    assert vae.classes_ is None
    known = known[:200]
    np.testing.assert_allclose(vae.target_offset_, np.nanmean(known, axis=0))
    np.testing.assert_allclose(vae.target_scale_, np.nanstd(known, axis=0))


@pytest.mark.parametrize("linear_path", [True, False])
def test_without_any_label_yet_the_classes_do_not_matter(waves, linear_path):
    """Signals may come before their labels, as the first call of partial_fit says."""

    def fit(label_weight):
        vae = ConvVAETransformer(
            2, label_weight=label_weight, linear_path=linear_path, random_state=0
        )
        y = np.full(len(waves), -1)
        for _ in range(2):
            vae.partial_fit(waves, y, classes=[0, 1, 2])
        return vae.transform(waves)

    np.testing.assert_array_equal(fit(1.0), fit(100.0))


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize("seed", range(12))
def test_two_labelled_signals_are_enough(waves, seed):
    """Wherever they fall when signals are dealt out at random."""
    y = np.full(len(waves), -1)
    y[np.random.default_rng(seed).permutation(len(y))[:2]] = [1, 2]
    vae = ConvVAETransformer(2, label_weight=2.0, max_epochs=1, random_state=seed)
    assert np.isfinite(vae.fit(waves, y).transform(waves)).all()


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
def test_labels_that_are_all_held_back_are_none(waves):
    """The split is random: it may leave no label to train on, which is no error."""
    y = np.full(len(waves), -1)
    y[:2] = [1, 2]
    vae = ConvVAETransformer(2, label_weight=2.0, early_stopping=True, max_epochs=1)
    for seed in range(4):
        vae.set_params(validation_fraction=0.9, random_state=seed).fit(waves, y)
        assert np.isfinite(vae.transform(waves)).all()


def test_string_labels_and_unlabelled_signals(waves):
    y = np.where(waves[:, 5] > 0, "odd", "even").astype(object)
    y[:50] = -1
    vae = ConvVAETransformer(2, label_weight=1.0, max_epochs=2, random_state=0)
    np.testing.assert_array_equal(vae.fit(waves, y).classes_, ["even", "odd"])
    Z = vae.transform(waves)
    changed = np.where(y == -1, "odd", y)  # unlabelled ones are not just another class
    assert not np.allclose(vae.fit(waves, changed).transform(waves), Z, rtol=1e-2)


def test_without_label_weight_y_is_not_looked_at(waves):
    vae = ConvVAETransformer(2, max_epochs=1, random_state=0)
    Z = clone(vae).fit(waves).transform(waves)
    np.testing.assert_array_equal(clone(vae).fit(waves, "nonsense").transform(waves), Z)
    assert not hasattr(vae.fit(waves), "classes_")


def test_label_weight_without_labels_says_so(waves):
    with pytest.raises(
        ValueError, match=r"label_weight=1.0 requires y.*label_weight=0"
    ):
        ConvVAETransformer(label_weight=1.0).fit(waves)


# The contract


@pytest.mark.parametrize("shape", [(200, 48), (200, 1, 48), (200, 3, 16)])
def test_signals_come_back_in_the_layout_of_the_fitted(waves, shape):
    X = waves.reshape(shape)
    vae = ConvVAETransformer(2, max_epochs=1, random_state=0).fit(X)
    for signals in (vae.reconstruct(X), vae.inverse_transform(vae.transform(X))):
        assert signals.shape == shape
        assert signals.dtype == np.float32
    assert vae.sample(3).shape == (3, *shape[1:])
    flat = vae.transform(X.reshape(200, 48))
    np.testing.assert_array_equal(vae.transform(X), flat)


@pytest.mark.parametrize(
    "convert",
    [
        list,
        np.asfortranarray,
        lambda X: X.astype(np.float64),
        lambda X: X.astype(">f4"),
        pd.DataFrame,
        torch.from_numpy,
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    ],
)
def test_any_container_gives_the_same_latents(fitted, waves, convert):
    X = convert(waves)
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(waves))


@pytest.mark.parametrize(
    "subset", [slice(0, 1), slice(5, 16), slice(3, 150), slice(None, None, -1)]
)
def test_latents_do_not_depend_on_the_other_rows(fitted, waves, subset):
    Z = fitted.transform(waves)
    np.testing.assert_array_equal(fitted.transform(waves[subset]), Z[subset])
    np.testing.assert_array_equal(
        fitted.score_samples(waves[subset]), fitted.score_samples(waves)[subset]
    )


def test_refit_pickle_and_copy_give_the_same_bits(fitted, waves):
    Z = fitted.transform(waves)
    for other in (
        clone(fitted).fit(waves),
        pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
    ):
        np.testing.assert_array_equal(other.transform(waves), Z)


def test_random_state_matters(waves):
    first, second = (
        ConvVAETransformer(
            2, linear_path=False, max_epochs=1, random_state=seed
        ).fit_transform(waves)
        for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_partial_fit_goes_on(waves):
    vae = ConvVAETransformer(2, random_state=0).partial_fit(waves)
    assert vae.n_epochs_ == 1
    losses = [vae.history_["train_loss"][0]]
    for _ in range(15):
        losses.append(vae.partial_fit(waves).history_["train_loss"][0])
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@pytest.mark.parametrize("linear_path", [False, True])
def test_a_network_left_in_training_mode_is_evaluated(waves, linear_path):
    """As by a loop of one's own: dropout must not draw in `transform`."""
    vae = ConvVAETransformer(
        2, linear_path=linear_path, dropout=0.5, max_epochs=1, random_state=0
    ).fit(waves)
    methods = vae.transform, vae.score_samples, vae.reconstruct
    expected = [method(waves) for method in methods]
    for method, values in zip(methods, expected, strict=True):
        vae.module_.train()
        np.testing.assert_array_equal(method(waves), values)


def test_warm_start_goes_on_and_refuses_another_network(waves):
    vae = ConvVAETransformer(2, warm_start=True, max_epochs=10, random_state=0).fit(
        waves
    )
    before = vae.history_["train_loss"]
    assert vae.fit(waves).history_["train_loss"].mean() < before.mean()
    net = vae.net_
    with pytest.raises(ValueError, match="latent_dim is 3, but was 2"):
        vae.set_params(latent_dim=3).fit(waves)
    assert vae.net_ is net


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": -3}, "latent_dim"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"reconstruction_weight": -1.0}, "reconstruction_weight"),
        ({"conv_channels": (16, 0)}, r"conv_channels=\(16, 0\).*positive integers"),
        ({"hidden_dims": (1.5,)}, r"hidden_dims=\(1.5,\)"),
        ({"dropout": 1.0}, "dropout"),
        ({"net_params": {"module__init": "zeros"}}, "init.*zeros"),
        ({"scale": "robust"}, "scale"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1, "batch_norm": True}, "batch_size=1 with batch_norm"),
        ({"likelihood": "bernoulli"}, "scale='minmax'"),
        (
            {"net_params": {"module__output_activation": "sigmoid"}, "scale": None},
            r"in \[0, 1\]",
        ),
        ({"n_channels": 5}, "n_channels=5 does not divide the 48 columns"),
        ({"feature_weight": -1.0}, "feature_weight"),
        ({"label_weight": -1.0}, "label_weight"),
        ({"net_params": {"optimizer": torch.optim.LBFGS}}, "LBFGS"),
        ({"net_params": {"optimizer": "Adam"}}, "class of torch.optim"),
        ({"net_params": {"lr_schedule": "step"}}, "lr_schedule"),
        ({"net_params": {"hidden_dropout": 0.5}}, "net_params.*hidden_dropout"),
        ({"net_params": {"module__depth": 3}}, "net_params.*depth"),
        ({"net_params": {"dataset": None}}, "net_params has 'dataset', which fit sets"),
        ({"net_params": {"criterion__gamma": 3}}, "net_params.*gamma"),
        ({"net_params": {"criterion": torch.nn.MSELoss}}, "net_params.*criterion"),
        ({"callbacks": [LRScheduler("StepLR")]}, "'lr_schedule': None"),
        ({"callbacks": [EpochScoring("r2", on_train=True)]}, "or a ScoringMonitor"),
        ({"callbacks": [("lr", LRScheduler("StepLR"))]}, "'lr_schedule': None"),
        ({"callbacks": [EarlyStopping()]}, "monitors 'valid_loss'.*early_stopping"),
        ({"callbacks": [("c", Checkpoint())]}, "monitors 'valid_loss_best'"),
        ({"callbacks": [Counts()]}, r"n_seen.*on_train_begin, under names that end"),
        ({"callbacks": [3]}, "callbacks has 3.*go to vae.set_callbacks"),
    ],
)
def test_unusable_parameters_are_refused_and_leave_the_fit_alone(
    fitted, waves, params, message
):
    vae = copy.copy(fitted).set_params(**params)
    before = vars(vae).copy()
    with pytest.raises((ValueError, TypeError), match=message):
        vae.fit(waves)
    assert vars(vae) == before


@pytest.mark.parametrize("n_threads", [0, "all"])
def test_unusable_threads_are_refused_and_change_nothing(waves, monkeypatch, n_threads):
    # So that other tests find it as it was, should this one fail.
    monkeypatch.setattr(threads, "THREADS_OUTSIDE", {})
    vae = ConvVAETransformer(2, max_epochs=1, net_params={"n_threads": n_threads})
    before = torch.get_num_threads()
    with pytest.raises((ValueError, TypeError), match="n_threads"):
        vae.fit(waves)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("method", "X", "message"),
    [
        ("transform", np.ones((2, 47)), "47 features.*48 features"),
        ("transform", np.ones((2, 2, 24)), r"\(2, 24\).*fitted on \(1, 48\)"),
        ("transform", np.full((2, 48), np.nan), "NaN"),
        ("inverse_transform", np.ones((2, 4)), r"Z has 4 columns.*latent_dim=3"),
        ("inverse_transform", [["a", "b", "c"]], "could not convert|bytes/strings"),
    ],
)
def test_unusable_input_is_refused_and_leaves_the_fit_alone(fitted, method, X, message):
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(X)
    assert vars(fitted) == before


@pytest.mark.parametrize(
    "method", ["transform", "inverse_transform", "reconstruct", "posterior",
               "score_samples", "score"]
)  # fmt: skip
def test_methods_before_fit_say_so(method, waves):
    with pytest.raises(NotFittedError):
        getattr(ConvVAETransformer(), method)(waves)


def test_names_of_the_latents(fitted, waves):
    names = ["convvaetransformer0", "convvaetransformer1", "convvaetransformer2"]
    np.testing.assert_array_equal(fitted.get_feature_names_out(), names)
    frame = copy.copy(fitted).set_output(transform="pandas").transform(waves)
    assert list(frame.columns) == names


def test_early_stopping_of_too_few_samples_says_so():
    vae = ConvVAETransformer(early_stopping=True, validation_fraction=0.5)
    with pytest.raises(ValueError, match="leaves 1 of 3 samples"):
        vae.fit(np.eye(3))


def test_a_column_of_a_callback_may_be_named_as_of_validation(waves):
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("valid_own", -len(net.history))

    own = [Records(), EarlyStopping(monitor="valid_own")]
    vae = ConvVAETransformer(2, max_epochs=2, callbacks=own).fit(waves)
    assert vae.history_["valid_own"].tolist() == [-1, -2]


def test_partial_fit_holds_nothing_back_to_monitor(waves):
    vae = ConvVAETransformer(2, early_stopping=True, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match=r"monitor 'train_loss'.*partial_fit never"):
        vae.partial_fit(waves)
    own = [EarlyStopping(monitor="train_loss"), LRScheduler("StepLR", step_size=1)]
    vae.set_params(callbacks=own).partial_fit(waves)


def test_callbacks_and_net_params_reach_skorch(waves):
    class Counter(skorch.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.epochs += 1

    counter = Counter()
    vae = ConvVAETransformer(
        2,
        max_epochs=3,
        callbacks=[("counter", counter)],
        net_params={"optimizer__weight_decay": 0.25},
    ).fit(waves)
    assert dict(vae.net_.callbacks_)["counter"].epochs == 3
    assert counter.epochs == 0  # the parameter is left as it was given
    assert vae.net_.optimizer_.param_groups[0]["weight_decay"] == 0.25


def test_every_parameter_is_stored_documented_and_constrained():
    names = list(inspect.signature(ConvVAETransformer).parameters)
    assert set(names) == set(ConvVAETransformer._parameter_constraints)
    for name in names:
        assert f"\n    {name} : " in ConvVAETransformer.__doc__


def test_a_fitted_estimator_holds_no_training_data(waves):
    small = ConvVAETransformer(2, max_epochs=1).fit(waves[:50])
    large = ConvVAETransformer(2, max_epochs=1).fit(np.tile(waves, (6, 1)))
    sizes = [len(pickle.dumps(vae)) for vae in (small, large)]
    assert sizes[1] < sizes[0] + 20_000


# Warnings point at the user's line


def warned_of(message, call):
    """The files that a warning of this message names, one for each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w.filename for w in caught if message in str(w.message)]


@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
def test_the_warning_of_a_collapse_names_the_users_file(waves, method):
    vae = ConvVAETransformer(
        2, beta=1e6, linear_path=False, conv_channels=(2,), hidden_dims=(), lr=0.03,
        batch_size=4, max_epochs=1, random_state=0,
    )  # fmt: skip
    X = np.tile(waves, (4, 1))
    names = warned_of("No latent dimension is active", lambda: getattr(vae, method)(X))
    assert names == [__file__]


@pytest.mark.parametrize(
    "call",
    [
        lambda vae, X: vae.transform(X),
        lambda vae, X: vae.inverse_transform(np.zeros((2, 3))),
        lambda vae, X: vae.reconstruct(X),
        lambda vae, X: vae.posterior(X),
        lambda vae, X: vae.sample(),
        lambda vae, X: vae.score_samples(X),
        lambda vae, X: vae.score(X),
    ],
    ids=["transform", "inverse_transform", "reconstruct", "posterior", "sample",
         "score_samples", "score"],
)  # fmt: skip
def test_the_warning_of_a_missing_gpu_names_the_users_file(
    fitted, waves, monkeypatch, call
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    vae = copy.deepcopy(fitted).set_params(device="cuda")
    names = warned_of("sees no GPU", lambda: call(vae, waves))
    assert names
    assert set(names) == {__file__}


def test_the_warning_of_other_versions_names_the_users_file(
    fitted, tmp_path, monkeypatch
):
    fitted.save(tmp_path / "model")
    written = {**files.versions(), "torch": "1.0"}
    monkeypatch.setattr(files, "versions", lambda: written)
    fitted.save(tmp_path / "model")
    monkeypatch.undo()
    load = partial(ConvVAETransformer.load, tmp_path / "model")
    assert warned_of("was written with", load) == [__file__]


def test_that_warning_of_a_checkpoint_names_the_users_file(
    waves, tmp_path, monkeypatch
):
    vae = ConvVAETransformer(2, max_epochs=1, random_state=0)
    vae.set_params(checkpoint=tmp_path / "checkpoint")
    written = {**files.versions(), "torch": "1.0"}
    monkeypatch.setattr(files, "versions", lambda: written)
    vae.fit(waves)
    monkeypatch.undo()
    assert warned_of("was written with", lambda: vae.fit(waves)) == [__file__]
