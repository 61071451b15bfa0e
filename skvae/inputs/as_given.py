"""Results in the container of X."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from skvae.inputs.columns import Layout
from skvae.inputs.containers import (
    is_arrow,
    is_frame,
    is_series,
    is_tensor,
    of_arrow,
    to_numpy,
)
from skvae.inputs.long_frames import column
from skvae.sklearn_private import container_adapter


@dataclass
class Given:
    """X, its values and channels as from `containers.read`, and the way back."""

    X: object
    values: object
    channels: list | None
    layout: Layout = field(default_factory=Layout)

    @property
    def is_table(self):
        """Whether X is a DataFrame of numbers."""
        return hasattr(self.values, "columns")

    def reconstructed(self, estimator, signals):
        """Signals in the container of X; whole signals in a list become an array."""
        X, values = self.X, self.values
        signals = self.layout.restore(signals)
        if not (isinstance(values, list) or is_series(X)):
            return as_frame(estimator, signals, X, getattr(X, "columns", None))
        shape = estimator.n_channels_in_, estimator.n_timepoints_in_
        parts = cut(values, signals.reshape(-1, *shape))
        if isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.ndim == 1):
            is_whole = all(part.size == signals[0].size for part in parts)
            return as_frame(estimator, np.stack(parts), X) if is_whole else parts
        return in_cells(X, parts)

    def filled(self, estimator, missing, filled):
        """Copy of X with values of `filled` (n, c, t) where they are missing."""
        arrays = map(self.layout.restore, (missing, filled))
        return as_frame(estimator, fill_in(self.X, self.values, *arrays), self.X)


def cut(parts, signals):
    """Signals (n, c, t), each cut to the shape of its part."""
    return [
        signal[:, : math.prod(np.shape(x)) // len(signal)].reshape(np.shape(x))
        for x, signal in zip(parts, signals, strict=True)
    ]


def fill_in(X, values, missing, filled):
    """Copy of X with values of `filled` where they are missing, in the layout of X."""
    if is_arrow(X):
        return as_arrow(fill_in(of_arrow(X), values, missing, filled))
    if isinstance(values, list) or is_series(X):
        given = X if isinstance(X, (list, tuple)) else values
        arrays = zip(given, cut(given, missing), cut(given, filled), strict=True)
        return in_cells(X, [fill_array(*array) for array in arrays])
    if is_frame(X):
        return fill_frame(X, missing.reshape(X.shape), filled.reshape(X.shape))
    X = X if isinstance(X, (np.ndarray, torch.Tensor)) else values
    return fill_array(X, missing.reshape(X.shape), filled.reshape(X.shape))


def as_arrow(X):
    """A DataFrame or a Series of pandas in pyarrow's form."""
    import pyarrow as pa

    if is_frame(X):
        return pa.Table.from_pandas(X, preserve_index=False)
    return pa.array([part.tolist() for part in X])


def in_cells(X, parts):
    """Signals in the container of X, whose cells hold signals of the same shapes."""
    if is_arrow(X):
        return as_arrow(in_cells(of_arrow(X), parts))
    if is_frame(X):
        cells = [parts] if X.shape[1] == 1 else map(list, zip(*parts, strict=True))
        columns = [in_cells(column(X, k), c) for k, c in enumerate(cells)]
        return type(X)(dict(zip(X.columns, columns, strict=True)))
    if is_series(X):
        # Values filled into gaps of whole numbers are not whole.
        is_whole = "int" in str(X.dtype).lower()
        is_of_tensors = is_tensor(getattr(X.dtype, "pyarrow_dtype", None))
        dtype = None if is_whole or is_of_tensors else X.dtype
        cells = [x.tolist() for x in parts]
        if X.dtype == "O":
            cells = np.fromiter(parts, object, len(parts))
        if hasattr(X, "iloc"):
            return type(X)(cells, name=X.name, index=X.index, dtype=dtype)
        return type(X)(X.name, cells, dtype=dtype)
    if isinstance(X, np.ndarray):
        if X.ndim == 2 and 1 not in X.shape:
            parts = [channel for part in parts for channel in part]
        for i, x in enumerate(X.flat):
            if np.ndim(x) == 2:  # (1, t_i) was read as (t_i,)
                parts[i] = parts[i].reshape(np.shape(x))
        return np.fromiter(parts, object, len(parts)).reshape(X.shape)
    return parts


def fill_array(X, missing, filled):
    """Copy of an array, Tensor or list with values of `filled`, an array."""
    if isinstance(X, torch.Tensor):
        missing, filled = torch.as_tensor(missing).to(X.device), torch.as_tensor(filled)
        return torch.where(missing, filled.to(X), X.detach())
    result = np.array(X)
    if missing.any() and result.dtype.kind in "biu":  # of standard deviations
        result = result.astype(np.float64)
    result[missing] = filled[missing]
    is_typed = isinstance(X, np.ndarray) or result.dtype != object
    return result if is_typed else result.astype(np.float64)


def fill_frame(X, missing, filled):
    """Copy of a DataFrame; whole numbers with gaps become floating ones."""
    gaps = np.flatnonzero(missing.any(axis=0)).tolist()
    if not hasattr(X, "iloc"):
        floats = {name: kind for name, kind in X.schema.items() if kind.is_float()}
        columns = ((k, X.to_series(k)) for k in gaps)
        return X.with_columns(
            type(c)(c.name, np.where(missing[:, k], filled[:, k], c.cast(float)))
            for k, c in columns
        ).cast(floats)
    result = X.copy()
    for k in gaps:
        if getattr(X.dtypes.iloc[k], "kind", "O") in "biu":
            result.isetitem(k, result.iloc[:, k].astype("Float64"))
    return result.mask(missing, filled) if gaps else result


def as_frame(estimator, X, like, columns=None):
    """X as a DataFrame if `set_output` asks for one, and X has two dimensions.

    It has the index of `like`, and by default the columns of the fitted DataFrame.
    """
    adapter = container_adapter("transform", estimator)
    is_table = getattr(X, "ndim", 1) == 2 and not is_frame(X) and X.dtype != object
    if adapter is None or not is_table:
        return X
    if columns is None:
        columns = fitted_columns(estimator, X.shape[1])
    if columns is not None and adapter.container_lib == "polars":
        columns = [str(name) for name in columns]
    return adapter.create_container(to_numpy(X), like, columns=columns)


def fitted_columns(estimator, n_columns):
    """Names of the fitted columns; of names that were no text, their positions."""
    names = getattr(estimator, "feature_names_in_", None)
    positions = getattr(estimator, "timepoints_in_", None)
    if names is not None or positions is None or len(positions) != n_columns:
        return names
    if (positions == np.arange(n_columns)).all():
        return None
    return positions.astype(int) if (positions % 1 == 0).all() else positions
