"""Signals back in the container that X came in."""

import numpy as np
import torch

from skvae.inputs.containers import (
    is_arrow,
    is_frame,
    is_list,
    is_series,
    is_tensor,
    of_arrow,
    read,
    read_array_like,
    to_numpy,
)
from skvae.inputs.long_frames import column
from skvae.sklearn_private import container_adapter


def reconstructed(X, signals):
    """Signals (n, c, t) in the container of X, which holds signals.

    As an array for a list of signals that are all as long.
    """
    parts = cut(read(X)[0], signals)
    if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.ndim == 1):
        is_whole = all(part.size == signals[0].size for part in parts)
        return np.stack(parts) if is_whole else parts
    return in_cells(X, parts)


def cut(parts, signals):
    """Signals (n, c, t) as a list, each of the shape of that in a list."""
    return [
        signal[:, : np.size(x) // len(signal)].reshape(np.shape(x))
        for x, signal in zip(parts, signals, strict=True)
    ]


def fill_in(X, missing, filled):
    """Copy of X, in its own container, with other values where they are missing.

    Parameters
    ----------
    X : as for `read`
    missing : ndarray of bool, shape (n_samples, n_channels, n_timepoints)
    filled : ndarray of that shape
    """
    if is_arrow(X):
        return as_arrow(fill_in(of_arrow(X), missing, filled))
    if is_list(X):
        parts = list(read(X)[0])
        given = X if isinstance(X, (list, tuple)) else parts
        arrays = zip(given, cut(parts, missing), cut(parts, filled), strict=True)
        return in_cells(X, [fill_array(*array) for array in arrays])
    if is_frame(X):
        return fill_frame(X, missing.reshape(X.shape), filled.reshape(X.shape))
    if not isinstance(X, (np.ndarray, torch.Tensor)):
        X = read_array_like(X)
    shape = np.shape(to_numpy(X))
    return fill_array(X, missing.reshape(shape), filled.reshape(shape))


def as_arrow(X):
    """A DataFrame or a Series of pandas in pyarrow's form."""
    import pyarrow as pa

    if is_frame(X):
        return pa.Table.from_pandas(X, preserve_index=False)
    return pa.array([part.tolist() for part in X])


def in_cells(X, parts):
    """Signals, of the shapes that `read` gives those of X, in the container of X."""
    if is_arrow(X):
        return as_arrow(in_cells(of_arrow(X), parts))
    if is_frame(X):
        cells = [parts] if X.shape[1] == 1 else zip(*parts, strict=True)
        columns = [
            in_cells(column(X, k), list(signals)) for k, signals in enumerate(cells)
        ]
        if not hasattr(X, "iloc"):
            return type(X)(columns)
        result = X.copy()
        for k, of_channel in enumerate(columns):
            result.isetitem(k, of_channel)
        return result
    if is_series(X):
        arrow_type = getattr(X.dtype, "pyarrow_dtype", None)
        # Of lists of whole numbers with gaps the numbers filled in are none.
        keeps_type = not ("int" in str(X.dtype).lower() or is_tensor(arrow_type))
        cells = [part.tolist() for part in parts]
        if hasattr(X, "iloc"):
            cells = objects(parts) if X.dtype == object else cells
            dtype = X.dtype if keeps_type else None
            return type(X)(cells, name=X.name, index=X.index, dtype=dtype)
        dtype = X.dtype
        if not keeps_type:
            import polars as pl

            dtype = pl.Float64
            for _ in range(parts[0].ndim):
                dtype = pl.List(dtype)
        return type(X)(X.name, cells, dtype=dtype)
    if isinstance(X, np.ndarray):
        if X.ndim == 2 and 1 not in X.shape:
            parts = [channel for part in parts for channel in part]
        shaped = [
            part.reshape(np.shape(x)) if len(np.shape(x)) == 2 else part
            for x, part in zip(X.flat, parts, strict=True)
        ]
        return objects(shaped).reshape(X.shape)
    return parts


def objects(values):
    """A one-dimensional array of objects, arrays or others."""
    result = np.empty(len(values), object)
    for i, value in enumerate(values):
        result[i] = value
    return result


def fill_array(X, missing, filled):
    """Copy of an array, Tensor or list, with arrays of its shape, as `fill_in`."""
    if isinstance(X, torch.Tensor):
        result = X.detach().clone()
        values = torch.as_tensor(filled).to(result)
        return torch.where(torch.as_tensor(missing, device=X.device), values, result)
    result = np.array(X)
    if missing.any() and result.dtype.kind in "biu":  # of standard deviations
        result = result.astype(np.float64)
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
    X : ndarray or Tensor of signals; what is no table, or one already, stays as it is
    like : what it came from, for its index
    columns : names, by default those of the fitted DataFrame
    """
    adapter = container_adapter("transform", estimator)
    is_table = getattr(X, "ndim", 1) == 2 and not is_frame(X) and X.dtype != object
    if adapter is None or not is_table:
        return X
    if columns is None:
        columns = getattr(estimator, "feature_names_in_", None)
    if columns is not None and adapter.container_lib == "polars":
        columns = [str(name) for name in columns]
    return adapter.create_container(to_numpy(X), like, columns=columns)
