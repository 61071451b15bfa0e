"""The terms of the variational bound, in nats per sample."""

import math

import torch
import torch.nn.functional as F
from torch import nn

LIKELIHOODS = ("gaussian", "laplace", "bernoulli")

# Smallest mean distortion per value, in units of the scaled signal (its square for
# the gaussian): keeps the optimal variance of a perfect reconstruction finite.
MIN_DISTORTION = {"gaussian": 1e-8, "laplace": 1e-4, "bernoulli": 0.0}


def kl_per_dim(z_mean, z_log_var):
    """KL(q(z_k|x) || N(0, 1)) of each sample and latent dimension, in nats.

    Parameters
    ----------
    z_mean, z_log_var : Tensor of shape (n_samples, latent_dim)

    Returns
    -------
    Tensor of shape (n_samples, latent_dim); zero exactly where q is the prior.

    References
    ----------
    Kingma & Welling (2014), appendix B, https://arxiv.org/abs/1312.6114
    """
    _check_same_shape("z_mean", z_mean, "z_log_var", z_log_var)
    return 0.5 * (z_mean.square() + z_log_var.exp() - 1.0 - z_log_var)


def kl_divergence(z_mean, z_log_var):
    """KL(q(z|x) || N(0, I)) of each sample, in nats.

    Parameters
    ----------
    z_mean, z_log_var : Tensor of shape (n_samples, latent_dim)

    Returns
    -------
    Tensor of shape (n_samples,)
    """
    return kl_per_dim(z_mean, z_log_var).sum(dim=1)


def distortion(x_hat, x, likelihood):
    """Distance of each sample from its reconstruction, summed over the sample.

    Parameters
    ----------
    x_hat, x : Tensor of shape (n_samples, n_channels, n_timepoints)
        Reconstruction and signal, in scaled units.
    likelihood : {"gaussian", "laplace", "bernoulli"}
        Squared error (SSE), absolute error (SAE) or binary cross-entropy (BCE, nats).

    Returns
    -------
    Tensor of shape (n_samples,)

    Raises
    ------
    ValueError
        If the shapes differ, which would broadcast to a wrong loss.
    """
    _check_same_shape("x_hat", x_hat, "x", x)
    if likelihood == "gaussian":
        values = (x_hat - x).square()
    elif likelihood == "laplace":
        values = (x_hat - x).abs()
    else:
        # Signals not trained on may lie outside the range that was scaled to [0, 1].
        values = F.binary_cross_entropy(x_hat, x.clamp(0, 1), reduction="none")
    return values.flatten(1).sum(dim=1)


def optimal_weight(mean_distortion, n_values, likelihood):
    """Reconstruction weight at which the likelihood of the mean distortion is largest.

    The shared decoder variance of the sigma-VAE, ``SSE / n_values``, written as the
    weight ``w = 1 / (2 variance)`` of the squared error; for the Laplace likelihood
    ``w = n_values / SAE``. The Bernoulli likelihood has no scale: 1.

    Parameters
    ----------
    mean_distortion : float or Tensor of shape ()
        Mean over samples of `distortion`.
    n_values : int
        Values per sample, ``n_channels * n_timepoints``.
    likelihood : {"gaussian", "laplace", "bernoulli"}

    Returns
    -------
    float or Tensor of shape (); finite also for a perfect reconstruction.

    References
    ----------
    Rybkin, Daniilidis & Levine (2021), https://arxiv.org/abs/2006.13202
    """
    if likelihood == "bernoulli":
        return 1.0
    floor = n_values * MIN_DISTORTION[likelihood]
    if isinstance(mean_distortion, torch.Tensor):
        mean_distortion = mean_distortion.clamp(min=floor)
    else:
        mean_distortion = max(mean_distortion, floor)
    return n_values / (mean_distortion * (2 if likelihood == "gaussian" else 1))


def log_normalizer(weight, n_values, likelihood):
    """Logarithm of the constant that makes ``exp(-weight * distortion)`` a density.

    Parameters
    ----------
    weight : float or Tensor of shape ()
        Reconstruction weight; the gaussian has variance ``1 / (2 weight)``, the
        Laplace scale ``1 / weight``.
    n_values : int
        Values per sample, ``n_channels * n_timepoints``.
    likelihood : {"gaussian", "laplace", "bernoulli"}

    Returns
    -------
    float or Tensor of shape (), in nats per sample; 0 for the Bernoulli likelihood,
    whose distortion is its negative log-likelihood.
    """
    log = torch.log if isinstance(weight, torch.Tensor) else math.log
    if likelihood == "gaussian":
        return 0.5 * n_values * log(weight / math.pi)
    if likelihood == "laplace":
        return n_values * log(weight / 2)
    return 0.0


def log_likelihood(x_hat, x, weight, likelihood):
    """log p(x|z) of each sample, in nats, all constants kept.

    Parameters
    ----------
    x_hat, x : Tensor of shape (n_samples, n_channels, n_timepoints)
        Decoded latents and signal, in scaled units.
    weight : float
        Reconstruction weight, see `log_normalizer`; the Bernoulli likelihood, which
        has no scale, leaves it out.
    likelihood : {"gaussian", "laplace", "bernoulli"}

    Returns
    -------
    Tensor of shape (n_samples,)
    """
    if likelihood == "bernoulli":
        weight = 1.0
    constant = log_normalizer(weight, x[0].numel(), likelihood)
    return constant - weight * distortion(x_hat, x, likelihood)


