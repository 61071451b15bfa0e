"""Warnings of likely mistakes in X, which could be meant."""

import math
from datetime import timedelta
from reprlib import repr as shortened

import numpy as np

from skvae.distributed import n_processes
from skvae.inputs.columns import TIME_NAMES, not_numbered, out_of_order
from skvae.inputs.long_frames import is_time
from skvae.messages import warn_user

MANY_ROWS, FEW_VALUES = 1000, 5  # of tables of readings
FAR, FAR_END = 5, 0.05  # ranges of the other values; for an end of an integer type
FAR_SCALED = 100  # scales of the fitted signals
LOOKED_AT, FEW_LOOKED_AT = 2**22, 2**18  # values; for `roughness`
SMOOTH, ROUGH, MIN_ROWS, MIN_COLUMNS = 0.1, 0.5, 20, 8  # for `roughness`
TIMES_SMOOTHER = 4  # squared steps beside each other over those within a channel
MAX_ZEROS, MIN_PADDED = 0.01, 0.1  # shares of values, and of signals that end in zeros
REMEDY = "If they mark missing values, or are errors, put NaN in their place."


def warn_of_mistakes(estimator, given, X, unmeasured, is_first):
    """Warn of likely mistakes in signals X (n, c, t).

    `unmeasured` (c, t) are time steps that no signal has. In a first fit X alone is
    looked at, later X is compared with the fitted signals.
    """
    if is_first:
        steps = estimator.timepoints_in_
        are_named = steps is not None and (steps != np.arange(len(steps))).any()
        source = given.values if given.is_table else given.X
        warn_of_time_in_rows(source, X, given.is_table, are_named)
        columns = source.columns if given.is_table else []
        messages = [*amiss(estimator, X, columns, unmeasured), sentinels(X)]
    else:
        messages = [other_units(X, estimator.scaler_)]
    for message in filter(None, messages):
        warn_user(message)


def amiss(estimator, X, columns, unmeasured):
    """Messages about names of columns, the shape of X (n, c, t), and its gaps."""
    is_flat = getattr(columns, "nlevels", 1) == 1
    if is_flat and (others := not_numbered(columns)):
        yield (
            f"X has the columns {shortened(others)} among numbered ones. If these are "
            f"not time steps, leave them out: X.drop(columns={shortened(others)})."
        )
    if is_flat and (pair := out_of_order(columns)):
        yield (
            f"X has columns out of order, {pair[0]!r} before {pair[1]!r}, as if sorted "
            "as text. Sort them by time."
        )
    n_samples, n_channels, n_timepoints = X.shape
    if n_samples > MANY_ROWS and n_channels * n_timepoints <= FEW_VALUES:
        yield (
            f"X has {n_samples} signals of {X[0].size} values, as if each row were a "
            "reading. If so, pivot or reshape X to a row for each signal."
        )
    if estimator.n_dims_in_ == 3 and n_channels > n_timepoints:
        yield (
            f"X has {n_channels} channels of {n_timepoints} time steps: if time is "
            "the second axis, as in Keras, pass X.transpose(0, 2, 1)."
        )
    if estimator.n_dims_in_ == 2 and (k := interleaved(X)):
        yield (
            f"X looks like {k} channels that take turns. Expected one channel after "
            f"the other: pass X.reshape(len(X), -1, {k}).transpose(0, 2, 1)."
        )
    # Another process may have measured them; the scaler refuses a channel of none.
    is_known = n_processes() > 1 or unmeasured.all(axis=1).any()
    if unmeasured.any() and not is_known:
        channel, time = np.argwhere(unmeasured)[0]
        yield (
            f"X has {unmeasured.sum()} time steps that are NaN in all signals, first "
            f"time step {time} of channel {channel}. Leave them out, or they will be "
            "guessed from the time steps beside them."
        )
    is_zero = X[:: math.ceil(X.size / LOOKED_AT)] == 0
    n_last = np.logical_and.accumulate(is_zero[:, :, ::-1], axis=2).sum(axis=2)
    is_padded = (n_last > 1) & (n_last < n_timepoints)
    n_others = is_zero.sum() - n_last.sum()
    is_often = is_padded.mean() > MIN_PADDED and len(np.unique(n_last[is_padded])) > 1
    if is_often and n_others <= MAX_ZEROS * is_zero.size:
        yield (
            f"X has signals that end in zeros, {is_padded.mean():.0%} of those looked "
            "at. If the zeros are padding, put NaN there, or pass a list of arrays."
        )


def warn_of_time_in_rows(given, X, is_table, are_named):
    """Warn if the rows of X look like time steps rather than signals."""
    dims = getattr(given, "dims", ())  # as xarray's arrays have
    reason = rows_of_table(given, X) if is_table else ""
    if isinstance(dims, tuple) and dims and TIME_NAMES.match(str(dims[0])):
        reason = f"of the dimension {dims[0]!r}"
    elif not (reason or are_named) and is_smooth_down(X):
        reason = "whose values change little from row to row"
    if reason:
        remedy = "make time the last axis" if X.shape[1] > 1 else "pass X.T"
        warn_user(
            f"X has {len(X)} rows, {reason}, as if each row were a time step. If so, "
            f"{remedy}: each row must be a signal."
        )


