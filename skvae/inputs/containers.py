"""Frames, lists, tensors, cells of tables and array-likes become arrays.

`as_given` is the way back: what is read here must come back there.
"""

import re
from collections.abc import Iterable, Mapping
from reprlib import repr as shortened

import numpy as np
import torch

from skvae.inputs.long_frames import column, not_of_numbers, refuse_long

DECIMAL_COMMA = re.compile(r"[-+]?[\d.]*,\d+")
# Methods by which tables of other libraries become DataFrames.
READERS = "collect", "compute", "toPandas", "to_pandas", "df", "read_all", "get_data"


def read(X):
    """Values of X, and names of channels or None.

    Values are an array, a DataFrame of numbers, or a list of signals (t_i,) or
    (c, t_i), as in the cells of a table or of an array of objects.
    """
    refuse_masked(X)
    if is_arrow(X):
        X = of_arrow(X)
    if is_frame(X):
        names = [n for _, n, x in not_of_numbers(X) if holds_signals(x, True)]
        return read_cells(X, names) if names else (read_frame(X), None)
    if is_series(X):
        X = np.asarray(cells_of(X))
    if is_list(X):
        if isinstance(X, np.ndarray) and X.ndim == 2 and 1 in X.shape:
            # A cell array of MATLAB, of (1, t_i) or (t_i, 1).
            X = [np.squeeze(to_numpy(x)) for x in X.flat]
        return [read_signal(x, i) for i, x in enumerate(X)], None
    if not isinstance(X, (np.ndarray, torch.Tensor)):
        X = read_array_like(X)
        return read(X) if isinstance(X, np.ndarray) else (X, None)
    return read_objects(to_numpy(X)), None


def is_of(X, *libraries):
    """Whether X is of one of these libraries, which are not imported here."""
    return type(X).__module__.partition(".")[0] in libraries


def is_arrow(X):
    return is_of(X, "pyarrow") and hasattr(X, "to_pandas")


def of_arrow(X):
    """X of pyarrow as a DataFrame or a Series; tensors in cells keep their type."""
    from pandas import ArrowDtype

    return X.to_pandas(types_mapper=lambda t: ArrowDtype(t) if is_tensor(t) else None)


def is_tensor(arrow_type):
    """Whether a type is of pyarrow's tensors, whose shape only the type knows."""
    return getattr(arrow_type, "extension_name", "") == "arrow.fixed_shape_tensor"


def cells_of(values):
    """A Series, or the array (n, ...) of a Series of pyarrow's tensors."""
    if is_tensor(getattr(values.dtype, "pyarrow_dtype", None)):
        return values.array.__arrow_array__().combine_chunks().to_numpy_ndarray()
    return values


def is_frame(X):
    """Whether X is a DataFrame of pandas or polars."""
    is_lazy = hasattr(X, "collect") or hasattr(X, "compute")
    return not is_lazy and hasattr(X, "columns") and hasattr(X, "dtypes")


def is_series(X):
    """Whether X is a Series of pandas or polars."""
    return is_of(X, "pandas", "polars") and hasattr(X, "to_frame")