def log_importance_weight(log_px_given_z, z, z_mean, z_log_var):
    """log p(x|z) + log p(z) - log q(z|x), for z drawn from q(z|x).

    Its mean over draws is the ELBO, ``logsumexp - log(n_draws)`` the tighter
    importance-weighted bound. Both are exact, whatever the draws, where q(z|x) is
    the true posterior.

    Parameters
    ----------
    log_px_given_z : Tensor of shape (n_samples,)
    z, z_mean, z_log_var : Tensor of shape (n_samples, latent_dim)

    Returns
    -------
    Tensor of shape (n_samples,), in nats.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), https://arxiv.org/abs/1509.00519
    """
    _check_same_shape("z", z, "z_mean", z_mean)
    squared_distance = (z - z_mean).square() * (-z_log_var).exp()
    log_ratio = 0.5 * (squared_distance + z_log_var - z.square())
    return log_px_given_z + log_ratio.sum(dim=1)


class Objective(nn.Module):
    """What training minimises, in nats per sample, and its terms.

    ``-log p(x|z) + beta * KL + label_weight * n_values * cross_entropy``; the first
    term is ``weight * distortion`` less its log-normalizer, so that it stays comparable
    while the weight is learned.

    Parameters
    ----------
    likelihood : {"gaussian", "laplace", "bernoulli"}
    reconstruction_weight : float or "auto"
        "auto": the `optimal_weight` of the batch.
    beta : float
        Weight of the KL term (beta-VAE).
    free_bits : float
        Nats per latent dimension, of the mean over the batch, that cost nothing.
    label_weight : float
        Weight of the cross-entropy of the class scores, per value of the signal: the
        first term grows with their number, and so one weight suits any length.

    References
    ----------
    Higgins et al. (2017), beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl
    Kingma et al. (2016), free bits, https://arxiv.org/abs/1606.04934
    """

    def __init__(
        self,
        likelihood="gaussian",
        reconstruction_weight="auto",
        beta=1.0,
        free_bits=0.0,
        label_weight=0.0,
    ):
        super().__init__()
        self.likelihood = likelihood
        self.reconstruction_weight = reconstruction_weight
        self.beta = beta
        self.free_bits = free_bits
        self.label_weight = label_weight

    def forward(self, output, x, y=None):
        """Means over the batch of the terms of the loss.

        Parameters
        ----------
        output : tuple (x_hat, z_mean, z_log_var) or (..., class_scores)
            As from the network.
        x : Tensor of shape (n_samples, n_channels, n_timepoints)
            The target, in scaled units.
        y : Tensor of shape (n_samples, n_classes), optional
            Class probabilities, zeros for unlabelled.

        Returns
        -------
        Tensor of shape (2 + latent_dim,)
            Distortion, cross-entropy, and KL of each latent dimension. One tensor, so
            that an epoch adds them up without waiting for the device.
        """
        x_hat, z_mean, z_log_var, *class_scores = output
        mean_distortion = distortion(x_hat, x, self.likelihood).mean()
        kl = kl_per_dim(z_mean, z_log_var).mean(dim=0)
        cross_entropy = (
            label_loss(class_scores[0], y) if class_scores else kl.new_zeros(())
        )
        return torch.cat([mean_distortion[None], cross_entropy[None], kl])

    def loss(self, terms, n_values, warmup=1.0):
        """The loss, a Tensor of shape (), of the terms that `forward` gives.

        Parameters
        ----------
        terms : Tensor of shape (2 + latent_dim,)
        n_values : int
            Values per sample, ``n_channels * n_timepoints``.
        warmup : float
            Factor of beta, from 0 to 1 during the warm-up.
        """
        mean_distortion, cross_entropy, kl = terms[0], terms[1], terms[2:]
        return (
            self.reconstruction(mean_distortion, n_values)
            + self.beta * warmup * kl.clamp(min=self.free_bits).sum()
            + self.label_weight * n_values * cross_entropy
        )

    def reconstruction(self, mean_distortion, n_values):
        """-log p(x|z) at the mean distortion, in nats per sample."""
        weight = self.weight(mean_distortion, n_values)
        constant = log_normalizer(weight, n_values, self.likelihood)
        return weight * mean_distortion - constant

    def weight(self, mean_distortion, n_values):
        """The reconstruction weight: as given, or optimal for `mean_distortion`."""
        if self.reconstruction_weight != "auto":
            return self.reconstruction_weight
        if isinstance(mean_distortion, torch.Tensor):
            mean_distortion = mean_distortion.detach()
        return optimal_weight(mean_distortion, n_values, self.likelihood)


def label_loss(class_scores, y):
    """Mean cross-entropy of the labelled samples, in nats.

    Parameters
    ----------
    class_scores : Tensor of shape (n_samples, n_classes)
    y : Tensor of shape (n_samples, n_classes)
        Class probabilities; a row of zeros is unlabelled and costs nothing.

    Returns
    -------
    Tensor of shape (); 0 where no sample is labelled.
    """
    _check_same_shape("class_scores", class_scores, "y", y)
    n_labelled = y.sum().clamp(min=1.0)  # not whole numbers where samples are mixed
    return -(y * class_scores.log_softmax(dim=1)).sum() / n_labelled


def _check_same_shape(name, value, other_name, other):
    if value.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and {other_name} has shape "
            f"{tuple(other.shape)}. They must be equal: broadcasting would give a "
            "wrong loss without an error."
        )
