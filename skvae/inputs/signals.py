"""Signals X and latents Z as arrays of one form."""

import re
from reprlib import repr as shortened

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_array, validate_data

from skvae.inputs.columns import Layout, layout
from skvae.inputs.containers import is_frame, pad, read, refuse_masked, to_numpy
from skvae.inputs.suspicions import warn_of_mistakes, warn_of_other_units
from skvae.messages import warn_user
from skvae.scaling import BLOCK_VALUES


def check_signals(estimator, X, *, reset, min_samples=1):
    """Check X and view it as signals.

    With ``reset=True`` the shape is learned: `n_features_in_`, `n_channels_in_`,
    `n_timepoints_in_`, `n_dims_in_`, `channel_names_in_`, `timepoints_in_` and, from a
    DataFrame, `feature_names_in_` are set on the estimator, whose `n_channels` tells
    how to fold two-dimensional input.

    Parameters
    ----------
    estimator : ConvVAETransformer
    X : array-like of shape (n_samples, n_features) or \
            (n_samples, n_channels, n_timepoints), or signals, (t_i,) or \
            (n_channels, t_i), in a list, a Series or the cells of a table
    reset : bool
    min_samples : int

    Returns
    -------
    ndarray of shape (n_samples, n_channels, n_timepoints), of the dtype of X (bool,
    integer or floating): a view of X wherever NumPy can. A list is copied, with NaN
    after the end of what is shorter than the longest, or than the fitted signals.

    Raises
    ------
    ValueError, TypeError
        If X is not numeric and dense, holds infinity, has a signal without any measured
        value, is of another shape, or is a DataFrame of one reading a row.
    """
    return read_signals(estimator, X, reset=reset, min_samples=min_samples)[0]


@np.errstate(invalid="ignore")  # scikit-learn adds infinities of both signs
def read_signals(estimator, X, *, reset=False, min_samples=1):
    """What `check_signals` returns, and the `Layout` of X."""
    given = X
    X, places = as_array(estimator, X, reset)
    n_dims = getattr(X, "ndim", 0)
    if n_dims == 1:
        raise ValueError(
            f"Expected 2D array, got 1D array instead, of shape {X.shape}. Reshape "
            "your data: X[numpy.newaxis] if it is one signal."
        )
    if n_dims > 3:
        raise ValueError(
            f"X has {n_dims} dimensions, shape {tuple(X.shape)}. Expected 2, "
            "(n_samples, n_timepoints), or 3, (n_samples, n_channels, n_timepoints). "
            "Reshape X."
        )
    checks = {
        "dtype": "numeric",
        "ensure_min_samples": min_samples,
        "ensure_all_finite": False,  # scikit-learn looks for NaN and infinity at once
    }
    if n_dims == 3:
        X = check_array(X, allow_nd=True, estimator=estimator, input_name="X", **checks)
    else:
        try:
            X = validate_data(estimator, X, reset=reset, **checks)
        except ValueError as error:
            error.args = (f"{error}{width_remedy(estimator, X, error)}",)
            raise
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"X has dtype {X.dtype}. Expected real numbers. Convert X, for example "
            "with X.astype(np.float32)."
        )
    if reset:
        _learn_shape(estimator, X, places)
    X = _fold(estimator, X)
    unmeasured = check_measured(X)
    if reset:
        warn_of_mistakes(given, X, unmeasured, estimator)
    else:
        warn_of_other_units(X, estimator.scaler_)
    return X, places


def as_array(estimator, X, reset):
    """X as an array or a DataFrame that scikit-learn can read, and its `Layout`.

    Columns are brought into the order of channels and time steps: that of the names, or
    of the fit.
    """
    given = X
    X, channels = read(X)
    n_channels = estimator.n_channels if reset else estimator.n_channels_in_
    if isinstance(X, list):
        if not reset:
            refuse_one_channel(estimator, given, X)
        n_timepoints = None if reset else estimator.n_timepoints_in_
        X = pad(X, n_channels or 1, n_timepoints, type(estimator).__name__)
        if channels is None:
            return X, Layout()
        order = np.arange(len(channels))[:, None]
        places = Layout(order, channels, None)
        if not reset:
            places = as_fitted(estimator, places)
        return X[:, places.order[:, 0]], places
    if not is_frame(X):
        return X, Layout()
    if not reset and hasattr(estimator, "feature_names_in_"):
        return X, Layout()  # scikit-learn compares the names
    places = layout(X.columns, n_channels)
    if not reset:
        places = as_fitted(estimator, places)
    order = places.order.ravel()
    if (order != np.arange(len(order))).any():
        X = X.iloc[:, order] if hasattr(X, "iloc") else X[:, order.tolist()]
    return X, places


