"""Past one process: a fit by one and two processes, of 10^4 to 10^6 signals."""

import os
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
import torch
import torch.distributed as dist
from skorch.callbacks import Callback
from speed import watched_memory

from skvae import ConvVAETransformer

N_TIMEPOINTS = 96
BATCH_SIZE = 256


class Size(NamedTuple):
    n_signals: tuple = (10_000, 100_000, 1_000_000)
    rounds: int = 3


QUICK = Size((2000,), 1)


def write_signals(path, n_signals):
    """Sines of random frequency and phase with noise, on disk, in blocks."""
    shape = (n_signals, N_TIMEPOINTS)
    X = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    rng = np.random.default_rng(0)
    time_steps = np.linspace(0, 1, N_TIMEPOINTS)
    for block in np.array_split(X, max(1, n_signals // 10_000)):
        frequency, phase = rng.uniform(1, 5, (2, len(block), 1))
        block[:] = np.sin(2 * np.pi * (frequency * time_steps + phase))
        block += 0.3 * rng.standard_normal(block.shape)
    X.flush()


class Stopwatch(Callback):
    """When training begins and ends, and the time within sums over the processes."""

    def on_train_begin(self, net, **kwargs):
        self.begin_, self.waited_ = time.perf_counter(), 0.0
        all_reduce = self.all_reduce_ = dist.all_reduce

        def timed(*args):
            start = time.perf_counter()
            all_reduce(*args)
            self.waited_ += time.perf_counter() - start

        dist.all_reduce = timed

    def on_train_end(self, net, **kwargs):
        self.end_ = time.perf_counter()
        dist.all_reduce = self.all_reduce_


def fit_share(rank, n_processes, path, address, answers):
    """Fit a share of the signals, one epoch; put figures of this process."""
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
    vae.fit(X[:100])  # what is imported when it is first used takes seconds
    with watched_memory() as memory:
        start = time.perf_counter()
        vae.fit(X)
    watch = dict(vae.net_.callbacks_)["watch"]
    figures = {
        "closed form": watch.begin_ - start,
        "epoch": watch.end_ - watch.begin_,
        "waited": watch.waited_,
        "added_bytes": max(memory) - memory[0],
        "gradient_bytes": sum(
            4 * p.numel() for p in vae.module_.parameters() if p.requires_grad
        ),
        # Of five folds, symmetric, in float64.
        "sums_bytes": 5 * 8 * vae.module_.encoder.components.in_features**2,
    }
    answers.put(figures)


def fit_by(n_processes, path):
    """Figures of the slowest process, seconds and bytes."""
    context = get_context("spawn")
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        started = [
            context.Process(
                target=fit_share,
                args=(rank, n_processes, path, f"file://{folder}/group", answers),
            )
            for rank in range(n_processes)
        ]
        for process in started:
            process.start()
        figures = [answers.get() for _ in started]
        for process in started:
            process.join()
    return {key: max(found[key] for found in figures) for key in figures[0]}


def measure_fit(size, n_signals):
    """A fit by one process, and by two, in turns."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        write_signals(path, n_signals)
        rounds = size.rounds if n_signals < 10**6 else 1
        jobs = {n: lambda n=n: fit_by(n, path) for n in (1, 2)}
        found = harness.interleave(jobs, rounds)
    return {"fits": found["seconds"], "errors": found["errors"]}


@harness.tabulated(
    "A fit by one process and by two",
    "signals:, | closed form, s, one:.1f | two:.1f | efficiency:.2f | epoch, s, "
    "one:.1f | two:.1f | efficiency:.2f | of it waiting for sums:.2f | MB added, "
    "one:.0f | each of two:.0f",
    f"Signals of {N_TIMEPOINTS} points in a memory map, one thread in each process, "
    f"batches of {BATCH_SIZE} in each; medians of rounds in turns, of the slower "
    "process. Efficiency is the time of one over twice the time of two.",
)
def fit_section(found):
    for result in found:
        one, two = (
            {key: harness.median([fit[key] for fit in fits]) for key in fits[0]}
            for fits in result["fits"].values()
        )
        row = [result["n_signals"]]
        for key in ("closed form", "epoch"):
            row += [one[key], two[key], one[key] / two[key] / 2]
        row += [two["waited"] / two["epoch"]]
        yield (*row, one["added_bytes"] / 1e6, two["added_bytes"] / 1e6)


def on_paper(found):
    """A billion signals on 100 machines, from the figures of the largest fit here."""
    result = max(found, key=lambda result: result["n_signals"])
    one = next(iter(result["fits"].values()))
    n, signals, n_processes = result["n_signals"], 10**9, 1600
    own = signals / n_processes
    n_steps = own / BATCH_SIZE
    budget = 25 * signals**0.5  # steps of max_epochs="auto"
    closed = one[0]["closed form"] / n * own
    step = one[0]["epoch"] / n * BATCH_SIZE
    # An all-reduce by a ring sends twice the bytes; 1 GB/s and 2 ms a machine's link.
    wait = 2 * one[0]["gradient_bytes"] * 16 / 1e9 + 2e-3
    rows = [
        ("signals of a process", f"{own:,.0f}, {own * N_TIMEPOINTS * 4 / 1e6:,.0f} MB"),
        ("closed form: computing", f"{closed / 60:,.1f} minutes"),
        (
            "closed form: sums that a process sends",
            f"{2 * one[0]['sums_bytes'] / 1e6:,.0f} MB, once",
        ),
        (
            "a step: computing, and waiting for the gradient",
            f"{1e3 * step:.0f} ms, {1e3 * wait:.0f} ms",
        ),
        (
            "gradients that a process sends in an epoch",
            f"{2 * one[0]['gradient_bytes'] * n_steps / 1e9:,.1f} GB",
        ),
        ("an epoch", f"{n_steps * (step + wait) / 60:,.0f} minutes"),
        (
            'max_epochs="auto"',
            f"{budget:,.0f} steps, {budget * (step + wait) / 3600:,.1f} hours",
        ),
    ]
    return harness.section(
        "On paper: a billion signals on 100 machines of 16 processes",
        harness.table("what | how much", rows),
        "One thread each, as measured here; a link of 1 GB/s and 2 ms to each machine. "
        "What breaks first is the number of steps of max_epochs='auto', which grows "
        "with the root of all signals whatever the number of processes: set max_epochs "
        "to one or two, or a larger batch_size. Then gradients, of which 16 processes "
        "share a link; then the first process, whose weights all take at the start.",
    )


PARTS = {
    "fit": harness.Part(
        measure_fit,
        lambda found: f"{fit_section(found)}\n\n{on_paper(found)}",
        harness.each("n_signals", "n_signals"),
    ),
}


def report(results, folder):
    return harness.report("Past one process", PARTS, results, folder)


if __name__ == "__main__":
    harness.main(__doc__, "scale", PARTS, report, Size(), QUICK)
