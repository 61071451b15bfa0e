"""Past one process: a fit, and `transform` on Dask, of 10^4 to 10^6 signals."""

import os
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
import torch
import torch.distributed as dist
from harness import watched_memory
from skorch.callbacks import Callback

from skvae import ConvVAETransformer

N_TIMEPOINTS = 96
BATCH_SIZE = 256
N_APPLIED_TIMEPOINTS = 336
BLOCK = 2500  # signals in a block of Dask's, that small sizes have some as well


class Size(NamedTuple):
    n_signals: tuple = (10_000, 100_000, 1_000_000)
    rounds: int = 3


QUICK = Size((2000,), 1)


def write_signals(path, n_signals, n_timepoints=N_TIMEPOINTS):
    """Sines of random frequency and phase with noise, on disk, in blocks."""
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


# --- A fitted model, applied


def warm_up(model_path):
    """The model, with all imported that is when it is first used."""
    vae = ConvVAETransformer.load(model_path)
    vae.transform(np.zeros((100, N_APPLIED_TIMEPOINTS), np.float32))
    return vae


def transform_file(path, model_path):
    """Seconds and memory of `transform` with one thread, in this process."""
    torch.set_num_threads(1)
    vae, X = warm_up(model_path), np.load(path, mmap_mode="r")
    with watched_memory() as memory:
        cpu = time.process_time()
        seconds = harness.seconds_of(vae.transform, X)
        cpu = time.process_time() - cpu
    return {"seconds": seconds, "cpu": [cpu], "peak_bytes": [max(memory)]}


def watch(dask_worker):
    """Begin to watch memory and CPU time of a worker."""
    dask_worker.cpu_ = time.process_time()
    dask_worker.watch_ = ExitStack()
    dask_worker.memory_ = dask_worker.watch_.enter_context(watched_memory())


def watched(dask_worker):
    """CPU seconds since then, and the most memory."""
    dask_worker.watch_.close()
    return time.process_time() - dask_worker.cpu_, max(dask_worker.memory_)


def transform_blocks(client, folder, model_path):
    """Seconds of `map_blocks` as in the README, and memory of each worker."""
    import dask
    import dask.array as da

    signals = da.from_npy_stack(folder)
    model = dask.delayed(ConvVAETransformer.load)(model_path)
    Z = signals.map_blocks(
        lambda x, model: model.transform(x),
        model=model,
        chunks=(signals.chunks[0], (8,)),
        drop_axis=[],
        meta=np.empty((0, 0), np.float32),
    )
    client.run(warm_up, model_path)
    client.run(watch)
    seconds = harness.seconds_of(partial(Z.compute, scheduler=client))
    cpu, peak_bytes = zip(*client.run(watched).values(), strict=True)
    return {"seconds": seconds, "cpu": cpu, "peak_bytes": peak_bytes}


def measure_apply(size, n_signals):
    """`transform` of a memory map, and of blocks by one and two workers, in turns."""
    import dask
    import dask.array as da
    from dask.distributed import Client

    # As the README says. Dask leaves it to all processes that are started later.
    setting = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
    os.environ["OMP_NUM_THREADS"] = "1"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path, model_path = folder / "X.npy", folder / "vae.safetensors"
        write_signals(path, n_signals, N_APPLIED_TIMEPOINTS)
        X = np.load(path, mmap_mode="r")
        blocks = da.from_array(X, chunks=(min(BLOCK, n_signals // 4), -1))
        da.to_npy_stack(folder / "blocks", blocks)
        vae = ConvVAETransformer(8, max_epochs=1, random_state=0, device="cpu")
        vae.fit(X[:500]).save(model_path)
        process = stack.enter_context(harness.fresh_process())
        harness.call(process, warm_up, model_path)  # started before Dask's
        stack.enter_context(dask.config.set({setting: None}))
        call = partial(harness.call, process, transform_file, path, model_path)
        jobs = {"transform": call}
        for n_workers in (1, 2):
            client = Client(
                n_workers=n_workers,
                threads_per_worker=1,
                dashboard_address=":0",
                set_as_default=False,
            )
            stack.enter_context(client)
            jobs[n_workers] = partial(
                transform_blocks, client, folder / "blocks", model_path
            )
        found = harness.interleave(jobs, size.rounds if n_signals < 10**6 else 1)
    return {"applied": found["seconds"], "errors": found["errors"]}


@harness.tabulated(
    "`transform`, and Dask's `map_blocks` with one worker and two",
    "signals:, | transform, s:.2f | one worker, s:.2f | two:.2f | efficiency of "
    "two:.2f | CPU s, transform:.2f | one worker:.2f | both of two:.2f | MB, "
    "transform:.0f | one worker:.0f | each of two:.0f",
    f"Signals of {N_APPLIED_TIMEPOINTS} points on disk, blocks of {BLOCK}, one thread "
    "in each process; medians of rounds in turns. Efficiency is the time of "
    "`transform` over twice the time of two workers. MB is the most anonymous memory "
    "of a process, of the larger of two.",
)
def apply_section(found):
    for result in found:
        rounds = list(result["applied"].values())
        seconds = [harness.median([r["seconds"] for r in job]) for job in rounds]
        peaks = [harness.median([max(r["peak_bytes"]) for r in job]) for job in rounds]
        cpu = [harness.median([sum(r["cpu"]) for r in job]) for job in rounds]
        efficiency = seconds[0] / seconds[2] / 2
        row = [result["n_signals"], *seconds, efficiency, *cpu]
        yield (*row, *(peak / 1e6 for peak in peaks))


PARTS = {
    "fit": harness.Part(
        measure_fit,
        lambda found: f"{fit_section(found)}\n\n{on_paper(found)}",
        harness.each("n_signals", "n_signals"),
    ),
    "apply": harness.Part(
        measure_apply, apply_section, harness.each("n_signals", "n_signals")
    ),
}


def report(results, folder):
    return harness.report("Past one process", PARTS, results, folder)


if __name__ == "__main__":
    harness.main(__doc__, "scale", PARTS, report, Size(), QUICK)
