"""Warnings of what looks like a mistake in X, though it could be meant."""

import math
from datetime import timedelta
from reprlib import repr as shortened

import numpy as np

from skvae.distributed import n_processes
from skvae.inputs.columns import TIME_NAMES, not_numbered, out_of_order
from skvae.inputs.long_frames import is_time
from skvae.messages import warn_user

MANY_ROWS, FEW_VALUES = 1000, 5  # so many rows of so few values are readings
# A value is far from all others by so many times their range, an end of an integer type
# by fewer; from the offset of fitted signals by so many times their scale.
FAR, FAR_END, FAR_SCALED = 5, 0.05, 100
LOOKED_AT, FEW_LOOKED_AT = 2**22, 2**18  # values, for the former and for smoothness
MAX_SHOWN = 4  # values
# Bounds of `roughness`, and the least size of X for which it says something.
SMOOTH, ROUGH, MIN_ROWS, MIN_COLUMNS = 0.1, 0.5, 20, 8
TIMES_SMOOTHER = 4  # of interleaved channels, over the steps of one of them
N_INTERLEAVED = 2, 3  # channels, where they are not known; more may be a period
# Zeros of X beside those at the ends of signals, and signals that end in them.
MAX_ZEROS, MIN_PADDED = 0.01, 0.1
SENTINEL_REMEDY = "What marks the missing, or is an error, should be NaN."


def warn_of_mistakes(estimator, given, X, unmeasured, is_first):
    """Warn of what looks like a mistake in X.

    Parameters
    ----------
    estimator : ConvVAETransformer
    given : Given
        X as it came.
    X : ndarray of shape (n_samples, n_channels, n_timepoints)
    unmeasured : ndarray of bool, shape (n_channels, n_timepoints)
        Where all signals are NaN.
    is_first : bool
        Whether the estimator has just learned the shape of X, in `fit`.
    """
    if not is_first:
        warn_of_other_units(X, estimator.scaler_)
        return
    if given.is_table:
        warn_of_names(given.values.columns)
    steps = estimator.timepoints_in_
    are_named = steps is not None and (steps != np.arange(len(steps))).any()
    source = given.values if given.is_table else given.X
    warn_of_time_in_rows(source, X, given.is_table, are_named)
    warn_of_shape(X, estimator.n_dims_in_)
    warn_of_padding(X)
    if n_processes() == 1:  # another process may have measured them
        warn_of_unmeasured(unmeasured)
    if message := sentinels(X):
        warn_user(message)


def warn_of_names(columns):
    """Warn of columns whose names say that they are no time steps, or out of order."""
    if getattr(columns, "nlevels", 1) > 1:
        return
    if others := not_numbered(columns):
        warn_user(
            f"X has the columns {shortened(others)} among columns of numbers in their "
            "names: they are taken for time steps. Leave them out: "
            f"X.drop(columns={shortened(others)})."
        )
    if pair := out_of_order(columns):
        warn_user(
            f"X has columns out of order, {pair[0]!r} before {pair[1]!r}, as if sorted "
            "as texts. Expected them in the order of time: sort X by their numbers."
        )


def warn_of_time_in_rows(given, X, is_table, are_named):
    """Warn where the rows of X look like time steps rather than signals."""
    dims = getattr(given, "dims", ())  # as xarray's arrays have
    reason = rows_of_table(given, X) if is_table else ""
    if isinstance(dims, tuple) and dims and TIME_NAMES.match(str(dims[0])):
        reason = f"of the dimension {dims[0]!r}"
    elif not (reason or are_named) and is_smooth_down(X):
        reason = "from one to the next of which values change little"
    if reason:
        remedy = "make time the last axis" if X.shape[1] > 1 else "pass X.T"
        warn_user(
            f"X has {len(X)} rows, {reason}, as if a row were a time step. Expected a "
            f"row for each signal. If rows are time steps, {remedy}."
        )


