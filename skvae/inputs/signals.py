"""Signals X and latents Z as arrays of one form."""

import re
from reprlib import repr as shortened

import numpy as np
import sklearn
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_array, validate_data

from skvae.inputs.as_given import Given
from skvae.inputs.columns import Layout, layout
from skvae.inputs.containers import read, refuse_masked, to_numpy
from skvae.inputs.suspicions import warn_of_mistakes
from skvae.messages import warn_user
from skvae.scaling import BLOCK_VALUES

WIDTH_REMEDY = (
    "Put NaN where time steps are missing. For a DataFrame with names, pass "
    "X.reindex(columns=vae.feature_names_in_), where vae is this estimator. If signals "
    "end earlier, pass a list of arrays. Pass one signal as X[numpy.newaxis]."
)


def check_signals(estimator, X, *, reset, min_samples=1):
    """X as checked signals (n, c, t) of real numbers, a view of X if NumPy can.

    With `reset` the estimator learns the shape of X, else X must have the fitted shape.
    """
    return read_signals(estimator, X, reset=reset, min_samples=min_samples)[0]


@np.errstate(invalid="ignore")  # scikit-learn adds infinities of both signs
def read_signals(estimator, X, *, reset=False, min_samples=1):
    """Signals as from `check_signals`, and X as `Given`, which leads back to it."""
    given = Given(X, *read(X))
    signals, given.layout = fold(estimator, given, reset, min_samples)
    unmeasured = check(signals)
    warn_of_mistakes(estimator, given, signals, unmeasured, is_first=reset)
    return signals, given


def fold(estimator, given, reset, min_samples):
    """Signals (n, c, t), and their `Layout` in the columns of X."""
    X, places = in_order(estimator, given, reset)
    X = as_numbers(estimator, X, reset, min_samples)
    if reset:
        learn_shape(estimator, X, places)
    shape = estimator.n_channels_in_, estimator.n_timepoints_in_
    if X.ndim == 3 and X.shape[1:] != shape:
        raise ValueError(
            f"X has (n_channels, n_timepoints) = {X.shape[1:]}, but this estimator was "
            f"fitted on {shape}. Resample or reorder X to that shape, or refit."
        )
    return X.reshape(len(X), *shape), places


def in_order(estimator, given, reset):
    """An array or a DataFrame with columns in the fitted order, and its `Layout`."""
    X, channels = given.values, given.channels
    n_channels = estimator.n_channels if reset else estimator.n_channels_in_
    if isinstance(X, list):
        is_plain = isinstance(given.X, (list, tuple, np.ndarray))
        has_channels = is_plain or not X or X[0].ndim == 2
        if not (reset or has_channels or n_channels == 1 or estimator.n_dims_in_ == 2):
            names = getattr(estimator, "channel_names_in_", None) or n_channels
            raise ValueError(
                f"X has one channel in its cells, of shape {X[0].shape}, but the "
                f"fitted X had {names}. Pass a column for each channel."
            )
        X = pad(X, n_channels or 1, None if reset else estimator.n_timepoints_in_)
        if channels is None:
            return X, Layout()
        places = Layout(np.arange(len(channels))[:, None], channels)
    elif given.is_table and (reset or not hasattr(estimator, "feature_names_in_")):
        places = layout(X.columns, n_channels)
    else:  # scikit-learn compares the names
        return X, Layout()
    if not reset:
        places = as_fitted(estimator, places)
    order = places.order.ravel()
    if (order != np.arange(len(order))).any():
        X = X.iloc[:, order] if hasattr(X, "iloc") else X[:, order.tolist()]
    return X, places


