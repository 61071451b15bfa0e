"""Each likelihood against torch.distributions, by whatever it is asked."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Laplace, Normal

from skvae.model.likelihoods import LIKELIHOODS

N_VALUES = 14


def density(name, x_hat, weight):
    if name == "gaussian":
        return Independent(Normal(x_hat, math.sqrt(0.5 / weight)), 2)
    if name == "laplace":
        return Independent(Laplace(x_hat, 1 / weight), 2)
    return Independent(Bernoulli(probs=x_hat, validate_args=False), 2)


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(5, 2, 7, generator=generator, dtype=torch.float64)


@pytest.fixture
def x_hat():
    generator = torch.Generator().manual_seed(1)
    return 0.05 + 0.9 * torch.rand(5, 2, 7, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("weight", [1.0, 12.5])
def test_log_prob_matches_torch_distributions(x, x_hat, name, weight):
    expected = density(name, x_hat, weight).log_prob(x)
    found = LIKELIHOODS[name].log_prob(x_hat, x, weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_log_prob_is_normalizer_less_weighted_distortion(x, x_hat, name):
    """So that the objective and the score are the same terms; weight 1 for all."""
    likelihood = LIKELIHOODS[name]
    torch.testing.assert_close(
        likelihood.log_normalizer(1.0, N_VALUES) - likelihood.distortion(x_hat, x),
        density(name, x_hat, 1.0).log_prob(x),
    )


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_optimal_weight_maximizes_the_likelihood(x, x_hat, name, as_tensor):
    likelihood = LIKELIHOODS[name]
    mean_distortion = likelihood.distortion(x_hat, x).mean()
    if not as_tensor:
        mean_distortion = float(mean_distortion)
    best = float(likelihood.optimal_weight(mean_distortion, N_VALUES))
    factors = [0.9, 0.99, 1.0, 1.01, 1.1]
    values = [density(name, x_hat, best * f).log_prob(x).mean() for f in factors]
    assert max(values) == values[2]


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("distortion", [0.0, torch.zeros(())])
def test_the_weight_of_a_perfect_reconstruction_is_finite(name, distortion):
    likelihood = LIKELIHOODS[name]
    weight = likelihood.optimal_weight(distortion, N_VALUES)
    assert math.isfinite(weight)
    assert math.isfinite(likelihood.log_normalizer(weight, N_VALUES))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_std_and_samples_are_those_of_the_density(x_hat, name):
    likelihood, weight = LIKELIHOODS[name], 3.0
    expected = density(name, x_hat, weight).stddev.numpy()
    std = np.broadcast_to(likelihood.std(weight, x_hat.numpy()), x_hat.shape)
    np.testing.assert_allclose(std, expected)
    rng = np.random.default_rng(0)
    draws = np.stack(
        [likelihood.sample(rng, x_hat.numpy(), weight) for _ in range(4000)]
    )
    error = 5 * expected / math.sqrt(4000)
    assert (abs(draws.mean(axis=0) - x_hat.numpy()) < error).all()
    np.testing.assert_allclose(draws.std(axis=0), expected, rtol=0.15)
    # The shape too: the log-density of draws is minus the entropy.
    log_prob = density(name, x_hat, weight).log_prob(torch.from_numpy(draws * 1.0))
    entropy = density(name, x_hat, weight).base_dist.entropy().sum(dim=(1, 2))
    torch.testing.assert_close(-log_prob.mean(dim=0), entropy, rtol=0.02, atol=0.2)


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_expected_distortion_is_that_of_normal_errors(name):
    likelihood = LIKELIHOODS[name]
    errors = math.sqrt(0.3) * torch.randn(
        100_000, 2, 7, generator=torch.Generator().manual_seed(0)
    )
    mean = likelihood.distortion(errors, torch.zeros_like(errors)).mean()
    expected = likelihood.expected_distortion(0.3, N_VALUES)
    assert float(mean) == pytest.approx(expected, rel=0.01)


def test_bernoulli_takes_values_outside_its_range_as_0_or_1(x_hat):
    x = torch.linspace(-2, 3, 70, dtype=torch.float64).reshape(5, 2, 7)
    bernoulli = LIKELIHOODS["bernoulli"]
    inside = x.clamp(0, 1)
    expected = -density("bernoulli", x_hat, 1.0).log_prob(inside)
    torch.testing.assert_close(bernoulli.distortion(x_hat, x), expected)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_shapes_that_would_broadcast_are_refused(name):
    x = torch.rand(4, 1, 6)
    with pytest.raises(ValueError, match=r"\(4, 6\).*\(4, 1, 6\).*broadcasting"):
        LIKELIHOODS[name].distortion(x.squeeze(1), x)
    with pytest.raises(ValueError, match="broadcasting"):
        LIKELIHOODS[name].log_prob(x[:1], x, 1.0)
