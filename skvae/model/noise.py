"""Noise that is correlated over time and channels: its model and its estimate."""

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

MAX_CORRELATION = 0.9999  # noise of correlation 1 would never change
MIN_WHITE_STD = 3e-3  # least standard deviation of white noise, as a share of all noise


class Sources:
    """Expected sources s of ``x = mixing @ s + e``, e ~ N(0, I), over time.

    Mixing (n, t, c, s) is 0 where no value is measured. The sources have variance 1,
    and `correlation` (s,) over one time step. Their precision matrix is a band, because
    it links a time step to its neighbours only.
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
        """Expected sources (n, t, s, m), from ``mixing.T @ x`` (n, t, s, m)."""
        columns = pull.reshape(-1, pull.shape[3])
        solution = cho_solve_banded((self.factor, True), columns, check_finite=False)
        return np.ascontiguousarray(solution).reshape(pull.shape)

    def covariances(self):
        """Covariances (n, t, s, s) of the sources at each time step."""
        # Both precisions include the time step's own.
        before = eliminated(self.factor, self.blocks.shape)
        factor = banded_factor(self.blocks[:, ::-1], self.link)
        after = eliminated(factor, self.blocks.shape)[:, ::-1]
        return np.linalg.inv(before + after - self.blocks)


def banded_factor(blocks, link):
    """Cholesky factor, a lower band, of matrices of blocks (n, t, s, s) and links."""
    n_sources = len(link)
    band = np.zeros((n_sources + 1, *blocks.shape[:3]))
    for distance in range(n_sources):
        diagonals = blocks.diagonal(-distance, axis1=2, axis2=3)
        band[distance, ..., : n_sources - distance] = diagonals
    band[-1, :, :-1] = link
    band = band.reshape(len(band), -1)
    return cholesky_banded(band, lower=True, check_finite=False)


def eliminated(factor, shape):
    """Diagonal blocks (n, t, s, s) of a factor after earlier steps are eliminated."""
    factor, lower = factor.reshape(-1, *shape[:3]), np.zeros(shape)
    for distance in range(shape[3]):
        rows = np.arange(distance, shape[3])
        lower[..., rows, rows - distance] = factor[distance, ..., : len(rows)]
    return lower @ lower.swapaxes(2, 3)


def sources_of(noise):
    """Mixing, correlation and white variances, as in `GapFiller`, of noise (n, c, t).

    NaN is a missing value. The sources are uncorrelated with each other, at the same
    and at the next time step (AMUSE: Tong et al. 1991,
    https://doi.org/10.1109/31.76486).
    """
    covariances, n_free = lagged_covariances(noise)
    variance = np.maximum(covariances[0].diagonal(), 1e-300)
    std = np.sqrt(variance)
    covariances = covariances / np.outer(std, std)
    own = covariances.diagonal(axis1=1, axis2=2)  # (n_lags, n_channels)
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
    of_sources = np.array([correlation(shares) for shares in own])
    return std[:, None] * (vectors * roots) @ rotation, of_sources, white * variance


def lagged_covariances(noise):
    """Covariances (n_lags, c, c) of noise (n, c, t), and its number of whole signals.

    The lags are 0, 1, 2, 4, ... steps in both directions of time; NaN is missing.
    """
    n_samples, n_channels, n_timepoints = noise.shape
    is_measured = ~np.isnan(noise)
    values = np.where(is_measured, noise, 0.0).swapaxes(0, 1)
    ones = is_measured.swapaxes(0, 1).astype(float)

    def products(x, lag):
        later, earlier = x[..., lag:], x[..., : n_timepoints - lag]
        return later.reshape(len(x), -1) @ earlier.reshape(len(x), -1).T

    lags = [0, *2 ** np.arange(np.ceil(np.log2(n_timepoints)), dtype=int)]
    covariances = np.empty((len(lags), n_channels, n_channels))
    for k, lag in enumerate(lags):
        counts = n_samples * (n_timepoints - lag)
        if not is_measured.all():
            counts = np.maximum(products(ones, lag), 1)
        mean = products(values, lag) / counts
        covariances[k] = (mean + mean.T) / 2
    return covariances, n_samples * is_measured.mean()


def correlation(covariances, white=0.0):
    """Correlation over one time step, from covariances over 0, 1, 2, 4, ... steps.

    It is a root of that over the longest lag that keeps half, to bridge long gaps.
    """
    over_one = 0.0
    for k, share in enumerate(covariances[1:] / max(covariances[0] - white, 1e-12)):
        if k and share <= 0.5:
            break
        over_one = min(max(share, 0.0), 1.0) ** 0.5**k
    return min(over_one, MAX_CORRELATION)


def white_share(correlations):
    """Share of white noise in the variance, from correlations over 0, 1, 2, 4, ... .

    Lag 1, and the longest lag that keeps half of its correlation, are extrapolated to
    lag 0. The rest up to 1 is white.
    """
    if len(correlations) < 3 or correlations[1] <= 0:
        return 0.0
    k = 2
    while k + 1 < len(correlations) and correlations[k + 1] > correlations[1] / 2:
        k += 1
    step = max(correlations[k] / correlations[1], 0.0) ** (1 / (2 ** (k - 1) - 1))
    return 1 - correlations[1] / step if correlations[1] < step else 0.0


def shrinkage(correlations, n_free):
    """Shares (c, c), from 0 to 1, by which to shrink correlations of `n_free` values.

    See Schaefer and Strimmer (2005), https://doi.org/10.2202/1544-6115.1175.
    """
    is_other = ~np.eye(len(correlations), dtype=bool)
    squares = np.square(correlations[is_other]).clip(max=1)
    error = np.square(1 - squares).sum() / n_free
    share = 1.0 if error >= squares.sum() else error / squares.sum()
    return share * is_other


def mean_measured(x, axis):
    """Mean of the values that are not NaN, or 0 where all are NaN."""
    return np.nansum(x, axis=axis) / np.maximum((~np.isnan(x)).sum(axis=axis), 1)
