"""Per-channel scaling of signals, batch by batch."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}

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
        if self.kind is None:
            offset, scale = np.zeros(n_channels), np.ones(n_channels)
        else:
            scaler = SCALERS[self.kind]()
            for block in iter_blocks(X):
                rows = np.moveaxis(block, 1, 2).reshape(-1, n_channels)
                scaler.partial_fit(rows.astype(np.float64))
            if self.kind == "standard":
                offset, scale = scaler.mean_, scaler.scale_
            else:
                offset, scale = scaler.data_min_, 1.0 / scaler.scale_
        self.offset_ = offset[:, None]
        self.scale_ = scale[:, None]
        return self

    def transform(self, X):
        """Scaled copy of X, float32, of the same shape (n, c, t), C-contiguous."""
        scaled = X if self.kind is None else (X - self.offset_) / self.scale_
        return scaled.astype(np.float32, order="C")

    def inverse_transform(self, X):
        """X of shape (n, c, t) in the units of the data, float32."""
        if self.kind is None:
            return X.astype(np.float32)
        return (X * self.scale_ + self.offset_).astype(np.float32)

    def log_det(self, n_timepoints):
        """Log-determinant of `transform`, in nats per sample.

        ``log p(X) = log p(transform(X)) + log_det``.
        """
        return -n_timepoints * float(np.log(self.scale_).sum())


def iter_blocks(X):
    """Yield X in blocks of consecutive samples of at most `BLOCK_VALUES` values."""
    step = max(1, BLOCK_VALUES // max(1, X[0].size))
    for start in range(0, len(X), step):
        yield X[start : start + step]
