"""What is found about a trained net: means over signals, and what a fit gives."""

import math
from typing import NamedTuple

import numpy as np
import torch

from skvae.batches import map_batches
from skvae.distributed import from_all
from skvae.model.likelihoods import count_measured
from skvae.model.objective import kl_per_dim
from skvae.scaling import ChannelScaler
from skvae.training.net import VAENet


class Fitted(NamedTuple):
    """What a fit gives.

    Attributes
    ----------
    net : VAENet
    scaler : ChannelScaler
    reconstruction_weight : float
        Optimal for signals not trained on, or as given.
    held_back_excess : float
        Distortion expected of signals not trained on, over that of training signals.
    kl_per_dim, latent_scale : ndarray of shape (latent_dim,)
    network_share : dict of float
        See `network_share`.
    n_samples_seen, n_epochs_total : int
        Of all calls.
    """

    net: VAENet
    scaler: ChannelScaler
    reconstruction_weight: float
    held_back_excess: float
    kl_per_dim: np.ndarray
    latent_scale: np.ndarray
    network_share: dict | None = None
    n_samples_seen: int = 0
    n_epochs_total: int = 0


class Means(NamedTuple):
    """Means over signals.

    Attributes
    ----------
    distortion, n_measured : float
    kl_per_dim : ndarray of shape (latent_dim,)
    """

    distortion: float
    n_measured: float
    kl_per_dim: np.ndarray


def describe(net, dataset, draws):
    """`Means` over the signals of a dataset.

    `draws` (n, latent_dim), standard normal, are those of q(z|x).
    """
    module, likelihood = net.module_.eval(), net.criterion_.likelihood

    def terms(index):
        h, (x, *_) = dataset[index]
        z_mean, z_log_var = module.posterior(h)
        noise = draws[index.cpu()].to(z_mean.device)
        x_hat = module.decode(z_mean + (0.5 * z_log_var).exp() * noise)
        distortion = likelihood.distortion(x_hat, x)
        return distortion, count_measured(x), kl_per_dim(z_mean, z_log_var)

    means = Means(*mean_over_samples(terms, dataset))
    if not np.isfinite(np.hstack(means)).all():
        raise net.divergence("The latents or their reconstruction became infinite")
    return means


def decoder_scale(net, dataset, step=0.1):
    """Root mean square norm of d decode / d z_k over signals, (latent_dim,).

    By central differences, exact for a linear decoder, over `step` standard deviations
    of the prior either way: the slope that a neighbour in latent space sees.
    """
    module = net.module_.eval()

    def squared_slopes(index):
        z, _ = module.posterior(dataset[index][0])
        slopes = []
        for offset in step * torch.eye(z.shape[1], dtype=z.dtype, device=z.device):
            slope = (module.decode(z + offset) - module.decode(z - offset)) / (2 * step)
            slopes.append(slope.square().flatten(1).sum(dim=1))
        return tuple(slopes)

    return np.sqrt(mean_over_samples(squared_slopes, dataset))


def mean_over_samples(function, dataset):
    """Means, a list, of a function of indices over the samples of all processes."""
    device, totals = dataset.rows.device, []
    if len(dataset):
        index = torch.arange(len(dataset), device=device)
        n_timepoints = dataset.signals.X.shape[2]
        values = map_batches(
            function, index.__getitem__, len(index), n_timepoints, device
        )
        totals = [each.sum(axis=0, dtype=np.float64) for each in values]
    totals = [part for part in from_all(totals) if part]
    return [sum(part) / dataset.n_all for part in zip(*totals, strict=True)]


def pooled_with(before, fitted, n_new):
    """`Fitted`, with the means of signals seen before, as they were then.

    `fitted` knows only of the `n_new` that came now.
    """
    share = n_new / (before.n_samples_seen + n_new)
    # The distortion of a value is in proportion to the reciprocal of the weight.
    weights = before.reconstruction_weight, fitted.reconstruction_weight
    pooled = {
        "reconstruction_weight": 1 / ((1 - share) / weights[0] + share / weights[1]),
        "kl_per_dim": (1 - share) * before.kl_per_dim + share * fitted.kl_per_dim,
    }
    return fitted._replace(**pooled)


def in_units_of_X(latent_scale, scaler, whiten):
    """Factors of latents, float32: none of them 0, all of them 1 to whiten."""
    if whiten:
        latent_scale = np.ones_like(latent_scale)
    else:
        latent_scale = math.sqrt(np.mean(scaler.scale_**2)) * latent_scale
    latent_scale = latent_scale.astype(np.float32)
    return np.where(latent_scale > 0, latent_scale, np.float32(1.0))


def network_share(net, dataset):
    """What networks add to linear maps, as a share of the mean squares of both.

    Of `"latents"` and of the `"reconstruction"`: 0 is a linear map of signal and
    features, 1 a network from end to end.
    """
    module = net.module_.eval()
    if module.decoder.linear is None:
        return {"latents": 1.0, "reconstruction": 1.0}

    def squares(index):
        h, _ = dataset[index]
        z, _ = module.posterior(h)
        z_linear = module.encoder.linear(h)
        x_linear = module.decoder.linear(z) - module.decoder.linear.bias
        parts = z_linear, z - z_linear, x_linear, module.decoder.convolve(z)
        return tuple(p.flatten(1).square().sum(dim=1) for p in parts)

    linear, network = np.reshape(mean_over_samples(squares, dataset), (2, 2)).T
    shares = network / np.maximum(linear + network, 1e-30)
    return dict(zip(("latents", "reconstruction"), shares.tolist(), strict=True))


def sum_up(net, scaler, latent_scale, dataset, trained, distortion):
    """`Fitted`, of a trained net and the `Means` of the dataset by it.

    `distortion` is what is expected of signals not trained on.
    """
    net.module_.eval()
    return Fitted(
        net=net,
        scaler=scaler,
        reconstruction_weight=float(
            net.criterion_.weight(distortion, trained.n_measured)
        ),
        held_back_excess=distortion / max(trained.distortion, 1e-30),
        kl_per_dim=trained.kl_per_dim,
        latent_scale=latent_scale,
        network_share=network_share(net, dataset),
    )