def refuse_one_channel(estimator, given, signals):
    """A ValueError where cells of a table hold one channel of the fitted ones.

    A list may hold signals of one channel after the other.
    """
    is_plain = isinstance(given, (list, tuple, np.ndarray))
    if is_plain or estimator.n_channels_in_ == 1 or estimator.n_dims_in_ == 2:
        return
    if signals and signals[0].ndim == 1:
        names = getattr(estimator, "channel_names_in_", None)
        columns = f", {shortened(names)}" if names else ""
        raise ValueError(
            f"X has one channel in its cells, of shape {signals[0].shape}, but this "
            f"{type(estimator).__name__} was fitted on {estimator.n_channels_in_}"
            f"{columns}. Pass a column for each, or cells of shape (n_channels, t_i)."
        )


def as_fitted(estimator, places):
    """`Layout` with channels and time steps in the order of the fitted ones.

    Where these are others, an error says so of channels, a warning of time steps.
    """
    order, channels, positions = places
    # None of what was saved by versions that did not know them.
    names = fitted = getattr(estimator, "channel_names_in_", None)
    if channels is not None and fitted is not None and channels != fitted:
        if sorted(channels) != sorted(fitted):
            raise ValueError(
                f"X has the channels {shortened(channels)}, but this "
                f"{type(estimator).__name__} was fitted on {shortened(fitted)}. Pass "
                "these."
            )
        order = order[[channels.index(name) for name in fitted]]
    fitted = getattr(estimator, "timepoints_in_", None)
    if positions is None or fitted is None or positions.shape != fitted.shape:
        return Layout(order, names, positions)
    if not is_close(positions, fitted):
        to_sorted, from_sorted = np.argsort(positions), np.argsort(np.argsort(fitted))
        if is_close(positions[to_sorted], np.sort(fitted)):
            order = order[:, to_sorted[from_sorted]]
        else:
            k = int(np.argmax(~np.isclose(positions, fitted)))
            warn_user(
                f"X has columns at {positions[k]:.6g} where the fitted ones were at "
                f"{fitted[k]:.6g}, first of those that differ: they are taken in their "
                "order. Resample X to the fitted columns if they are others."
            )
    return Layout(order, names, fitted)


def is_close(positions, fitted):
    return np.allclose(positions, fitted, rtol=1e-6, atol=1e-9, equal_nan=True)


def width_remedy(estimator, X, error):
    """What to do about scikit-learn's error, where X has other columns than fitted."""
    if not re.search("is expecting|feature names should match", str(error)):
        return ""
    if hasattr(estimator, "feature_names_in_") and hasattr(X, "reindex"):
        return (
            "Pass X.reindex(columns=vae.feature_names_in_), vae being this estimator: "
            "the fitted columns in their order, NaN where X has none."
        )
    if getattr(X, "shape", None) == (
        estimator.n_channels_in_,
        estimator.n_timepoints_in_,
    ):
        return " One signal alone is X[numpy.newaxis]."
    return (
        " Put NaN where time steps are missing. Pass signals that end earlier as a "
        "list of arrays, which are then measured from the first time step on; cut or "
        "resample longer ones."
    )


