"""Long DataFrames, of a reading in each row: refused, with a line that pivots them."""

import re
from datetime import time as clock
from datetime import timedelta
from itertools import combinations

# Fewer columns of numbers are readings rather than time steps; 7 are a week.
MAX_READINGS = 6
MAX_KEYS = 2  # columns that tell series apart, as a meter and its register
LOOKED_AT, LOOKED_AT_DATES = 100_000, 20  # readings
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.{0,30}")
DAYS_PER_SERIES = 3  # of a series whose days become rows, rather than the series


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


def first_object(values):
    """The first value of a column of pandas that holds objects, or None."""
    return next(iter(values.dropna()), None) if values.dtype.kind == "O" else None


def is_time(values):
    """Whether a column or an index is of dates, times, periods or durations."""
    if hasattr(values.dtype, "is_temporal"):
        return values.dtype.is_temporal()
    first = first_object(values)
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
    """Refuse a DataFrame of readings: few columns of numbers, and time beside them.

    Time is a column, the index, or a level of it. Columns that are times themselves
    make X wide. Beside many columns of numbers a column of time is refused too.
    """
    others = not_of_numbers(X)
    texts = [name for _, name, values in others if are_dates(values)]
    times = [name for _, name, values in others if is_time(values)] + texts
    index = getattr(X, "index", None)  # polars has none
    is_stacked = index is not None and (index.nlevels > 1 or is_time(index))
    n_rows, n_columns = X.shape
    if n_columns - len(others) > MAX_READINGS:
        if times:
            raise ValueError(
                f"X has the column {times[0]!r} of dates or times beside its numbers. "
                "Make it the index, or leave it out."
            )
        return
    is_wide = n_rows <= n_columns or (
        n_columns > 1 and is_stacked and is_time(X.columns)
    )
    if times or (is_stacked and not is_wide):
        line = None if index is None else pivot(X, texts)
        example = f", for example:\n    X = {line}\n" if line else ". "
        raise ValueError(
            f"X is a long DataFrame of shape {X.shape}: a row is a reading. Pivot X: "
            "what tells signals apart (a meter, a day) becomes the index, time steps "
            f"the columns{example}Several columns of readings become channels. If rows "
            "are signals all the same, pass their numbers as an array."
        )


def pivot(X, texts):
    """The code that gives each day, or each series, a row; None: it may not work."""
    levels = [name for name in X.index.names if name is not None]
    names = [*levels, *X.columns]
    are_texts = all(isinstance(n, str) for n in names)
    if X.empty or not are_texts or len({*names}) < len(names):
        return None
    start = ""
    if texts:
        import pandas as pd

        X = X.assign(
            **{n: pd.to_datetime(X[n], "coerce", format="mixed") for n in texts}
        )
        parsed = ", ".join(f"{n!r}: pandas.to_datetime(X[{n!r}])" for n in texts)
        start = f"X.assign(**{{{parsed}}})\n    X = "
    is_indexed = bool(levels) or X.index.nlevels > 1 or is_time(X.index)
    frame = (X.reset_index() if is_indexed else X)[:LOOKED_AT]
    kinds = frame.dtypes.map(lambda dtype: dtype.kind)
    whole = [n for n in frame if kinds[n] in "iu"]
    times = [n for n in frame if is_time(frame[n])] or whole[-1:] * is_indexed
    numbers = [n for n in X if kinds[n] in "biuf" and frame[n].notna().any()]
    # A pivot leaves out rows without a key.
    known = [n for n in frame if n not in (*numbers, *times) and frame[n].notna().all()]
    candidates = list(dict.fromkeys([*known, *whole, *times]))
    # Of a date and a time of day beside it, the latter is the time step.
    times.sort(key=lambda n: not isinstance(first_object(frame[n]), clock))
    for time in times:
        others = [n for n in candidates if n != time]
        for keys in (k for n in range(MAX_KEYS + 1) for k in combinations(others, n)):
            values = [n for n in numbers if n not in (*keys, time)]
            if not values or frame.duplicated([*keys, time]).any():
                continue
            if call := pivot_call(X, frame, keys, time):
                what = repr(values[0] if len(values) == 1 else values)
                return f"{start}{call}, values={what})"
    return None


def pivot_call(X, frame, keys, time):
    """A call of pandas for a row of each day or each series, or "" for few of them."""
    n_series = len(frame[[*keys]].drop_duplicates()) if keys else 1
    has_stamps = time in X or X.index.nlevels == 1
    if frame[time].dtype.kind == "M" and {*keys} <= {*X} and has_stamps:
        n_days, n_steps = frame[time].dt.date.nunique(), frame[time].dt.time.nunique()
        enough = DAYS_PER_SERIES * n_series if keys else 2
        n_cells = n_series * n_days * n_steps
        if n_days >= enough and n_steps > 1 and len(frame) >= n_cells / 2:
            stamps = f"X[{time!r}].dt" if time in X else "X.index"
            index = ", ".join([*map(repr, keys), f"{stamps}.date"])
            return f"X.pivot_table(index=[{index}], columns={stamps}.time"
    n_times = frame[time].nunique()
    if not keys or len(frame) < max(n_series + 1, n_times + 1, n_series * n_times / 2):
        return ""
    source = "X" if {*keys, time} <= {*X} else "X.reset_index()"
    return f"{source}.pivot(index={[*keys]!r}, columns={time!r}"
