"""Per-channel scaling of signals, batch by batch."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import gen_batches

from skvae.distributed import from_all, pooled, shared_errors
from skvae.sklearn_private import is_constant_feature

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}

MAX_VALUE = 1e35  # float32 ends at 3e38, and latents are sums of values
MAX_SCALED = 1e15  # the sum of squares fits float32
BLOCK_VALUES = 2**20  # values in float64 at a time: 8 MiB that are not mapped anew
MAX_STEP = 1e-3  # largest step of float32, in units of a channel's scale


class ChannelScaler:
    """Scale channels, ``(X - offset_) / scale_``, to a kind of range.

    "standard" gives mean 0 and variance 1, "minmax" the range [0, 1]. None leaves X as
    it is, but subtracts means where float32 is too coarse. Offset and scale, of shape
    (n_channels, 1), are learned in float64: a large offset does not swallow a small
    signal. The scale of a constant channel is the root mean square of the others, or 1.
    NaN, a missing value, stays NaN. `inverse_transform` returns `dtype_`: float64 where
    a step of float32 at the offset exceeds a thousandth of the scale.
    """

    dtype_ = "float32"  # in files of older versions

    def __init__(self, kind):
        self.kind = kind

    def __repr__(self):
        return f"ChannelScaler({self.kind!r})"

    def fit(self, X, may_shift=True):
        """Learn offset and scale of X (n, c, t), in blocks.

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
                        f"{MAX_VALUE:.0g}, to fit float32. Divide X by a constant."
                    )
                for scaler, values in zip(scalers, block.swapaxes(0, 1), strict=True):
                    values = values[~np.isnan(values)].astype(np.float64)
                    if len(values):
                        scaler.partial_fit(values[:, None])
        by_channel = [
            [scaler for scaler in parts if hasattr(scaler, "scale_")]
            for parts in zip(*from_all(scalers), strict=True)
        ]
        missing = [i for i, parts in enumerate(by_channel) if not parts]
        if missing:
            raise ValueError(
                f"X has no measured value in the channels {missing}. Leave them out."
            )
        offset, scale = np.array([offset_and_scale(parts) for parts in by_channel]).T
        varies = scale > 0
        step = np.spacing(np.abs(offset).astype(np.float32))
        is_coarse = varies & (step > MAX_STEP * scale)
        if self.kind is None:
            offset = np.where(is_coarse & may_shift, offset, 0.0)
            scale = np.ones(len(scalers))
        elif varies.any():
            largest = scale.max()  # no square of a ratio underflows
            mean_square = np.mean(np.square(scale[varies] / largest))
            scale[~varies] = largest * np.sqrt(mean_square)
        else:
            scale[:] = 1.0
        self.offset_, self.scale_ = offset[:, None], scale[:, None]
        self.dtype_ = "float64" if is_coarse.any() else "float32"
        return self

    def transform(self, X):
        """Scaled copy of X (n, c, t), float32 and C-contiguous."""
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
        """X (n, c, t), without NaN, in the units of the data, of `dtype_`."""
        reason = "The latents are in other units than the fitted ones"
        X = X * self.scale_ + self.offset_
        return converted(X, self.dtype_, np.inf, reason, allow_nan=False)

    def log_det(self, n_measured):
        """``log p(X) - log p(transform(X))``, (n,), for `n_measured` (n, c) steps."""
        return -n_measured @ np.log(self.scale_[:, 0])


def offset_and_scale(scalers):
    """Offset and scale, 0 if constant, of one channel, by the scalers of processes."""
    if isinstance(scalers[0], MinMaxScaler):
        low = min(scaler.data_min_[0] for scaler in scalers)
        return low, max(scaler.data_max_[0] for scaler in scalers) - low
    names = ("n_samples_seen_", "mean_", "var_")
    parts = ([getattr(scaler, name) for scaler in scalers] for name in names)
    n, mean, variance = pooled(*parts)
    is_constant = is_constant_feature(variance, mean, n)[0]
    return mean[0], 0.0 if is_constant else np.sqrt(variance[0])


def has_gaps(X):
    """Whether X, without infinity, has NaN."""
    return bool(np.isnan(X.min()))


def largest_value(X, allow_nan=True):
    """Largest absolute value of X, or 0 without any; it skips NaN if allowed."""
    largest = max(-float(X.min(initial=0)), float(X.max(initial=0)))
    if allow_nan and np.isnan(largest):
        largest = float(np.nanmax(np.abs(X), initial=0.0))
    return largest


def converted(X, dtype, limit, reason, allow_nan=True):
    """X of a dtype, C-contiguous; raises if a value reaches the limit."""
    with np.errstate(over="ignore"):
        result = X.astype(dtype, order="C", copy=False)
    largest = largest_value(result, allow_nan)
    if not largest < limit:
        raise ValueError(
            f"{reason}: values reach {largest:.3g}, where {dtype} does not suffice."
        )
    return result
