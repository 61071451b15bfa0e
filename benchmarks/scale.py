"""A fit of 10^4 to 10^6 signals by one process and by two."""

import os
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
import torch
import torch.distributed as dist
from harness import median, watched_memory
from skorch.callbacks import Callback

from skvae import ConvVAETransformer

N_TIMEPOINTS = 96
BATCH_SIZE = 256


class Size(NamedTuple):
    n_signals: tuple = (10_000, 100_000, 1_000_000)
    rounds: int = 3


QUICK = Size((2000,), 1)


def write_signals(path, n_signals, n_timepoints=N_TIMEPOINTS):
    """Sines of random frequency and phase with noise, written block by block."""
    shape = (n_signals, n_timepoints)
    X = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    rng = np.random.default_rng(0)
    time_steps = np.linspace(0, 1, n_timepoints)
    for block in np.array_split(X, max(1, n_signals // 10_000)):
        frequency, phase = rng.uniform(1, 5, (2, len(block), 1))
        block[:] = np.sin(2 * np.pi * (frequency * time_steps + phase))
        block += 0.3 * rng.standard_normal(block.shape)
    X.flush()


class Stopwatch(Callback):
    """The times at which training begins and ends."""

    def on_train_begin(self, net, **kwargs):
        self.begin_ = time.perf_counter()

    def on_train_end(self, net, **kwargs):
        self.end_ = time.perf_counter()


def fit_share(rank, n_processes, path, address, answers):
    """Fit this process's share of the signals for one epoch; put its figures."""
    torch.set_num_threads(1)
    if n_processes > 1:
        dist.init_process_group(
            "gloo", init_method=address, rank=rank, world_size=n_processes
        )
    X = np.load(path, mmap_mode="r")
    X = X[slice(*(len(X) * i // n_processes for i in (rank, rank + 1)))]
    vae = ConvVAETransformer(
        max_epochs=1,
        batch_size=BATCH_SIZE,
        callbacks=[("watch", Stopwatch())],
        random_state=0,
        device="cpu",
    )
    vae.fit(X[:100])  # the first use imports modules, which takes seconds
    with watched_memory() as memory:
        start = time.perf_counter()
        vae.fit(X)
    watch = dict(vae.net_.callbacks_)["watch"]
    figures = {
        "closed form": watch.begin_ - start,
        "epoch": watch.end_ - watch.begin_,
        "added_bytes": max(memory) - memory[0],
    }
    answers.put(figures)


def fit_by(n_processes, path):
    """The figures of the slowest process, in seconds and bytes."""
    context = get_context("spawn")
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(
                target=fit_share,
                args=(rank, n_processes, path, f"file://{folder}/group", answers),
            )
            for rank in range(n_processes)
        ]
        for process in processes:
            process.start()
        figures = [answers.get() for _ in processes]
        for process in processes:
            process.join()
    return {key: max(own[key] for own in figures) for key in figures[0]}


def measure_fit(size, n_signals):
    """The figures of one process and of two, by round."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        write_signals(path, n_signals)
        rounds = size.rounds if n_signals < 10**6 else 1
        result = harness.interleave(
            {n: partial(fit_by, n, path) for n in (1, 2)}, rounds
        )
    return {"fits": result["seconds"], "errors": result["errors"]}


@harness.tabulated(
    "A fit by one process and by two",
    "signals:, | closed form, s, one:.1f | two:.1f | efficiency:.2f | epoch, s, "
    "one:.1f | two:.1f | efficiency:.2f | MB added, one:.0f | each of two:.0f",
    f"Signals of {N_TIMEPOINTS} points in a memory map, one thread and batches of "
    f"{BATCH_SIZE} in each process; medians of interleaved rounds, of the slower "
    "process. Efficiency is the time of one process over twice the time of two.",
)
def fit_section(results):
    for result in results:
        one, two = (
            {key: median([fit[key] for fit in fits]) for key in fits[0]}
            for fits in result["fits"].values()
        )
        row = [result["n_signals"]]
        for key in ("closed form", "epoch"):
            row += [one[key], two[key], one[key] / two[key] / 2]
        yield (*row, one["added_bytes"] / 1e6, two["added_bytes"] / 1e6)


PARTS = {
    "fit": harness.Part(
        measure_fit, fit_section, harness.each("n_signals", "n_signals")
    )
}
report = partial(harness.report, "Several processes", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "scale", PARTS, report, Size(), QUICK)
