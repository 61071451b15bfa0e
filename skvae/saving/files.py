"""Files of arrays and plain values: safetensors, checked, written atomically, no code.

The values are JSON in the header of a safetensors file, the arrays its tensors. Reading
builds data only: a type that is not in the tables of `encode` and `decode` is refused.
"""

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

from skvae.runtime import warn_user

FORMAT = 1
NO_CHECKSUM = "0" * 64
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def import_safetensors():
    """safetensors.numpy, or an ImportError that says how to get it."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "save, load and checkpoint need safetensors: pip install safetensors"
        ) from error
    return safetensors.numpy


def write(path, kind, content):
    """Write content, of the types that `encode` knows, replacing the file at path.

    A reader, or the next run after a crash, finds the old file or the new one.

    Parameters
    ----------
    path : str or os.PathLike
    kind : str
        What the file holds; `read` asks for it.
    content : dict
    """
    save = import_safetensors().save

    tensors = {}
    header = {
        "kind": kind,
        "format": FORMAT,
        "versions": versions(),
        "checksum": NO_CHECKSUM,
        "content": encode(content, tensors),
    }
    data = save(tensors, metadata={"skvae": json.dumps(header)})
    checksum = checksum_of(data, header_size(data), NO_CHECKSUM)
    replace_file(path, data.replace(NO_CHECKSUM.encode(), checksum.encode(), 1))


def read(path, kind):
    """The content that `write` was given.

    Raises
    ------
    FileNotFoundError
    ValueError
        If the file is not one of that kind and format, or any byte of it changed.
    """
    load = import_safetensors().load

    path = Path(path)
    data = path.read_bytes()
    try:
        size = header_size(data)
        header = json.loads(json.loads(data[8:size])["__metadata__"]["skvae"])
        found = header["kind"], header["format"]
        is_whole = checksum_of(data, size, header["checksum"]) == header["checksum"]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        # Not the length of a truncated header, whose last bytes are zero.
        if data[:2] in PICKLE_STARTS and data[5:8] != bytes(3):
            raise ValueError(
                f"{path} is a pickle, not a file written by skvae. Opening a pickle "
                "can run any code: if you trust it, use pickle.load or joblib.load."
            ) from error
        raise ValueError(
            f"{path} is not a file written by skvae, or it is truncated or damaged. "
            "Write it again."
        ) from error
    if found != (kind, FORMAT):
        raise ValueError(
            f"{path} holds a {found[0]} in format {found[1]}; this version of skvae "
            f"expected a {kind} in format {FORMAT}. A newer skvae may read it."
        )
    if not is_whole:
        raise ValueError(
            f"{path} is damaged: its content does not match its checksum. Write it "
            "again, or restore a copy."
        )
    warn_if_versions_differ(path, header["versions"])
    return decode(header["content"], load(data))


def header_size(data):
    """Bytes before the tensors: the header and its length, eight bytes."""
    return 8 + int.from_bytes(data[:8], "little")


def checksum_of(data, header_size, checksum):
    """SHA-256 of all bytes, those of the checksum in the header counted as zeros."""
    header = data[:header_size].replace(checksum.encode(), NO_CHECKSUM.encode(), 1)
    digest = hashlib.sha256(header)
    digest.update(memoryview(data)[header_size:])
    return digest.hexdigest()


def replace_file(path, data):
    """Write data to a temporary file beside path, then move it there."""
    path = Path(path)
    # Of a name that no other thread or process has, and that says whose it was.
    owner = f"{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f"{path.name}.{owner}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_temporary_files(path):
    """Remove what a process that was killed in `replace_file` left beside path."""
    path = Path(path)
    of_path = re.compile(re.escape(path.name) + r"\.(\d+)\.\w{8}\.tmp")
    for leftover in path.parent.iterdir():
        name = of_path.fullmatch(leftover.name)
        if name and not is_running(int(name[1])):
            leftover.unlink(missing_ok=True)


def is_running(process):
    if os.name != "posix":  # elsewhere signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def versions():
    return {
        # Loaded, since this is a part of it; to import it here would point up.
        "skvae": sys.modules["skvae"].__version__,
        "torch": str(torch.__version__),
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
    }


def warn_if_versions_differ(path, written):
    differences = [
        f"{name} {written.get(name)} (here {here})"
        for name, here in versions().items()
        # A build for another device, 2.8.0+cpu, is the same version.
        if str(written.get(name)).split("+")[0] != here.split("+")[0]
    ]
    if differences:
        warn_user(
            f"{path} was written with {', '.join(differences)}. Results may differ; "
            "to be sure, use the same versions, or refit."
        )


def encode(value, tensors, name=""):
    """Value as JSON's types; its arrays and tensors go to the dict `tensors`.

    Everything that JSON has no type for becomes a dict of one key, the type, whose
    value `decode` reads.

    Raises
    ------
    TypeError
        If value is of another type than these; `name` says where it is.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        return value.item()
    if isinstance(value, list):
        return [encode(v, tensors, f"{name}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": encode(list(value), tensors, name)}
    if isinstance(value, dict):
        items = [
            [encode(k, tensors, name), encode(v, tensors, f"{name}.{k}".lstrip("."))]
            for k, v in value.items()
        ]
        return {"dict": items}
    if isinstance(value, torch.Tensor):
        return {"tensor": put(value.detach().cpu().numpy(), tensors, name)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": put(value, tensors, name)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        strings = encode(value.tolist(), tensors, name)
        return {"objects": [value.dtype.str.lstrip("|<>"), strings]}
    if isinstance(value, np.random.RandomState):
        return {"RandomState": encode(value.get_state(legacy=False), tensors, name)}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if is_optimizer(value) and getattr(torch.optim, value.__name__, None) is value:
        return {"optimizer": value.__name__}
    raise TypeError(
        f"{name} is {value!r}, of type {type(value).__name__}, which cannot be written "
        "without pickle. Expected numbers, strings, arrays, and lists, tuples and "
        "dicts of them. Set it to its default, or dump the estimator with joblib."
    )


def decode(value, tensors):
    """The value that `encode` turned into `value` and `tensors`."""
    if isinstance(value, list):
        return [decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    [(kind, value)] = value.items()
    if kind == "tuple":
        return tuple(decode(value, tensors))
    if kind == "dict":
        return {decode(k, tensors): decode(v, tensors) for k, v in value}
    if kind == "tensor":
        return torch.from_numpy(tensors[value].copy())
    if kind == "array":
        return tensors[value].copy()
    if kind == "objects":
        return np.array(decode(value[1], tensors), dtype=value[0])
    if kind == "RandomState":
        random_state = np.random.RandomState()
        random_state.set_state(decode(value, tensors))
        return random_state
    if kind == "device":
        return torch.device(value)
    if kind == "optimizer" and is_optimizer(getattr(torch.optim, value, None)):
        return getattr(torch.optim, value)
    raise ValueError(f"The file holds a {kind}: {value!r}, which skvae does not read.")


def put(array, tensors, name):
    """Add a copy of an array to the tensors; the name that it has there."""
    if name in tensors:
        name = f"{name}#{len(tensors)}"
    tensors[name] = np.array(array, order="C")
    return name


def is_optimizer(value):
    return isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
