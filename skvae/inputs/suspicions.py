"""What in X looks like a mistake, though it could be meant: it is warned of."""

import math
from datetime import timedelta
from reprlib import repr as shortened

import numpy as np

from skvae.distributed import n_processes
from skvae.inputs.columns import TIME_NAMES, not_numbered, out_of_order
from skvae.inputs.containers import is_frame, is_list
from skvae.inputs.long_frames import is_time
from skvae.messages import warn_user

# Readings in a table are so many rows of so few values.
MANY_ROWS, FEW_VALUES = 1000, 5
# A value is far from all others by so many times their range, and from the offset of
# fitted signals by so many times their scale.
FAR, FAR_SCALED = 5, 100
LOOKED_AT = 2**22  # values, for those that are far
FEW_LOOKED_AT = 2**18  # for how smooth they are
MANY_FOUND = 4  # of these to be shown
# Of the range of an integer type's other values, from which on its end is a mark.
MARK_GAP = 0.05
# Mean squared differences over twice the variance: 0 is smooth, 1 is noise. X whose
# rows are time steps is smooth from row to row, and rough along them.
SMOOTH, ROUGH = 0.1, 0.5
MIN_ROWS, MIN_COLUMNS = 20, 8
TIMES_SMOOTHER = 4  # of interleaved channels, over the steps of one of them
UNTOLD_CHANNELS = 2, 3  # more may be a period
MAX_ZEROS = 0.01  # of values, besides those that signals were padded with
MIN_PADDED = 0.1  # of signals
SENTINEL_REMEDY = "What marks the missing, or is an error, should be NaN."


def warn_of_mistakes(given, X, unmeasured, estimator):
    """Warn of all that looks like a mistake in X to fit.

    Parameters
    ----------
    given : array-like
        X as it was given.
    X : ndarray of shape (n_samples, n_channels, n_timepoints)
        X as it was read.
    unmeasured : ndarray of bool, shape (n_channels, n_timepoints)
        Where all signals are NaN.
    estimator : ConvVAETransformer
        Which has learned the shape of X.
    """
    is_table = is_frame(given) and not is_list(given)
    if is_table:
        warn_of_names(given)
    positions = estimator.timepoints_in_
    are_named = positions is not None and (positions != np.arange(len(positions))).any()
    warn_of_time_in_rows(given, X, is_table, are_named)
    warn_of_shape(X, estimator.n_dims_in_)
    warn_of_padding(X)
    if n_processes() == 1:  # another process may have measured them
        warn_of_unmeasured(unmeasured)
    for message in (marks(X), sentinels(X)):
        if message:
            warn_user(message)


def warn_of_shape(X, n_dims):
    """Warn where rows of X look like readings, or channels like time."""
    if len(X) > MANY_ROWS and X[0].size <= FEW_VALUES:
        warn_user(
            f"X has {len(X)} signals of {X[0].size} values, as if a row were a "
            "reading. Expected a row for each signal: pivot or reshape X."
        )
    n_channels, n_timepoints = X.shape[1:]
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


@np.errstate(over="ignore", invalid="ignore")
def interleaved(X):
    """Number of channels that take turns in X (n, c, t), which was folded; 0: none do.

    Signals are smoother from each to the next of a channel's own time steps than from
    step to step. Of one channel, their mean is: those of a short period are not meant.
    """
    n_channels = X.shape[1]
    # Differences of bool are refused, of small integers they overflow.
    some = some_of(X, FEW_LOOKED_AT).astype(float)
    some = some.reshape(len(some), -1)
    spread = nan_mean((some - nan_mean(some)) ** 2)
    numbers = [n_channels]
    if n_channels == 1:
        numbers, some = UNTOLD_CHANNELS, nan_mean(some, axis=0)[None]
    for k in numbers:
        if some.shape[1] % k or some.shape[1] < 3 * k:
            continue
        step, stride = (nan_mean((some[:, n:] - some[:, :-n]) ** 2) for n in (1, k))
        if step > TIMES_SMOOTHER * max(stride, SMOOTH * spread):
            return k
    return 0


def some_of(X, n_values=LOOKED_AT):
    """Some signals of large X, evenly spaced."""
    return X[:: math.ceil(X.size / n_values)]


def nan_mean(values, axis=None, keepdims=False):
    """Mean of what is not NaN, in float64, 0 where all is."""
    is_known = ~np.isnan(values)
    n_known = np.maximum(1, is_known.sum(axis=axis, keepdims=keepdims))
    known = np.where(is_known, values, 0.0)
    return known.sum(axis=axis, keepdims=keepdims) / n_known


