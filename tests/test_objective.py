"""The bound and the loss against torch.distributions and finite differences."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Laplace, Normal

from skvae import ConvVAETransformer
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.network import ConvVAE
from skvae.model.objective import (
    Objective,
    Terms,
    gaussian_elbo,
    kl_per_dim,
    label_loss,
    log_importance_weights,
)

UNIT_DENSITIES = {
    "gaussian": lambda x_hat: Normal(x_hat, math.sqrt(0.5)),
    "laplace": lambda x_hat: Laplace(x_hat, 1.0),
    "bernoulli": lambda x_hat: Bernoulli(probs=x_hat, validate_args=False),
}


def make_output(n_samples=5, shape=(2, 7), latent_dim=3, seed=0):
    """Random x in (0, 1) and outputs of a network for it, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    x_hat = 0.05 + 0.9 * draw(n_samples, *shape)
    z_mean, z_log_var = 2 * draw(2, n_samples, latent_dim) - 1
    return draw(n_samples, *shape), x_hat, z_mean, z_log_var


@pytest.mark.parametrize("shape", [(1, 1), (7, 3)])
def test_kl_matches_torch_distributions(shape):
    z_mean, z_log_var = torch.randn(2, *shape, dtype=torch.float64)
    posterior = Normal(z_mean, (0.5 * z_log_var).exp())
    expected = torch.distributions.kl_divergence(posterior, Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dim(z_mean, z_log_var), expected)


def test_kl_of_the_prior_is_zero():
    zeros = torch.zeros(2, 3)
    assert torch.equal(kl_per_dim(zeros, zeros), zeros)


def test_kl_of_shapes_that_would_broadcast_is_refused():
    with pytest.raises(ValueError, match="broadcasting"):
        kl_per_dim(torch.zeros(4, 2), torch.zeros(4, 1))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_objective_of_a_perfect_reconstruction_is_finite(likelihood):
    x = torch.ones(4, 1, 6)
    output = (x.clone().requires_grad_(), torch.zeros(4, 2), torch.zeros(4, 2))
    objective = Objective(likelihood)
    loss = objective.loss(objective(output, x))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(output[0].grad).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("warmup", [1.0, 0.25])
def test_loss_is_the_negative_elbo_of_torch_distributions(likelihood, warmup):
    x, x_hat, z_mean, z_log_var = make_output()
    objective = Objective(likelihood, reconstruction_weight=1.0, beta=2.5)
    terms = objective((x_hat, z_mean, z_log_var), x)
    loss = objective.loss(terms, warmup)
    posterior = Normal(z_mean, (0.5 * z_log_var).exp())
    kl = torch.distributions.kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
    log_px_given_z = Independent(UNIT_DENSITIES[likelihood](x_hat), 2).log_prob(x)
    torch.testing.assert_close(loss, (warmup * 2.5 * kl - log_px_given_z).mean())
    torch.testing.assert_close(
        objective.reconstruction(terms.distortion, terms.n_measured),
        -log_px_given_z.mean(),
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("weight", ["auto", 10.0])
def test_gradient_of_the_loss_matches_finite_differences(likelihood, weight):
    x, *output = make_output()
    objective = Objective(likelihood, weight, beta=0.5, free_bits=0.01)

    def loss(x_hat, z_mean, z_log_var):
        # "auto" holds the weight fixed, which at the optimum changes no gradient.
        return objective.loss(objective((x_hat, z_mean, z_log_var), x))

    if weight != "auto":
        inputs = [value.requires_grad_() for value in output]
        assert torch.autograd.gradcheck(loss, inputs)
        return
    x_hat = output[0].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(*output), x_hat)
    step = torch.zeros_like(x_hat)
    step[1, 0, 3] = 1e-5
    difference = (
        loss(x_hat + step, *output[1:]) - loss(x_hat - step, *output[1:])
    ) / 2e-5
    torch.testing.assert_close(gradient[1, 0, 3], difference, rtol=1e-5, atol=1e-8)


def test_loss_does_not_depend_on_how_often_a_sample_is_repeated():
    x, *output = make_output()
    objective = Objective(reconstruction_weight=3.0)
    loss = objective.loss(objective(output, x))
    repeated = [value.repeat_interleave(4, dim=0) for value in (x, *output)]
    again = objective.loss(objective(repeated[1:], repeated[0]))
    torch.testing.assert_close(loss, again)


def test_signal_and_latents_that_would_broadcast_are_refused():
    x, x_hat, z_mean, z_log_var = make_output(shape=(1, 7))
    objective = Objective()
    with pytest.raises(ValueError, match=r"\(5, 7\).*\(5, 1, 7\)"):
        objective((x_hat[:, 0], z_mean, z_log_var), x)
    with pytest.raises(ValueError, match="broadcasting"):
        objective((x_hat, z_mean, z_log_var[:, :1]), x)


def test_free_bits_cost_nothing_and_no_more():
    terms = Terms(*torch.tensor([0.0, 4.0, 0.0]), torch.tensor([0.2, 0.7]))
    with_bits = Objective(reconstruction_weight=1.0, free_bits=0.5).loss(terms)
    without = Objective(reconstruction_weight=1.0).loss(terms)
    assert float(with_bits - without) == pytest.approx(0.5 - 0.2)


# Labels

NAN = float("nan")


