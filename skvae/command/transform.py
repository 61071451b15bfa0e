"""Apply a fitted model to signals in a file: `python -m skvae transform`.

On a cluster, Dask applies the model to each block of X. The latents are equal to those
of a NumPy array, and their shape is known before they are computed::

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

`from_array` sends X itself; with `da.from_zarr` or `da.from_npy_stack` workers read X,
which may be larger than memory.
"""

import argparse
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
from sklearn.utils import gen_batches

from skvae.saving.files import header_size, remove_temporary_files, replacing
from skvae.transformer import ConvVAETransformer

MODEL = """an estimator written by `save`, or an estimator or a pipeline dumped by
joblib; a file of joblib can run any code when it is opened: open only your own"""
X = "signals, (n, t) or (n, c, t), as numpy.save writes them"
BLOCK_BYTES = 2**26  # of signals that are transformed at a time
Z = "file of their latents; it is replaced when all are computed"


def main(arguments):
    """Run the command; Z is written whole and moved into place, or not at all."""
    parser = argparse.ArgumentParser(
        prog="python -m skvae transform",
        description="Write the latents of the signals in X to Z. An estimator reads X "
        "batch by batch, so X may be larger than memory.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=MODEL)
    parser.add_argument("x", type=Path, metavar="X.npy", help=X)
    parser.add_argument("z", type=Path, metavar="Z.npy", help=Z)
    options = parser.parse_args(arguments)
    try:
        transform_file(read_model(options.model), options.x, options.z)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        raise SystemExit(f"{where}{error.strerror or error}.") from error
    except (TypeError, ValueError) as error:
        raise SystemExit(str(error)) from error


def read_model(path):
    """The transformer in a file of `save` or joblib."""
    with open(path, "rb") as file:
        start = file.read(10)
    # A file of safetensors begins with the length of its header, which is JSON.
    if start[8:] == b'{"' and header_size(start) <= path.stat().st_size:
        return ConvVAETransformer.load(path)
    try:
        model = joblib.load(path)
    except OSError:
        raise
    except Exception as error:  # joblib raises anything on a file that is no pickle
        raise ValueError(
            f"{path} was not written by `save` or joblib.dump, or is damaged "
            f"({type(error).__name__}: {error}). Write it again."
        ) from error
    if not hasattr(model, "transform"):
        last = model.steps[-1][1] if hasattr(model, "steps") else model
        raise ValueError(
            f"{path} ends with a {type(last).__name__}, which has no transform. "
            "Expected a fitted transformer. For a pipeline, dump pipeline[:-1]."
        )
    return model


def transform_file(model, x_path, z_path):
    """Write `model.transform` of the signals in one .npy file to another."""
    try:
        X = np.lib.format.open_memmap(x_path, mode="r")
    except ValueError as error:
        raise ValueError(
            f"{x_path} is not an array of numbers from numpy.save ({error})."
        ) from error
    if X.ndim not in (2, 3):
        raise ValueError(
            f"{x_path} has shape {X.shape}. Expected (n, t) or (n, c, t). Reshape it."
        )
    is_signals = z_path.exists() and z_path.samefile(x_path)
    is_file = z_path.suffix == ".npy" and z_path.parent.is_dir()
    if is_signals or not is_file or z_path.is_dir():
        raise ValueError(
            f"{z_path} cannot hold the latents. Name a .npy file in a folder that "
            f"exists, other than {x_path}."
        )
    remove_temporary_files(z_path)
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():  # columns of a .npy file have no names
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            n_rows = max(1, BLOCK_BYTES // max(1, X[:1].nbytes))
            # The first steps of a pipeline copy X.
            blocks = gen_batches(len(X), n_rows) if len(X) else [slice(None)]
            Z = np.concatenate(
                [np.asarray(model.transform(X[rows])) for rows in blocks]
            )
        if Z.dtype.hasobject:
            raise ValueError("transform of this model gives no array of numbers.")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{x_path}: {error}") from error
    with replacing(z_path) as file:
        np.save(file, Z, allow_pickle=False)
    print(f"{z_path}: {Z.shape} in {time.perf_counter() - start:.1f} s")
