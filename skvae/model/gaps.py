"""Gaps: missing values of signals, and what they leave unknown of the latents."""

import numpy as np
import torch
from torch import nn

from skvae.model.closed_form import thin_svd

# Components of the model, at most; and values, and signals, that each is worth.
MAX_COMPONENTS = 32
VALUES_PER_COMPONENT = 3
SIGNALS_PER_COMPONENT = 6
# Rounds of filling and learning, where training signals have gaps.
N_ROUNDS = 3
# Correlation of the noise from one time step to the next, before it is known.
FIRST_CORRELATION = 0.97
# A correlation of 1 would be noise that never changes.
MAX_CORRELATION = 0.9999
# Smallest standard deviation of the noise, of the signals'.
MIN_STD = 1e-4
# Values of the signals that are filled at a time, of 16 at least.
FILLED_VALUES = 2**13


class GapFiller(nn.Module):
    """Fill missing values by their expectation, given what was measured of a signal.

    A signal is ``mean + loadings @ z + noise``, z ~ N(0, I), as in probabilistic PCA,
    but that the noise of a channel is correlated in time, by ``correlation**d`` over d
    time steps: a short gap is bridged between its edges, a long one filled by what such
    signals do there. Where training signals have gaps, filling them and learning from
    them take turns, as in expectation and maximisation.

    Parameters
    ----------
    n_channels, n_timepoints : int

    References
    ----------
    Roweis (1998), EM algorithms for PCA, section 4,
    https://papers.nips.cc/paper/1398-em-algorithms-for-pca-and-spca
    """

    def __init__(self, n_channels, n_timepoints):
        super().__init__()
        n_values = n_channels * n_timepoints
        n_components = max(1, min(MAX_COMPONENTS, n_values // VALUES_PER_COMPONENT))
        shape = (n_channels, n_timepoints)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("loadings", torch.zeros(*shape, n_components))
        self.register_buffer("std", torch.ones(n_channels, 1))
        self.register_buffer("correlation", torch.zeros(n_channels, 1))
        # Always so many at a time: the last bit of a product may depend on it.
        self.n_filled = max(16, FILLED_VALUES // n_values)

    @torch.no_grad()
    def fit(self, x):
        """Learn from signals x (n, c, t), each channel of which is measured."""
        x = x.double().cpu().numpy()
        is_measured = ~np.isnan(x)
        mean = mean_signal(x)
        std = np.sqrt(mean_measured(np.square(x - mean), axis=(0, 2)))
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(std[:, None]).clamp(min=1e-30))
        self.correlation.fill_(FIRST_CORRELATION)
        for _ in range(1 if is_measured.all() else N_ROUNDS):
            filled = self(torch.from_numpy(x).to(self.mean.device)).cpu().numpy()
            self.learn(filled, is_measured)
        return self

    def learn(self, x, is_measured):
        """Set the model to filled signals x (n, c, t), ndarrays.

        Noise, and what the components explain, are those in each half of the signals
        by the components of the other.
        """
        n_samples, *shape = x.shape
        rows = x.reshape(n_samples, -1)
        n_components = min(self.loadings.shape[-1], n_samples // SIGNALS_PER_COMPONENT)
        n_components = max(1, n_components)
        mean = rows.mean(axis=0)
        _, _, directions = thin_svd(rows - mean, n_components)

        noise = np.zeros_like(rows)
        explained = np.zeros(n_components)
        for half in range(2):
            part, others = rows[half::2], rows[1 - half :: 2]
            centred = part - others.mean(axis=0)
            _, _, found = thin_svd(others - others.mean(axis=0), n_components)
            scores = centred @ found.T
            noise[half::2] = centred - scores @ found
            explained[: len(found)] += np.square(scores).sum(axis=0)
        n_found = len(directions)
        gains = np.sqrt(explained[:n_found] / n_samples)
        noise = np.where(is_measured, noise.reshape(x.shape), np.nan)
        std = np.sqrt(mean_measured(np.square(noise), axis=(0, 2)))
        floor = max(MIN_STD * rows.std(), 1e-30)

        loadings = (directions * gains[:, None]).T.reshape(*shape, n_found)
        self.mean.copy_(torch.from_numpy(mean.reshape(shape)))
        self.loadings.zero_()[..., :n_found] = torch.from_numpy(loadings)
        self.std.copy_(torch.from_numpy(np.maximum(std, floor)[:, None]))
        self.correlation.copy_(torch.from_numpy(correlation(noise)[:, None]))

    @torch.no_grad()
    def forward(self, x):
        """Signals x (n, c, t) with their missing values, NaN, filled; else x itself."""
        has_gaps = x.isnan().flatten(1).any(dim=1)
        if not has_gaps.any():
            return x
        filled = x.clone()
        for rows in has_gaps.nonzero().squeeze(1).split(self.n_filled):
            some = x.new_zeros(self.n_filled, *x.shape[1:])
            some[: len(rows)] = x[rows]
            filled[rows] = self.fill(some.double())[: len(rows)].to(x.dtype)
        return filled

    def fill(self, x):
        """As `forward`, of signals in float64."""
        is_measured = ~x.isnan()
        n_timepoints = x.shape[2]
        time = torch.arange(n_timepoints, device=x.device)
        before = torch.where(is_measured, time, -1).cummax(dim=2).values
        after = torch.where(is_measured, time, n_timepoints).flip(2)
        after = after.cummin(dim=2).values.flip(2)
        steps = torch.arange(n_timepoints + 1, device=x.device)
        decay = self.correlation.double() ** steps  # (c, t + 1)
        # With a last column, of zeros, for the innovations.
        loadings = nn.functional.pad(self.loadings.double(), (0, 1))
        loadings = (loadings / self.std[..., None]).flatten(0, 1)  # (c * t, k + 1)
        x_scaled = (x.nan_to_num() - self.mean) / self.std

        # Innovations: measured values less what the measured one before tells of them.
        last = nn.functional.pad(before[..., :-1], (1, 0), value=-1)
        channel = torch.arange(x.shape[1], device=x.device)[:, None]
        share = torch.where(last >= 0, decay[channel, time - last], 0.0)
        weight = is_measured / (1 - share.square()).sqrt()
        last = last.clamp(min=0)
        innovations = weight * (x_scaled - share * x_scaled.gather(2, last))
        # weight * (loadings - share * loadings of last), in place: memory takes longest
        rows = (channel * n_timepoints + last).flatten()
        inputs = loadings.index_select(0, rows).view(len(x), *loadings.shape)
        inputs *= (-share * weight).flatten(1)[..., None]
        inputs.addcmul_(weight.flatten(1)[..., None], loadings)
        inputs[..., -1] = innovations.flatten(1)
        products = inputs.mT @ inputs  # (n, k + 1, k + 1)
        precision = products[:, :-1, :-1] + torch.eye(len(products[0]) - 1).to(x)
        information = products[:, :-1, -1:]
        z = torch.linalg.solve(precision, information)
        signal = (loadings[:, :-1] @ z).view(x.shape)

        # The noise at both edges of a gap, carried inwards.
        noise = torch.where(is_measured, x_scaled - signal, 0.0)
        left = decay[channel, time - before] * (before >= 0)
        right = decay[channel, after - time] * (after < n_timepoints)
        both = (1 - (left * right).square()).clamp(min=1e-12)
        noise_before = noise.gather(2, before.clamp(min=0))
        noise_after = noise.gather(2, after.clamp(max=n_timepoints - 1))
        signal += left * (1 - right.square()) / both * noise_before
        signal += right * (1 - left.square()) / both * noise_after
        return torch.where(is_measured, x, self.mean + self.std * signal)


def mean_measured(x, axis):
    """Mean of what is not NaN, 0 where all of it is."""
    return np.nansum(x, axis=axis) / np.maximum((~np.isnan(x)).sum(axis=axis), 1)


def mean_signal(x):
    """Mean of what was measured at each time step, (c, t), of signals x (n, c, t).

    A time step that no signal has takes the mean of its neighbours.
    """
    mean, time = mean_measured(x, axis=0), np.arange(x.shape[2])
    for channel, known in zip(mean, (~np.isnan(x)).any(axis=0), strict=True):
        if known.any():
            channel[~known] = np.interp(time[~known], time[known], channel[known])
    return mean


def correlation(noise):
    """Correlation from one time step to the next, (c,), of noise (n, c, t) with NaN.

    The root that belongs to the longest of the lags 1, 2, 4, ... over which half of it
    is left: long gaps depend on how far it reaches, and short ones little.
    """
    found = np.zeros(noise.shape[1])
    variance = np.maximum(mean_measured(np.square(noise), axis=(0, 2)), 1e-300)
    lag, reaches = 1, np.ones_like(found, dtype=bool)
    while reaches.any() and lag < noise.shape[2]:
        products = noise[..., lag:] * noise[..., :-lag]
        share = mean_measured(products, axis=(0, 2)) / variance
        reaches &= (share > 0.5) | (lag == 1)
        root = np.clip(share, 0.0, 1.0) ** (1 / lag)
        found = np.where(reaches, root, found)
        lag *= 2
    return np.minimum(found, MAX_CORRELATION)


def conditioned_on_measured(z_mean, z_log_var, x, filled, x_hat, loadings, noise):
    """q(z|x) of signals with gaps, as a mean and a Cholesky factor of its covariance.

    What the encoder found for the filled signal is relieved of what the filled values
    told: exactly, where encoder and decoder are those of probabilistic PCA (Tipping and
    Bishop 1999, https://doi.org/10.1111/1467-9868.00196).

    Parameters
    ----------
    z_mean, z_log_var : Tensor of shape (n_samples, latent_dim)
        Of the filled signals.
    x, filled, x_hat : Tensor of shape (n_samples, n_channels, n_timepoints)
        With NaN in gaps, with these filled, and decoded from `z_mean`.
    loadings : Tensor of shape (n_channels * n_timepoints, latent_dim)
        Of the linear decoder.
    noise : float
        Variance of a value.

    Returns
    -------
    mean : Tensor of shape (n_samples, latent_dim)
    scale_tril : Tensor of shape (n_samples, latent_dim, latent_dim)
    """
    is_missing = x.isnan().flatten(1)
    loadings, x_hat, filled = loadings.double(), x_hat.double(), filled.double()
    prior = torch.eye(loadings.shape[1]).to(loadings)
    # Information of each value on the latents, (c * t, k * k).
    per_value = (loadings[:, :, None] * loadings[:, None] / noise).flatten(1)
    measured = (~is_missing).double() @ per_value
    precision = prior + measured.unflatten(1, prior.shape)
    whole = 1 + loadings.square().sum(dim=0) / noise
    learned = ((-z_log_var).double().exp() / whole).sqrt()  # 1 in the closed form
    precision = learned[:, :, None] * precision * learned[:, None]
    pull = torch.where(is_missing, (x_hat - filled).flatten(1), 0.0) @ loadings / noise
    factor = torch.linalg.cholesky(precision)
    shift = torch.cholesky_solve(pull[..., None], factor).squeeze(2)
    covariance = torch.cholesky_inverse(factor)
    scale_tril = torch.linalg.cholesky(covariance)
    return z_mean + shift.to(z_mean), scale_tril.to(z_mean)
