"""What comes in: signals X, latents Z and targets y, as arrays of one form."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, column_or_1d, validate_data
from skorch.callbacks import Callback

from skvae.containers import (
    is_frame,
    is_list,
    is_na,
    pad,
    read_array,
    read_frame,
    to_numpy,
)
from skvae.long_frames import refuse_long
from skvae.model.likelihoods import LIKELIHOODS
from skvae.runtime import warn_user
from skvae.scaling import BLOCK_VALUES
from skvae.training.callbacks import SCHEDULES

# Of a target: float64 holds its variance.
MAX_NUMBER = 1e150
# What the values in `net_params` may be.
NET_PARAMS = {
    "lr_schedule": [StrOptions(set(SCHEDULES)), None],
    "module__init": [StrOptions({"he", "glorot", "torch"})],
    "module__hidden_dropout": [Interval(Real, 0, 1, closed="left")],
    "module__output_activation": [StrOptions({"sigmoid"}), None],
    "module__output_kernel_size": [Interval(Integral, 1, None, closed="left"), None],
    "criterion__free_bits": [Interval(Real, 0, 1e6, closed="both")],
    "kl_warmup": [Interval(Real, 0, 1, closed="both")],
    "cuda_graphs": ["boolean"],
    "n_threads": [Interval(Integral, 1, None, closed="left")],
}


@np.errstate(invalid="ignore")  # scikit-learn adds infinities of both signs
def check_signals(estimator, X, *, reset, min_samples=1):
    """Check X and view it as signals.

    With ``reset=True`` the shape is learned: `n_features_in_`, `n_channels_in_`,
    `n_timepoints_in_`, `n_dims_in_` and, from a DataFrame, `feature_names_in_` are
    set on the estimator, whose `n_channels` tells how to fold two-dimensional input.

    Parameters
    ----------
    estimator : ConvVAETransformer
    X : array-like of shape (n_samples, n_features) or \
            (n_samples, n_channels, n_timepoints), or list of signals, (t_i,) or \
            (n_channels, t_i)
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
    X = _as_array(estimator, X, reset)
    n_dims = getattr(X, "ndim", 0)
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
        X = validate_data(estimator, X, reset=reset, **checks)
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"X has dtype {X.dtype}. Expected real numbers. Convert X, for example "
            "with X.astype(np.float32)."
        )
    if reset:
        _learn_shape(estimator, X)
    X = _fold(estimator, X)
    check_measured(X)
    return X


def _as_array(estimator, X, reset):
    """X as an array or a DataFrame that scikit-learn can read."""
    if is_list(X):
        n_channels = estimator.n_channels if reset else estimator.n_channels_in_
        n_timepoints = None if reset else estimator.n_timepoints_in_
        return pad(X, n_channels or 1, n_timepoints, type(estimator).__name__)
    if is_frame(X):
        refuse_long(X)
        return read_frame(X)
    return read_array(X)


