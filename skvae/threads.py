"""State of the process that a call borrows: threads, seeds, modes, interrupts."""

import contextlib
import os
import signal
import threading

import numpy as np
import torch
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_info, threadpool_limits

# Lock of torch's global generators. A fit that holds it may take it again.
RANDOM_STATE_LOCK = threading.RLock()
# PyTorch's number of threads before `torch_threads`, for each thread that is inside.
THREADS_OUTSIDE = {}
THREADS_LOCK = threading.Lock()


def renew_locks():
    """Release in a forked process the locks that other threads held."""
    global RANDOM_STATE_LOCK, THREADS_LOCK
    RANDOM_STATE_LOCK, THREADS_LOCK = threading.RLock(), threading.Lock()
    for thread in THREADS_OUTSIDE.keys() - {threading.get_ident()}:
        del THREADS_OUTSIDE[thread]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=renew_locks)


@contextlib.contextmanager
def plain_torch():
    """Undo the caller's modes: inference, no gradients, autocast, default device.

    They belong to the thread. The default dtype belongs to the process and stays, so
    code that makes tensors of floats names their dtype.
    """
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # each call under it takes longer
            stack.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def marked_interrupts():
    """Set `from_signal` on a KeyboardInterrupt that Ctrl-C raises.

    Callbacks of skorch raise one without it to stop training.
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
    """At most `n_threads` threads of PyTorch inside.

    More threads for small tasks wait for each other, and far longer on a busy CPU.
    PyTorch's number holds for the calling thread and for threads that start later. A
    thread that starts meanwhile gets the limit of another thread, and so restores the
    number that the first of them had.
    """
    thread = threading.get_ident()
    with THREADS_LOCK:
        before = torch.get_num_threads()
        torch.set_num_threads(min(n_threads, before))
        is_nested = thread in THREADS_OUTSIDE
        if not is_nested:
            THREADS_OUTSIDE[thread] = next(iter(THREADS_OUTSIDE.values()), before)
    try:
        yield
    finally:
        with THREADS_LOCK:
            outside = before if is_nested else THREADS_OUTSIDE.pop(thread)
            torch.set_num_threads(outside)


@contextlib.contextmanager
def all_threads(n_threads):
    """At most `n_threads` threads of PyTorch and of BLAS inside."""
    n_threads = min(n_threads, torch.get_num_threads())
    limits = {
        library["prefix"]: min(n_threads, library["num_threads"])
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    with torch_threads(n_threads), threadpool_limits(limits):
        yield


def draw_seed(random_state):
    """An integer seed; for None from the system, not from NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextlib.contextmanager
def forked_random_state(seed, device="cpu"):
    """Seed torch's generators inside, and restore them afterwards.

    They belong to the process, so fits in several threads wait for each other.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with RANDOM_STATE_LOCK, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
