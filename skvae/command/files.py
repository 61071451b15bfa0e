"""Files of signals as DataFrames: a column for each time step, or signals in cells."""

import re
from ast import literal_eval
from textwrap import shorten

import numpy as np
import pandas as pd

from skvae.command.text import read_text
from skvae.inputs import containers

EXPECTED = (
    "Expected a text (.csv, .tsv, .txt), .parquet, .feather, .npz, .npy, .ts, .arff or "
    ".mat. Save the signals as one of these."
)
REMEDY = "numpy.savez(file, X=X, y=y.astype(str))"
TUPLE = re.compile(r"\('.*', *'.*'\)")
UNREAD = re.compile(r"\.(xlsx?|ods|h5|hdf5|pkl|joblib|edf|wav|jsonl?)")


def read_frame(path, *of_text):
    """Frame, with a RangeIndex if columns have no names; notes; a row's place.

    Files of unknown kinds are texts, with arguments `of_text` as for `read_text`.
    """
    suffix = path.suffix.lower()
    if UNREAD.fullmatch(suffix):
        raise ValueError(f"{suffix} is not read. {EXPECTED}")
    if suffix not in READERS:
        return read_text(path, *of_text)
    reader, needed = READERS[suffix]
    try:
        frame = reader(path)
    except ImportError as error:
        raise ImportError(f"{suffix} needs {needed}: pip install {needed}") from error
    except OSError:
        raise
    except Exception as error:  # readers of a damaged file raise anything
        what = shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
        remedy = f" Save arrays without objects: {REMEDY}." * (needed == "numpy")
        raise ValueError(f"{what.rstrip('.')}.{remedy}") from error
    frame, notes = from_arrays(frame) if isinstance(frame, dict) else (frame, [])
    return frame, notes, lambda i: f"row {i}"


def read_arrow(path):
    """Parquet or Feather; fields of structs become columns, tensors arrays."""
    from pyarrow import feather, parquet

    is_parquet = path.suffix.lower() == ".parquet"
    table = (parquet if is_parquet else feather).read_table(path).flatten()
    frame = table.to_pandas()
    for j, kind in enumerate(table.schema.types):
        if containers.is_tensor(kind):  # pandas loses the shape
            arrays = table.column(j).combine_chunks().to_numpy_ndarray()
            frame.isetitem(j, list(arrays))
    if all(isinstance(n, str) and TUPLE.fullmatch(n) for n in frame.columns):
        # pandas writes levels of names as tuples if there is no index.
        frame.columns = pd.MultiIndex.from_tuples(map(literal_eval, frame.columns))
    return frame


def read_numpy(path):
    file = np.load(path, allow_pickle=False)
    return {"X": file} if isinstance(file, np.ndarray) else dict(file)


def read_ts(path):
    from aeon.datasets import load_from_ts_file

    X, y = load_from_ts_file(str(path))
    return {"X": X, "y": y} if len(y) else {"X": X}


def read_arff(path):
    """Attributes as columns; cells of a relation are arrays (n_channels, t)."""
    from scipy.io.arff import loadarff

    records, _ = loadarff(path)
    columns = {}
    for name in records.dtype.names:
        is_relation = records[name].dtype == object
        cells = (np.array(x.tolist()) if is_relation else x for x in records[name])
        columns[name] = list(cells)
    return pd.DataFrame(columns)


def read_mat(path):
    from scipy.io import loadmat

    try:
        arrays = loadmat(path, squeeze_me=True)
    except NotImplementedError:  # of Matlab 7.3
        from mat73 import loadmat

        arrays = loadmat(str(path))
    return {name: x for name, x in arrays.items() if not name.startswith("__")}


def from_arrays(arrays):
    """Frame of X, a signal in each cell, and of arrays of its length; notes."""
    for name, x in arrays.items():
        if isinstance(x, list):  # of signals of unequal lengths
            arrays[name] = np.empty(len(x), object)
            arrays[name][:] = x
        arrays[name] = np.asarray(arrays[name])
    likely = [name for name, x in arrays.items() if x.ndim > 1 or holds_arrays(x)]
    named = [name for name in arrays if name.lower() == "x"]
    if not named and len(likely) != 1:
        names = shorten(str([*arrays]), 100, placeholder=" ...")
        raise ValueError(
            f"no array X, only {names}. Expected X and y. Join parts with "
            f"numpy.concatenate, and save them with {REMEDY}."
        )
    name = (named or likely)[0]
    X = arrays.pop(name)
    if X.dtype.kind not in "biufO":
        raise ValueError(f"{name} has dtype {X.dtype}. Expected real numbers.")
    if not X.size or not (X.ndim in (2, 3) or holds_arrays(X)):
        raise ValueError(f"{name} has shape {X.shape}. Expected (n, t), (n, c, t).")
    columns, notes = {name: list(X)}, []
    for key, x in arrays.items():
        if np.squeeze(x).shape == X.shape[:1]:
            columns[key] = list(np.squeeze(x))
        elif key.lower() in ("y", "groups", "label", "labels", "target"):
            raise ValueError(
                f"{name} has shape {X.shape}, but {key} has shape {x.shape}. Expected "
                f"one value for each signal. If {key} marks classes by 0 and 1, save "
                f"{key}.argmax(axis=1). If it holds several targets, save one."
            )
        else:
            notes.append(f"{shorten(key, 20)} of shape {x.shape} left out")
    return pd.DataFrame(columns), notes


def holds_arrays(x):
    return x.ndim == 1 and x.dtype == object and len(x) > 0 and np.ndim(x[0]) > 0


READERS = {  # by suffix, and the package that may have to be installed
    ".parquet": (read_arrow, "pyarrow"),
    ".feather": (read_arrow, "pyarrow"),
    ".npz": (read_numpy, "numpy"),
    ".npy": (read_numpy, "numpy"),
    ".ts": (read_ts, "aeon"),
    ".arff": (read_arff, "scipy"),
    ".mat": (read_mat, "mat73"),
}
