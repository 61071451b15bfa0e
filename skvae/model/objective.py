"""The variational bound and the loss of training, in nats per sample."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from skvae.model.likelihoods import LIKELIHOODS, check_same_shape, count_measured

# Draws from q(z|x) for the ELBO; or pairs of draws beside an exact linear part, which
# have half the error or less.
N_ELBO_DRAWS, N_ELBO_PAIRS = 16, 2


def kl_per_dim(z_mean, z_log_var):
    """KL(q(z_k|x) || N(0, 1)), (n, latent_dim), in nats.

    See Kingma and Welling (2014), appendix B, https://arxiv.org/abs/1312.6114.
    """
    check_same_shape("z_mean", z_mean, "z_log_var", z_log_var)
    return 0.5 * (z_mean.square() + z_log_var.exp() - 1.0 - z_log_var)


def log_importance_weights(module, likelihood, weight, x, draws):
    """log p(x|z) + log p(z) - log q(z|x), (n, n_draws), in nats, for draws of z.

    `draws` (n_draws, latent_dim) are standard normal. The mean over draws is the ELBO,
    and ``logsumexp - log(n_draws)`` the tighter importance-weighted bound.
    """
    z_mean, z_log_var = module.encode(x)

    def log_weight(z, squared_distance, log_var):
        # The distance from the mean is in units of the covariance.
        log_px_given_z = likelihood.log_prob(module.decode(z), x, weight)
        log_ratio = 0.5 * (squared_distance + log_var - z.square())
        return log_px_given_z + log_ratio.sum(dim=1)

    log_weights = []
    for draw in draws:
        z = z_mean + (0.5 * z_log_var).exp() * draw
        squared_distance = (z - z_mean).square() * (-z_log_var).exp()
        log_weights.append(log_weight(z, squared_distance, z_log_var))
    log_weights = torch.stack(log_weights, dim=1)
    has_gaps = x.isnan().flatten(1).any(dim=1)
    if not (has_gaps.any() and module.is_linear_at_start):
        return log_weights

    # Gaps correlate the latents.
    noise = likelihood.std(weight, None) ** 2
    mean, scale_tril = module.posterior_given_measured(x, z_mean, z_log_var, noise)
    log_var = 2 * scale_tril.diagonal(dim1=1, dim2=2).log()
    with_gaps = [
        log_weight(mean + scale_tril @ draw, draw.square().expand_as(mean), log_var)
        for draw in draws
    ]
    return torch.where(has_gaps[:, None], torch.stack(with_gaps, dim=1), log_weights)


def marginal_posterior(module, likelihood, weight, x):
    """Mean and log-variance (n, latent_dim) of q(z|x), also with gaps in x."""
    z_mean, z_log_var = module.encode(x)
    has_gaps = x.isnan().flatten(1).any(dim=1, keepdim=True)
    if module.is_linear_at_start and has_gaps.any():
        noise = likelihood.std(weight, None) ** 2
        _, scale_tril = module.posterior_given_measured(x, z_mean, z_log_var, noise)
        log_var = 2 * scale_tril.norm(dim=2).log()
        z_log_var = torch.where(has_gaps, log_var, z_log_var)
    return z_mean, z_log_var


def lower_bound(module, likelihood, weight, x, latent_dim, n_importance=1):
    """Lower bound (n,) of log p(x), float64, in nats, with equal draws in each call.

    It is the ELBO, or with `n_importance` above 1 the importance-weighted bound.
    """
    is_elbo = n_importance == 1
    is_closed = is_elbo and likelihood.is_gaussian and module.is_linear_at_start
    n_draws = N_ELBO_DRAWS if is_elbo else n_importance
    size = N_ELBO_PAIRS if is_closed else n_draws, latent_dim
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(size, generator=generator, dtype=torch.float32).to(x.device)
    if is_closed:
        return gaussian_elbo(module, likelihood, weight, x, draws).double()
    log_weights = log_importance_weights(module, likelihood, weight, x, draws).double()
    if is_elbo:
        return log_weights.mean(dim=1)
    return log_weights.logsumexp(dim=1) - math.log(n_draws)


def gaussian_elbo(module, likelihood, weight, x, draws):
    """ELBO (n,), in nats: exact for the linear map, and a mean over draws beside it."""
    decoder = module.decoder
    loadings = decoder.linear.weight
    is_measured = ~x.isnan()
    z_mean, z_log_var = module.encode(x)

    def log_px(mean, deviations, variance):
        # E[log p(x|z)]. The linear map has this variance, summed over values.
        at_mean = decoder.convolve(mean)
        linear = decoder.linear(mean).unflatten(1, decoder.shape)
        error = torch.where(is_measured, linear + at_mean - x, 0.0)
        distortion = error.square().flatten(1).sum(dim=1) + variance
        for deviation in deviations:
            for z in (deviation, -deviation):
                linear = (decoder.linear(z) - decoder.linear.bias).view_as(x)
                bent = (decoder.convolve(mean + z) - at_mean) * is_measured
                change = (2 * (error + linear) + bent) * bent
                share = 1 / (2 * len(deviations))
                distortion = distortion + share * change.flatten(1).sum(dim=1)
        return likelihood.log_density(distortion, x, weight)

    std = (0.5 * z_log_var).exp()
    variance = (std.square() * loadings.square().sum(dim=0)).sum(dim=1)
    kl = kl_per_dim(z_mean, z_log_var).sum(dim=1)
    bounds = log_px(z_mean, [std * draw for draw in draws], variance) - kl
    has_gaps = ~is_measured.flatten(1).all(dim=1)
    if not has_gaps.any():
        return bounds

    # Gaps correlate the latents.
    noise = likelihood.std(weight, None) ** 2
    mean, scale_tril = module.posterior_given_measured(x, z_mean, z_log_var, noise)
    covariance = scale_tril @ scale_tril.mT
    loadings = loadings.double()
    products = (loadings[:, :, None] * loadings[:, None]).flatten(1)  # (c * t, k * k)
    products = is_measured.flatten(1).double() @ products
    variance = (products * covariance.flatten(1)).sum(dim=1).to(x.dtype)
    log_var = 2 * scale_tril.diagonal(dim1=1, dim2=2).log()
    kl = covariance.diagonal(dim1=1, dim2=2) + mean.square() - 1.0 - log_var
    deviations = [scale_tril @ draw for draw in draws]
    with_gaps = log_px(mean, deviations, variance) - 0.5 * kl.sum(dim=1)
    return torch.where(has_gaps, with_gaps, bounds)


class Terms(NamedTuple):
    """Means over signals from which the loss follows."""

    distortion: torch.Tensor
    n_measured: torch.Tensor  # number of measured values
    label: torch.Tensor  # loss of the head
    kl_per_dim: torch.Tensor  # (latent_dim,)


class Objective(nn.Module):
    """Loss of training, in nats per sample, and its terms.

    It is ``-log p(x|z) + beta * KL + label_weight * n_measured / 2 * label_loss``. The
    first term has its normalizer, so that it stays comparable while the weight changes.
    The factor of the label loss grows with the length of a signal, as that term does.

    A `reconstruction_weight` of "auto" is the optimal weight of the batch. `free_bits`
    are nats per latent dimension, in the mean over the batch, that cost nothing (Kingma
    et al. 2016, https://arxiv.org/abs/1606.04934). A head on the latents predicts
    scores of `classes`, or else numbers.
    """

    def __init__(
        self,
        likelihood="gaussian",
        reconstruction_weight="auto",
        beta=1.0,
        free_bits=0.0,
        label_weight=0.0,
        classes=True,
    ):
        super().__init__()
        self.likelihood = LIKELIHOODS[likelihood]
        self.reconstruction_weight = reconstruction_weight
        self.beta = beta
        self.free_bits = free_bits
        self.label_weight = label_weight
        self.classes = classes

    def forward(self, output, x, y=None):
        """`Terms` of a batch: `ConvVAE` output, scaled signals x and targets y."""
        x_hat, z_mean, z_log_var, *predicted = output
        distortion = self.likelihood.distortion(x_hat, x).mean()
        kl = kl_per_dim(z_mean, z_log_var).mean(dim=0)
        label = kl.new_zeros(())
        if predicted:
            label = label_loss(*predicted, y, self.classes)
        n_measured = count_measured(x).to(kl).mean()
        return Terms(distortion, n_measured, label, kl)

    def loss(self, terms, warmup=1.0):
        """Loss of `Terms`, a Tensor (); `warmup`, from 0 to 1, is a factor of beta."""
        kl = terms.kl_per_dim.clamp(min=self.free_bits).sum()
        return (
            self.reconstruction(terms.distortion, terms.n_measured)
            + self.beta * warmup * kl
            + self.label_weight * terms.n_measured / 2 * terms.label
        )

    def reconstruction(self, mean_distortion, n_measured):
        """Mean of -log p(x|z), in nats per sample."""
        weight = self.weight(mean_distortion, n_measured)
        constant = self.likelihood.log_normalizer(weight, n_measured)
        return weight * mean_distortion - constant

    def weight(self, mean_distortion, n_measured):
        """The reconstruction weight, as given or optimal for means over samples."""
        if self.reconstruction_weight != "auto":
            return self.reconstruction_weight
        if isinstance(mean_distortion, torch.Tensor):
            mean_distortion = mean_distortion.detach()
        return self.likelihood.optimal_weight(mean_distortion, n_measured)


def label_loss(predicted, y, classes):
    """Mean loss of known targets y (n, n_targets), a Tensor (), summed over columns.

    It is the cross-entropy of class scores, in nats, or half the squared error.
    """
    check_same_shape("the head's output", predicted, "y", y)
    is_known = ~y.isnan()
    y = torch.where(is_known, y, 0.0)
    if classes:
        is_known = is_known[:, :1]
        losses = -(y * F.log_softmax(predicted, dim=1)).sum(dim=1, keepdim=True)
    else:
        losses = 0.5 * (predicted - y).square()
    return ((losses * is_known).sum(dim=0) / is_known.sum(dim=0).clamp(min=1)).sum()
