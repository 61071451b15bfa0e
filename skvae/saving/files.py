"""Safetensors files of arrays and plain values, with a checksum and without code.

Arrays are the tensors of a file, and the other values JSON in its header.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import sys
from pathlib import Path

import numpy as np
import sklearn
import skorch
import torch

from skvae.messages import warn_user
from skvae.sklearn_private import parse_version

FORMAT = 2
NO_CHECKSUM = "0" * 64


def import_safetensors():
    """safetensors.numpy, or an ImportError that says what to install."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "save, load and checkpoint need safetensors: pip install safetensors"
        ) from error
    return safetensors.numpy


def write(path, kind, content):
    """Write a dict of types that `encode` knows, under the kind that `read` expects."""
    save = import_safetensors().save
    tensors = {}
    header = {
        "kind": kind,
        "format": FORMAT,
        "versions": versions(),
        "checksum": NO_CHECKSUM,
        "content": encode(content, tensors),
    }
    tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    data = save(tensors, metadata={"skvae": json.dumps(header)})
    checksum = checksum_of(data, NO_CHECKSUM)
    with replacing(path) as file:
        file.write(data.replace(NO_CHECKSUM.encode(), checksum.encode(), 1))


def read(path, kind):
    """Content of a file of this kind; a ValueError if any byte has changed."""
    load = import_safetensors().load
    data = Path(path).read_bytes()
    try:
        metadata = json.loads(data[8 : header_size(data)])["__metadata__"]
        header = json.loads(metadata["skvae"])
        held, writer = (header["kind"], header["format"]), header["versions"]["skvae"]
        is_whole = checksum_of(data, header["checksum"]) == header["checksum"]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a file written by skvae, or it is truncated or damaged. "
            "Write it again. If it is a pickle, use pickle.load or joblib.load, but "
            "only if you trust the file: a pickle can run any code."
        ) from error
    reader = versions()["skvae"]
    if held != (kind, FORMAT):
        raise ValueError(
            f"{path} has kind {held[0]!r} and format {held[1]}, written by skvae "
            f"{writer}. Expected kind {kind!r} and format {FORMAT} of skvae {reader}, "
            "installed here. Start the fit of a checkpoint again, then save the "
            "estimator. For another format, install the version that wrote it."
        )
    if not is_whole:
        raise ValueError(f"{path} is damaged. Write it again, or restore a copy.")
    if parse_version(writer) > parse_version(reader):
        raise ValueError(
            f"{path} was written by skvae {writer}, newer than skvae {reader}, which "
            "is installed here. Install that version, or write the file with this one."
        )
    warn_if_versions_differ(path, header["versions"])
    return decode(header["content"], load(data))


def header_size(data):
    """Number of bytes before the tensors: eight for the length, then the header."""
    return 8 + int.from_bytes(data[:8], "little")


def checksum_of(data, written):
    """SHA-256 of a file's bytes, with zeros in place of the written checksum."""
    data = data.replace(written.encode(), NO_CHECKSUM.encode(), 1)
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def replacing(path):
    """A file to write to, which replaces `path` in one step unless the block raises."""
    folder = Path(path).parent
    if not folder.is_dir():
        message = f"The folder {str(folder)!r} does not exist, create it"
        raise FileNotFoundError(errno.ENOENT, message, os.fspath(path))
    # A name that no other thread or process takes.
    temporary = Path(f"{os.fspath(path)}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary_files(path):
    """Remove the files that processes killed in `replacing` left beside `path`."""
    for other in path.parent.iterdir():
        if re.fullmatch(re.escape(path.name) + r"\.[0-9a-f]{8}\.tmp", other.name):
            other.unlink(missing_ok=True)


def versions():
    return {
        "skvae": sys.modules["skvae"].__version__,  # an import here would point up
        "torch": str(torch.__version__),
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
    }


def warn_if_versions_differ(what, written):
    differences = [
        f"{name} {written.get(name, 'of an older version')} (here {here})"
        for name, here in versions().items()
        # 2.8.0+cpu and 2.8.0+cu128 are builds of one version.
        if str(written.get(name)).split("+")[0] != here.split("+")[0]
    ]
    if differences:
        warn_user(
            f"{what} was written with {', '.join(differences)}. Results may differ. "
            "Use the same versions, or refit."
        )


def random_state_of(state):
    random_state = np.random.RandomState()
    random_state.set_state(state)
    return random_state


OPTIMIZERS = {
    name: value
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
}
# Types that JSON lacks, and functions to types that `encode` knows, by kind.
WRITTEN = {
    "tuple": (tuple, list),
    "tensor": (torch.Tensor, lambda tensor: tensor.detach().cpu().numpy()),
    "device": (torch.device, str),
    "RandomState": (np.random.RandomState, lambda state: state.get_state(legacy=False)),
}
READ = {
    "tuple": tuple,
    "tensor": torch.from_numpy,
    "device": torch.device,
    "RandomState": random_state_of,
    "dict": dict,
    "objects": lambda pair: np.array(pair[1], dtype=pair[0]),
    "optimizer": OPTIMIZERS.__getitem__,
}


def encode(value, tensors, name=""):
    """The value in JSON's types, with its arrays put into the dict `tensors`.

    A type that JSON lacks becomes a dict of one key, its kind. `name` says in a
    TypeError where the value is.
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return [encode(v, tensors, f"{name}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, dict):
        items = [
            [encode(k, tensors, name), encode(v, tensors, f"{name}.{k}".lstrip("."))]
            for k, v in value.items()
        ]
        return {"dict": items}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if name in tensors:
            name = f"{name}#{len(tensors)}"
        tensors[name] = value
        return {"array": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        strings = encode(value.tolist(), tensors, name)
        return {"objects": [value.dtype.str.lstrip("|<>"), strings]}
    if isinstance(value, type) and value in OPTIMIZERS.values():
        return {"optimizer": value.__name__}
    for kind, (known, written_as) in WRITTEN.items():
        if isinstance(value, known):
            return {kind: encode(written_as(value), tensors, name)}
    raise TypeError(
        f"{name} is {value!r}, of type {type(value).__name__}, which cannot be written "
        "without pickle. Expected numbers, strings, arrays, and lists, tuples and "
        "dicts of them. Set it to its default, or dump the estimator with joblib."
    )


def decode(value, tensors):
    """The value that `encode` turned into JSON and tensors."""
    if isinstance(value, list):
        return [decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    [(kind, value)] = value.items()
    value = decode(value, tensors)
    if kind == "array":
        return tensors[value].copy()
    try:
        return READ[kind](value)
    except KeyError as error:
        message = f"The file has a value of kind {kind!r}, {value!r}, unknown to skvae."
        raise ValueError(message) from error
