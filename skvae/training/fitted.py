"""Statistics of a trained net: means over signals."""

import math
from typing import NamedTuple

import numpy as np
import torch

from skvae.batches import map_batches
from skvae.distributed import from_all
from skvae.model.likelihoods import count_measured
from skvae.model.objective import kl_per_dim
from skvae.training.data import SignalDataset


class Sample(NamedTuple):
    """Signals to take means over, with a standard normal draw for each q(z|x)."""

    dataset: SignalDataset
    draws: torch.Tensor  # (n, latent_dim)

    @classmethod
    def of(cls, dataset, latent_dim):
        first = dataset.n_before
        draws = torch.randn(dataset.n_all, latent_dim, dtype=torch.float32)
        return cls(dataset, draws[first : first + len(dataset)])


class Means(NamedTuple):
    """Means over the signals of a `Sample`."""

    distortion: float
    n_measured: float
    kl_per_dim: np.ndarray  # (latent_dim,)


def describe(net, sample):
    """`Means` over the signals of a `Sample`."""
    module, likelihood = net.module_.eval(), net.criterion_.likelihood

    def terms(index):
        h, (x, *_) = sample.dataset[index]
        z_mean, z_log_var = module.posterior(h)
        noise = sample.draws[index.cpu()].to(z_mean.device)
        x_hat = module.decode(z_mean + (0.5 * z_log_var).exp() * noise)
        distortion = likelihood.distortion(x_hat, x)
        return distortion, count_measured(x), kl_per_dim(z_mean, z_log_var)

    means = Means(*mean_over_samples(terms, sample.dataset))
    if not np.isfinite(np.hstack(means)).all():
        raise net.divergence("The latents or their reconstruction became infinite")
    return means


def decoder_scale(net, dataset, step=0.1):
    """Root mean square norm (latent_dim,) of d decode / d z_k over signals."""
    module = net.module_.eval()

    def squared_slopes(index):
        z, _ = module.posterior(dataset[index][0])
        slopes = []
        for offset in step * torch.eye(z.shape[1], dtype=z.dtype, device=z.device):
            slope = (module.decode(z + offset) - module.decode(z - offset)) / (2 * step)
            slopes.append(slope.square().flatten(1).sum(dim=1))
        return tuple(slopes)

    return np.sqrt(mean_over_samples(squared_slopes, dataset))


def network_share(net, dataset):
    """Shares, from 0 to 1, of networks beside linear maps in the mean squares."""
    module = net.module_.eval()
    if module.decoder.linear is None:
        return {"latents": 1.0, "reconstruction": 1.0}

    def squares(index):
        h, _ = dataset[index]
        z, _ = module.posterior(h)
        z_linear = module.encoder.linear(h)
        x_linear = module.decoder.linear(z) - module.decoder.linear.bias
        parts = z_linear, z - z_linear, x_linear, module.decoder.convolve(z)
        return tuple(part.flatten(1).square().sum(dim=1) for part in parts)

    linear, network = np.reshape(mean_over_samples(squares, dataset), (2, 2)).T
    shares = network / np.maximum(linear + network, 1e-30)
    return dict(zip(("latents", "reconstruction"), shares.tolist(), strict=True))


def mean_over_samples(function, dataset):
    """Means, over all processes, of the arrays that ``function(index)`` returns."""
    device, totals = dataset.rows.device, []
    if len(dataset):
        index = torch.arange(len(dataset), device=device)
        sizes = len(index), dataset.signals.X.shape[2]
        arrays = map_batches(function, index.__getitem__, *sizes, device)
        totals = [values.sum(axis=0, dtype=np.float64) for values in arrays]
    totals = [each for each in from_all(totals) if each]
    return [sum(parts) / dataset.n_all for parts in zip(*totals, strict=True)]


def pooled_with(before, fitted, share):
    """Fitted attributes of new signals, a share of all, and of an earlier fit."""
    # Distortions, which are means, are proportional to the reciprocal weights.
    old, new = before.reconstruction_weight_, fitted["reconstruction_weight_"]
    kl = (1 - share) * before.kl_per_dim_ + share * fitted["kl_per_dim_"]
    weight = 1 / ((1 - share) / old + share / new)
    return fitted | {"reconstruction_weight_": weight, "kl_per_dim_": kl}


def in_units_of_X(latent_scale, scaler, whiten):
    """Factors of latents, float32: 1 to whiten, and never 0."""
    if whiten:
        return np.ones(len(latent_scale), np.float32)
    scale = math.sqrt(np.mean(scaler.scale_**2)) * latent_scale
    scale = scale.astype(np.float32)  # which may underflow
    return np.where(scale > 0, scale, np.float32(1.0))
