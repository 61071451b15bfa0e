"""DataFrames of a reading in each row: refused, with the pivot that reshapes them."""

import re
from datetime import timedelta
from itertools import combinations

# A signal of so few time steps is rarer than a table of so many readings; 7 are a week.
MAX_READINGS = 6
MAX_KEYS = 2  # columns that tell series apart, as a meter and its register
LOOKED_AT, LOOKED_AT_DATES = 100_000, 20  # readings
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
MAX_DATE = 40  # characters
# Days of a series from which on these are the signals, rather than the series.
DAYS_PER_SERIES = 3


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
    """Column k of a DataFrame, whatever its name."""
    return X.iloc[:, k] if hasattr(X, "iloc") else X.to_series(k)


def is_time(values):
    """Whether a column or an index is of dates, times, periods or durations."""
    if hasattr(values.dtype, "is_temporal"):
        return values.dtype.is_temporal()
    if values.dtype.kind in "Mm":
        return True
    first = next(iter(values.dropna()), None) if values.dtype.kind == "O" else None
    return hasattr(first, "strftime") or isinstance(first, timedelta)


def refuse_long(X):
    """A ValueError for a DataFrame whose rows are readings rather than signals.

    Few columns of numbers, and time in another one, in the index, or an index of
    several levels; unless the columns are times. A column of time among many columns of
    numbers is refused too: no signal goes on in it.
    """
    others = not_of_numbers(X)
    texts = [name for _, name, values in others if are_dates(values)]
    times = [name for _, name, values in others if is_time(values)] + texts
    index = getattr(X, "index", None)  # polars has none
    is_stacked = index is not None and (index.nlevels > 1 or is_time(index))
    n_rows, n_columns = X.shape
    is_wide = n_columns > 1 and is_stacked and is_time(X.columns)
    if n_columns - len(others) > MAX_READINGS:
        if times:
            raise ValueError(
                f"X has the column {times[0]!r} of dates or times beside its numbers. "
                "Make it the index, or leave it out."
            )
    elif times or (is_stacked and n_rows > n_columns and not is_wide):
        line = None if index is None else pivot(with_dates(X, texts))
        if line and texts:
            parsed = [f"{name!r}: pandas.to_datetime(X[{name!r}])" for name in texts]
            line = f"X.assign(**{{{', '.join(parsed)}}})\n    X = {line}"
        example = f", for example:\n    X = {line}\n" if line else ". "
        raise ValueError(
            f"X is a long DataFrame of shape {X.shape}: a row is a reading. Expected a "
            "row for each signal, and a column for each time step. Pivot X: what tells "
            "signals apart (a meter, a day) becomes the index, the time step the "
            f"columns{example}Several columns of readings become channels. If rows are "
            "signals all the same, pass their numbers as an array."
        )


def pivot(X):
    """The line of pandas that gives each series, or each day, a row; None: unsure."""
    levels = [name for name in X.index.names if name is not None]
    names = [*levels, *X.columns]
    if (
        X.empty
        or not all(isinstance(n, str) for n in names)
        or len({*names}) < len(names)
    ):
        return None
    is_indexed = bool(levels) or X.index.nlevels > 1 or is_time(X.index)
    frame = (X.reset_index() if is_indexed else X)[:LOOKED_AT]
    names = list(frame)
    numbers = [n for n in X if frame[n].dtype.kind in "biuf" and frame[n].notna().any()]
    whole = [n for n in names if frame[n].dtype.kind in "iu"]
    texts = [n for n in names if n not in (*numbers, *whole) and not is_time(frame[n])]
    texts = [n for n in texts if frame[n].notna().all()]  # else pivots leave some out
    times = [n for n in names if is_time(frame[n])] or whole[-1:] * is_indexed
    # Times of day are the columns, where dates are beside them.
    for time in sorted(times, key=lambda n: not is_clock(frame[n])):
        others = [n for n in (*texts, *whole, *times) if n != time]
        for n_keys in range(MAX_KEYS + 1):
            for keys in map(list, combinations(dict.fromkeys(others), n_keys)):
                values = [n for n in numbers if n not in (*keys, time)]
                if values and not frame.duplicated([*keys, time]).any():
                    what = repr(values[0] if len(values) == 1 else values)
                    line = by_day(X, frame, keys, time) or by_series(
                        X, frame, keys, time
                    )
                    if line:
                        return f"{line}, values={what})"
    return None


def by_series(X, frame, keys, time):
    """The start of the line if each series has a row; None if they share few times."""
    n_series, n_times = len(frame[keys].drop_duplicates()), frame[time].nunique()
    is_table = keys and n_series < len(frame) and n_times < len(frame)
    if not is_table or len(frame) < n_series * n_times / 2:
        return None
    source = "X" if {*keys, time} <= {*X} else "X.reset_index()"
    index = repr(keys[0] if len(keys) == 1 else keys)
    return f"{source}.pivot(index={index}, columns={time!r}"


def by_day(X, frame, keys, time):
    """The start of the line if each day of each series has a row; None for few days."""
    if frame[time].dtype.kind != "M" or not {*keys} <= {*X}:
        return None
    n_series = max(1, len(frame[keys].drop_duplicates())) if keys else 1
    n_days, n_steps = frame[time].dt.date.nunique(), frame[time].dt.time.nunique()
    enough = DAYS_PER_SERIES * n_series if keys else 2
    if n_days < enough or n_steps < 2 or len(frame) < n_series * n_days * n_steps / 2:
        return None
    if time in X:
        stamps = f"X[{time!r}].dt"
    elif X.index.nlevels == 1:
        stamps = "X.index"
    else:
        return None
    index = f"[{', '.join([*map(repr, keys), f'{stamps}.date'])}]"
    index = index if keys else f"{stamps}.date"
    return f"X.pivot_table(index={index}, columns={stamps}.time"


def are_dates(values):
    """Whether a column holds texts that begin with dates."""
    known = values.dropna() if hasattr(values, "iloc") else values.drop_nulls()
    first = list(known[:LOOKED_AT_DATES])
    return len(first) > 0 and all(
        isinstance(x, str) and DATE.match(x) and len(x) < MAX_DATE for x in first
    )


def with_dates(X, names):
    """A DataFrame with these texts as dates, if names of columns are texts."""
    if not names or not all(isinstance(name, str) for name in names):
        return X
    import pandas as pd

    dates = {n: pd.to_datetime(X[n], format="mixed", errors="coerce") for n in names}
    return X.assign(**dates)


def is_clock(values):
    """Whether a column is of times of day."""
    first = next(iter(values.dropna()), None) if values.dtype.kind == "O" else None
    return hasattr(first, "hour") and not hasattr(first, "year")