def warn_of_padding(X):
    """Warn where signals end in zeros, as if these were no values but filled up."""
    some = some_of(X)
    is_zero = some == 0
    n_last = np.where(
        is_zero.all(axis=2), X.shape[2], np.argmin(is_zero[:, :, ::-1], axis=2)
    )
    is_padded = (n_last > 1) & (n_last < X.shape[2])
    n_others = is_zero.sum() - n_last.sum()
    is_often = is_padded.mean() > MIN_PADDED and len(np.unique(n_last[is_padded])) > 1
    if is_often and n_others <= MAX_ZEROS * some.size:
        warn_user(
            f"X has signals that end in zeros, {is_padded.mean():.0%} of those looked "
            "at, and next to none elsewhere. If they were filled up, put NaN there, or "
            "pass a list of arrays of their own lengths."
        )


def warn_of_names(frame):
    """Warn of columns whose names say that they are no time steps, or out of order."""
    columns = frame.columns
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
        last = " the last axis" if X.shape[1] > 1 else ""
        warn_user(
            f"X has {len(X)} rows, {reason}, as if a row were a time step. Expected a "
            "row for each signal. If rows are time steps, "
            + (f"make time{last}." if last else "pass X.T.")
        )


def rows_of_table(frame, X):
    """Why rows of a DataFrame look like time steps, or "".

    There are more of them than columns, which have names and are not times themselves;
    and times within a day in the index, as from ``pivot(index="time",
    columns="meter")``, or columns that end early.
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
        steps = times.to_series().diff().abs()
        if times.is_unique and steps.median() < timedelta(days=1):
            return f"indexed by times {steps.median()} apart"
    elif times is not None and times.dtype.kind == "f" and times.name is not None:
        if TIME_NAMES.match(str(times.name)) and times.is_monotonic_increasing:
            return f"indexed by {times.name!r}"
    elif ends_early(X.reshape(len(X), -1)):
        return "the last of which are missing in some columns"
    return ""


def ends_early(X):
    """Whether all gaps of X (n, t) are at the ends of some of its columns."""
    measured = ~np.isnan(X)
    n_measured = measured.sum(axis=0)
    is_end = np.arange(len(X))[:, None] >= n_measured
    if not is_end.any() or (measured == is_end).any():
        return False
    # Signals that are sorted by their lengths look so too.
    return X.shape[1] < MIN_COLUMNS or (measured[:, 1:] > measured[:, :-1]).any()


def is_smooth_down(X):
    """Whether X (n, c, t) is smooth from row to row, and rough along its rows."""
    X = X[: FEW_LOOKED_AT // X[0].size].astype(float)  # small integers overflow
    if len(X) < MIN_ROWS or X.shape[2] < MIN_COLUMNS:
        return False
    centred = X - nan_mean(X, axis=0, keepdims=True)
    along = min(roughness(X, axis=2), roughness(centred, axis=2))
    # Over few rows nothing is smoother.
    is_smooth = roughness(centred, axis=0) < SMOOTH + 1 / len(X)
    return is_smooth and along > ROUGH


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def roughness(X, axis):
    """Mean squared differences over twice the variance along an axis of X (n, c, t).

    Their median over the other axes, NaN where X is constant.
    """
    variance = nan_mean((X - nan_mean(X, axis=axis, keepdims=True)) ** 2, axis=axis)
    ratios = nan_mean(np.diff(X, axis=axis) ** 2, axis=axis) / 2 / variance
    ratios = ratios[np.isfinite(ratios)]
    return np.median(ratios) if ratios.size else np.nan


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


def marks(X):
    """What to say of an end of X's integer type that is far from all others, or ""."""
    if X.dtype.kind not in "iu":
        return ""
    some = X[:: math.ceil(X.size / LOOKED_AT)]
    for end in (np.iinfo(X.dtype).min, np.iinfo(X.dtype).max):
        others = some[some != end].astype(float)
        if end == 0 or others.size in (0, some.size):
            continue
        low, high = extremes(others)
        if max(low - end, end - high) > MARK_GAP * (high - low) > 0:
            return (
                f"X has the value {end}, an end of {X.dtype}, others {low:.9g} to "
                f"{high:.9g}. {SENTINEL_REMEDY}"
            )
    return ""


def sentinels(X, name="X", axis="channel"):
    """What to say of values far from all others of their channel, or "".

    Of large X (n, c, t) some signals are looked at, evenly spaced. Its name and that of
    its second axis are what the user knows them by.
    """
    some, found = X[:: math.ceil(X.size / LOOKED_AT)], []
    for channel in range(X.shape[1]):
        values = some[:, channel].astype(float)
        values = values[~np.isnan(values)]
        for value in extremes(values):
            low, high = extremes(values[values != value])
            if max(low - value, value - high) > FAR * (high - low) > 0:
                others = f"{low:.3g} to {high:.3g}"
                found.append(f"{value:.9g} ({axis} {channel}, others {others})")
    if not found:
        return ""
    shown = ", ".join(found[:MANY_FOUND] + ["..."] * (len(found) > MANY_FOUND))
    return f"{name} has values far from all others: {shown}. {SENTINEL_REMEDY}"


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


def extremes(values):
    """Least and largest of values, as floats; infinities of none."""
    return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