def rows_of_table(frame, X):
    """Why the rows of a DataFrame look like time steps, or "".

    They are more than the columns, which are not times. The index has times within a
    day, or some columns end early.
    """
    times, columns = getattr(frame, "index", None), frame.columns
    if getattr(times, "nlevels", 1) > 1 or len(frame) <= max(2, len(columns)):
        return ""
    if hasattr(columns, "dtype") and is_time(columns):
        return ""
    is_number = (isinstance(name, (int, np.integer)) for name in columns)
    if getattr(columns, "name", None) is None and all(is_number):
        return ""
    if hasattr(times, "to_timestamp"):
        times = times.to_timestamp()
    kind = "" if times is None else times.dtype.kind
    if kind in ("M", "m"):
        step = times.to_series().diff().abs().median()
        is_within_a_day = times.is_unique and step < timedelta(days=1)
        return f"indexed by times {step} apart" if is_within_a_day else ""
    if kind == "f" and times.name is not None:
        is_rising = TIME_NAMES.match(str(times.name)) and times.is_monotonic_increasing
        return f"indexed by {times.name!r}" if is_rising else ""
    measured = ~np.isnan(X.reshape(len(X), -1))
    is_end = np.arange(len(X))[:, None] >= measured.sum(axis=0)
    if not is_end.any() or (measured == is_end).any():
        return ""
    # Signals that are sorted by their lengths end early too.
    is_sorted = (measured[:, 1:] <= measured[:, :-1]).all()
    is_wide = measured.shape[1] >= MIN_COLUMNS
    return "" if is_wide and is_sorted else "the last missing in some columns"


def is_smooth_down(X):
    """Whether X (n, c, t) is smooth from row to row, and rough along its rows."""
    X = np.ma.masked_invalid(X[: FEW_LOOKED_AT // X[0].size].astype(float))
    if len(X) < MIN_ROWS or X.shape[2] < MIN_COLUMNS:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        centred = X - X.mean(axis=0)
        along = min(roughness(X, axis=2), roughness(centred, axis=2))
        # Over few rows nothing is smoother.
        return roughness(centred, axis=0) < SMOOTH + 1 / len(X) and along > ROUGH


@np.errstate(over="ignore", invalid="ignore")
def interleaved(X):
    """Number of channels that take turns in folded X (n, c, t), or 0.

    Each value is then closer to the next of its channel than to the one beside it. Of
    one channel the mean signal is looked at, as a short period is no channel.
    """
    n_channels, X = X.shape[1], X[:: math.ceil(X.size / FEW_LOOKED_AT)]
    X = np.ma.masked_invalid(X.astype(float)).reshape(len(X), -1)
    noise, numbers = SMOOTH * X.var(), (n_channels,)
    if n_channels == 1:
        X, numbers = X.mean(axis=0)[None], (2, 3)  # more may be a period
    for k in numbers:
        if X.shape[1] % k == 0 and X.shape[1] >= 3 * k:
            step, stride = (np.mean((X[:, n:] - X[:, :-n]) ** 2) for n in (1, k))
            if step > TIMES_SMOOTHER * max(stride, noise):
                return k
    return 0


def roughness(X, axis):
    """Mean squared differences over twice the variance along an axis of masked X.

    It is 1 for noise, and NaN if X is constant; the median over the other axes.
    """
    ratios = (np.diff(X, axis=axis) ** 2).mean(axis) / (2 * X.var(axis))
    return np.median(ratios.compressed()) if ratios.count() else np.nan


def sentinels(X, name="X", axis="channel"):
    """A message about values of X (n, c, t) far from all others, or "".

    These are extremes of a channel, or an end of X's integer type.
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
    shown = ", ".join(found[:4] + ["..."] * (len(found) > 4))
    return f"{name} has values far from all others: {shown}. {REMEDY}" if found else ""


def range_beside(value, values, far):
    """The range of the other values, if one of the values is far from it, or ""."""
    others = values[values != value]
    if others.size in (0, values.size):
        return ""
    low, high = float(others.min()), float(others.max())
    is_far = max(low - value, value - high) > far * (high - low) > 0
    return f"{low:.3g} to {high:.3g}" if is_far else ""


def other_units(X, scaler):
    """A message about values of X (n, c, t) far from the fitted ones, or ""."""
    if scaler.kind is None:
        return ""
    low, high = (part.reduce(X, axis=(0, 2)) for part in (np.fmin, np.fmax))
    offset, scale = scaler.offset_[:, 0], scaler.scale_[:, 0]
    with np.errstate(over="ignore"):
        distances = np.maximum(high - offset, offset - low) / scale
    distances = np.nan_to_num(distances)  # of channels that nothing was measured of
    k = int(np.argmax(distances))
    if distances[k] <= FAR_SCALED:
        return ""
    value = max(low[k], high[k], key=lambda x: abs(x - offset[k]))
    return (
        f"X has the value {value:.9g} in channel {k}, far from the fitted offset of "
        f"{offset[k]:.3g} with a scale of {scale[k]:.3g}. If it marks a "
        "missing value, or is an error, put NaN in its place. If X is in other units, "
        "convert it."
    )
