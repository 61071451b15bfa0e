"""Apply a fitted model to many signals, a block at a time.

`python -m skvae transform` reads and writes files. On a cluster the model is a
function of one block; the latents of a Dask array are those of NumPy, to the bit, and
their shape is known before they are::

    import dask
    import dask.array as da

    vae.save("vae.safetensors")  # where all workers see it
    model = dask.delayed(ConvVAETransformer.load)("vae.safetensors")  # once
    signals = da.from_array(X, chunks=(10_000, -1))
    Z = signals.map_blocks(
        lambda x, model: model.transform(x),
        model=model,
        chunks=(signals.chunks[0], (vae.latent_dim,)),
        drop_axis=[],  # [2] where signals have channels, (n, c, t)
        meta=np.empty((0, 0), np.float32),
    )

`from_array` sends X itself; signals that are not in memory come from `da.from_zarr` or
`da.from_npy_stack`, which the workers read. `model.inverse_transform` goes the same
way, with the number of points in place of `latent_dim`.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm  # skorch needs it too

from skvae.saving.files import header_size, remove_temporary_files, replacing
from skvae.transformer import ConvVAETransformer

BLOCK_BYTES = 2**26  # of signals that are transformed at a time


def main(arguments=None):
    """Run the command: Z is written whole and moved into place, or not at all."""
    options = parse(arguments)
    try:
        transform_file(read_model(options.model), options.x, options.z)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        raise SystemExit(f"{where}{error.strerror or error}.") from error
    except (TypeError, ValueError) as error:
        raise SystemExit(str(error)) from error


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m skvae transform",
        description="Write the latents of the signals in X to Z. X is read block by "
        "block, so it may be larger than memory.",
    )
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="an estimator written by `save`, or one, or a pipeline, dumped by joblib; "
        "a file of joblib can run any code when it is opened: only your own",
    )
    parser.add_argument(
        "x",
        type=Path,
        metavar="X.npy",
        help="signals, (n, t) or (n, c, t), as numpy.save writes them",
    )
    parser.add_argument(
        "z",
        type=Path,
        metavar="Z.npy",
        help="where their latents go; it is replaced when all are there",
    )
    return parser.parse_args(arguments)


def read_model(path):
    """The estimator in a file of `save` or joblib; a ValueError if it is no use."""
    if is_saved(path):
        return ConvVAETransformer.load(path)
    try:
        model = joblib.load(path)
    except OSError:
        raise
    except Exception as error:  # a file that is no pickle raises anything
        raise ValueError(
            f"{path} was not written by `save` or joblib.dump, or is damaged "
            f"({type(error).__name__}: {error}). Write it again."
        ) from error
    if not hasattr(model, "transform"):
        remedy = "Expected a fitted transformer, or a pipeline that ends with one."
        if hasattr(model, "steps"):
            remedy = "Dump what comes before: joblib.dump(pipeline[:-1], file)."
            model = model.steps[-1][1]
        raise ValueError(
            f"{path} ends with a {type(model).__name__}, which has no transform. "
            f"{remedy}"
        )
    return model


def is_saved(path):
    """Whether a file begins as those of safetensors do: a length, and JSON."""
    with open(path, "rb") as file:
        start = file.read(10)
    return start[8:] == b'{"' and header_size(start) <= path.stat().st_size


def transform_file(model, x_path, z_path):
    """Write `model.transform` of the signals in one .npy file to another."""
    X = read_signals(x_path)
    if z_path.is_dir() or not z_path.parent.is_dir():
        raise ValueError(f"{z_path} is no file in a folder that exists. Name another.")
    if z_path.suffix != ".npy":
        raise ValueError(f"{z_path}: latents are written as .npy. Name such a file.")
    if z_path.exists() and z_path.samefile(x_path):
        raise ValueError(f"{z_path} holds the signals. Name another file for latents.")
    remove_temporary_files(z_path)
    n_rows = max(1, BLOCK_BYTES // max(1, X[:1].nbytes))
    start = time.perf_counter()
    first = transform_rows(model, X, slice(0, n_rows), x_path)
    header = np.lib.format.header_data_from_array_1_0(first)
    header |= {"shape": (len(X), *first.shape[1:]), "fortran_order": False}
    with replacing(z_path) as file, progress_bar(len(X)) as bar:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(first.tobytes())
        bar.update(len(first))
        for i in range(n_rows, len(X), n_rows):
            rows = slice(i, min(i + n_rows, len(X)))
            file.write(transform_rows(model, X, rows, x_path).tobytes())
            bar.update(rows.stop - rows.start)
    print(f"{z_path}: {header['shape']} in {time.perf_counter() - start:.1f} s")


def read_signals(path):
    """A memory map of a .npy file."""
    try:
        X = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(
            f"{path} is no array of numbers that numpy.save wrote ({error}). Write it "
            "with numpy.save(file, X)."
        ) from error
    if X.ndim not in (2, 3):
        raise ValueError(
            f"{path} has shape {X.shape}. Expected (n, t) or (n, c, t). Reshape it."
        )
    return X


def transform_rows(model, X, rows, path):
    """Latents of some rows, an ndarray; an error says of which file it is."""
    try:
        with warnings.catch_warnings():  # columns of a file of NumPy have no names
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            Z = np.asarray(model.transform(X[rows]))
    except (TypeError, ValueError) as error:
        where = f"{path}, samples counted from {rows.start}" if rows.start else path
        raise ValueError(f"{where}: {error}") from error
    if Z.dtype.hasobject:
        raise ValueError("transform of this model gives no array of numbers.")
    return Z


def progress_bar(n_rows):
    """A line that updates, in a terminal; nothing in a pipe or a file."""
    return tqdm(
        total=n_rows,
        file=sys.stdout,
        disable=None,  # where it is no terminal
        mininterval=0,  # blocks are slow
        delay=1e-9,  # no line before the first of them
        dynamic_ncols=True,
        bar_format="{n:,} of {total:,} rows, {rate_fmt}, {remaining} left",
    )
