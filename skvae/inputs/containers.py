"""What signals come in and go back in: lists of any lengths, tensors, DataFrames."""

from datetime import timedelta

import numpy as np
import torch
from sklearn.utils._set_output import _get_container_adapter

# A signal of so few time steps is rarer than a table of so many readings; 7 are a week.
MAX_READINGS = 6


def to_numpy(X, name="X"):
    """Lists and tensors, from any device, as arrays; the rest is scikit-learn's."""
    if isinstance(X, torch.Tensor):
        return X.detach().cpu().numpy()
    if not isinstance(X, (list, tuple)):
        return X
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"{name} is a list whose rows have unequal lengths. Expected rows of one "
            "length."
        ) from error


def is_list(X):
    """Whether X is a list of signals, which may have any lengths."""
    return isinstance(X, (list, tuple)) or (
        isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    )


def is_frame(X):
    """Whether X is a DataFrame, of pandas or polars."""
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def pad(X, n_channels, n_timepoints, name):
    """One array of a list of signals, NaN after the end of each shorter one.

    Parameters
    ----------
    X : list of array-like of shape (c, t_i), or (t_i,), of c channels (c * t_i,)
    n_channels : int
        Of signals (c * t_i,), which hold one channel after the other.
    n_timepoints : int or None
        Of the fitted signals; None: the longest of X.
    name : str
        The estimator's.

    Returns
    -------
    ndarray of shape (n_samples, c, n_timepoints) or (n_samples, c * n_timepoints)
    """
    signals = [read_signal(x, i) for i, x in enumerate(X)]
    if not signals:
        raise ValueError("X is an empty list. Expected at least one signal.")
    first = signals[0].shape
    for i, signal in enumerate(signals):
        if signal.ndim != len(first) or signal.shape[:-1] != first[:-1]:
            raise ValueError(
                f"X has signals of several kinds: sample 0 has shape {first}, sample "
                f"{i} {signal.shape}. Expected (t_i,) for all, or (n_channels, t_i) "
                "with as many channels in all. If time comes first, pass "
                "[x.T for x in X]."
            )
        if signal.ndim == 1 and signal.size % n_channels:
            raise ValueError(
                f"Sample {i} of X has {signal.size} values, which are not divided by "
                f"{n_channels} channels. Expected one channel after the other."
            )
    if len(first) == 2:
        n_channels = first[0]
    lengths = [signal.size // n_channels for signal in signals]
    longest = int(np.argmax(lengths))
    if n_timepoints is None:
        n_timepoints = lengths[longest]
    elif lengths[longest] > n_timepoints:
        raise ValueError(
            f"Sample {longest} of X has {lengths[longest]} time steps, but this {name} "
            f"was fitted on at most {n_timepoints}. Cut it to {n_timepoints} time "
            "steps, or refit with it."
        )
    dtype = np.result_type(*{signal.dtype for signal in signals})
    if min(lengths) < n_timepoints and dtype.kind not in "fc":
        dtype = np.float64
    padded = np.full((len(signals), n_channels, n_timepoints), np.nan, dtype)
    for row, signal, length in zip(padded, signals, lengths, strict=True):
        row[:, :length] = signal.reshape(n_channels, length)
    return padded if len(first) == 2 else padded.reshape(len(signals), -1)


def read_signal(x, i):
    """Sample i of a list as an array of numbers, of one or two dimensions."""
    refuse_masked(x)
    try:
        signal = np.asarray(to_numpy(x))
        signal = read_objects(signal) if signal.ndim else signal
    except (TypeError, ValueError):
        signal = np.empty(0, object)
    if signal.dtype.kind not in "biufc":
        raise ValueError(
            f"Sample {i} of X is not a signal: it has values that are no numbers, or "
            "channels of unequal lengths. Expected numbers, (t_i,) or (n_channels, "
            "t_i), and NaN where nothing was measured."
        )
    if signal.ndim not in (1, 2):
        raise ValueError(
            f"Sample {i} of X has {signal.ndim} dimensions, shape {signal.shape}. "
            "Expected (t_i,) or (n_channels, t_i); one signal alone is [signal]."
        )
    if not signal.size:
        raise ValueError(
            f"Sample {i} of X is empty, shape {signal.shape}. Leave it out."
        )
    return signal


def read_array(X):
    """X as an array of numbers, or what scikit-learn reads or refuses."""
    refuse_masked(X)
    X = to_numpy(X)
    return read_objects(X) if isinstance(X, np.ndarray) else X


def read_objects(X):
    """An array of objects as one of float64, NaN for None and pandas.NA."""
    if X.dtype.kind in "SUO":
        refuse_text(X)
    if X.dtype != object:
        return X
    missing = np.frompyfunc(is_na, 1, 1)(X).astype(bool)
    return np.where(missing, np.nan, X).astype(np.float64)


def is_na(value):
    """Whether it is pandas.NA, of which no comparison is true or false."""
    return type(value).__name__ == "NAType"


def read_frame(X):
    """A DataFrame without pandas.NA among objects; an error if it holds text."""
    others = not_of_numbers(X)
    for name, column in others:
        refuse_text(column.to_numpy(), f"column {name!r}, ")
    return X.where(X.notna(), np.nan) if others and hasattr(X, "iloc") else X


def not_of_numbers(X):
    """Pairs of a name and a column, of those whose dtype is none of numbers."""
    return [
        (X.columns[k], X.iloc[:, k] if hasattr(X, "iloc") else X.to_series(k))
        for k, dtype in enumerate(X.dtypes)
        if (dtype.kind in "OMm" if hasattr(dtype, "kind") else not dtype.is_numeric())
    ]


def refuse_masked(X, name="X"):
    """A ValueError for masked values of X, y or Z."""
    remedy = {
        "X": "Pass X.astype(float).filled(numpy.nan): NaN is a missing value.",
        "y": "Pass y.astype(float).filled(numpy.nan) if y holds numbers, y.filled(-1) "
        "if labels: these are unlabelled.",
        "Z": "Leave out such rows.",
    }
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"{name} has masked values, which would be read as if they were measured. "
            f"{remedy[name]}"
        )


