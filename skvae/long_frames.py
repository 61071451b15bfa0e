"""DataFrames of one reading a row: an error that says how to reshape them."""

# A signal of so few time steps is rarer than a table of so many readings; 7 are a week.
MAX_COLUMNS = 6


def refuse_long(X):
    """A ValueError for a DataFrame whose rows are readings rather than signals.

    Few columns, and time in one of them, in the index, or an index of several levels.
    A column of time among many columns is refused too: no signal goes on in it.
    """
    times = [n for n, dtype in zip(X.columns, X.dtypes, strict=True) if is_time(dtype)]
    n_rows, n_columns = X.shape
    if n_columns > MAX_COLUMNS:
        if times:
            raise ValueError(
                f"X has the column {times[0]!r} of dates or times beside its numbers. "
                "Make it the index, or leave it out."
            )
        return
    index = getattr(X, "index", None)  # polars has none
    is_stacked = index is not None and (index.nlevels > 1 or is_time(index.dtype))
    if times or (is_stacked and n_rows > n_columns):
        raise ValueError(
            f"X is a long DataFrame of shape {X.shape}: a row is a reading. Expected "
            "a row for each signal, and a column for each time step, for example:\n"
            f"    X = {reshaping(X, *times[:1])}\nSeveral columns of "
            "readings become channels, one after the other, see n_channels. If rows "
            "are signals all the same, pass their numbers as an array."
        )


def is_time(dtype):
    """Whether a dtype of pandas or polars is that of dates, times or periods."""
    if hasattr(dtype, "is_temporal"):
        return dtype.is_temporal()
    return getattr(dtype, "kind", "") == "M" or str(dtype).startswith("period")


def reshaping(X, time=None):
    """The line that gives each series a row, or each day; `time` is a column's name."""
    if time is None and X.index.nlevels > 1:
        levels = [k for k, lv in enumerate(X.index.levels) if hasattr(lv[0], "hour")]
        return f"X.unstack({levels[-1] if levels else -1})"
    frame, source = X, "X"
    if time is None:
        frame, source = X.reset_index(), "X.reset_index()"
        time = frame.columns[0]
    kinds = {n: frame[n][:1].to_numpy().dtype.kind for n in frame.columns if n != time}
    values = [name for name, kind in kinds.items() if kind in "biuf"]
    is_pandas, times = hasattr(X, "iloc"), frame[time]
    if len(set(times.to_numpy().tolist())) < len(times):
        # Several series: they are told apart by text, or else by whole numbers.
        key = next(n for letter in "OTUSiuf" for n in kinds if kinds[n] == letter)
        values = unpacked([name for name in values if name != key])
        if is_pandas:
            return f"{source}.pivot(index={key!r}, columns={time!r}, values={values})"
        return f"X.pivot({time!r}, index={key!r}, values={values}).drop({key!r})"
    values = unpacked(values)
    stamps = "X.index" if source != "X" else f"X[{time!r}].dt"
    if not is_pandas:
        days = f"X.with_columns(day={stamps}.date(), step={stamps}.time())"
        return f"{days}.pivot('step', index='day', values={values}).drop('day')"
    if str(times.dtype).startswith("period"):
        stamps += ".to_timestamp()" + ".dt" * (source == "X")
    return f"X.pivot_table(index={stamps}.date, columns={stamps}.time, values={values})"


def unpacked(names):
    return repr(names[0] if len(names) == 1 else names)
