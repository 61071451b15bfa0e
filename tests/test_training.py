"""The plan of a fit: how far training is trusted, the decoder's noise, the budget."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from skorch.callbacks import Callback

from skvae import ConvVAETransformer
from skvae.scaling import ChannelScaler
from skvae.training import fit
from skvae.training.data import ScaledSignals, SignalDataset
from skvae.training.fitted import decoder_scale
from skvae.training.make_net import auto_steps


def low_rank(n_samples, n_factors=3, n_timepoints=40, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_factors))
    X = X @ rng.standard_normal((n_factors, n_timepoints))
    return X + noise * rng.standard_normal(X.shape)


# How far training is trusted


class Ends(Callback):
    """The weights at the start and at the end of training."""

    def on_train_begin(self, net, **kwargs):
        self.start_ = {k: v.clone() for k, v in net.module_.state_dict().items()}

    def on_train_end(self, net, **kwargs):
        self.end_ = {k: v.clone() for k, v in net.module_.state_dict().items()}


def shares_of_the_way(X, y=None, **params):
    """For each weight that training moved, how much of the way the fit went with it."""
    vae = ConvVAETransformer(2, callbacks=[("ends", Ends())], random_state=0, **params)
    ends = dict(vae.fit(X, y).net_.callbacks_)["ends"]
    shares = {}
    for name, now in vae.module_.state_dict().items():
        start, end = ends.start_[name].double(), ends.end_[name].double()
        way = end - start
        if way.any() and now.is_floating_point():
            share = ((now - start) * way).sum() / way.square().sum()
            # On the straight line between them.
            torch.testing.assert_close(
                now.double(), start + share * way, rtol=0, atol=1e-5
            )
            shares[name] = float(share)
    return shares


@pytest.mark.parametrize("n_samples", [20, 60, 200])
@pytest.mark.parametrize("params", [{}, {"feature_weight": 0.0}])
def test_the_maps_go_back_towards_their_start(waves, params, n_samples):
    """All of them by the same share, the usual one where signals are few."""
    shares = shares_of_the_way(waves[:n_samples], max_epochs=3, **params)
    back = {name: share for name, share in shares.items() if abs(share - 1) > 1e-3}
    maps = {"decoder.linear", "decoder.output"}
    if params:
        maps.add("encoder.correction.z_mean")
    assert {name.rpartition(".")[0] for name in back} == maps
    # What no closed form starts is trained all the way.
    assert len(shares) > len(back)
    first, *others = back.values()
    np.testing.assert_allclose(others, first, atol=2e-3)
    if n_samples < 100:  # too few to test
        assert first == pytest.approx(0.5 * n_samples / (n_samples + 20), abs=2e-3)
    else:
        assert 0 <= first < 1


@pytest.mark.parametrize("best", [0.0, 0.3, 1.0])
def test_the_minimum_of_a_parabola(best):
    values = [3 * (share - best) ** 2 + 2 for share in (0, 0.5, 1)]
    assert fit.minimum_of_parabola(values) == pytest.approx(best)
    assert fit.minimum_of_parabola([0.0, 1.0, 0.0]) == 0.0  # a hill


@pytest.mark.filterwarnings("ignore:y cannot be predicted")
@pytest.mark.parametrize(
    ("params", "n_classes"),
    [({"linear_path": False}, 0), ({"label_weight": 1.0}, 4)],
    ids=["no linear path", "head"],
)
def test_where_all_is_learned_in_training_it_is_trusted(waves, params, n_classes):
    y = np.arange(len(waves)) % n_classes if n_classes else None
    shares = shares_of_the_way(waves, y, max_epochs=2, **params)
    assert len(shares) > 10
    np.testing.assert_allclose(list(shares.values()), 1.0)


# The decoder's noise


def test_noise_is_that_of_signals_not_fitted():
    """Of signals that are nothing but noise of variance 1."""
    X = np.random.default_rng(0).standard_normal((60, 200))
    vae = ConvVAETransformer(8, max_epochs=1, scale=None, random_state=0).fit(X)
    variance = 0.5 / vae.reconstruction_weight_
    assert variance == pytest.approx(1.0, abs=0.1)
    assert np.square(vae.reconstruct(X) - X).mean() < 0.9  # of the fitted ones


@pytest.mark.parametrize("n_samples", [30, 120])
def test_training_ends_no_worse_than_its_start(monkeypatch, n_samples):
    """Training for long learns noisy signals by heart: of others it may cost 2 nats."""
    X = low_rank(n_samples + 200)
    X, others = X[:n_samples], X[n_samples:]
    params = {"random_state": 0, "feature_weight": 0.0}
    start = ConvVAETransformer(3, max_epochs=0, **params).fit(X)
    for settings in ({}, {"max_epochs": 150, "lr": 1e-2}):
        vae = ConvVAETransformer(3, **settings, **params).fit(X)
        assert vae.score(others) > start.score(others) - 2.0
        error = np.square((vae.reconstruct(others) - others) / vae.scaler_.scale_)
        variance = 0.5 / vae.reconstruction_weight_
        assert variance == pytest.approx(error.mean(), rel=0.3)
    monkeypatch.setattr(fit, "trust", lambda *_: 1.0)
    blind = ConvVAETransformer(3, **settings, **params).fit(X)
    assert vae.score(others) > blind.score(others) + 1.0


def test_a_few_steps_end_no_worse_than_their_start(waves):
    """Of an epoch, or of small parts: at the full rate they would go astray."""
    params = {"feature_weight": 0.0, "random_state": 0, "device": "cpu"}
    X, others = waves[:50], waves[50:]
    start = ConvVAETransformer(8, max_epochs=0, **params).fit(X).score(others)
    fitted = ConvVAETransformer(8, max_epochs=1, **params).fit(X)
    assert fitted.score(others) > start - 1.0
    parts = ConvVAETransformer(8, **params)
    with pytest.warns(UserWarning, match="partial_fit got 25 signals for 8"):
        parts.partial_fit(X[:25])
    assert parts.partial_fit(X[25:]).score(others) > start - 1.0


def test_nothing_more_to_train_is_no_error(waves):
    vae = ConvVAETransformer(2, max_epochs=1, warm_start=True, random_state=0)
    latents, score = vae.fit(waves).transform(waves), vae.score(waves)
    again = vae.set_params(max_epochs=0).fit(waves).transform(waves)
    np.testing.assert_allclose(again, latents, rtol=1e-2, atol=1e-2)
    assert vae.score(waves) == pytest.approx(score, abs=0.5)
    vae.set_params(early_stopping=True).fit(waves)


def test_scores_are_of_the_likelihood_that_was_fitted(waves):
    vae = ConvVAETransformer(2, max_epochs=0, random_state=0).fit(waves)
    score, drawn = vae.score(waves), vae.sample(noise=True)
    vae.set_params(likelihood="laplace")
    assert vae.score(waves) == score
    np.testing.assert_array_equal(vae.sample(noise=True), drawn)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_the_weight_is_near_the_best_for_new_signals(likelihood):
    """No other weight gives signals that were not fitted a much better bound."""
    X = low_rank(300, noise=0.8)
    vae = ConvVAETransformer(3, likelihood=likelihood, random_state=0).fit(X[:100])
    own, bound = vae.reconstruction_weight_, vae.score(X[100:])
    for factor in (0.5, 0.7, 1.4, 2.0):
        vae.reconstruction_weight_ = factor * own
        assert vae.score(X[100:]) < bound + 1.0


def test_a_weight_that_is_given_stays(waves):
    for params in ({}, {"linear_path": False}):
        vae = ConvVAETransformer(2, reconstruction_weight=7.0, max_epochs=1, **params)
        assert vae.fit(waves).reconstruction_weight_ == 7.0
        assert vae.partial_fit(waves).reconstruction_weight_ == 7.0


def test_without_training_nothing_is_drawn(waves):
    """The closed form alone is the same for any seed, its noise too."""
    weights = [
        ConvVAETransformer(2, feature_weight=0.0, max_epochs=0, random_state=seed)
        .fit(waves)
        .reconstruction_weight_
        for seed in range(3)
    ]
    np.testing.assert_allclose(weights, weights[0], rtol=1e-5)


# The budget


@pytest.mark.parametrize("linear_path", [True, False])
def test_auto_is_a_budget_that_grows_with_the_data(linear_path):
    n_samples = [2, 20, 200, 2000, 20_000, 200_000]
    n_steps = [auto_steps(n, linear_path, False) for n in n_samples]
    assert (np.diff(n_steps) > 0).all()
    assert (np.diff(np.divide(n_steps, n_samples)) < 0).all()
    # Of no more signals than 25 steps of 16 for each root: what training took before.
    assert (np.array(n_steps)[2:] <= 25 * np.sqrt(n_samples)[2:]).all()
    if linear_path:
        assert (np.array(n_steps)[2:] * 24 < 1.03 * 400 * np.sqrt(n_samples)[2:]).all()
        assert round(auto_steps(300, True, False)) == 156
    assert auto_steps(500, linear_path, True) > 1.5 * auto_steps(
        500, linear_path, False
    )


def test_auto_is_what_a_fit_runs(waves):
    vae = ConvVAETransformer(2, random_state=0).fit(waves)
    # 40 of 200 test what training gains.
    assert vae.n_epochs_ == round(auto_steps(160, True, False) / 7)


# How far a latent moves the signal


def test_decoder_scale_matches_the_jacobian():
    torch.manual_seed(0)
    decoder = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 7)
    ).double()
    X = np.random.default_rng(0).standard_normal((40, 1, 3))
    module = SimpleNamespace(
        represent=lambda x: x.flatten(1),
        posterior=lambda h: (h.double(), None),
        decode=lambda z: decoder(z)[:, None],
    )
    module.eval = lambda: module
    signals = ScaledSignals(X, ChannelScaler(None).fit(X), "cpu")
    signals.represent_by(module, signals.all_rows())
    net = SimpleNamespace(module_=module)
    scale = decoder_scale(net, SignalDataset(signals), step=1e-4)
    jacobians = torch.stack(
        [
            torch.autograd.functional.jacobian(decoder, torch.from_numpy(x))
            for x in X[:, 0]
        ]
    )  # (n, 7, 3)
    expected = jacobians.square().sum(dim=1).mean(dim=0).sqrt()
    np.testing.assert_allclose(scale, expected, rtol=1e-5)


def test_without_linear_path_the_scale_is_that_of_the_decoder(waves):
    X = np.stack([3 * waves, waves], axis=1)[:60]
    vae = ConvVAETransformer(2, linear_path=False, max_epochs=9, random_state=0).fit(X)
    x = torch.from_numpy(vae.scaler_.transform(X))
    with torch.no_grad():
        z = vae.module_.encode(x)[0]
    jacobians = [
        torch.autograd.functional.jacobian(vae.module_.decode, row[None]) for row in z
    ]  # (1, 2, 48, 1, 2)
    squares = torch.stack(jacobians)[:, 0, :, :, 0].square().sum(dim=(1, 2))
    expected = squares.mean(dim=0).sqrt().numpy()
    unit = np.sqrt(np.square(vae.scaler_.scale_).mean())
    np.testing.assert_allclose(vae.latent_scale_, unit * expected, rtol=0.25)


# Going on


@pytest.mark.parametrize("linear_path", [False, True])
def test_going_on_keeps_scaling_and_features(waves, linear_path):
    """Signals of another scale are not what the first ones were scaled by."""
    vae = ConvVAETransformer(2, linear_path=linear_path, max_epochs=5, random_state=0)
    vae.fit(waves)
    scaler = vae.scaler_
    fixed = {
        name: value.clone()
        for name, value in vae.module_.state_dict().items()
        if "features" in name
    }
    assert bool(fixed) is linear_path
    vae.partial_fit(2 * waves[:50])
    vae.set_params(warm_start=True).fit(waves[:100])
    assert vae.scaler_ is scaler
    for name, value in fixed.items():
        assert torch.equal(value, vae.module_.state_dict()[name])


# The first part of many


def test_a_first_call_of_few_signals_is_warned_of():
    vae = ConvVAETransformer(3, conv_channels=())
    with pytest.warns(UserWarning, match="got 29 signals for 3 latents.*10 for each"):
        vae.partial_fit(low_rank(29))
    vae.partial_fit(low_rank(9))  # the second
    ConvVAETransformer(3, conv_channels=()).partial_fit(low_rank(30))
    ConvVAETransformer(3, conv_channels=()).fit(low_rank(29))


@pytest.mark.parametrize(
    "params", [{"beta": 1e3}, {"reconstruction_weight": 1e-4}], ids=str
)
def test_a_kl_term_that_outweighs_all_empties_the_latents(waves, params):
    """As in a linear VAE, whose latents explain less than it asks for."""
    with pytest.warns(UserWarning, match="No latent dimension is active"):
        vae = ConvVAETransformer(2, random_state=0, **params).fit(waves)
    assert vae.n_active_dims_ == 0


def test_beta_is_noise_that_is_so_much_larger(waves):
    """Latents of pPCA with the noise variance times beta, and its posterior."""
    settings = {"feature_weight": 0, "max_epochs": 0, "scale": None, "whiten": True}
    first, other = (
        ConvVAETransformer(2, beta=beta, **settings).fit(waves) for beta in (1.0, 3.0)
    )
    pca = PCA(2).fit(waves)
    for vae, beta in ((first, 1.0), (other, 3.0)):
        left = beta * pca.noise_variance_ / pca.explained_variance_
        expected = pca.transform(waves) / np.sqrt(pca.explained_variance_)
        found = np.abs(vae.transform(waves))
        np.testing.assert_allclose(
            found, np.abs(expected) * np.sqrt(1 - left), rtol=1e-3, atol=1e-4
        )
        _, std = vae.posterior(waves[:1])
        slopes = pca.explained_variance_ * (1 - left)
        variance = beta * pca.noise_variance_ / (beta * pca.noise_variance_ + slopes)
        np.testing.assert_allclose(std[0], np.sqrt(variance), rtol=1e-3)