def refuse_text(X, where=""):
    """A ValueError for the first string in an array, of strings or objects."""
    for position, value in np.ndenumerate(X):
        if isinstance(value, (str, bytes)):
            raise ValueError(
                f"X has text, first {str(value)!r} in {where}sample {position[0]}. "
                "Expected numbers, and NaN where nothing was measured. Convert or "
                "leave out what is text."
            )
        if X.dtype != object:
            return


def cut(X, signals):
    """Signals (n, c, t) as a list, each of the shape of that in list X."""
    return [
        signal[:, : np.size(x) // len(signal)].reshape(np.shape(x))
        for x, signal in zip(map(to_numpy, X), signals, strict=True)
    ]


def fill_in(X, missing, filled):
    """Copy of X, in its own container, with other values where they are missing.

    Parameters
    ----------
    X : ndarray, Tensor, DataFrame of pandas or polars, or list of signals
    missing : ndarray of bool, shape (n_samples, n_channels, n_timepoints)
    filled : ndarray of that shape
    """
    if is_list(X):
        parts = [
            fill_array(x, where, values)
            for x, where, values in zip(X, cut(X, missing), cut(X, filled), strict=True)
        ]
        return np.fromiter(parts, object) if isinstance(X, np.ndarray) else parts
    shape = np.shape(to_numpy(X))
    fill = fill_frame if is_frame(X) else fill_array
    return fill(X, missing.reshape(shape), filled.reshape(shape))


def fill_array(X, missing, filled):
    """Copy of an array, Tensor or list, with arrays of its shape, as `fill_in`."""
    if isinstance(X, torch.Tensor):
        result = X.detach().clone()
        values = torch.as_tensor(filled).to(result)
        return torch.where(torch.as_tensor(missing, device=X.device), values, result)
    result = np.array(X)
    result[missing] = filled[missing]
    is_typed = isinstance(X, np.ndarray) or result.dtype != object
    return result if is_typed else result.astype(np.float64)


def fill_frame(X, missing, filled):
    """Copy of a DataFrame; whole numbers with gaps become floating ones."""
    gaps = np.flatnonzero(missing.any(axis=0))
    if hasattr(X, "iloc"):
        result = X.copy()
        for k in gaps:
            if getattr(X.dtypes.iloc[k], "kind", "O") in "biu":
                result.isetitem(k, result.iloc[:, k].astype("Float64"))
        return result.mask(missing, filled) if len(gaps) else result
    result = X.clone()
    for k in gaps:
        column, rows = X.to_series(k).clone(), np.flatnonzero(missing[:, k])
        if not column.dtype.is_float():
            column = column.cast(float)
        values = filled[rows, k].astype(float).tolist()
        result.replace_column(int(k), column.scatter(rows, values))
    return result


def as_frame(estimator, X, like, columns=None):
    """X as a DataFrame where `set_output`, or the global configuration, says so.

    Parameters
    ----------
    X : ndarray or Tensor of signals; of three dimensions it stays one
    like : what it came from, for its index
    columns : names, by default those of the fitted DataFrame
    """
    adapter = _get_container_adapter("transform", estimator)
    if adapter is None or X.ndim != 2:
        return X
    if columns is None:
        columns = getattr(estimator, "feature_names_in_", None)
    if columns is not None and adapter.container_lib == "polars":
        columns = [str(name) for name in columns]
    return adapter.create_container(to_numpy(X), like, columns=columns)


def refuse_long(X):
    """A ValueError for a DataFrame whose rows are readings rather than signals.

    Few columns, and time in one of them, in the index, or an index of several levels;
    unless the columns are times. A column of time among many columns is refused too:
    no signal goes on in it.
    """
    times = [name for name, column in not_of_numbers(X) if is_time(column)]
    index = getattr(X, "index", None)  # polars has none
    is_stacked = index is not None and (index.nlevels > 1 or is_time(index))
    n_rows, n_columns = X.shape
    is_wide = n_columns > 1 and is_stacked and is_time(X.columns)
    if n_columns > MAX_READINGS:
        if times:
            raise ValueError(
                f"X has the column {times[0]!r} of dates or times beside its numbers. "
                "Make it the index, or leave it out."
            )
    elif times or (is_stacked and n_rows > n_columns and not is_wide):
        line = None if index is None else reshaping(X, is_stacked)
        example = f", for example:\n    X = {line}\n" if line else ". "
        raise ValueError(
            f"X is a long DataFrame of shape {X.shape}: a row is a reading. Expected a "
            "row for each signal, and a column for each time step. Pivot X: what tells "
            "signals apart (a meter, a day) becomes the index, the time step the "
            f"columns{example}Several columns of readings become channels, one after "
            "the other, see n_channels. If rows are signals all the same, pass their "
            "numbers as an array."
        )


def is_time(values):
    """Whether a column or an index is of dates, times, periods or durations."""
    if hasattr(values.dtype, "is_temporal"):
        return values.dtype.is_temporal()
    if values.dtype.kind in "Mm":
        return True
    first = next(iter(values.dropna()), None) if values.dtype.kind == "O" else None
    return hasattr(first, "strftime") or isinstance(first, timedelta)


def reshaping(X, is_stacked):
    """The line of pandas that gives each series, or each day, a row; None: unsure."""
    names = [n for n in (*X.index.names, *X.columns) if n is not None]
    if X.empty or len({n for n in names if isinstance(n, str)}) < len(names):
        return None
    frame, source = (X.reset_index(), "X.reset_index()") if is_stacked else (X, "X")
    values = [n for n in X if X[n].dtype.kind in "biuf"]
    times = [n for n in frame if is_time(frame[n])]
    *keys, time = [*frame.columns.drop([*values, *times]), *times]
    if len(keys) == 1:
        signals, steps = frame[keys[0]], frame[time]
        call = f"{source}.pivot(index={keys[0]!r}, columns={time!r}"
    elif not keys and frame[time].dtype.kind == "M":
        signals, steps = frame[time].dt.date, frame[time].dt.time
        stamps = "X.index" if is_stacked else f"X[{time!r}].dt"
        call = f"X.pivot_table(index={stamps}.date, columns={stamps}.time"
    else:
        return None
    # A signal has several time steps, and a time step several signals, once each.
    is_table = not (signals.is_unique or steps.is_unique)
    if not (values and is_table) or frame.duplicated([*keys, time]).any():
        return None
    return f"{call}, values={values[0] if len(values) == 1 else values!r})"
