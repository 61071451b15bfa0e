"""Files of signals as DataFrames: a column for each time step, or signals in cells."""

import numpy as np
import pandas as pd

from skvae.command.text import read_text

EXPECTED = (
    "Expected a text (.csv, .tsv, .txt), .parquet, .feather, .npz, .npy, .ts, .arff or "
    ".mat. Save the signals as one of these."
)
REMEDY = (
    "Expected, of NumPy, arrays without objects: numpy.savez(file, X=X, "
    "y=y.astype(str))."
)


def read_frame(path, **of_text):
    """Frame, names of its columns or None, notes, and `where` a row was.

    **of_text : as for `read_text`, which reads files of unknown kinds too.
    """
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xls", ".h5", ".hdf5", ".pkl", ".joblib", ".edf"):
        raise ValueError(f"{suffix} is not read. {EXPECTED}")
    if suffix not in READERS:
        return read_text(path, **of_text)
    reader, needed = READERS[suffix]
    try:
        frame = reader(path)
        if isinstance(frame, dict):
            frame = from_arrays(frame)
    except ImportError as error:
        raise ImportError(f"{suffix} needs {needed}: pip install {needed}") from error
    except OSError:
        raise
    except Exception as error:  # readers of a damaged file raise anything
        remedy = f" {REMEDY}" if suffix in (".npz", ".npy") else ""
        raise ValueError(f"{type(error).__name__}: {error}.{remedy}") from error
    names = [str(name) for name in frame.columns]
    return frame.set_axis(range(len(names)), axis=1), names, [], lambda i: f"row {i}"


def read_npz(path):
    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):  # .npy
        return {"X": file}
    with file:
        return {name: file[name] for name in file}


def read_ts(path):
    from aeon.datasets import load_from_ts_file

    X, y = load_from_ts_file(str(path))
    return {"X": X, "y": y}


def read_arff(path):
    """Attributes; of a relation, cells of (n_channels, t)."""
    from scipy.io.arff import loadarff

    records, _ = loadarff(path)
    columns = {name: records[name] for name in records.dtype.names}
    for name, values in columns.items():
        if values.dtype == object:
            columns[name] = [np.array(cell.tolist()) for cell in values]
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def read_mat(path):
    from scipy.io import loadmat

    try:
        arrays = loadmat(path, squeeze_me=True)
    except NotImplementedError:  # of Matlab 7.3
        from mat73 import loadmat

        arrays = loadmat(str(path))
    return {name: x for name, x in arrays.items() if not name.startswith("__")}


def from_arrays(arrays):
    """Frame of X, a signal in each cell, and of the other arrays, which are as long."""
    arrays = {name: one_array(x) for name, x in arrays.items()}
    likely = [name for name, x in arrays.items() if x.ndim > 1 or is_of_arrays(x)]
    named = [name for name in arrays if name.lower() == "x"]
    if not named and len(likely) != 1:
        raise ValueError(f"no array X, only {list(arrays)}. Expected X and y.")
    name = (named or likely)[0]
    X = arrays[name]
    if X.dtype.kind not in "biufO":
        raise ValueError(f"{name} has dtype {X.dtype}. Expected real numbers.")
    if not X.size or not (X.ndim in (2, 3) or is_of_arrays(X)):
        raise ValueError(f"{name} has shape {X.shape}. Expected (n, t), (n, c, t).")
    others = {k: np.squeeze(x) for k, x in arrays.items() if k != name}
    for k in ("y", "groups"):
        if k in others and others[k].shape != X.shape[:1]:
            raise ValueError(
                f"{name} has shape {X.shape} beside {k} {others[k].shape}. Expected as "
                f"many, {X.shape[:1]}."
            )
    others = {k: list(x) for k, x in others.items() if x.shape == X.shape[:1]}
    return pd.DataFrame({name: list(X), **others})


def one_array(x):
    """An array; of a list, of objects, which may have unequal lengths."""
    if not isinstance(x, list):
        return np.asarray(x)
    array = np.empty(len(x), object)
    for i, value in enumerate(x):
        array[i] = value
    return array


def is_of_arrays(x):
    return x.ndim == 1 and x.dtype == object and len(x) > 0 and np.ndim(x[0]) > 0


READERS = {  # and what has to be installed, if it may be missing
    ".parquet": (pd.read_parquet, "pyarrow"),
    ".feather": (pd.read_feather, "pyarrow"),
    ".npz": (read_npz, "numpy"),
    ".npy": (read_npz, "numpy"),
    ".ts": (read_ts, "aeon"),
    ".arff": (read_arff, "scipy"),
    ".mat": (read_mat, "mat73"),
}
