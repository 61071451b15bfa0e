"""Likelihoods p(x|z), of one free weight: ``exp(-weight * distortion)``, normalised."""

import math

import torch
import torch.nn.functional as F

# Smallest mean distortion a value, in units of the scaled signal (the gaussian: its
# square): keeps the optimal weight of a perfect reconstruction finite.
MIN_SQUARED_ERROR = 1e-8
MIN_ABSOLUTE_ERROR = 1e-4


class Likelihood:
    """What a likelihood has to say; the first three methods follow from the rest.

    The objective and the optimal weight know of x_hat and x only the mean distortion.

    Attributes
    ----------
    is_unit_range : bool
        x is in [0, 1], and the decoder ends in a sigmoid.
    is_gaussian : bool
        Its distortion is the squared error.
    """

    is_unit_range = is_gaussian = False

    def distortion(self, x_hat, x):
        """Sum of the errors of each sample, (n,), of x_hat and x (n, c, t), scaled.

        Over what was measured: NaN in x has no error.
        """
        check_same_shape("x_hat", x_hat, "x", x)
        errors = self.errors(x_hat, x.nan_to_num()) * ~x.isnan()
        return errors.flatten(1).sum(dim=1)

    def log_prob(self, x_hat, x, weight):
        """log p(x|z) of each sample, (n,), in nats, all constants kept."""
        return self.log_density(self.distortion(x_hat, x), x, weight)

    def log_density(self, distortion, x, weight):
        """As `log_prob`, of the distortion of each sample, (n,)."""
        constant = self.log_normalizer(weight, count_measured(x).double())
        return constant.to(distortion.dtype) - weight * distortion

    def errors(self, x_hat, x):
        """Error of each value, of the shape of x."""
        raise NotImplementedError

    def optimal_weight(self, mean_distortion, n_values):
        """Weight at which the likelihood of a mean distortion is largest.

        Parameters
        ----------
        mean_distortion : float or Tensor of shape ()
            Mean over samples of `distortion`.
        n_values : float or Tensor of shape ()
            Measured values per sample, ``n_channels * n_timepoints`` without gaps.

        Returns
        -------
        float or Tensor of shape (); finite also for a perfect reconstruction.

        References
        ----------
        Rybkin, Daniilidis & Levine (2021), https://arxiv.org/abs/2006.13202
        """
        raise NotImplementedError

    def log_normalizer(self, weight, n_values):
        """Nats per sample to add to ``-weight * distortion`` for a log-density."""
        raise NotImplementedError

    def expected_distortion(self, variance, n_values):
        """Mean distortion of a sample whose errors are normal with this variance."""
        raise NotImplementedError

    def std(self, weight, x_hat):
        """Standard deviation of p(x|z) at each value of x_hat."""
        raise NotImplementedError

    def sample(self, rng, x_hat, weight):
        """Draw from p(x|z), of mean x_hat, an ndarray, by a NumPy Generator."""
        raise NotImplementedError


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
    """Binary cross-entropy, which is its negative log-likelihood: weight 1 at best."""

    is_unit_range = True

    def errors(self, x_hat, x):
        # Signals not trained on may lie outside the range that was scaled to [0, 1].
        return F.binary_cross_entropy(x_hat, x.clamp(0, 1), reduction="none")

    def log_prob(self, x_hat, x, weight):
        return -self.distortion(x_hat, x)  # a weight of the objective is none of p

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