def test_label_loss_of_classes_is_cross_entropy_and_skips_unlabelled():
    scores = torch.randn(4, 3, dtype=torch.float64)
    y = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [NAN] * 3, [NAN] * 3])
    expected = torch.nn.functional.cross_entropy(
        scores, torch.tensor([0, 2, -1, -1]), ignore_index=-1
    )
    torch.testing.assert_close(label_loss(scores, y.double(), True), expected)


def test_label_loss_of_numbers_is_that_of_a_normal_and_skips_the_unknown():
    generator = torch.Generator().manual_seed(0)
    predicted, y = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)
    y[4, 0] = y[5] = NAN
    loss = label_loss(predicted, y, False)
    log_prob = Normal(predicted, 1.0).log_prob(y.nan_to_num())
    log_prob = log_prob[:4, 0].mean() + log_prob[:5, 1].mean()
    torch.testing.assert_close(loss, -log_prob - math.log(2 * math.pi))


@pytest.mark.parametrize("classes", [True, False])
def test_no_label_costs_nothing_and_has_no_gradient(classes):
    predicted = torch.randn(3, 2, requires_grad=True)
    loss = label_loss(predicted, torch.full((3, 2), NAN), classes)
    loss.backward()
    assert loss == 0
    assert not predicted.grad.any()
    with pytest.raises(ValueError, match="broadcasting"):
        label_loss(predicted, torch.zeros(3, 1), classes)


def test_the_head_counts_as_much_as_half_the_values_of_a_signal():
    x, *output = make_output()
    predicted = torch.randn(5, 2, dtype=torch.float64)
    y = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 0, 1]]

    def loss(label_weight, *head):
        objective = Objective("gaussian", 1.0, label_weight=label_weight)
        return objective.loss(objective([*output, *head], x, y))

    cross_entropy = torch.nn.functional.cross_entropy(predicted, y)
    expected = 3.0 * 14 / 2 * cross_entropy
    torch.testing.assert_close(loss(3.0, predicted) - loss(0.0), expected)


# The importance-weighted bound


@torch.no_grad()
def test_importance_weights_are_the_marginal_where_the_posterior_is_exact():
    # x = a z + noise of variance s2, so that q(z|x) and p(x) are known in closed form.
    a, s2 = 1.7, 0.3
    module = ConvVAE(1, 1, 1, with_features=False).double().eval()
    module.encoder.components.weight.fill_(a / (a**2 + s2))
    module.encoder.components.bias.zero_()
    module.encoder.set_variances(torch.tensor([s2 / (a**2 + s2)]))
    module.decoder.linear.weight.fill_(a)
    module.decoder.linear.bias.zero_()
    x, draws = torch.randn(6, 1, 1).double(), torch.randn(3, 1).double()
    gaussian = LIKELIHOODS["gaussian"]
    weights = log_importance_weights(module, gaussian, 0.5 / s2, x, draws)
    expected = Normal(0.0, math.sqrt(a**2 + s2)).log_prob(x[:, 0])
    torch.testing.assert_close(weights, expected.expand(6, 3), rtol=1e-6, atol=1e-6)


# The bound of a gaussian, in part in closed form


@pytest.fixture(params=["whole", "gaps"])
def partly_linear(request):
    """A network with a linear map beside convolutions, and signals for it."""
    torch.manual_seed(0)
    module = ConvVAE(2, 12, 3, with_features=False).double().eval()
    with torch.no_grad():
        for parameter in module.decoder.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
        module.encoder.components.weight.normal_(std=0.2)
        module.encoder.z_log_var.copy_(torch.tensor([-1.0, -0.5, -2.0]))
    x = torch.randn(4, 2, 12, dtype=torch.float64)
    if request.param == "gaps":
        x[:2, 0, 3:9] = torch.nan
    return module, x


def bounds(module, x, n_draws, seed=0):
    """`gaussian_elbo`, and means of importance weights of as many draws."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(n_draws, 3, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        arguments = module, LIKELIHOODS["gaussian"], 0.7, x
        drawn = log_importance_weights(*arguments, torch.cat([draws, -draws]))
        return gaussian_elbo(*arguments, draws), drawn.mean(dim=1)


def test_gaussian_elbo_is_the_mean_of_many_draws(partly_linear):
    closed, drawn = bounds(*partly_linear, 3000)
    torch.testing.assert_close(closed, drawn, rtol=0, atol=0.05)
    assert (closed.diff().abs() > 0.5).all()  # far more than the tolerance


def test_gaussian_elbo_of_a_linear_decoder_is_exact(partly_linear):
    module, x = partly_linear
    module.forget_training()
    one, _ = bounds(module, x, 1)
    other, drawn = bounds(module, x, 3000, seed=1)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, drawn, rtol=0, atol=0.05)


def test_scores_are_more_exact_than_those_of_16_draws(waves):
    vae = ConvVAETransformer(4, max_epochs=5, random_state=0, device="cpu").fit(waves)
    module, weight = vae.module_, vae.reconstruction_weight_
    x = torch.from_numpy(vae.scaler_.transform(waves[:, None]))
    draws = torch.randn(1040, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        drawn = log_importance_weights(
            module, LIKELIHOODS["gaussian"], weight, x, draws
        )
    exact = drawn[:, 16:].mean(dim=1)
    found = vae.score_samples(waves) - vae.scaler_.log_det(np.array([[48]]))
    error = (torch.from_numpy(found) - exact).square().mean().sqrt()
    of_16 = (drawn[:, :16].mean(dim=1) - exact).square().mean().sqrt()
    assert error < 0.7 * of_16
