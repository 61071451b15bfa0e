"""Per-channel scaling of signals, batch by batch."""

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import gen_batches

from skvae.distributed import from_all, pooled, shared_errors
from skvae.sklearn_private import is_constant_feature

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}

# Of signals: float32, in which results are, ends at 3e38, and latents are sums.
MAX_VALUE = 1e35
MAX_SCALED = 1e15  # so that sums of squares fit
# Values held in float64 at a time: 8 MiB, memory that is not mapped anew each time.
BLOCK_VALUES = 2**20
# Of a channel's scale: steps of float32 up to it leave a signal as it is, rounded by
# half of them, where no decoder is so exact.
MAX_STEP = 1e-3


class ChannelScaler:
    """Scale each channel by one offset and one factor, over samples and time.

    Statistics and differences are taken in float64, so a large offset does not eat
    a small signal; scikit-learn's scalers keep them. NaN, a missing value, stays NaN.

    Parameters
    ----------
    kind : {"standard", "minmax"} or None
        Mean 0 and variance 1, range [0, 1], or leave as is, but for a mean that float32
        is too coarse at. A constant channel has no scale of its own, and gets the root
        mean square of the others', or 1: all that is in units of X stays in theirs.

    Attributes
    ----------
    offset_, scale_ : ndarray of shape (n_channels, 1)
        In the units of X: ``scaled = (X - offset_) / scale_``.
    dtype_ : {"float32", "float64"}
        Of `inverse_transform`: float64 where float32, at the offset of any channel that
        varies, has steps above a thousandth of its scale.
    """

    dtype_ = "float32"  # of one that an older version fitted

    def __init__(self, kind):
        self.kind = kind

    def __repr__(self):
        return f"ChannelScaler({self.kind!r})"

    def fit(self, X, may_shift=True):
        """Learn offset and scale of X of shape (n_samples, n_channels, n_timepoints).

        X is read in blocks: it is never copied whole. Without scaling it is shifted
        only if that is allowed: a decoder that ends in a sigmoid needs X in [0, 1].
        """
        scalers = [SCALERS[self.kind or "standard"]() for _ in range(X.shape[1])]
        with shared_errors():
            for rows in gen_batches(len(X), max(1, BLOCK_VALUES // X[0].size)):
                block = X[rows]
                largest = largest_value(block)
                if largest > MAX_VALUE:
                    raise ValueError(
                        f"X has values as large as {largest:.3g}. Expected at most "
                        f"{MAX_VALUE:.0g}, so that results fit float32. Divide X by a "
                        "constant."
                    )
                for channel, scaler in enumerate(scalers):
                    values = block[:, channel]
                    values = values[~np.isnan(values)].astype(np.float64)
                    if len(values):
                        scaler.partial_fit(values[:, None])
        scalers = [merged(parts) for parts in zip(*from_all(scalers), strict=True)]
        missing = [i for i, s in enumerate(scalers) if not hasattr(s, "scale_")]
        if missing:
            raise ValueError(
                f"X has no measured value in the channels {missing}, only NaN. Leave "
                "these channels out."
            )

        offset, scale = np.array([statistics(scaler) for scaler in scalers]).T
        varies = scale > 0
        is_coarse = varies & (float32_step(offset) > MAX_STEP * scale)
        if self.kind is None:
            offset = np.where(is_coarse & may_shift, offset, 0.0)
            scale = np.ones(len(scalers))
        elif varies.any():
            scale[~varies] = root_mean_square(scale[varies])
        else:
            scale[:] = 1.0
        self.offset_ = offset[:, None]
        self.scale_ = scale[:, None]
        self.dtype_ = "float64" if is_coarse.any() else "float32"
        return self

    def transform(self, X):
        """Scaled copy of X, float32, of the same shape (n, c, t), C-contiguous."""
        n_channels = len(self.scale_)
        if X.ndim != 3 or X.shape[1] != n_channels:
            raise ValueError(
                f"X has shape {X.shape}. Expected (n_samples, {n_channels}, "
                f"n_timepoints): pass X.reshape(-1, {n_channels}, n_timepoints)."
            )
        scaled = X - self.offset_  # float64
        with np.errstate(over="ignore"):
            scaled /= self.scale_
        reason = "X is in other units than the fitted signals, or needs another `scale`"
        return converted(scaled, "float32", MAX_SCALED, reason)

    def inverse_transform(self, X):
        """X of shape (n, c, t), without NaN, in the units of the data, of `dtype_`."""
        reason = "The latents are in other units than the fitted ones"
        X = X * self.scale_ + self.offset_
        return converted(X, self.dtype_, np.inf, reason, allow_nan=False)

    def log_det(self, n_measured):
        """Log-determinant of `transform`, in nats, of each signal.

        ``log p(X) = log p(transform(X)) + log_det``.

        Parameters
        ----------
        n_measured : ndarray of int, shape (n_samples, n_channels)
            Time steps that were measured.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return -n_measured @ np.log(self.scale_[:, 0])


def statistics(scaler):
    """Offset and scale that one of scikit-learn's scalers has learned; 0: constant."""
    if isinstance(scaler, MinMaxScaler):
        # Its scale_ takes a range below 2e-15 for a constant channel.
        return scaler.data_min_[0], scaler.data_range_[0]
    n, mean, variance = scaler.n_samples_seen_, scaler.mean_, scaler.var_
    is_constant = is_constant_feature(variance, mean, n)[0]
    return mean[0], 0.0 if is_constant else scaler.scale_[0]


def root_mean_square(values):
    """Of values so small that their squares are 0, too."""
    largest = np.max(values)
    return largest * np.sqrt(np.mean(np.square(values / largest)))


def float32_step(values):
    """Distances from values to the next number of float32."""
    return np.spacing(np.abs(values).astype(np.float32))


def merged(scalers):
    """One of scikit-learn's scalers for what those of several processes have seen."""
    known = [scaler for scaler in scalers if hasattr(scaler, "scale_")]
    if len(known) < 2:
        return known[0] if known else scalers[0]
    result = clone(known[0])
    if isinstance(result, MinMaxScaler):
        for scaler in known:
            result.partial_fit([scaler.data_min_, scaler.data_max_])
        return result
    n, mean, variance = pooled(
        [scaler.n_samples_seen_ for scaler in known],
        [scaler.mean_ for scaler in known],
        [scaler.var_ for scaler in known],
    )
    is_constant = is_constant_feature(variance, mean, n)
    result.n_samples_seen_, result.mean_, result.var_ = n, mean, variance
    result.scale_ = np.where(is_constant, 1.0, np.sqrt(variance))
    return result


def has_gaps(X):
    """Whether NaN is among the values of X, which have no infinity."""
    return bool(np.isnan(X.min()))


def largest_value(X, allow_nan=True):
    """Largest absolute value of X; if NaN is allowed, that besides NaN, or 0."""
    largest = max(-float(X.min(initial=0)), float(X.max(initial=0)))
    if allow_nan and np.isnan(largest):
        largest = float(np.nanmax(np.abs(X), initial=0.0))
    return largest


def converted(X, dtype, limit, reason, allow_nan=True):
    """X of a dtype, C-contiguous; a ValueError if it reaches the limit."""
    with np.errstate(over="ignore"):
        result = X.astype(dtype, order="C", copy=False)
    largest = largest_value(result, allow_nan)
    if not largest < limit:
        raise ValueError(
            f"{reason}: values reach {largest:.3g}, where {dtype} does not suffice."
        )
    return result
