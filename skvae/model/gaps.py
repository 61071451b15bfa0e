"""Gaps in signals: how to fill them, and the posterior that they widen."""

import numpy as np
import torch
from torch import nn

from skvae.model.moments import thin_svd
from skvae.model.noise import MIN_WHITE_STD, Sources, mean_measured, sources_of

# Largest number of components; least numbers of values and signals for each.
MAX_COMPONENTS, VALUES_PER_COMPONENT, SIGNALS_PER_COMPONENT = 32, 3, 6
# Components in each round of filling and learning, where training signals have gaps.
# More in the first rounds would explain what the first filling made up.
ROUNDS = (1, 1, 3, 8, MAX_COMPONENTS)
FIRST_CORRELATION = 0.97  # first guess for the noise, over one time step
MIN_STD = 1e-4  # least standard deviation of white noise, as a share of the signals'
# Weight of a signal's periodic part in the search for components, and the least gain in
# likeness after a whole period.
REPEATED, MIN_LIKENESS = 1.2, 0.3
MAX_EXCESS = 4.0  # largest ratio of errors to expected ones; the least is 1 / 4
CHOICE_VALUES = 2**16  # values, in 64 signals or more, that choose the number of rounds
# Values in the signals that lose some as a test; least and largest number of signals.
TRIED_VALUES, MIN_TRIED, MAX_TRIED = 2**14, 16, 32
# Numbers in the arrays of signals that are filled together. With more channels than the
# second, a signal's last bits would depend on the others.
FILLED_NUMBERS, MAX_TOGETHER = 2**17, 8


