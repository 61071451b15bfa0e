"""Likelihoods p(x|z) with one free weight."""

import math

import torch
import torch.nn.functional as F

# Least mean errors of a value, in scaled units: the optimal weight stays finite.
MIN_SQUARED_ERROR = 1e-8
MIN_ABSOLUTE_ERROR = 1e-4


class Likelihood:
    """Density p(x|z) of scaled signals x (n, c, t) with mean x_hat.

    Its logarithm is ``log_normalizer(weight, n_values) - weight * distortion``, for
    `n_values` measured values of a signal. The distortion is the sum of `errors`. It
    does not depend on the weight: a Student's t does not fit in.
    `optimal_weight` maximises the likelihood (Rybkin, Daniilidis and Levine 2021,
    https://arxiv.org/abs/2006.13202). `expected_distortion` is that of normal errors.
    `std` and `sample` are the standard deviation of p(x|z) and draws from it.
    """

    is_unit_range = False  # whether x is in [0, 1], and the decoder ends in a sigmoid
    is_gaussian = False  # whether the distortion is the squared error

    def distortion(self, x_hat, x):
        """Sum (n,) of the errors of measured values."""
        check_same_shape("x_hat", x_hat, "x", x)
        errors = self.errors(x_hat, x.nan_to_num()) * ~x.isnan()
        return errors.flatten(1).sum(dim=1)

    def log_prob(self, x_hat, x, weight):
        """log p(x|z), (n,), in nats, with all constants."""
        return self.log_density(self.distortion(x_hat, x), x, weight)

    def log_density(self, distortion, x, weight):
        constant = self.log_normalizer(weight, count_measured(x).double())
        return constant.to(distortion.dtype) - weight * distortion


class Gaussian(Likelihood):
    """Squared error; the variance is ``1 / (2 weight)``."""

    is_gaussian = True

    def errors(self, x_hat, x):
        return (x_hat - x).square()

    def optimal_weight(self, mean_distortion, n_values):
        least = n_values * MIN_SQUARED_ERROR
        return 1 / (2 * at_least(mean_distortion, least)) * n_values

    def log_normalizer(self, weight, n_values):
        return 0.5 * n_values * log(weight / math.pi)

    def expected_distortion(self, variance, n_values):
        return n_values * variance

    def std(self, weight, x_hat):
        return math.sqrt(0.5 / weight)

    def sample(self, rng, x_hat, weight):
        return rng.normal(x_hat, self.std(weight, x_hat))


class Laplace(Likelihood):
    """Absolute error; the scale is ``1 / weight``."""

    def errors(self, x_hat, x):
        return (x_hat - x).abs()

    def optimal_weight(self, mean_distortion, n_values):
        return 1 / at_least(mean_distortion, n_values * MIN_ABSOLUTE_ERROR) * n_values

    def log_normalizer(self, weight, n_values):
        return n_values * log(weight / 2)

    def expected_distortion(self, variance, n_values):
        return n_values * math.sqrt(2 * variance / math.pi)

    def std(self, weight, x_hat):
        return math.sqrt(2) / weight

    def sample(self, rng, x_hat, weight):
        return rng.laplace(x_hat, 1 / weight)


class Bernoulli(Likelihood):
    """Binary cross-entropy, which is -log p(x|z); so its optimal weight is 1."""

    is_unit_range = True

    def errors(self, x_hat, x):
        # New signals may exceed the range that training signals are scaled to.
        return F.binary_cross_entropy(x_hat, x.clamp(0, 1), reduction="none")

    def log_prob(self, x_hat, x, weight):
        return -self.distortion(x_hat, x)  # the weight is not a part of p(x|z)

    def optimal_weight(self, mean_distortion, n_values):
        return 1.0

    def log_normalizer(self, weight, n_values):
        return 0.0

    def expected_distortion(self, variance, n_values):
        return 0.0  # only weights depend on it

    def std(self, weight, x_hat):
        return (x_hat * (1 - x_hat)) ** 0.5

    def sample(self, rng, x_hat, weight):
        return rng.binomial(1, x_hat)


LIKELIHOODS = {"gaussian": Gaussian(), "laplace": Laplace(), "bernoulli": Bernoulli()}


def count_measured(x):
    """Number (n,) of values that are not NaN, of x (n, c, t)."""
    return (~x.isnan()).flatten(1).sum(dim=1)


def log(value):
    return torch.log(value) if isinstance(value, torch.Tensor) else math.log(value)


def at_least(value, floor):
    is_tensor = isinstance(value, torch.Tensor)
    return value.clamp(min=floor) if is_tensor else max(value, floor)


def check_same_shape(name, value, other_name, other):
    """Refuse to broadcast, which would give a wrong loss in silence."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and {other_name} has shape "
            f"{tuple(other.shape)}. Expected equal shapes: broadcasting would give a "
            "wrong loss in silence."
        )