def is_list(X):
    """Whether X, which is no table, is a sequence or an array of signals."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and (X.ndim == 1 or holds_signals(X.flat))
    if isinstance(X, (str, bytes, memoryview, Mapping, torch.Tensor)):
        return False
    is_sequence = all(hasattr(X, f"__{name}__") for name in ("len", "iter", "getitem"))
    others = "__array__", "toarray", "array_keys"
    return is_sequence and not any(hasattr(X, name) for name in others)


def holds_signals(values, or_mappings=False):
    """Whether the first value that is not missing is a signal rather than a number."""
    first = next((value for value in values if not is_missing(value)), None)
    if isinstance(first, (str, bytes, Mapping)):
        return or_mappings and isinstance(first, Mapping)
    return hasattr(first, "__len__") and getattr(first, "ndim", 1) > 0


def read_cells(X, names):
    """Signals in the cells of a DataFrame, and names of channels."""
    if len(names) < len(X.columns):
        others = shortened([name for name in X.columns if name not in names])
        raise ValueError(
            f"X has signals in the cells of its columns {shortened(names)}, but not "
            f"in {others}. Pass only the signals: X[{shortened(names)}]."
        )
    cells = [cells_of(column(X, k)) for k in range(len(names))]
    if len(cells) == 1:
        return [read_signal(x, i) for i, x in enumerate(cells[0])], None
    rows = enumerate(zip(*cells, strict=True))
    signals = [read_channels(row, i, names) for i, row in rows]
    return signals, [str(name) for name in names]


def read_channels(cells, i, names):
    """Sample i, (c, t_i), of cells that hold a channel each, or nothing."""
    channels = [None if is_missing(x) else np.squeeze(read_signal(x, i)) for x in cells]
    shapes = {x.shape for x in channels if x is not None}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        shapes = ["nothing" if x is None else x.shape for x in channels]
        raise ValueError(
            f"Sample {i} of X has channels of several shapes, {shortened(shapes)} in "
            f"{shortened(names)}. Expected as many time steps in each column. Resample "
            "them, or pass the columns one by one."
        )
    return np.stack([np.full(shape, np.nan) if x is None else x for x in channels])


def read_signal(x, i):
    """Sample i of a list as an array of numbers, (t_i,) or (c, t_i)."""
    refuse_masked(x)
    try:
        signal = np.asarray(to_numpy(x))
        if signal.dtype == object and signal.ndim == 1 and holds_signals(signal):
            signal = np.stack([np.asarray(to_numpy(channel)) for channel in signal])
        signal = read_objects(signal) if signal.ndim else signal
        if signal.ndim == 3 and len(signal) == 1:  # as one of mne's Epochs
            signal = signal[0]
    except (TypeError, ValueError):
        signal = np.empty(1, object)
    if is_missing(x) or not signal.size:
        fault = "is empty or missing: leave it out"
    elif signal.dtype.kind not in "biufc":
        fault = "is not a signal: it has no numbers, or channels of unequal lengths"
    elif signal.ndim not in (1, 2):
        fault = f"has {signal.ndim} dimensions, shape {signal.shape}"
    else:
        return signal
    raise ValueError(
        f"Sample {i} of X, of type {type(x).__name__}, {fault}. Expected numbers, "
        "(t_i,) or (n_channels, t_i), and NaN where nothing was measured. Pass one "
        f"signal as [signal].{remedy_for(x)}"
    )


def remedy_for(x):
    """What to do with a value that is no signal, or ""."""
    is_text = isinstance(x, str)
    if isinstance(x, Mapping):
        return f" Pass [x[key] for x in X], where key is one of {shortened([*x])}."
    if is_of(x, "h5py"):
        return (
            " Pass the arrays that these HDF5 references, as from MATLAB, point to: "
            "[numpy.squeeze(file[x][()].T) for x in X[()].flat]."
        )
    if is_text and x.lstrip()[:1] in ("[", "("):
        return f" It is the text {shortened(x)}. Parse it first, as with json.loads."
    if is_text and DECIMAL_COMMA.fullmatch(x):
        return " If it is a number with a decimal comma, pass decimal=',' to read_csv."
    return ""


def read_array_like(X):
    """An array of an array-like, or sparse X, which scikit-learn refuses."""
    if hasattr(X, "toarray"):
        return X
    remedy = "Pass an array, a DataFrame or a list of signals."
    is_array = hasattr(X, "__array__") or isinstance(X, memoryview)
    if isinstance(X, Mapping) or hasattr(X, "array_keys"):  # or a Group of zarr
        remedy = f"Pass X[key], where key is the one of {shortened([*X])} with signals."
    elif is_array:
        try:
            return np.asanyarray(X)
        except (TypeError, ValueError):
            remedy = "If its signals have unequal lengths, pass list(X)."
    elif readers := [name for name in READERS if hasattr(X, name)]:
        remedy = f"Pass X.{readers[0]}(), and only its columns of signals."
    elif isinstance(X, (str, bytes)) or hasattr(X, "__fspath__"):
        remedy = "Read the file first, as with numpy.load or pandas.read_csv."
    elif isinstance(X, Iterable):
        remedy = "Pass list(X), a list of signals."
    raise ValueError(f"X is a {type(X).__name__}, which is not an array. {remedy}")


def to_numpy(X, name="X"):
    """Arrays of lists and tensors; anything else is left to scikit-learn."""
    if isinstance(X, (list, tuple)):
        return np.asarray(X)
    if isinstance(X, torch.Tensor):
        if X.is_nested:
            raise ValueError(f"{name} is a nested Tensor. Pass list({name}.unbind()).")
        if X.layout != torch.strided:
            raise ValueError(f"{name} is a sparse Tensor. Pass {name}.to_dense().")
        X = X.detach().cpu().resolve_conj().resolve_neg()
        try:
            return X.numpy()
        except TypeError:  # bfloat16 and narrower ones
            return X.float().numpy()
    is_bfloat16 = isinstance(X, np.ndarray) and X.dtype.name == "bfloat16"
    return X.astype(np.float32) if is_bfloat16 else X  # of ml_dtypes


def read_objects(X, where=""):
    """An array of objects as float64, with NaN for None and pandas.NA."""
    if X.dtype.names:
        raise ValueError(
            f"X is an array of records with the fields {shortened(X.dtype.names)}. "
            "Pass numbers: numpy.array(X[fields].tolist())."
        )
    for position, value in np.ndenumerate(X) if X.dtype.kind in "SUO" else ():
        if isinstance(value, (str, bytes)) or is_of(value, "h5py"):
            kind = "text" if isinstance(value, (str, bytes)) else "references"
            raise ValueError(
                f"X has {kind}, first {shortened(str(value))} in {where}sample "
                f"{position[0]}. Expected numbers, and NaN where nothing was measured."
                f"{remedy_for(value)}"
            )
    if X.dtype != object:
        return X
    missing = np.frompyfunc(is_na, 1, 1)(X).astype(bool)
    return np.where(missing, np.nan, X).astype(np.float64)


def is_na(value):
    """Whether it is pandas.NA, whose comparisons have no truth value."""
    return type(value).__name__ == "NAType"


def is_missing(value):
    """Whether it is None, pandas.NA or NaN."""
    if value is None or is_na(value):
        return True
    return np.isscalar(value) and bool(value != value)


def read_frame(X):
    """A DataFrame of numbers, with NaN for missing ones."""
    refuse_long(X)
    if hasattr(X, "sparse"):  # of pandas, where all columns are
        return X.sparse.to_dense()
    others = not_of_numbers(X)
    X = X.copy(deep=False) if others and hasattr(X, "iloc") else X
    for k, name, values in others:
        numbers = read_objects(values.to_numpy(), f"column {shortened(name)}, ")
        if hasattr(X, "iloc"):
            X.isetitem(k, numbers)
        else:
            X = X.with_columns(type(values)(name, numbers))
    return X


def refuse_masked(X, name="X"):
    """Refuse masked values of X, y or Z."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        labels = f", or {name}.filled(-1) if labels" if name == "y" else ""
        raise ValueError(
            f"{name} has masked values. Replace them by NaN, "
            f"{name}.astype(float).filled(numpy.nan){labels}."
        )