class GapFiller(nn.Module):
    """Fill missing values by their expectation, given a signal's measured values.

    A signal is ``mean + loadings @ z + mixing @ s + e``. As in probabilistic PCA,
    z ~ N(0, I). The noise has two parts: s has one source for each channel, correlated
    by ``correlation**d`` over d time steps, and e is white with variances ``white``. So
    edges and other channels bridge a short gap, and the usual course of signals fills a
    long one. Where training signals have gaps, filling and learning take turns (Roweis
    1998, section 4, https://papers.nips.cc/paper/1398-em-algorithms-for-pca-and-spca).
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
        self.register_buffer("blend", torch.zeros(()))  # see `ConvVAE.impute`
        self.float()  # also with another default dtype

    def set(self, **arrays):
        for name, values in arrays.items():
            self.get_buffer(name).copy_(torch.from_numpy(np.asarray(values)))

    @torch.no_grad()
    def fit(self, x, seed=0):
        """Learn from signals x (n, c, t), with measured values in each channel."""
        x = x.double().cpu()
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(x))
        if not x.isnan().any():
            excess = self.excess_in_blocks(x[order])
            self.learn(x, order)
        else:
            # Signals with gaps come first, because their gaps are the test.
            is_whole = ~x.isnan().flatten(1).any(dim=1).numpy()
            first = order[np.argsort(is_whole[order], kind="stable")]
            first = first[: max(64, CHOICE_VALUES // x[0].numel())]
            n_rounds, excess = self.choose_rounds(x[first], rng)
            self.start(x)
            for n_components in ROUNDS[:n_rounds]:
                self.learn(x, order, n_components)
        self.set(excess=excess)
        return self

    def excess_in_blocks(self, x):
        """The `excess` where a part of x, whole signals, loses a fifth of its steps."""
        self.set(excess=1.0)
        tests, x = x.tensor_split([min(len(x) // 4, n_tried(x[0].numel()))])
        if not len(tests):
            return 1.0
        self.learn(x, np.arange(len(x)))
        return self.errors(tests, without_blocks(tests))[1]

    def choose_rounds(self, x, rng):
        """The best number of rounds, and its `excess`, where x gets more gaps."""
        less = with_more_gaps(x, rng)
        is_tested = (less.isnan() & ~x.isnan()).flatten(1).any(dim=1)
        self.start(less)
        errors, excesses = [], []
        for n_components in ROUNDS:
            self.learn(less, np.arange(len(x)), n_components)
            of_round, excess = self.errors(x[is_tested], less[is_tested])
            errors.append(of_round.square().sum(dim=(1, 2)))
            excesses.append(excess)
        last = last_of_best(torch.stack(errors).numpy())
        return 1 + last, excesses[last]

    def errors(self, x, less):
        """Errors (n, c, t) of lost values, and their ratio to expected errors."""
        filled, std = self(less, return_std=True).unbind(1)
        is_lost = less.isnan() & ~x.isnan()
        errors = torch.where(is_lost, filled - x, 0.0)
        if not is_lost.any():
            return errors, 1.0
        excess = float((errors / std)[is_lost].square().mean().sqrt())
        # A channel that is constant in training has no expected error.
        return errors, min(max(excess, 1 / MAX_EXCESS), MAX_EXCESS)

    def start(self, x):
        """Set the model to noise around the mean of x."""
        x = x.numpy()
        mean = mean_signal(x)
        variance = mean_measured(np.square(x - mean), axis=(0, 2)).clip(min=1e-30)
        self.set(
            mean=mean,
            loadings=np.zeros(self.loadings.shape),
            mixing=np.diag(np.sqrt(variance)),
            excess=1.0,
            correlation=np.full(len(mean), FIRST_CORRELATION),
            white=MIN_WHITE_STD**2 * variance,
        )

    def learn(self, x, order, n_components=MAX_COMPONENTS):
        """Fit the model to signals x (n, c, t), which it fills first.

        Components of one half of the signals, in this order, give the noise and the
        explained variance of the other half.
        """
        is_missing, x = x.isnan().numpy(), self(x).numpy()
        n_samples, *shape = x.shape
        limits = self.loadings.shape[-1], n_samples // SIGNALS_PER_COMPONENT
        n_components = max(1, min(n_components, *limits))
        rows, mean = x.reshape(n_samples, -1), x.mean(axis=0)
        repeats = REPEATED * repeated(x - mean).reshape(rows.shape)
        _, _, directions = thin_svd(rows - mean.ravel() + repeats, n_components)

        noise = np.zeros_like(rows)
        explained = np.zeros(n_components)
        for half in range(2):
            own, other = order[half::2], order[1 - half :: 2]
            centred = rows[own] - rows[other].mean(axis=0)
            other = rows[other] + repeats[other]
            _, _, of_other = thin_svd(other - other.mean(axis=0), n_components)
            scores = centred @ of_other.T
            noise[own] = centred - scores @ of_other
            explained[: len(of_other)] += np.square(scores).sum(axis=0)
        noise = noise.reshape(x.shape)
        noise[is_missing] = np.nan
        # Scores hold noise, too.
        explained = explained / n_samples - np.nanmean(np.square(noise))
        gains = np.sqrt(explained[: len(directions)].clip(min=0))
        loadings = np.zeros(self.loadings.shape)
        loadings[..., : len(gains)] = (directions.T * gains).reshape(*shape, -1)
        mixing, correlation, white = sources_of(noise)
        white = np.maximum(white, max((MIN_STD * rows.std()) ** 2, 1e-30))
        self.set(mean=mean, loadings=loadings, mixing=mixing)
        self.set(correlation=correlation, white=white)

    @torch.no_grad()
    def forward(self, x, return_std=False):
        """Signals x (n, c, t) with NaN filled, on the CPU; x itself without any NaN.

        With `return_std` (n, 2, c, t): values and their standard deviations.
        """
        is_missing = x.isnan()
        filled = torch.stack([x, torch.zeros_like(x)], dim=1) if return_std else x
        if not is_missing.any():
            return filled
        filled, n_at_once = filled.clone(), 1
        names = ("mean", "loadings", "mixing", "correlation", "white", "excess")
        model = {name: self.get_buffer(name).double().cpu().numpy() for name in names}
        model["mean"] = model["mean"].T
        is_used = model["loadings"].any(axis=(0, 1))
        model["loadings"] = model["loadings"][..., is_used].swapaxes(0, 1)
        n_timepoints, n_channels, n_components = model["loadings"].shape
        if n_channels <= MAX_TOGETHER:
            numbers = n_timepoints * n_channels * (n_components + 1 + n_channels)
            n_at_once = max(1, FILLED_NUMBERS // numbers)
        has_gaps = is_missing.flatten(1).any(dim=1)
        for rows in has_gaps.nonzero().squeeze(1).split(n_at_once):
            signals = x[rows].double().cpu().numpy().swapaxes(1, 2)
            values = fill(signals, **model, return_std=return_std).swapaxes(-1, -2)
            filled[rows] = torch.from_numpy(values).to(filled)
        return filled


def fill(x, mean, loadings, mixing, correlation, white, excess, return_std=False):
    """As `GapFiller.forward`, for float64 ndarrays (n, t, c).

    Generalised least squares give z: the expected noise is taken out of the loadings
    and of the signal. The residual of the signal has expected noise, too.
    """
    is_missing, n_components = np.isnan(x), loadings.shape[2]
    columns = np.empty((*x.shape, n_components + 1))  # loadings and signal
    columns[..., :-1] = loadings
    columns[..., -1] = np.where(is_missing, 0.0, x - mean)
    weight = ~is_missing[..., None] / np.sqrt(white)[:, None]
    measured, mixed = columns * weight, mixing * weight

    pull = mixed.swapaxes(2, 3) @ measured  # (n, t, n_sources, n_components + 1)
    sources = Sources(mixed, correlation)
    expected = sources.solve(pull)  # sources of each column
    products = inner(measured, measured) - inner(pull, expected)
    precision = products[:, :-1, :-1] + np.eye(n_components)
    covariance = np.linalg.inv(precision)[:, None]
    z = covariance @ products[:, None, :-1, -1:]  # (n, 1, n_components, 1)

    signal = columns[..., :-1] @ z
    signal += mixing @ (expected[..., -1:] - expected[..., :-1] @ z)
    filled = np.where(is_missing, mean + signal.squeeze(3), x)
    if not return_std:
        return filled
    unexplained = columns[..., :-1] - mixing @ expected[..., :-1]
    of_z = (unexplained @ covariance * unexplained).sum(axis=3)
    of_noise = (mixing @ sources.covariances() * mixing).sum(axis=3)
    std = np.where(is_missing, excess * np.sqrt(of_noise + of_z + white), 0.0)
    return np.stack([filled, std], axis=1)


def inner(x, y):
    """Inner products (n, m, m) of the columns of x and y (n, t, c, m)."""
    x, y = (values.reshape(len(values), -1, values.shape[3]) for values in (x, y))
    return x.swapaxes(1, 2) @ y


def n_tried(n_values):
    """Number of signals, of `n_values` each, that test the filling."""
    return min(max(TRIED_VALUES // n_values, MIN_TRIED), MAX_TRIED)


def without_blocks(x):
    """Signals x (n, c, t), each without another fifth of its time steps."""
    length = -(-x.shape[2] // 5)
    starts = torch.linspace(0, x.shape[2] - length, len(x), dtype=torch.float32).long()
    after = torch.arange(x.shape[2]) - starts[:, None, None]  # (n, 1, t)
    return x.masked_fill((after >= 0) & (after < length), torch.nan)


def with_more_gaps(x, rng):
    """Signals x (n, c, t), half of them with the gaps of another one, too."""
    is_missing = x.isnan().numpy()
    patterns = is_missing[is_missing.any(axis=(1, 2))]
    more = patterns[rng.integers(len(patterns), size=len(x))]
    more[rng.permutation(len(x))[len(x) // 2 :]] = False
    n_staying = (~is_missing & ~more).sum(axis=(1, 2))
    more[2 * n_staying < (~is_missing).sum(axis=(1, 2))] = False  # too few would stay
    return torch.where(torch.from_numpy(more), torch.nan, x)


def last_of_best(errors):
    """Last row of errors (m, n) whose sum is within a standard error of the best."""
    more = errors - errors[errors.sum(axis=1).argmin()]
    total, squares = more.sum(axis=1), np.square(more).sum(axis=1)
    return int(np.flatnonzero(np.square(total) <= squares)[-1])


def mean_signal(x):
    """Mean (c, t) of the measured values, interpolated where no signal has any."""
    mean, time = mean_measured(x, axis=0), np.arange(x.shape[2])
    for channel, known in zip(mean, (~np.isnan(x)).any(axis=0), strict=True):
        if known.any():
            channel[:] = np.interp(time, time[known], channel[known])
    return mean


def repeated(x):
    """Periodic part of signals x (n, c, t): means over periods, or 0 without any."""
    n_samples, n_channels, n_timepoints = x.shape
    period = period_of(x)
    if not period:
        return np.zeros_like(x)
    n_periods = -(-n_timepoints // period)
    padded = np.full((n_samples, n_channels, n_periods * period), np.nan)
    padded[..., :n_timepoints] = x
    means = np.nanmean(padded.reshape(n_samples, n_channels, -1, period), axis=2)
    return np.tile(means, n_periods)[..., :n_timepoints]


def period_of(x):
    """Time steps in a period of x (n, c, t), of mean 0; 0 without a period."""
    n_timepoints = x.shape[2]
    power = np.square(np.abs(np.fft.rfft(x, 2 * n_timepoints))).sum(axis=(0, 1))
    likeness = np.fft.irfft(power)[:n_timepoints] / np.arange(n_timepoints, 0, -1)
    gain = np.zeros(n_timepoints // 4 + 2)  # in likeness, of each period
    for period in range(2, len(gain) - 1):  # four or more fit in
        lags = np.arange(period, n_timepoints - period // 2, period)
        around = (likeness[lags - period // 2] + likeness[lags + period // 2]) / 2
        gain[period] = np.average(likeness[lags] - around, weights=n_timepoints - lags)
    # Later peaks are multiples of the first.
    is_peak = (gain[1:-1] >= gain[:-2]) & (gain[1:-1] >= gain[2:])
    is_peak &= gain[1:-1] > max(MIN_LIKENESS * likeness[0], 0.9 * gain.max())
    return int(np.flatnonzero(is_peak)[0]) + 1 if is_peak.any() else 0


def conditioned_on_measured(z_mean, z_log_var, x, filled, x_hat, loadings, noise):
    """Mean (n, k) and Cholesky factor (n, k, k) of q(z|x) for signals x with gaps.

    `z_mean` and `z_log_var` encode the filled signals, and their filled values are
    taken back out. This is exact where encoder and decoder are those of probabilistic
    PCA (Tipping and Bishop 1999, https://doi.org/10.1111/1467-9868.00196). `x_hat` is
    decoded from `z_mean` by linear `loadings` (c * t, k), and `noise` is the variance
    of a value.
    """
    is_missing = x.isnan().flatten(1)
    loadings, x_hat, filled = loadings.double(), x_hat.double(), filled.double()
    prior = torch.eye(loadings.shape[1]).to(loadings)
    # (c * t, k * k): the precision that each value adds.
    per_value = (loadings[:, :, None] * loadings[:, None] / noise).flatten(1)
    measured = (~is_missing).double() @ per_value
    precision = prior + measured.unflatten(1, prior.shape)
    whole = 1 + loadings.square().sum(dim=0) / noise
    learned = ((-z_log_var).double().exp() / whole).sqrt()  # 1 in the closed form
    precision = learned[:, :, None] * precision * learned[:, None]
    pull = torch.where(is_missing, (x_hat - filled).flatten(1), 0.0) @ loadings / noise
    factor = torch.linalg.cholesky(precision)
    shift = torch.cholesky_solve(pull[..., None], factor).squeeze(2)
    scale_tril = torch.linalg.cholesky(torch.cholesky_inverse(factor))
    return z_mean + shift.to(z_mean), scale_tril.to(z_mean)
