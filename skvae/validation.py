"""What comes in: signals X and latents Z as arrays of one form, and parameters."""

import inspect
import re
from numbers import Integral, Real

import joblib
import numpy as np
import torch
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_array, validate_data
from skorch.callbacks import Callback

from skvae.containers import (
    is_frame,
    is_list,
    pad,
    read_array,
    read_frame,
    refuse_long,
    refuse_masked,
    to_numpy,
)
from skvae.mistakes import (
    sentinels,
    warn_of_other_units,
    warn_of_shape,
    warn_of_time_in_rows,
    warn_of_unmeasured,
)
from skvae.model.likelihoods import LIKELIHOODS
from skvae.processes import n_processes, refuse_differences, shared_errors
from skvae.runtime import warn_user
from skvae.scaling import BLOCK_VALUES
from skvae.training.callbacks import SCHEDULES

# Parameters that may differ between the processes of a group.
OWN_OF_A_PROCESS = {"callbacks", "device", "random_state", "verbose"}
# What the values in `net_params` may be.
NET_PARAMS = {
    "lr_schedule": [StrOptions(set(SCHEDULES)), None],
    "module__correct_mean": ["boolean"],
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
        warn_of_shape(X)
        _learn_shape(estimator, X)
    X = _fold(estimator, X)
    unmeasured = check_measured(X)
    if not reset:
        warn_of_other_units(X, estimator.scaler_)
        return X
    if n_processes() == 1:  # another process may have measured them
        warn_of_unmeasured(unmeasured)
    if message := sentinels(X):
        warn_user(message)
    return X


def _as_array(estimator, X, reset):
    """X as an array or a DataFrame that scikit-learn can read."""
    if is_list(X):
        n_channels = estimator.n_channels if reset else estimator.n_channels_in_
        n_timepoints = None if reset else estimator.n_timepoints_in_
        return pad(X, n_channels or 1, n_timepoints, type(estimator).__name__)
    if is_frame(X):
        refuse_long(X)
        if reset:
            warn_of_time_in_rows(X)
        return read_frame(X)
    return read_array(X)


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
                "skorch.callbacks.Callback, or pairs of a name and one. Those of "
                "scikit-learn go to vae.set_callbacks."
            )
    if estimator.checkpoint is not None and estimator.callbacks:
        raise ValueError(
            "checkpoint with callbacks: what they hold cannot be written to a file "
            "from which no code is run. Use checkpoint=None, or no callbacks."
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


def check_group(estimator, goes_on):
    """Check that the processes of a group, if there is one, fit one model.

    `goes_on`: from what was fitted before.
    """
    if n_processes() == 1:
        return
    with shared_errors():
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(
                "sklearn.model_selection."
            ):
                raise ValueError(
                    "A search or cross-validation runs within a process group, where "
                    "each process would score its own share of the signals. Search "
                    "first, in one process or on Dask, then fit the best in the group."
                )
            frame = frame.f_back
        if estimator.checkpoint is not None:
            raise ValueError(
                "checkpoint is for a fit in one process, but this one is of "
                f"{n_processes()}. Use checkpoint=None."
            )
    facts = {
        "(n_channels, n_timepoints) of X": (
            estimator.n_channels_in_,
            estimator.n_timepoints_in_,
        ),
        "The number of dimensions of X": estimator.n_dims_in_,
        "Whether there is a fitted model to go on from": goes_on,
    }
    if goes_on:
        state = estimator.module_.state_dict()
        arrays = [values.cpu().numpy() for values in state.values()]
        scaler = estimator.scaler_
        arrays += [scaler.offset_, scaler.scale_, estimator.latent_scale_]
        facts["The fitted model, as a hash,"] = joblib.hash(arrays)
        memory = estimator.net_.memory_
        facts["What is remembered of signals, as a hash,"] = memory and joblib.hash(
            (memory.X, memory.y, memory.n_seen)
        )
    for name, value in estimator.get_params(deep=False).items():
        if name not in OWN_OF_A_PROCESS:
            facts[name] = repr(value)
    refuse_differences(facts)