def pad(signals, n_channels, n_timepoints=None):
    """One array of a list of signals, with NaN after the end of each shorter one.

    It is (n, c, t) for signals (c, t_i), and (n, c * t) for signals (c * t_i,).
    """
    if not signals:
        raise ValueError("X is an empty list. Expected at least one signal.")
    first = signals[0].shape
    n_channels = first[0] if len(first) == 2 else n_channels
    for i, signal in enumerate(signals):
        if signal.ndim != len(first) or signal.shape[:-1] != first[:-1]:
            raise ValueError(
                f"X has signals of several kinds: sample 0 has shape {first}, sample "
                f"{i} has {signal.shape}. Expected all (t_i,), or (n_channels, t_i). "
                "If time comes first, pass [x.T for x in X]."
            )
        if signal.size % n_channels:
            raise ValueError(
                f"Sample {i} of X has {signal.size} values, not divisible by "
                f"{n_channels} channels. Expected one channel after the other."
            )
    lengths = np.array([signal.size // n_channels for signal in signals])
    longest = lengths.argmax()
    n_timepoints = n_timepoints or lengths[longest]
    if lengths[longest] > n_timepoints:
        raise ValueError(
            f"Sample {longest} of X has {lengths[longest]} time steps, but the fitted "
            f"signals have at most {n_timepoints}. Cut it, or refit with it."
        )
    dtype = np.result_type(*{signal.dtype for signal in signals})
    if lengths.min() < n_timepoints and dtype.kind not in "fc":
        dtype = np.dtype(float)
    fill = np.nan if dtype.kind in "fc" else 0
    padded = np.full((len(signals), n_channels, n_timepoints), fill, dtype)
    for row, signal, length in zip(padded, signals, lengths, strict=True):
        row[:, :length] = signal.reshape(n_channels, length)
    return padded if len(first) == 2 else padded.reshape(len(signals), -1)


def as_fitted(estimator, places):
    """`Layout` with channels and time steps in the fitted order."""
    order, channels, positions = places
    # Estimators saved by older versions have neither attribute.
    names = getattr(estimator, "channel_names_in_", None)
    fitted = getattr(estimator, "timepoints_in_", None)
    if None not in (channels, names) and channels != names:
        if sorted(channels) != sorted(names):
            raise ValueError(
                f"X has the channels {shortened(channels)}, but this estimator was "
                f"fitted on {shortened(names)}. Pass the fitted channels."
            )
        order = order[[channels.index(name) for name in names]]
    if positions is None or fitted is None or positions.shape != fitted.shape:
        return Layout(order, names, positions)
    ranks = np.argsort(np.argsort(fitted, kind="stable"), kind="stable")
    index = np.argsort(positions, kind="stable")[ranks]
    is_close = np.isclose(positions[index], fitted, 1e-6, 1e-9, equal_nan=True)
    if is_close.all():
        return Layout(order[:, index], names, fitted)
    k = int(np.argmax(~np.isclose(positions, fitted)))
    warn_user(
        f"X has other columns than the fitted X, first {positions[k]:.6g} instead of "
        f"{fitted[k]:.6g}. If these are other time steps, resample X to the fitted "
        "time steps."
    )
    return Layout(order, names, fitted)


def as_numbers(estimator, X, reset, min_samples):
    """X as an array of two or three dimensions, checked by scikit-learn."""
    n_dims = getattr(X, "ndim", 0)
    if n_dims == 1 or n_dims > 3:
        raise ValueError(
            f"Expected 2D array, got {n_dims}D array instead, of shape {X.shape}. "
            "Reshape your data to two or three dimensions. Pass one signal as "
            "X[numpy.newaxis]."
        )
    # scikit-learn looks for NaN and infinity at once.
    checks = {"ensure_min_samples": min_samples, "ensure_all_finite": False}
    if n_dims == 3:
        X = check_array(X, allow_nd=True, estimator=estimator, input_name="X", **checks)
    else:
        is_polars = hasattr(X, "to_pandas")
        try:
            X = validate_data(estimator, X, reset=reset, **checks)
        except ValueError as error:
            if re.search("is expecting|feature names should match", str(error)):
                error.args = (f"{error} {WIDTH_REMEDY}",)
            raise
        if reset and is_polars and not hasattr(estimator, "feature_names_in_"):
            warn_user(
                f"scikit-learn {sklearn.__version__} does not read the column names of "
                "this DataFrame, so columns in another order would not be noticed. Use "
                "scikit-learn 1.9 or polars 1, or pass X.to_pandas()."
            )
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has dtype {X.dtype}. Expected real numbers.")
    return X


def learn_shape(estimator, X, places):
    """Set the shape of X, and the names of its channels, on the estimator."""
    n_channels, names = estimator.n_channels, places.channels
    n_given = len(names) if names else X.shape[1] if X.ndim == 3 else None
    if None not in (n_channels, n_given) and n_channels != n_given:
        raise ValueError(
            f"X has {n_given} channels, {shortened(names) if names else X.shape}, but "
            f"n_channels={n_channels}. Leave n_channels=None."
        )
    n_channels = n_given or n_channels or 1
    if X.ndim == 3:
        if not X[:1].size:
            raise ValueError(f"X has 0 channels or timepoints, shape {X.shape}.")
        # scikit-learn would count the channels alone, and keep names of an older fit.
        estimator.n_features_in_ = X[0].size
        vars(estimator).pop("feature_names_in_", None)
    if estimator.n_features_in_ % n_channels:
        raise ValueError(
            f"n_channels={n_channels} does not divide the {X.shape[1]} columns of X. "
            "Expected one channel after the other."
        )
    estimator.n_dims_in_ = X.ndim
    estimator.n_channels_in_ = n_channels
    estimator.n_timepoints_in_ = estimator.n_features_in_ // n_channels
    estimator.channel_names_in_ = names
    estimator.timepoints_in_ = places.positions


def check(X):
    """Refuse infinity in X (n, c, t), and signals that are NaN everywhere.

    Returns which time steps (c, t) are NaN in all signals.
    """
    if X.dtype.kind != "f" or np.isfinite(X.sum(dtype=np.float64)):
        return np.zeros(X.shape[1:], dtype=bool)
    is_empty = np.empty(len(X), dtype=bool)
    unmeasured = np.ones(X.shape[1:], dtype=bool)
    for rows in gen_batches(len(X), max(1, BLOCK_VALUES // X[0].size)):
        if (is_infinite := np.isinf(X[rows])).any():
            row, channel, time = np.argwhere(is_infinite)[0]
            raise ValueError(
                f"X contains infinity, first in sample {rows.start + row}, channel "
                f"{channel}, time step {time}. Expected finite values, or NaN."
            )
        missing = np.isnan(X[rows])
        is_empty[rows] = missing.all(axis=(1, 2))
        unmeasured &= missing.all(axis=0)
    if is_empty.any():
        raise ValueError(
            f"X has {is_empty.sum()} samples that are all NaN, first sample "
            f"{is_empty.argmax()}. Leave them out."
        )
    return unmeasured


def unfold(estimator, X):
    """Signals (n, c, t) in the layout of the fitted X."""
    return X if estimator.n_dims_in_ == 3 else X.reshape(len(X), -1)


@np.errstate(invalid="ignore")
def check_latents(estimator, Z, latent_dim):
    """Z as float64 of shape (n_samples, latent_dim)."""
    refuse_masked(Z, "Z")
    Z = to_numpy(Z, "Z")
    Z = check_array(Z, dtype=np.float64, estimator=estimator, input_name="Z")
    if Z.shape[1] != latent_dim:
        raise ValueError(
            f"Z has {Z.shape[1]} columns, but this estimator has "
            f"latent_dim={latent_dim}. Expected latents as from transform."
        )
    return Z
