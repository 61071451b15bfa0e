"""Long DataFrames, of a reading in each row, are refused."""

import re
from datetime import timedelta

# Fewer columns of numbers are readings rather than time steps; 7 are a week.
MAX_READINGS = 6
LOOKED_AT_DATES = 20  # readings
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.{0,30}")


def not_of_numbers(X):
    """Number, name and values of the columns whose dtype is not of numbers."""
    return [
        (k, X.columns[k], column(X, k))
        for k, dtype in enumerate(X.dtypes)
        if (
            dtype.kind in "OMm"
            if hasattr(dtype, "kind")
            else not dtype.is_numeric() or dtype.is_decimal()
        )
    ]


def column(X, k):
    """Column k of a DataFrame of pandas or polars."""
    return X.iloc[:, k] if hasattr(X, "iloc") else X.to_series(k)


def is_time(values):
    """Whether a column or an index holds dates, times, periods or durations."""
    if hasattr(values.dtype, "is_temporal"):
        return values.dtype.is_temporal()
    first = next(iter(values.dropna()), None) if values.dtype.kind == "O" else None
    is_object = hasattr(first, "strftime") or isinstance(first, timedelta)
    return is_object or values.dtype.kind in "Mm"


def are_dates(values):
    """Whether a column holds texts that begin with dates."""
    known = values.dropna() if hasattr(values, "iloc") else values.drop_nulls()
    first = list(known[:LOOKED_AT_DATES])
    return len(first) > 0 and all(
        isinstance(x, str) and DATE.fullmatch(x) for x in first
    )


def refuse_long(X):
    """Refuse a DataFrame with few columns of numbers and with time beside them.

    Time is a column, the index, or a level of the index. Many columns of numbers are
    time steps; a column of time beside them is refused too.
    """
    others = not_of_numbers(X)
    times = [name for _, name, x in others if is_time(x) or are_dates(x)]
    n_rows, n_columns = X.shape
    if n_columns - len(others) > MAX_READINGS:
        if times:
            raise ValueError(
                f"X has the column {times[0]!r} of dates or times beside its numbers. "
                "Make it the index, or leave it out."
            )
        return
    index = getattr(X, "index", None)  # polars has none
    is_stacked = index is not None and (index.nlevels > 1 or is_time(index))
    is_wide = n_rows <= n_columns or (
        n_columns > 1 and is_stacked and is_time(X.columns)
    )
    if times or (is_stacked and not is_wide):
        line = "X.pivot_table('kWh', ['meter', X['time'].dt.date], X['time'].dt.time)"
        if getattr(index, "nlevels", 1) > 1:
            k = [k for k, level in enumerate(index.levels) if is_time(level)] or [-1]
            line = f"X.unstack({k[-1]})"
        raise ValueError(
            f"X is a long DataFrame of shape {X.shape}: each row is a reading. Pivot X "
            "to a row for each signal and a column for each time step, for example:\n"
            f"    X = {line}\nSeveral columns of readings become channels. If each row "
            "is a signal, pass X.to_numpy() without dates."
        )
