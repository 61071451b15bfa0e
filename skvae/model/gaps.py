"""Gaps: missing values of signals, and what they leave unknown of the latents."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import nn

from skvae.model.moments import thin_svd

# Components of the model, at most; and values, and signals, that each is worth.
MAX_COMPONENTS = 32
VALUES_PER_COMPONENT = 3
SIGNALS_PER_COMPONENT = 6
# Components of each round of filling and learning, where training signals have gaps:
# many at once would explain what the first filling made up.
ROUNDS = (1, 1, 3, 8, MAX_COMPONENTS)
# Correlation of the noise from one time step to the next, before it is known.
FIRST_CORRELATION = 0.97
# A correlation of 1 would be noise that never changes.
MAX_CORRELATION = 0.9999
# Smallest standard deviation of white noise: of a channel's noise, of the signals.
MIN_WHITE_STD = 3e-3
MIN_STD = 1e-4
# What repeats is this much larger for the search of components: they are then more
# those of all periods. How much more alike periods are than halves of them, at least.
REPEATED = 1.2
MIN_LIKENESS = 0.3
# Largest factor of errors beyond, or below, what is expected.
MAX_EXCESS = 4.0
# Values of the signals that the number of components is chosen by, of 64 at least.
CHOICE_VALUES = 2**16
# Values of the signals that lose some, to see how well these are filled; signals, at
# least and at most.
TRIED_VALUES, MIN_TRIED, MAX_TRIED = 2**14, 16, 32
# Numbers of signals that are filled together; and channels, with more of which a
# signal's last bits depend on the others of its band.
FILLED_NUMBERS = 2**17
MAX_TOGETHER = 8


class GapFiller(nn.Module):
    """Fill missing values by their expectation, given what was measured of a signal.

    A signal is ``mean + loadings @ z + mixing @ s + e``. As in probabilistic PCA,
    z ~ N(0, I) tells how such signals differ. Of the noise, s has one source for each
    channel, mixed into all of them; each is correlated in time, by
    ``correlation**d`` over d time steps. e is white, of the variance ``white``. So a
    short gap is bridged between its edges and by the other channels, a long one filled
    by what such signals do there. Where training signals have gaps, filling them and
    learning from them take turns, as in expectation and maximisation.

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
        self.register_buffer("mixing", torch.eye(n_channels))
        self.register_buffer("correlation", torch.zeros(n_channels))
        self.register_buffer("white", torch.ones(n_channels))
        self.register_buffer("excess", torch.ones(()))
        # How much of a reconstruction is mixed with what is filled, see `ConvVAE`.
        self.register_buffer("blend", torch.zeros(()))
        self.float()  # whatever the default dtype is

    @torch.no_grad()
    def fit(self, x, seed=0):
        """Learn from signals x (n, c, t), each channel of which is measured."""
        x = x.double().cpu()
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(x))
        if not x.isnan().any():
            excess = self.excess_in_blocks(x[order])
            self.learn(x, order)
            self.excess.fill_(excess)
            return self
        # Those with gaps first: what they lack is what others are to lose.
        is_whole = ~x.isnan().flatten(1).any(dim=1).numpy()
        chosen = order[np.argsort(is_whole[order], kind="stable")]
        chosen = chosen[: max(64, CHOICE_VALUES // x[0].numel())]
        n_rounds, excess = self.choose(x[chosen], rng)
        self.start(x)
        for n_components in ROUNDS[:n_rounds]:
            self.learn(x, order, n_components)
        self.excess.fill_(excess)
        return self

    def excess_in_blocks(self, x):
        """By how much errors exceed what is expected, where whole x (n, c, t) lose a
        fifth of their time steps; of some that are not learned from.
        """
        self.excess.fill_(1)
        n_some = min(len(x) // 4, n_tried(x[0].numel()))
        if n_some == 0:
            return 1.0
        some = x[:n_some]
        self.learn(x[n_some:], np.arange(len(x) - n_some))
        gaps = without_blocks(some)
        filled, std = self(gaps, return_std=True).unbind(1)
        return excess((filled - some)[gaps.isnan()], std[gaps.isnan()])

    def choose(self, x, rng):
        """How many of the rounds serve signals x (n, c, t), in random order, best.

        And by how much errors exceed what is expected. Both of what the signals lose
        beyond their own gaps.
        """
        less = with_more_gaps(x, rng)
        is_held_out = less.isnan() & ~x.isnan()
        rows = is_held_out.flatten(1).any(dim=1)
        is_held_out = is_held_out[rows]
        self.start(less)
        errors, excesses = [], []
        for n_components in ROUNDS:
            self.learn(less, np.arange(len(x)), n_components)
            filled, std = self(less[rows], return_std=True).unbind(1)
            error = torch.where(is_held_out, filled - x[rows], 0.0)
            errors.append(error.square().sum(dim=(1, 2)))
            excesses.append(excess(error[is_held_out], std[is_held_out]))
        n_rounds = 1 + last_of_best(torch.stack(errors).numpy())
        return n_rounds, excesses[n_rounds - 1]

    def start(self, x):
        """Set the model to noise around the mean of signals x (n, c, t)."""
        x = x.numpy()
        mean = mean_signal(x)
        variance = mean_measured(np.square(x - mean), axis=(0, 2)).clip(min=1e-30)
        self.mean.copy_(torch.from_numpy(mean))
        self.loadings.zero_()
        self.mixing.copy_(torch.from_numpy(np.diag(np.sqrt(variance))))
        self.excess.fill_(1)
        self.correlation.fill_(FIRST_CORRELATION)
        self.white.copy_(torch.from_numpy(MIN_WHITE_STD**2 * variance))

    def learn(self, x, order, n_components=MAX_COMPONENTS):
        """Set the model to signals x (n, c, t), filled by the model so far.

        Noise, and what the components explain, are those in each half of the signals,
        in this order, by the components of the other.
        """
        is_missing, x = x.isnan().numpy(), self(x).numpy()
        n_samples, *shape = x.shape
        rows = x.reshape(n_samples, -1)
        n_components = min(
            n_components, self.loadings.shape[-1], n_samples // SIGNALS_PER_COMPONENT
        )
        n_components = max(1, n_components)
        mean = rows.mean(axis=0)
        centred = (rows - mean).reshape(x.shape)
        if period := period_of(centred):
            repeats = REPEATED * repeated(centred, period).reshape(rows.shape)
        else:
            repeats = np.zeros_like(rows)
        _, _, directions = thin_svd(rows - mean + repeats, n_components)

        noise = np.zeros_like(rows)
        explained = np.zeros(n_components)
        for half in range(2):
            part, others = order[half::2], order[1 - half :: 2]
            centred = rows[part] - rows[others].mean(axis=0)
            others = rows[others] + repeats[others]
            _, _, found = thin_svd(others - others.mean(axis=0), n_components)
            scores = centred @ found.T
            noise[part] = centred - scores @ found
            explained[: len(found)] += np.square(scores).sum(axis=0)
        n_found = len(directions)
        noise = noise.reshape(x.shape)
        noise[is_missing] = np.nan
        # Scores have their share of the noise, too.
        explained = explained[:n_found] / n_samples - np.nanmean(np.square(noise))
        gains = np.sqrt(explained.clip(min=0))
        mixing, correlation, white = sources_of(noise)
        floor = max((MIN_STD * rows.std()) ** 2, 1e-30)

        loadings = (directions * gains[:, None]).T.reshape(*shape, n_found)
        self.mean.copy_(torch.from_numpy(mean.reshape(shape)))
        self.loadings.zero_()[..., :n_found] = torch.from_numpy(loadings)
        self.mixing.copy_(torch.from_numpy(mixing))
        self.correlation.copy_(torch.from_numpy(correlation))
        self.white.copy_(torch.from_numpy(np.maximum(white, floor)))

    @torch.no_grad()
    def forward(self, x, return_std=False):
        """Signals x (n, c, t) with their missing values, NaN, filled; else x itself.

        With `return_std` (n, 2, c, t): these, and the standard deviation of each value.
        Computed on the CPU, by itself for each signal.
        """
        is_missing = x.isnan()
        filled = torch.stack([x, torch.zeros_like(x)], dim=1) if return_std else x
        if not is_missing.any():
            return filled
        filled = filled.clone()
        model = Learned.of(self)
        n_at_once, n_channels = 1, x.shape[1]
        if n_channels <= MAX_TOGETHER:
            numbers = model.loadings.size + model.mean.size * (1 + n_channels)
            n_at_once = max(1, FILLED_NUMBERS // numbers)
        has_gaps = is_missing.flatten(1).any(dim=1)
        for rows in has_gaps.nonzero().squeeze(1).split(n_at_once):
            values = model.fill(x[rows].double().cpu().numpy(), return_std)
            filled[rows] = torch.from_numpy(values).to(filled)
        return filled


class Learned(NamedTuple):
    """What a `GapFiller` has learned, as ndarrays of float64, time first.

    Attributes
    ----------
    mean : shape (n_timepoints, n_channels)
    loadings : shape (n_timepoints, n_channels, n_components)
    mixing : shape (n_channels, n_sources)
    correlation : shape (n_sources,)
    white : shape (n_channels,)
    excess : float
    """

    mean: np.ndarray
    loadings: np.ndarray
    mixing: np.ndarray
    correlation: np.ndarray
    white: np.ndarray
    excess: float

    @classmethod
    def of(cls, filler):
        names = ("mean", "loadings", "mixing", "correlation", "white")
        found = {name: getattr(filler, name).double().cpu().numpy() for name in names}
        is_used = found["loadings"].any(axis=(0, 1))
        found["loadings"] = found["loadings"][..., is_used].swapaxes(0, 1)
        return cls(**found | {"mean": found["mean"].T}, excess=float(filler.excess))

    def fill(self, x, return_std=False):
        """As `GapFiller.forward`, of an ndarray x (n, c, t).

        As in generalised least squares: z explains of x what the loadings explain, once
        both are relieved of their noise. Then the noise is that of x less the signal.
        """
        x = x.swapaxes(1, 2)  # (n, t, c)
        is_missing = np.isnan(x)
        columns = np.empty((*x.shape, self.loadings.shape[2] + 1))
        columns[..., :-1] = self.loadings
        columns[..., -1] = np.where(is_missing, 0.0, x - self.mean)
        weight = ~is_missing[..., None] / np.sqrt(self.white)[:, None]
        measured, mixed = columns * weight, self.mixing * weight
        pull = mixed.swapaxes(2, 3) @ measured  # (n, t, s, k + 1)
        sources = Sources(mixed, self.correlation)
        noise = sources.solve(pull)
        products = inner(measured, measured) - inner(pull, noise)  # (n, k + 1, k + 1)
        precision = products[:, :-1, :-1] + np.eye(self.loadings.shape[2])
        covariance = np.linalg.inv(precision)[:, None]
        z = covariance @ products[:, None, :-1, -1:]  # (n, 1, k, 1)

        signal = columns[..., :-1] @ z
        signal += self.mixing @ (noise[..., -1:] - noise[..., :-1] @ z)
        filled = np.where(is_missing, self.mean + signal.squeeze(3), x).swapaxes(1, 2)
        if not return_std:
            return filled
        rest = columns[..., :-1] - self.mixing @ noise[..., :-1]
        of_z = (rest @ covariance * rest).sum(axis=3)
        of_noise = (self.mixing @ sources.covariances() * self.mixing).sum(axis=3)
        std = self.excess * np.sqrt(of_noise + of_z + self.white)
        std = np.where(is_missing, std, 0.0).swapaxes(1, 2)
        return np.stack([filled, std], axis=1)


class Sources:
    """Expected sources s of ``x = mixing @ s + e``, e ~ N(0, I), over time.

    Their precision holds each time step and its neighbours only: a band.

    Parameters
    ----------
    mixing : ndarray of shape (n_samples, n_timepoints, n_channels, n_sources)
        Zero where nothing was measured.
    correlation : ndarray of shape (n_sources,)
        Of each source, of variance 1, from one time step to the next.
    """

    def __init__(self, mixing, correlation):
        own = 1 / (1 - correlation**2)
        self.link = -correlation * own  # of a time step to the next
        self.blocks = mixing.swapaxes(2, 3) @ mixing
        self.blocks += np.diag(own * (1 + correlation**2))
        for end in (0, -1):  # which have no neighbour
            self.blocks[:, end] -= np.diag(own * correlation**2)
        self.factor = banded_factor(self.blocks, self.link)

    def solve(self, pull):
        """Expected sources (n, t, s, m), of ``mixing.T @ x``, (n, t, s, m)."""
        columns = pull.reshape(-1, pull.shape[3])
        solution = cho_solve_banded((self.factor, True), columns, check_finite=False)
        return np.ascontiguousarray(solution).reshape(pull.shape)

    def covariances(self):
        """Covariances of the sources at each time step, (n, t, s, s).

        The inverse of what is known of a time step by itself and all before it, and by
        itself and all after it, less what is in both.
        """
        before = eliminated(self.factor, self.blocks.shape)
        factor = banded_factor(self.blocks[:, ::-1], self.link)
        after = eliminated(factor, self.blocks.shape)[:, ::-1]
        return np.linalg.inv(before + after - self.blocks)


def banded_factor(blocks, link):
    """Cholesky factor, a lower band, of matrices with blocks (n, t, s, s).

    They are on the diagonal, and `link` (s,) is the diagonal of those beside them.
    """
    n_sources = len(link)
    band = np.zeros((n_sources + 1, *blocks.shape[:3]))
    for distance in range(n_sources):
        diagonals = blocks.diagonal(-distance, axis1=2, axis2=3)
        band[distance, ..., : n_sources - distance] = diagonals
    band[-1, :, :-1] = link
    band = band.reshape(len(band), -1)
    return cholesky_banded(band, lower=True, check_finite=False)


def eliminated(factor, shape):
    """Blocks (n, t, s, s) after elimination in time, of a `banded_factor`."""
    factor, lower = factor.reshape(-1, *shape[:3]), np.zeros(shape)
    for distance in range(shape[3]):
        rows = np.arange(distance, shape[3])
        lower[..., rows, rows - distance] = factor[distance, ..., : len(rows)]
    return lower @ lower.swapaxes(2, 3)


def n_tried(n_values):
    """Signals, of so many values each, that lose some to see how these are filled."""
    return min(max(TRIED_VALUES // n_values, MIN_TRIED), MAX_TRIED)


def inner(x, y):
    """Inner products of the columns of x and y (n, t, c, m), (n, m, m)."""
    x, y = (values.reshape(len(values), -1, values.shape[3]) for values in (x, y))
    return x.swapaxes(1, 2) @ y


def without_blocks(x):
    """Signals x (n, c, t) that lack a fifth of their time steps, each another."""
    length = -(-x.shape[2] // 5)
    starts = torch.linspace(0, x.shape[2] - length, len(x), dtype=torch.float32).long()
    after = torch.arange(x.shape[2]) - starts[:, None, None]  # (n, 1, t)
    return x.masked_fill((after >= 0) & (after < length), torch.nan)


def with_more_gaps(x, rng):
    """Signals x (n, c, t), half of which lack what others lack, too.

    Half of what a signal has is left at least.
    """
    is_missing = x.isnan().numpy()
    patterns = is_missing[is_missing.any(axis=(1, 2))]
    more = patterns[rng.integers(len(patterns), size=len(x))]
    more[rng.permutation(len(x))[len(x) // 2 :]] = False
    n_left = (~is_missing & ~more).sum(axis=(1, 2))
    more[2 * n_left < (~is_missing).sum(axis=(1, 2))] = False
    return torch.where(torch.from_numpy(more), torch.nan, x)


def excess(errors, std):
    """Root mean square of errors in units of std, within limits; 1 if there are none.

    A channel that was dead as far as was learned would have no limit.
    """
    if not len(errors):
        return 1.0
    found = float((errors / std).square().mean().sqrt())
    return min(max(found, 1 / MAX_EXCESS), MAX_EXCESS)


def last_of_best(errors):
    """Index of the last of errors (m, n) that are not clearly larger than the best.

    By more than the standard error of the sum over n signals.
    """
    more = errors - errors[errors.sum(axis=1).argmin()]
    total, squares = more.sum(axis=1), np.square(more).sum(axis=1)
    return int(np.flatnonzero(np.square(total) <= squares)[-1])


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


def sources_of(noise):
    """What noise (n, c, t), with NaN, is made of: `GapFiller`'s mixing, correlation
    and white.

    Sources are uncorrelated with each other, at once and at the next time step (AMUSE).

    References
    ----------
    Tong et al. (1991), Indeterminacy and identifiability of blind identification,
    https://doi.org/10.1109/31.76486
    """
    covariances, n_free = lagged_covariances(noise)
    variance = np.maximum(covariances[0].diagonal(), 1e-300)
    std = np.sqrt(variance)
    covariances = covariances / np.outer(std, std)
    own = covariances.diagonal(axis1=1, axis2=2)  # (lags, c)
    white = np.array([white_share(shares) for shares in own.T])
    white = white.clip(MIN_WHITE_STD**2, 1.0)
    reach = np.mean([correlation(*pair) for pair in zip(own.T, white, strict=True)])
    n_free *= max(1.0, noise.shape[2] * (1 - reach) / (1 + reach))
    covariances *= 1 - shrinkage(covariances[0], n_free)
    covariances[0] -= np.diag(white)
    squares, vectors = np.linalg.eigh(covariances[0])
    squares = squares.clip(min=0)
    is_real = squares > MIN_WHITE_STD**2
    roots = np.sqrt(squares)
    whitened = vectors * np.where(is_real, 1 / np.where(is_real, roots, 1), 0)
    covariances = whitened.T @ covariances @ whitened
    _, rotation = np.linalg.eigh(covariances[min(1, len(covariances) - 1)])
    own = np.einsum("is,lij,js->sl", rotation, covariances, rotation)
    found = np.array([correlation(shares) for shares in own])
    return std[:, None] * (vectors * roots) @ rotation, found, white * variance


def period_of(x):
    """Time steps after which signals x (n, c, t), of mean 0, repeat; 0 if they do not.

    Those, four of which fit in at least, after which they are most alike,
    compared with half a period earlier and later.
    """
    n_timepoints = x.shape[2]
    power = np.square(np.abs(np.fft.rfft(x, 2 * n_timepoints))).sum(axis=(0, 1))
    likeness = np.fft.irfft(power)[:n_timepoints] / np.arange(n_timepoints, 0, -1)
    found = np.zeros(n_timepoints // 4 + 2)
    for period in range(2, len(found) - 1):
        lags = np.arange(period, n_timepoints - period // 2, period)
        around = (likeness[lags - period // 2] + likeness[lags + period // 2]) / 2
        found[period] = np.average(likeness[lags] - around, weights=n_timepoints - lags)
    # Of a period and what are multiples of it, the first.
    is_peak = (found[1:-1] >= found[:-2]) & (found[1:-1] >= found[2:])
    is_peak &= found[1:-1] > max(MIN_LIKENESS * likeness[0], 0.9 * found.max())
    return int(np.flatnonzero(is_peak)[0]) + 1 if is_peak.any() else 0


def repeated(rows, period):
    """Rows (n, c, t), each time step the mean of those a period apart."""
    n_timepoints = rows.shape[2]
    n_periods = -(-n_timepoints // period)
    padded = np.full((*rows.shape[:2], n_periods * period), np.nan)
    padded[..., :n_timepoints] = rows
    means = np.nanmean(padded.reshape(*rows.shape[:2], n_periods, period), axis=2)
    return np.tile(means, n_periods)[..., :n_timepoints]


def lagged_covariances(noise):
    """Of noise (n, c, t) with NaN, of mean 0, over 0, 1, 2, 4, ... time steps.

    Returns
    -------
    covariances : ndarray of shape (n_lags, n_channels, n_channels)
        Symmetric: the mean of both directions in time.
    n_measured : float
        Signals of this length that would have as many values measured.
    """
    n_samples, n_channels, n_timepoints = noise.shape
    is_measured = ~np.isnan(noise)
    values = np.where(is_measured, noise, 0.0).swapaxes(0, 1)
    counted = None if is_measured.all() else is_measured.swapaxes(0, 1).astype(float)
    lags = [0, *2 ** np.arange(np.ceil(np.log2(n_timepoints)), dtype=int)]
    covariances = np.empty((len(lags), n_channels, n_channels))
    for k, lag in enumerate(lags):
        counts = n_samples * (n_timepoints - lag)
        if counted is not None:
            counts = np.maximum(products_over(counted, lag), 1)
        mean = products_over(values, lag) / counts
        covariances[k] = (mean + mean.T) / 2
    return covariances, n_samples * is_measured.mean()


def products_over(x, lag):
    """Sums (c, c) of products of x (c, n, t) with itself so many time steps earlier."""
    later, earlier = x[..., lag:], x[..., : x.shape[2] - lag]
    return later.reshape(len(x), -1) @ earlier.reshape(len(x), -1).T


def correlation(shares, white=0.0):
    """Correlation from one time step to the next, of covariances over 0, 1, 2, 4, ...

    The root that belongs to the longest of these lags over which half of it is left:
    long gaps depend on how far it reaches, and short ones little. Of the variance this
    much is white noise.
    """
    found = 0.0
    for k, share in enumerate(shares[1:] / max(shares[0] - white, 1e-12)):
        if k and share <= 0.5:
            break
        found = min(max(share, 0.0), 1.0) ** 0.5**k
    return min(found, MAX_CORRELATION)


def white_share(shares):
    """Share of white noise in the variance, of correlations over 0, 1, 2, 4, ... .

    It is what the other lags, carried on to lag 0, leave: the first and the longest of
    them over which half of the first is left.
    """
    if len(shares) < 3 or shares[1] <= 0:
        return 0.0
    k = 2
    while k + 1 < len(shares) and shares[k + 1] > shares[1] / 2:
        k += 1
    step = max(shares[k] / shares[1], 0.0) ** (1 / (2 ** (k - 1) - 1))
    return 1 - shares[1] / step if shares[1] < step else 0.0


def shrinkage(correlations, n_free):
    """Shares by which correlations (c, c) of so many values are too large, 0 to 1.

    References
    ----------
    Schaefer and Strimmer (2005), A shrinkage approach to large-scale covariance matrix
    estimation, https://doi.org/10.2202/1544-6115.1175
    """
    is_other = ~np.eye(len(correlations), dtype=bool)
    squares = np.square(correlations[is_other]).clip(max=1)
    error = np.square(1 - squares).sum() / n_free
    share = 1.0 if error >= squares.sum() else error / squares.sum()
    return share * is_other


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
