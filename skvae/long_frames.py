"""DataFrames of one reading a row: an error that says how to reshape them."""

import datetime

# A signal of so few time steps is rarer than a table of so many readings; 7 are a week.
MAX_COLUMNS = 6


def refuse_long(X):
    """A ValueError for a DataFrame whose rows are readings rather than signals.

    Few columns, and time in one of them, in the index, or an index of several levels.
    A column of time among many columns is refused too: no signal goes on in it.
    """
    columns = zip(X.columns, X.dtypes, strict=True)
    times = [name for name, dtype in columns if is_time(dtype)]
    n_rows, n_columns = X.shape
    rows_are_signals = " If rows are signals all the same, pass X.to_numpy()."
    index = getattr(X, "index", None)
    if n_columns > MAX_COLUMNS:
        if times:
            raise ValueError(
                f"X has the column {times[0]!r} of dates or times beside its numbers. "
                f"Make it the index, or leave it out: {without(X, times[0])}"
            )
        return
    if times:
        what, line = f"the column {times[0]!r} holds times", reshape_column(X, times[0])
        rows_are_signals = ""
    elif n_rows <= n_columns or index is None:
        return
    elif index.nlevels > 1:
        what = f"the index has {index.nlevels} levels"
        line = reshape_levels(X)
    elif is_time(index.dtype):
        what, line = "the index holds times", reshape_index(X)
    else:
        return
    raise ValueError(
        f"X is a long DataFrame of shape {X.shape}: {what}, so that a row is a "
        "reading. Expected one row for each signal, and a column for each time step, "
        f"for example:\n    X = {line}\nSeveral columns of readings become channels, "
        f"one after the other, see n_channels.{rows_are_signals}"
    )


def is_time(dtype):
    """Whether a dtype of pandas or polars is that of dates, times or periods."""
    if hasattr(dtype, "is_temporal"):
        return dtype.is_temporal()
    return getattr(dtype, "kind", "") == "M" or str(dtype).startswith("period")


def without(X, time):
    return f"X.set_index({time!r})" if hasattr(X, "iloc") else f"X.drop({time!r})"


def split_columns(X, time=None, *, is_repeated):
    """Names of the columns that tell series apart, None or one, and of the readings.

    Where times repeat, it is text before whole numbers, unless nothing else is left.
    """
    columns = zip(X.columns, X.dtypes, strict=True)
    kinds = {name: kind_of(dtype) for name, dtype in columns if name != time}
    numbers = [name for name, kind in kinds.items() if kind in "biuf"]
    key = None
    if is_repeated:
        text = [name for name, kind in kinds.items() if kind == "O"]
        whole = [name for name in numbers if kinds[name] in "iu"]
        key = (text + (whole if len(numbers) > 1 else []) + [None])[0]
    values = [name for name in numbers if name != key]
    return key, values[0] if len(values) == 1 else values


def kind_of(dtype):
    """NumPy's letter for a dtype of pandas or polars: "f", "i", or "O" for text."""
    if hasattr(dtype, "kind"):
        return dtype.kind
    return "f" if dtype.is_float() else "i" if dtype.is_integer() else "O"


def reshape_column(X, time):
    """The line for times in a column."""
    if not hasattr(X, "iloc"):
        return reshape_polars(X, time)
    key, values = split_columns(X, time, is_repeated=X[time].duplicated().any())
    if key is not None:
        return f"X.pivot(index={key!r}, columns={time!r}, values={values!r})"
    stamps = f"X[{time!r}].dt"
    if not hasattr(X[time].dt, "date"):
        stamps += ".to_timestamp().dt"
    return pivot_days(stamps, X.set_index(time).index, values)


def reshape_index(X):
    """The line for times in the index."""
    key, values = split_columns(X, is_repeated=X.index.has_duplicates)
    if key is not None:
        return f"X.set_index({key!r}, append=True)[{values!r}].unstack(0)"
    is_period = not hasattr(X.index, "date")
    return pivot_days("X.index" + ".to_timestamp()" * is_period, X.index, values)


def pivot_days(stamps, index, values):
    """A row a day; a row a week where there is one reading a day."""
    index = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    rows, columns = f"{stamps}.date", f"{stamps}.time"
    if (index == index.normalize()).all():
        rows, columns = f"{stamps}.to_period('W')", f"{stamps}.dayofweek"
    return f"X.pivot_table(index={rows}, columns={columns}, values={values!r})"


def reshape_levels(X):
    """The line for an index of several levels: that of time, else the last, unstacked.

    Times of the day go before dates.
    """
    _, values = split_columns(X, is_repeated=False)
    levels = X.index.levels
    steps = [k for k, level in enumerate(levels) if is_time(level.dtype)]
    steps += [k for k, level in enumerate(levels) if is_clock(level)]
    step = steps[-1] if steps else len(levels) - 1
    name = X.index.names[step]
    return f"X[{values!r}].unstack({step if name is None else name!r})"


def is_clock(level):
    return len(level) > 0 and isinstance(level[0], datetime.time)


def reshape_polars(X, time):
    """The line for times in a column of a polars DataFrame."""
    key, values = split_columns(X, time, is_repeated=X[time].is_duplicated().any())
    if key is not None:
        pivot = f"pivot({time!r}, index={key!r}, values={values!r})"
        return f"X.{pivot}.drop({key!r})"
    stamps = f"X[{time!r}].dt"
    rows, columns = f"{stamps}.date()", f"{stamps}.time()"
    if not hasattr(X[time].dtype, "time_unit"):  # dates alone
        rows, columns = f"{stamps}.truncate('1w')", f"{stamps}.weekday()"
    return (
        f"X.with_columns(row={rows}, step={columns})"
        f".pivot('step', index='row', values={values!r}).drop('row')"
    )
