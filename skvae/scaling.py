"""Per-channel scaling of signals, batch by batch."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import gen_batches

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}

# Of signals: float32, in which results are, ends at 3e38, and latents are sums.
MAX_VALUE = 1e35
MAX_SCALED = 1e15  # so that sums of squares fit
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
        for rows in gen_batches(len(X), max(1, BLOCK_VALUES // X[0].size)):
            block = np.moveaxis(X[rows], 1, 2).reshape(-1, n_channels)
            largest = max(abs(float(block.min())), abs(float(block.max())))
            if largest > MAX_VALUE:
                raise ValueError(
                    f"X has values as large as {largest:.3g}. Expected at most "
                    f"{MAX_VALUE:.0g}, so that results fit float32. Divide X by a "
                    "constant."
                )
            scaler.partial_fit(block.astype(np.float64))
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
        scaled = X - self.offset_  # float64
        with np.errstate(over="ignore"):
            scaled /= self.scale_
        reason = "X is in other units than the fitted signals, or needs another `scale`"
        return to_float32(scaled, MAX_SCALED, reason)

    def inverse_transform(self, X):
        """X of shape (n, c, t) in the units of the data, float32."""
        reason = "The latents are in other units than the fitted ones"
        return to_float32(X * self.scale_ + self.offset_, np.inf, reason)

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