def check_measured(X):
    """Refuse infinity in X (n, c, t), and signals that are NaN everywhere.

    Returns
    -------
    ndarray of bool, shape (c, t), of time steps that are NaN in all signals.
    """
    if X.dtype.kind != "f" or np.isfinite(X.sum(dtype=np.float64)):
        return np.zeros(X.shape[1:], dtype=bool)
    n_measured = np.empty(len(X), dtype=int)
    unmeasured = np.ones(X.shape[1:], dtype=bool)
    for rows in gen_batches(len(X), max(1, BLOCK_VALUES // X[0].size)):
        block = X[rows]
        if np.isinf(block).any():
            row, channel, time = np.argwhere(np.isinf(block))[0]
            raise ValueError(
                f"X contains infinity, first in sample {rows.start + row}, channel "
                f"{channel}, time step {time}. Expected finite values, or NaN where "
                "nothing was measured."
            )
        missing = np.isnan(block)
        n_measured[rows] = (~missing).sum(axis=(1, 2))
        unmeasured &= missing.all(axis=0)
    empty = np.flatnonzero(n_measured == 0)
    if len(empty):
        raise ValueError(
            f"X has {len(empty)} samples without any measured value, NaN everywhere, "
            f"the first of them sample {empty[0]}. Leave them out."
        )
    return unmeasured


def _learn_shape(estimator, X, places):
    n_channels = estimator.n_channels
    if places.channels is not None:
        if n_channels not in (None, len(places.channels)):
            raise ValueError(
                f"X has the channels {shortened(places.channels)}, but n_channels="
                f"{n_channels}. Leave n_channels=None for columns that name channels."
            )
        n_channels = len(places.channels)
    if X.ndim == 3:
        if n_channels not in (None, X.shape[1]):
            raise ValueError(
                f"X has {X.shape[1]} channels, shape {X.shape}, but "
                f"n_channels={n_channels}. Expected X of shape (n_samples, "
                f"{n_channels}, n_timepoints). Leave n_channels=None for "
                "three-dimensional X."
            )
        if 0 in X.shape[1:]:
            raise ValueError(
                f"X has 0 channels or timepoints, shape {X.shape}. Expected at least 1."
            )
        # scikit-learn would count the channels alone, and keep names of an older fit.
        estimator.n_features_in_ = X.shape[1] * X.shape[2]
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif X.shape[1] % (n_channels or 1):
        raise ValueError(
            f"n_channels={n_channels} does not divide the {X.shape[1]} columns of X. "
            "Expected n_channels * n_timepoints columns, channel after channel."
        )
    estimator.n_dims_in_ = X.ndim
    estimator.n_channels_in_ = X.shape[1] if X.ndim == 3 else n_channels or 1
    estimator.n_timepoints_in_ = estimator.n_features_in_ // estimator.n_channels_in_
    estimator.channel_names_in_ = places.channels
    estimator.timepoints_in_ = places.positions


def _fold(estimator, X):
    shape = (estimator.n_channels_in_, estimator.n_timepoints_in_)
    if X.ndim == 3 and X.shape[1:] != shape:
        name = type(estimator).__name__
        raise ValueError(
            f"X has (n_channels, n_timepoints) = {X.shape[1:]}, but this {name} was "
            f"fitted on {shape}. Resample or reorder X to that shape, or refit."
        )
    return X.reshape(len(X), *shape)


def unfold(estimator, X):
    """Signals (n, c, t) in the layout that the estimator was fitted on."""
    return X if estimator.n_dims_in_ == 3 else X.reshape(len(X), -1)


@np.errstate(invalid="ignore")
def check_latents(estimator, Z, latent_dim):
    """Check Z and return it as float64 of shape (n_samples, latent_dim)."""
    refuse_masked(Z, "Z")
    checks = {"dtype": np.float64, "ensure_all_finite": False, "input_name": "Z"}
    Z = check_array(to_numpy(Z, "Z"), estimator=estimator, **checks)
    if not np.isfinite(Z).all():
        row, column = np.argwhere(~np.isfinite(Z))[0]
        raise ValueError(
            f"Z has the value {Z[row, column]} in row {row}, column {column}. Expected "
            "finite latents, as from transform."
        )
    if Z.shape[1] != latent_dim:
        raise ValueError(
            f"Z has {Z.shape[1]} columns, but this {type(estimator).__name__} has "
            f"latent_dim={latent_dim}. Expected Z of shape (n_samples, {latent_dim}), "
            "as from transform."
        )
    return Z
