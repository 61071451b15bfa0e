"""Functions of signals, applied a batch at a time, on the device in use."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from skvae.messages import warn_user
from skvae.threads import plain_torch, torch_threads

# Smaller batches use other matrix kernels, which differ in the last bit.
MIN_INFERENCE_BATCH = 16
MIN_BATCHES = 4  # of a thread, or it is not worth starting
# Time steps of a batch, which stays in the cache of a core or keeps a GPU busy.
INFERENCE_TIMEPOINTS = {"cpu": 2**18, "cuda": 2**23}


def resolve_device(device, *, training):
    """The torch device that `device` means on this machine.

    Without a GPU, a CUDA device raises in training. Afterwards it becomes the CPU, with
    a warning, so that a model fitted on a GPU works.
    """
    has_cuda = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_cuda else "cpu"
    try:
        is_cuda = torch.device(device).type == "cuda"
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a device of PyTorch. Expected 'auto', 'cpu', "
            "'cuda' or 'cuda:0', for example."
        ) from error
    if is_cuda and not has_cuda:
        message = f"device={device!r}, but PyTorch sees no GPU on this machine."
        if training:
            raise ValueError(f"{message} Use device='auto' or device='cpu'.")
        warn_user(f"{message} The CPU is used.")
        return "cpu"
    return device


@plain_torch()
def map_batches(function, read, n_samples, n_timepoints, device, prepare=None):
    """Apply a function of tensors to `n_samples` samples, a batch at a time.

    Each result depends on its own sample alone, to the last bit. On a CPU a batch takes
    one thread, and many batches take as many threads as PyTorch has.

    Parameters
    ----------
    function : callable
        Tensor (b, ...) on the device to a Tensor (b, ...), or to a tuple of Tensors.
    read : callable
        Slice to its samples (b, ...), ndarray or Tensor of float32.
    prepare : callable, optional
        Step before the function. It has the same bits in a batch of any size, so that
        its input is not filled up.

    Returns
    -------
    ndarray of shape (n_samples, ...), or tuple of ndarrays, as the function returns
    """
    device = torch.device(device)
    timepoints = INFERENCE_TIMEPOINTS.get(device.type, INFERENCE_TIMEPOINTS["cpu"])
    batch_size = max(MIN_INFERENCE_BATCH, timepoints // n_timepoints)

    @torch.inference_mode()
    def run(start):
        batch = torch.as_tensor(read(slice(start, start + batch_size)))
        return apply_filled(function, batch, device, prepare)

    def fill(start):
        for array, values in zip(arrays, run(start), strict=True):
            array[start : start + batch_size] = values

    starts = range(0, n_samples, batch_size)
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    n_threads = max(1, min(n_threads, len(starts) // MIN_BATCHES))
    limit = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with torch_threads(1), ThreadPoolExecutor(n_threads, **limit) as threads:
        first = run(0)
        arrays = tuple(np.empty((n_samples, *v.shape[1:]), v.dtype) for v in first)
        for array, values in zip(arrays, first, strict=True):
            array[: len(values)] = values
        in_turn = threads.map if n_threads > 1 else map
        deque(in_turn(fill, starts[1:]), maxlen=0)
    return arrays if isinstance(first, tuple) else arrays[0]


def apply_filled(function, batch, device, prepare=None):
    """Results of the function for a batch (b, ...): a tuple, or a list of one ndarray.

    A small batch is filled up. One that is too large for the memory of a GPU is halved.
    """
    n_read = len(batch)
    try:
        inputs = batch.to(device)
        if prepare is not None:
            inputs = prepare(inputs)
        if n_read < MIN_INFERENCE_BATCH:
            filled = inputs.new_zeros(MIN_INFERENCE_BATCH, *inputs.shape[1:])
            filled[:n_read] = inputs
            inputs = filled
        values = function(inputs)
        if isinstance(values, tuple):
            return tuple(each[:n_read].cpu().numpy() for each in values)
        return [values[:n_read].cpu().numpy()]
    except torch.cuda.OutOfMemoryError:
        if n_read <= MIN_INFERENCE_BATCH:
            raise
    halves = batch.split(-(-n_read // 2))
    parts = [apply_filled(function, half, device, prepare) for half in halves]
    return type(parts[0])(map(np.concatenate, zip(*parts, strict=True)))


def finite(values, scale=1.0):
    """values * scale; a ValueError if X led the network beyond float32."""
    with np.errstate(over="ignore"):
        result = values * scale
    if not np.isfinite(result).all():
        raise ValueError(
            "X is so far from the fitted signals that the network's output is not "
            "finite. Check that X is in the same units."
        )
    return result