def rows_of_table(frame, X):
    """Why the rows of a DataFrame look like time steps, or "".

    They are more than the columns, which have names that are no times. They have times
    within a day in the index, or some columns end early.
    """
    index, columns = getattr(frame, "index", None), frame.columns
    if getattr(index, "nlevels", 1) > 1 or len(frame) <= max(2, len(columns)):
        return ""
    is_numbered = getattr(columns, "name", None) is None and all(
        isinstance(name, (int, np.integer)) for name in columns
    )
    if is_numbered or (hasattr(columns, "dtype") and is_time(columns)):
        return ""
    times = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    if times is not None and times.dtype.kind in "Mm":
        step = times.to_series().diff().abs().median()
        if times.is_unique and step < timedelta(days=1):
            return f"indexed by times {step} apart"
    elif times is not None and times.dtype.kind == "f" and times.name is not None:
        if TIME_NAMES.match(str(times.name)) and times.is_monotonic_increasing:
            return f"indexed by {times.name!r}"
    elif ends_early(X.reshape(len(X), -1)):
        return "the last of which are missing in some columns"
    return ""


def ends_early(X):
    """Whether all gaps of X (n, t) are at the ends of some of its columns."""
    measured = ~np.isnan(X)
    is_end = np.arange(len(X))[:, None] >= measured.sum(axis=0)
    if not is_end.any() or (measured == is_end).any():
        return False
    # Signals that are sorted by their lengths look so too.
    return X.shape[1] < MIN_COLUMNS or (measured[:, 1:] > measured[:, :-1]).any()


