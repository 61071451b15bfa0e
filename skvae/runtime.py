"""Where and how code runs: device, threads, seeds, a batch at a time, warnings."""

import contextlib
import inspect
import os
import signal
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_info, threadpool_limits

# What may stand between the user's code and a warning: skvae, and what calls it.
BETWEEN = (
    str(Path(__file__).parent) + os.sep,
    str(Path(sklearn.__file__).parent) + os.sep,
    str(Path(np.__file__).parent) + os.sep,
    contextlib.__file__,
)
# Of torch's global generators; reentrant, since a fit evaluates with draws of its own.
RANDOM_STATE_LOCK = threading.RLock()
# PyTorch's number of threads outside `torch_threads`, of each thread that is inside.
THREADS_OUTSIDE = {}
THREADS_LOCK = threading.Lock()


def renew_locks():
    """Let go of what threads held that a fork has left behind, in its child process."""
    global RANDOM_STATE_LOCK, THREADS_LOCK
    RANDOM_STATE_LOCK, THREADS_LOCK = threading.RLock(), threading.Lock()
    for thread in THREADS_OUTSIDE.keys() - {threading.get_ident()}:
        del THREADS_OUTSIDE[thread]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=renew_locks)

# Smaller batches take other matrix kernels, whose last bit differs.
MIN_INFERENCE_BATCH = 16
# Batches for each thread that are worth starting it.
MIN_BATCHES = 4
# Time steps per inference batch: what stays in the cache of a core, or keeps a GPU
# busy.
INFERENCE_TIMEPOINTS = {"cpu": 2**18, "cuda": 2**23}


def resolve_device(device, *, training):
    """The torch device that `device` means now, on this machine.

    "auto" is CUDA where there is a GPU. Where there is none, a CUDA device raises in
    training; afterwards it gives the CPU, with a warning, so that what was fitted on
    a GPU works without one.
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


def documentation_url():
    """Of `project_urls` in setup.cfg; "" where there is none."""
    with contextlib.suppress(PackageNotFoundError):
        for entry in metadata("skvae").get_all("Project-URL", ()):
            label, _, url = entry.partition(", ")
            if label == "Documentation":
                return url
    return ""


def warn_user(message, category=UserWarning):
    """Warn at the line of the user's code from which skvae was called."""
    frame, level = inspect.currentframe().f_back, 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(BETWEEN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextlib.contextmanager
def plain_torch():
    """PyTorch as it comes inside, whatever modes the calling thread is in.

    Gradients are recorded, tensors are none of inference mode, which could not be
    trained later, autocast is off and the default device is the CPU. All of these are
    the thread's own. The default dtype is the process's, which other threads count on:
    it stays, and what makes tensors of floats names their dtype.
    """
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # or each call would take longer
            stack.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def marked_interrupts():
    """Inside, a KeyboardInterrupt of a signal, as of Ctrl-C, has `from_signal`.

    One that is raised in code, as a callback of skorch stops training, has not.
    """
    handler = signal.getsignal(signal.SIGINT)

    def marked(*args):
        try:
            handler(*args)
        except KeyboardInterrupt as error:
            error.from_signal = True
            raise

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(handler):
        yield
        return
    try:
        signal.signal(signal.SIGINT, marked)
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is marked:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def torch_threads(n_threads):
    """At most so many threads of PyTorch inside, as before outside.

    Threads that wait for each other's small pieces of work keep all cores busy, and any
    other process slows them down many times. PyTorch's number is that of the calling
    thread and of those that start, so one that starts meanwhile finds the limit of
    another: what it has to bring back is what the first of them found.
    """
    thread = threading.get_ident()
    with THREADS_LOCK:
        found = torch.get_num_threads()
        torch.set_num_threads(min(n_threads, found))
        is_nested = thread in THREADS_OUTSIDE
        if not is_nested:
            THREADS_OUTSIDE[thread] = next(iter(THREADS_OUTSIDE.values()), found)
    try:
        yield
    finally:
        with THREADS_LOCK:
            outside = found if is_nested else THREADS_OUTSIDE.pop(thread)
            torch.set_num_threads(outside)


@contextlib.contextmanager
def all_threads(n_threads):
    """At most so many threads of PyTorch, and of BLAS, inside."""
    n_threads = min(n_threads, torch.get_num_threads())
    limits = {
        library["prefix"]: min(n_threads, library["num_threads"])
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    with torch_threads(n_threads), threadpool_limits(limits):
        yield


def draw_seed(random_state):
    """An integer seed; None takes it from the system, not from NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextlib.contextmanager
def forked_random_state(seed, device="cpu"):
    """Seed torch's generators inside, and leave them outside as they were.

    They are the process's: fits in several threads wait for each other.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with RANDOM_STATE_LOCK, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@plain_torch()
def map_batches(function, read, n_samples, n_timepoints, device, prepare=None):
    """Apply a function of tensors to samples 0 to `n_samples`, a batch at a time.

    Each result depends on its own sample alone, to the last bit: a batch of fewer
    than `MIN_INFERENCE_BATCH` samples is filled up. On a CPU each batch takes one
    thread, and many batches as many threads as PyTorch has. Where a GPU runs out of
    memory, the batches are halved.

    Parameters
    ----------
    function : callable
        Tensor of shape (b, ...) on the device to Tensor of shape (b, ...).
    read : callable
        A slice to the samples there, ndarray or Tensor of float32, shape (b, ...).
    n_samples, n_timepoints : int
        Number of samples, and their length.
    device : str
    prepare : callable, optional
        What comes before the function, and gives the same bits in a batch of any size:
        it is not filled up.

    Returns
    -------
    ndarray of shape (n_samples, ...), of the dtype that the function returns
    """
    device = torch.device(device)
    timepoints = INFERENCE_TIMEPOINTS.get(device.type, INFERENCE_TIMEPOINTS["cpu"])
    batch_size = max(MIN_INFERENCE_BATCH, timepoints // n_timepoints)

    @torch.inference_mode()
    def run(start):
        batch = torch.as_tensor(read(slice(start, start + batch_size)))
        return apply_filled(function, batch, device, prepare)

    def fill(start):
        result[start : start + batch_size] = run(start)

    starts = range(0, n_samples, batch_size)
    n_threads = torch.get_num_threads() if device.type == "cpu" else 1
    n_threads = max(1, min(n_threads, len(starts) // MIN_BATCHES))
    limit = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with torch_threads(1), ThreadPoolExecutor(n_threads, **limit) as threads:
        first = run(0)
        result = np.empty((n_samples, *first.shape[1:]), first.dtype)
        result[: len(first)] = first
        in_turn = threads.map if n_threads > 1 else map
        deque(in_turn(fill, starts[1:]), maxlen=0)
    return result


def apply_filled(function, batch, device, prepare=None):
    """The function's result for a batch (b, ...), an ndarray; small ones are filled up.

    On a GPU without memory for it, that of its halves.
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
        return function(inputs)[:n_read].cpu().numpy()
    except torch.cuda.OutOfMemoryError:
        if n_read <= MIN_INFERENCE_BATCH:
            raise
    halves = batch.split(-(-n_read // 2))
    return np.concatenate(
        [apply_filled(function, half, device, prepare) for half in halves]
    )
