"""Per-channel scaling of signals, batch by batch."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import gen_batches

from skvae.distributed import from_all, pooled, shared_errors
from skvae.sklearn_private import is_constant_feature

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}

MAX_VALUE = 1e35  # float32 ends at 3e38, and latents are sums of signals
MAX_SCALED = 1e15  # so that sums of squares fit float32
# Values held in float64 at a time: 8 MiB, memory that is not mapped anew each time.
BLOCK_VALUES = 2**20
# Largest step of float32, in a channel's scale: no decoder is as exact as half of it.
MAX_STEP = 1e-3


class ChannelScaler:
    """Scale each channel by one offset and one factor, over samples and time.

    scikit-learn's scalers learn them in float64, so that a large offset does not eat a
    small signal. NaN, a missing value, stays NaN.

    Parameters
    ----------
    kind : {"standard", "minmax"} or None
        Mean 0 and variance 1, range [0, 1], or X as is, less a mean at which float32 is
        too coarse. A constant channel gets the root mean square of the others' scales,
        or 1, so that results in units of X stay in these.

    Attributes
    ----------
    offset_, scale_ : ndarray of shape (n_channels, 1)
        In the units of X: ``scaled = (X - offset_) / scale_``.
    dtype_ : {"float32", "float64"}
        Type that `inverse_transform` returns. It is float64 where float32 has steps
        above a thousandth of the scale, at the offset of a channel that varies.
    """

    dtype_ = "float32"  # of one that an older version fitted

    def __init__(self, kind):
        self.kind = kind

    def __repr__(self):
        return f"ChannelScaler({self.kind!r})"

    def fit(self, X, may_shift=True):
        """Learn offset and scale of X (n_samples, n_channels, n_timepoints), in blocks.

        Without `may_shift`, ``kind=None`` has no offset: sigmoids need X in [0, 1].
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
        by_channel = zip(*from_all(scalers), strict=True)
        by_channel = [
            [s for s in parts if hasattr(s, "scale_")] for parts in by_channel
        ]
        missing = [i for i, parts in enumerate(by_channel) if not parts]
        if missing:
            raise ValueError(
                f"X has no measured value in the channels {missing}, only NaN. Leave "
                "these channels out."
            )

        offset, scale = np.array([offset_and_scale(parts) for parts in by_channel]).T
        varies = scale > 0
        is_coarse = varies & (float32_step(offset) > MAX_STEP * scale)
        if self.kind is None:
            offset = np.where(is_coarse & may_shift, offset, 0.0)
            scale = np.ones(len(scalers))
        elif varies.any():
            largest = scale.max()  # so that no square is 0
            mean_square = np.mean(np.square(scale[varies] / largest))
            scale[~varies] = largest * np.sqrt(mean_square)
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
        """Log-determinant (n_samples,) of `transform`, in nats.

        ``log p(X) = log p(transform(X)) + log_det``, with `n_measured` (n_samples,
        n_channels) time steps that are not NaN.
        """
        return -n_measured @ np.log(self.scale_[:, 0])


def offset_and_scale(scalers):
    """Offset and scale of one channel, by its scalers in all processes; 0: constant."""
    if isinstance(scalers[0], MinMaxScaler):
        low = min(scaler.data_min_[0] for scaler in scalers)
        return low, max(scaler.data_max_[0] for scaler in scalers) - low
    names = ("n_samples_seen_", "mean_", "var_")
    parts = ([getattr(scaler, name) for scaler in scalers] for name in names)
    n, mean, variance = pooled(*parts)
    is_constant = is_constant_feature(variance, mean, n)[0]
    return mean[0], 0.0 if is_constant else np.sqrt(variance[0])


def float32_step(values):
    """Distances from values to the next number of float32."""
    return np.spacing(np.abs(values).astype(np.float32))


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