def is_smooth_down(X):
    """Whether X (n, c, t) is smooth from row to row, and rough along its rows."""
    X = X[: FEW_LOOKED_AT // X[0].size].astype(float)
    if len(X) < MIN_ROWS or X.shape[2] < MIN_COLUMNS:
        return False
    centred = X - nan_mean(X, axis=0)
    along = min(roughness(X, axis=2), roughness(centred, axis=2))
    # Over few rows nothing is smoother.
    return roughness(centred, axis=0) < SMOOTH + 1 / len(X) and along > ROUGH


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def roughness(X, axis, lag=1):
    """Mean squared differences over twice the variance along an axis: 1 is noise.

    Their median over the other axes, NaN if X is constant.
    """
    variance = nan_mean((X - nan_mean(X, axis)) ** 2, axis)
    X = np.moveaxis(X, axis, 0)
    ratios = nan_mean((X[lag:] - X[:-lag]) ** 2, 0) / 2 / np.moveaxis(variance, axis, 0)
    ratios = ratios[np.isfinite(ratios)]
    return np.median(ratios) if ratios.size else np.nan


def nan_mean(values, axis):
    """Mean of what is not NaN along an axis, which stays; 0 where all is."""
    is_known = ~np.isnan(values)
    n_known = np.maximum(1, is_known.sum(axis, keepdims=True))
    return np.where(is_known, values, 0.0).sum(axis, keepdims=True) / n_known


def warn_of_shape(X, n_dims):
    """Warn where rows of X look like readings, or channels like time."""
    n_channels, n_timepoints = X.shape[1:]
    if len(X) > MANY_ROWS and X[0].size <= FEW_VALUES:
        warn_user(
            f"X has {len(X)} signals of {X[0].size} values, as if a row were a "
            "reading. Expected a row for each signal: pivot or reshape X."
        )
    if n_dims == 3 and n_channels > n_timepoints:
        warn_user(
            f"X has {n_channels} channels of {n_timepoints} time steps: if time is "
            "the second axis, as in Keras, pass X.transpose(0, 2, 1)."
        )
    elif n_dims == 2 and (k := interleaved(X)):
        warn_user(
            f"X looks like {k} channels, all of them of one time step after the other. "
            "Expected one channel after the other: pass an array, "
            f"X.reshape(len(X), -1, {k}).transpose(0, 2, 1)."
        )


def interleaved(X):
    """Number of channels that take turns in X (n, c, t), which was folded, or 0.

    Signals are then smoother from each to the next time step of a channel than from
    column to column. Of one channel their mean is, unless their period is meant.
    """
    n_channels = X.shape[1]
    rows = some_of(X, FEW_LOOKED_AT).astype(float)
    rows = rows.reshape(len(rows), -1)
    if n_channels == 1:
        rows = nan_mean(rows, axis=0)
    for k in N_INTERLEAVED if n_channels == 1 else [n_channels]:
        if rows.shape[1] % k == 0 and rows.shape[1] >= 3 * k:
            step, stride = (roughness(rows, axis=1, lag=lag) for lag in (1, k))
            if step > TIMES_SMOOTHER * max(stride, SMOOTH / 2):
                return k
    return 0


def some_of(X, n_values=LOOKED_AT):
    """Some signals of large X, evenly spaced."""
    return X[:: math.ceil(X.size / n_values)]


def warn_of_padding(X):
    """Warn where signals end in zeros, as if these were no values but filled up."""
    is_zero = some_of(X) == 0
    n_last = np.logical_and.accumulate(is_zero[:, :, ::-1], axis=2).sum(axis=2)
    is_padded = (n_last > 1) & (n_last < X.shape[2])
    n_others = is_zero.sum() - n_last.sum()
    is_often = is_padded.mean() > MIN_PADDED and len(np.unique(n_last[is_padded])) > 1
    if is_often and n_others <= MAX_ZEROS * is_zero.size:
        warn_user(
            f"X has signals that end in zeros, {is_padded.mean():.0%} of those looked "
            "at, and next to none elsewhere. If they were filled up, put NaN there, or "
            "pass a list of arrays of their own lengths."
        )


def warn_of_unmeasured(unmeasured):
    """Warn of time steps, bool (c, t), that no signal has.

    Not where a channel has none at all: its scaler refuses that.
    """
    if unmeasured.any() and not unmeasured.all(axis=1).any():
        channel, time = np.argwhere(unmeasured)[0]
        warn_user(
            f"X has {unmeasured.sum()} time steps that are NaN in all signals, first "
            f"time step {time} of channel {channel}. What comes back there is a guess "
            "from the time steps beside. Leave them out unless that will do."
        )


def sentinels(X, name="X", axis="channel"):
    """A message about values of X (n, c, t) that are far from all others, or "".

    They are the least or the largest of their channel, or an end of X's integer type.
    """
    X = X[:: math.ceil(X.size / LOOKED_AT)]
    found = []
    for k, values in enumerate(X.swapaxes(0, 1)):
        values = values[~np.isnan(values)].astype(float)
        for value in (values.min(initial=np.inf), values.max(initial=-np.inf)):
            if others := range_beside(value, values, FAR):
                found.append(f"{value:.9g} ({axis} {k}, others {others})")
    ends = np.iinfo(X.dtype) if X.dtype.kind in "iu" else None
    for end in (ends.min, ends.max) if ends else ():
        if end and (others := range_beside(end, X, FAR_END)):
            found.append(f"{end} (an end of {X.dtype}, others {others})")
    shown = ", ".join(found[:MAX_SHOWN] + ["..."] * (len(found) > MAX_SHOWN))
    message = f"{name} has values far from all others: {shown}. {SENTINEL_REMEDY}"
    return message if found else ""


def range_beside(value, values, far):
    """The range of the other values, if the value is in them and far from it, or ""."""
    others = values[values != value]
    if others.size in (0, values.size):
        return ""
    low, high = float(others.min()), float(others.max())
    is_far = max(low - value, value - high) > far * (high - low) > 0
    return f"{low:.3g} to {high:.3g}" if is_far else ""


def warn_of_other_units(X, scaler):
    """Warn of values of X (n, c, t) far beyond those that the scaler was fitted on."""
    if scaler.kind is None:
        return
    low, high = (part.reduce(X, axis=(0, 2)) for part in (np.fmin, np.fmax))
    offset, scale = scaler.offset_[:, 0], scaler.scale_[:, 0]
    with np.errstate(over="ignore"):
        distances = np.maximum(high - offset, offset - low) / scale
    distances = np.nan_to_num(distances)  # of channels that nothing was measured of
    channel = int(np.argmax(distances))
    if distances[channel] > FAR_SCALED:
        value = max(low[channel], high[channel], key=lambda x: abs(x - offset[channel]))
        warn_user(
            f"X has the value {value:.9g} in channel {channel}, where the fitted "
            f"signals had an offset of {offset[channel]:.3g} and a scale of "
            f"{scale[channel]:.3g}. {SENTINEL_REMEDY} If X is in other units, convert "
            "it."
        )
