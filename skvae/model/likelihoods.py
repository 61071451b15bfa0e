"""Likelihoods p(x|z) with one free weight."""

import math

import torch
import torch.nn.functional as F

# Least mean distortion of a value, in scaled units: the optimal weight of a perfect
# reconstruction stays finite.
MIN_SQUARED_ERROR = 1e-8
MIN_ABSOLUTE_ERROR = 1e-4


class Likelihood:
    """Density p(x|z) of signals x (n, c, t) whose mean is x_hat, in scaled units.

    Its logarithm is ``log_normalizer(weight, n_values) - weight * distortion``. Each
    likelihood has these methods; `n_values` is the number of measured values of a
    signal, a mean over signals, and it and `mean_distortion` are floats or Tensors:

    errors(x_hat, x)
        Error of each value, of the shape of x; `distortion` is their sum.
    optimal_weight(mean_distortion, n_values)
        Weight at which the likelihood is largest (Rybkin, Daniilidis and Levine 2021,
        https://arxiv.org/abs/2006.13202), finite also without any error.
    log_normalizer(weight, n_values)
        Nats per signal.
    expected_distortion(variance, n_values)
        Mean distortion of a signal whose errors are normal, with this variance.
    std(weight, x_hat)
        Standard deviation of p(x|z) at each value.
    sample(rng, x_hat, weight)
        Draw from p(x|z), an ndarray as x_hat, by a NumPy Generator.
    """

    is_unit_range = False  # whether x is in [0, 1], and the decoder ends in a sigmoid
    is_gaussian = False  # whether the distortion is the squared error

    def distortion(self, x_hat, x):
        """Sum of the errors of each signal, (n,), over measured values of x."""
        check_same_shape("x_hat", x_hat, "x", x)
        errors = self.errors(x_hat, x.nan_to_num()) * ~x.isnan()
        return errors.flatten(1).sum(dim=1)

    def log_prob(self, x_hat, x, weight):
        """log p(x|z) of each signal, (n,), in nats, with all constants."""
        return self.log_density(self.distortion(x_hat, x), x, weight)

    def log_density(self, distortion, x, weight):
        """log p(x|z) of each signal, (n,), from its distortion."""
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
    """Binary cross-entropy, the negative log-likelihood: its optimal weight is 1."""

    is_unit_range = True

    def errors(self, x_hat, x):
        # Signals that were not trained on may exceed the range scaled to [0, 1].
        return F.binary_cross_entropy(x_hat, x.clamp(0, 1), reduction="none")

    def log_prob(self, x_hat, x, weight):
        return -self.distortion(x_hat, x)  # the weight is the objective's, not p's

    def optimal_weight(self, mean_distortion, n_values):
        return 1.0

    def log_normalizer(self, weight, n_values):
        return 0.0

    def expected_distortion(self, variance, n_values):
        return 0.0  # no weight depends on it

    def std(self, weight, x_hat):
        return (x_hat * (1 - x_hat)) ** 0.5

    def sample(self, rng, x_hat, weight):
        return rng.binomial(1, x_hat)


LIKELIHOODS = {"gaussian": Gaussian(), "laplace": Laplace(), "bernoulli": Bernoulli()}


def count_measured(x):
    """Values of each sample that are not NaN, (n,), of x (n, c, t)."""
    return (~x.isnan()).flatten(1).sum(dim=1)


def log(value):
    return torch.log(value) if isinstance(value, torch.Tensor) else math.log(value)


def at_least(value, floor):
    if isinstance(value, torch.Tensor):
        return value.clamp(min=floor)
    return max(value, floor)


def check_same_shape(name, value, other_name, other):
    """Raise a ValueError where broadcasting would give a wrong loss in silence."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and {other_name} has shape "
            f"{tuple(other.shape)}. Expected equal shapes: broadcasting would give a "
            "wrong loss in silence."
        )
