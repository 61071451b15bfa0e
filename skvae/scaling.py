"""Per-channel scaling of signals, batch by batch."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}

# Signals are taken up to this size: float32, in which results are, ends at 3e38, and
# latents sum over a signal.
MAX_VALUE = 1e35
# And scaled ones up to this size, so that sums of squares fit.
MAX_SCALED = 1e15

BLOCK_VALUES = 2**22  # values held in float64 at a time: 32 MiB


class ChannelScaler:
    """Scale each channel by one offset and one factor, over samples and time.

    Statistics and differences are taken in float64, so a large offset does not eat
    a small signal; scikit-learn's scalers keep them.

    Parameters
    ----------
    kind : {"standard", "minmax"} or None
        Mean 0 and variance 1, range [0, 1], or leave as is. A constant channel is
        only shifted.

    Attributes
    ----------
    offset_, scale_ : ndarray of shape (n_channels, 1)
        In the units of X: ``scaled = (X - offset_) / scale_``.
    """

    def __init__(self, kind):
        self.kind = kind

    def fit(self, X):
        """Learn offset and scale of X of shape (n_samples, n_channels, n_timepoints).

        X is read in blocks: it is never copied whole.
        """
        n_channels = X.shape[1]
        scaler = SCALERS[self.kind or "standard"]()
        for block in iter_blocks(X):
            rows = np.moveaxis(block, 1, 2).reshape(-1, n_channels)
            largest = max(abs(float(rows.min())), abs(float(rows.max())))
            if largest > MAX_VALUE:
                raise ValueError(
                    f"X has values as large as {largest:.3g}. Expected at most "
                    f"{MAX_VALUE:.0g}, so that results fit float32. Divide X by a "
                    "constant."
                )
            if self.kind is not None:
                scaler.partial_fit(rows.astype(np.float64))
        if self.kind is None:
            offset, scale = np.zeros(n_channels), np.ones(n_channels)
        elif self.kind == "standard":
            offset, scale = scaler.mean_, scaler.scale_
        else:
            # scikit-learn's scale_ takes a range below 2e-15 for a constant channel.
            offset, scale = scaler.data_min_, scaler.data_range_
            scale = np.where(scale > 0, scale, 1.0)
        self.offset_ = offset[:, None]
        self.scale_ = scale[:, None]
        return self

    def transform(self, X):
        """Scaled copy of X, float32, of the same shape (n, c, t), C-contiguous."""
        with np.errstate(over="ignore"):
            if self.kind is None:
                scaled = X.astype(np.float32, order="C")
            else:
                scaled = X - self.offset_  # float64
                scaled /= self.scale_
        return to_float32(
            scaled,
            MAX_SCALED,
            "X is in other units than the fitted signals, or needs another `scale`",
        )

    def inverse_transform(self, X):
        """X of shape (n, c, t) in the units of the data, float32."""
        unscaled = X if self.kind is None else X * self.scale_ + self.offset_
        return to_float32(
            unscaled, np.inf, "The latents are in other units than the fitted ones"
        )

    def log_det(self, n_timepoints):
        """Log-determinant of `transform`, in nats per sample.

        ``log p(X) = log p(transform(X)) + log_det``.
        """
        return -n_timepoints * float(np.log(self.scale_).sum())


def to_float32(X, limit, reason):
    """X in float32, C-contiguous; a ValueError if it reaches the limit."""
    with np.errstate(over="ignore"):
        result = X.astype(np.float32, order="C", copy=False)
    largest = max(-result.min(), result.max())
    if not largest < limit:
        raise ValueError(
            f"{reason}: values reach {largest:.3g}, where float32 does not suffice."
        )
    return result


def iter_blocks(X):
    """Yield X in blocks of consecutive samples of at most `BLOCK_VALUES` values."""
    step = max(1, BLOCK_VALUES // max(1, X[0].size))
    for start in range(0, len(X), step):
        yield X[start : start + step]