def check_measured(X):
    """Refuse infinity in X (n, c, t), and signals that are NaN everywhere."""
    if X.dtype.kind != "f" or np.isfinite(X.sum(dtype=np.float64)):
        return
    n_measured = np.empty(len(X), dtype=int)
    for rows in gen_batches(len(X), max(1, BLOCK_VALUES // X[0].size)):
        block = X[rows]
        if np.isinf(block).any():
            row, channel, time = np.argwhere(np.isinf(block))[0]
            raise ValueError(
                f"X contains infinity, first in sample {rows.start + row}, channel "
                f"{channel}, time step {time}. Expected finite values, or NaN where "
                "nothing was measured."
            )
        n_measured[rows] = (~np.isnan(block)).sum(axis=(1, 2))
    empty = np.flatnonzero(n_measured == 0)
    if len(empty):
        raise ValueError(
            f"X has {len(empty)} samples without any measured value, NaN everywhere, "
            f"the first of them sample {empty[0]}. Leave them out."
        )


def _learn_shape(estimator, X):
    n_channels = estimator.n_channels
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
        if X.shape[1] > X.shape[2]:
            warn_user(
                f"X has {X.shape[1]} channels of {X.shape[2]} time steps: if time is "
                "the second axis, as in Keras, pass X.transpose(0, 2, 1)."
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


def check_options(estimator, X):
    """Check what only several parameters together, or they and X (n, c, t), tell.

    Of `net_params` the values; the names are the net's to check.
    """
    net_params = estimator.net_params or {}
    validate_parameter_constraints(NET_PARAMS, net_params, "net_params")
    optimizer = net_params.get("optimizer", torch.optim.Adam)
    is_optimizer = torch.optim.Optimizer in getattr(optimizer, "__mro__", ())
    if not is_optimizer or optimizer is torch.optim.LBFGS:
        raise ValueError(
            f"optimizer={optimizer!r} in net_params, expected a class of torch.optim "
            "other than LBFGS, which trains on no batches."
        )
    for name in ("conv_channels", "hidden_dims"):
        sizes = getattr(estimator, name)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"{name}={sizes!r}, expected a sequence of positive integers, one for "
                "each layer."
            )
    for entry in estimator.callbacks or []:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks has {entry!r}, expected instances of "
                "skorch.callbacks.Callback, or pairs of a name and one."
            )
    if estimator.batch_size == 1 and estimator.batch_norm:
        raise ValueError(
            "batch_size=1 with batch_norm=True: the mean and variance of a single "
            "sample say nothing. Use a larger batch_size, or batch_norm=False."
        )
    activation = net_params.get("module__output_activation")
    is_unit_range = LIKELIHOODS[estimator.likelihood].is_unit_range or activation
    if is_unit_range and estimator.scale != "minmax":
        limits = [float(np.nanmin(X)), float(np.nanmax(X))]
        if estimator.scale == "standard" or limits[0] < 0 or limits[1] > 1:
            raise ValueError(
                f"likelihood={estimator.likelihood!r} with output_activation="
                f"{activation!r} models signals in [0, 1], but X in {limits} with "
                f"scale={estimator.scale!r} is not. Use scale='minmax', or a gaussian "
                "likelihood without activation."
            )


class Target(NamedTuple):
    """What latents are taught.

    Attributes
    ----------
    values : ndarray of float32, shape (n_samples, n_targets)
        Class indicators, or numbers standardised by column; NaN where unlabelled.
    classes : ndarray of shape (n_classes,) or None
        None: y holds numbers.
    offset, scale : ndarray of shape (n_targets,) or None
        Of numbers: ``values = (y - offset) / scale``.
    """

    values: np.ndarray
    classes: np.ndarray | None
    offset: np.ndarray | None
    scale: np.ndarray | None

    @property
    def n_dims(self):
        """Dimensions that a linear map needs to tell all there is."""
        return self.values.shape[1] - (self.classes is not None)


def check_target(y, n_samples, before=None, classes=None):
    """`Target` of class labels or numbers, as `type_of_target` tells them apart.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Class labels, numbers or strings, -1 (or "-1") where unlabelled, scikit-learn's
        convention for semi-supervised learning; or continuous, NaN where unlabelled.
    n_samples : int
    before : Target, optional
        Of an earlier fit that goes on: its classes, or its units.
    classes : array-like of shape (n_classes,), optional
        The classes that will come.

    Returns
    -------
    Target
    """
    y = target_array(y)
    if y.ndim not in (1, 2) or len(y) != n_samples:
        raise ValueError(
            f"X has {n_samples} samples and y has shape {y.shape}. Expected one label "
            "or one row of numbers per sample: (n_samples,) or (n_samples, n_targets)."
        )
    if before is not None and classes is None:
        classes = before.classes
    if classes is None and (is_continuous(y) or before is not None):
        return encode_numbers(y, before)
    return encode_labels(column_or_1d(y, warn=True), classes)


def target_array(y):
    """y as an array, NaN where numbers of a DataFrame or Series are missing."""
    missing = np.asarray(y.isna() if hasattr(y, "isna") else False)
    y = np.asarray(to_numpy(y, "y"))
    is_text = y.dtype != object or any(isinstance(value, str) for value in y.ravel())
    if is_text or not missing.any():
        return y
    return np.where(missing, np.nan, y).astype(np.float64)


def is_continuous(y):
    """Whether y holds numbers rather than labels, missing ones left out."""
    if y.dtype.kind not in "fiu":
        return False
    largest = np.nanmax(np.abs(y, dtype=np.float64), initial=0.0)
    if largest > MAX_NUMBER:
        raise ValueError(
            f"y has values as large as {largest:.0e}. Expected finite numbers, of at "
            f"most {MAX_NUMBER:.0e}, or NaN where a sample is unlabelled."
        )
    known = y[~np.isnan(y.reshape(len(y), -1)).any(axis=1)]
    if (y.ndim == 2 and y.shape[1] > 1) or not len(known):
        return True
    return type_of_target(known.ravel()) == "continuous"


def encode_numbers(y, before=None):
    """`Target` of continuous y, NaN where a sample is unlabelled."""
    if y.dtype.kind not in "biuf":
        raise ValueError(
            f"y has dtype {y.dtype}, but that of the first fit held numbers. Expected "
            "numbers, or NaN where a sample is unlabelled."
        )
    values = y.reshape(len(y), -1).astype(np.float64)
    values[np.isnan(values).any(axis=1)] = np.nan
    known = values[~np.isnan(values[:, 0])]
    if before is not None:
        offset, scale = before.offset, before.scale
        if len(offset) != values.shape[1]:
            raise ValueError(
                f"y has {values.shape[1]} columns, but that of the first fit had "
                f"{len(offset)}. Expected as many."
            )
    else:
        some = known if len(known) else np.zeros((1, values.shape[1]))
        offset, scale = some.mean(axis=0), some.std(axis=0)
        # Of so small a spread that a number divided by it is none.
        if not (scale > 1e-300).all():
            raise ValueError(
                f"y has {len(known)} numbers besides NaN, which means unlabelled, and "
                f"a column of them is constant: standard deviation {scale}. Expected "
                "at least 2 that differ for label_weight > 0."
            )
    values = ((values - offset) / scale).astype(np.float32)
    return Target(values, None, offset, scale)


def encode_labels(y, classes=None):
    """`Target` of class labels y (n,), -1 where a sample is unlabelled."""
    if any(label is None or is_na(label) or label != label for label in y.tolist()):
        raise ValueError(
            "y has missing labels, None or NaN. Expected -1 for an unlabelled sample. "
            "(Numbers may have NaN there; whole ones are taken for labels: add a "
            "second column, or a fraction to one of them.)"
        )
    # An array of strings turns the -1 among them into "-1".
    unlabelled = np.array([label in (-1, "-1") for label in y.tolist()], dtype=bool)
    check_classification_targets(y[~unlabelled])
    found = np.unique(y[~unlabelled])
    classes = found if classes is None else np.unique(classes)
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise ValueError(
            f"y has the labels {unknown.tolist()}, which the first fit did not see. "
            f"Expected {classes.tolist()}, or -1 for unlabelled. Pass all labels that "
            "will come as `classes` to the first call of partial_fit."
        )
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class(es) besides -1, which means unlabelled. "
            "Expected at least 2 for label_weight > 0. If -1 is one of your classes, "
            "rename it."
        )
    values = (y[:, None] == classes).astype(np.float32)
    values[unlabelled] = np.nan
    return Target(values, classes, None, None)
