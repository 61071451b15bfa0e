"""State of the process that a call borrows: threads, seeds, modes, interrupts."""

import contextlib
import os
import signal
import threading

import numpy as np
import torch
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_info, threadpool_limits

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
