"""What in X looks like a mistake, though it could be meant: it is warned of."""

import math
from datetime import timedelta

import numpy as np

from skvae.inputs.containers import is_time
from skvae.runtime import warn_user

# Readings in a table are so many rows of so few values.
MANY_ROWS, FEW_VALUES = 1000, 5
# A value is far from all others by so many times their range, and from the offset of
# fitted signals by so many times their scale.
FAR, FAR_SCALED = 5, 100
LOOKED_AT = 2**22  # values, for those that are far
MANY_FOUND = 4  # of these to be shown
SENTINEL_REMEDY = "What marks the missing, or is an error, should be NaN."


def warn_of_shape(X):
    """Warn where rows of X look like readings, or its second axis like time."""
    if len(X) > MANY_ROWS and X[0].size <= FEW_VALUES:
        warn_user(
            f"X has {len(X)} signals of {X[0].size} values, as if a row were a "
            "reading. Expected a row for each signal: pivot or reshape X."
        )
    if X.ndim == 3 and X.shape[1] > X.shape[2] > 0:
        warn_user(
            f"X has {X.shape[1]} channels of {X.shape[2]} time steps: if time is "
            "the second axis, as in Keras, pass X.transpose(0, 2, 1)."
        )


def warn_of_time_in_rows(X):
    """Warn where the rows of a DataFrame look like time steps rather than signals.

    More rows than columns, times within a day in the index, and columns that have names
    and are not times themselves, as from ``pivot(index="time", columns="meter")``.
    """
    index, columns = getattr(X, "index", None), X.columns
    if index is None or index.nlevels > 1 or len(index) <= max(2, len(columns)):
        return
    is_numbered = columns.dtype.kind in "iu" and columns.name is None
    times = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    if is_numbered or is_time(columns) or times.dtype.kind not in "Mm":
        return
    steps = times.to_series().diff().abs()
    if times.is_unique and steps.median() < timedelta(days=1):
        warn_user(
            f"X has {len(index)} rows, indexed by times {steps.median()} apart, and "
            f"{len(columns)} columns, as if a row were a time step. Expected a row for "
            "each signal. If the columns are the signals, pass X.T."
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
