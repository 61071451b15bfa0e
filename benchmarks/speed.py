"""Time and memory, compared with a plain PyTorch loop, peers and an earlier commit."""

import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import data
import harness
import numpy as np
import peers
import torch
from harness import Part, each, interleave, median, seconds_of, tabulated, turns
from scale import write_signals
from sklearn.decomposition import IncrementalPCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

# Processes of the earlier commit import this file too, so both must have these.
from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

BEFORE = "9025113"  # the earlier commit
N_FITTED = 300  # signals that a model is fitted on before it is applied
N_APPLIED = 1000  # signals per timing; calls of fewer signals are repeated


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 7
    n_signals: int = 2048  # in an epoch
    batch_sizes: tuple = (32, 256)
    max_signals: int = 20_000  # of a measure in `compare`
    sets: tuple = ("watch", "load profiles")


QUICK = Size(2, 128, (64,), 400, ("GunPoint",))


def default_vae(**params):
    return ConvVAETransformer(device="cpu", **{"random_state": 0, **params})


# --- An epoch


def time_epochs(size, batch_size):
    """Seconds per epoch of P2, by trainer and round, on signals of 336 points."""
    with contextlib.ExitStack() as stack:
        jobs = {}
        for name in peers.TRAINERS:
            # Each has its own process, as some change torch's or the system's settings.
            process = stack.enter_context(harness.fresh_process())
            task = name, batch_size, size.n_signals
            jobs[name] = partial(harness.call, process, time_trainer, *task)
        return interleave(jobs, size.rounds, warm_up=1)


def time_trainer(*task):
    return peers.seconds_per_epoch(trainer(*task))


@cache
def trainer(name, batch_size, n_signals):
    X, _ = make_load_profiles(n_signals, random_state=0)
    return peers.TRAINERS[name](X, batch_size)


@tabulated(
    "An epoch",
    "batch size | trainer | seconds per epoch:.3f | ratio to the plain loop",
    "The model is P2, the forum thread's final script, unless the name says otherwise.",
)
def epoch_section(results):
    for result in results:
        for row in turns(result, "plain PyTorch loop"):
            yield result["batch_size"], *row


# --- Comparison with an earlier commit and peers

# Each script prints seconds; its arguments are a number of signals and the start time.
SETUP = """
import os, sys, time
import skvae
assert skvae.__file__.startswith(os.environ.get("PYTHONPATH", "")), skvae.__file__
from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
n_signals, start = int(sys.argv[1]), float(sys.argv[2])
X, _ = make_load_profiles(n_signals, random_state=0)
"""
SCRIPTS = {
    "start of Python to latents": """
ConvVAETransformer(random_state=0).fit(X).transform(X)
print(time.time() - start)
""",
    "first step of two workers": """
from joblib import Parallel, delayed
from skorch.callbacks import Callback
class FirstStep(Callback):
    def on_batch_end(self, net, **kwargs):
        net.first_step_ = getattr(net, "first_step_", time.time())
def first_step():
    vae = ConvVAETransformer(max_epochs=1, callbacks=[FirstStep()], random_state=0)
    return vae.fit(X).net_.first_step_
start = time.time()
print(max(Parallel(n_jobs=2)(2 * [delayed(first_step)()])) - start)
""",
    "README's grid search": """
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
X, y = make_load_profiles(n_signals, n_timepoints=48, random_state=0)
pipeline = Pipeline([("vae", ConvVAETransformer()), ("knn", KNeighborsClassifier())])
grid = {"vae__latent_dim": [2, 8], "vae__beta": [1, 4], "vae__dropout": [0, 0.2]}
search, start = GridSearchCV(pipeline, grid, cv=3, n_jobs=2), time.time()
search.fit(X, y)
print(time.time() - start)
""",
}
CLOSED_FORM = "closed form of a map"
FEATURES = "features on one thread"
PEERS = {CLOSED_FORM: "IncrementalPCA", FEATURES: "MiniRocket"}


def compare_tasks(size):
    for measure, n_signals, n_channels in (
        ("default fit", 300, 1),
        ("default fit", 300, 6),
        ("start of Python to latents", 300, 1),
        ("first step of two workers", 300, 1),
        ("README's grid search", 200, 1),
        ("transform", 1, 1),
        ("transform", 1, 6),
        ("transform", 20_000, 1),
        ("score_samples", 2000, 1),
        (FEATURES, 64, 1),
        (FEATURES, 256, 1),
        (FEATURES, 2000, 1),
        (FEATURES, 256, 6),
        (CLOSED_FORM, 20_000, 1),
    ):
        n_signals = min(n_signals, size.max_signals)
        yield {"measure": measure, "signals": n_signals, "channels": n_channels}


def compare(size, measure, *shape):
    """Seconds and peak memory of both commits and a peer, each in its own process."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        own = str(harness.HERE.parent)
        command = f"git archive {BEFORE} skvae | tar x -C '{folder}'"
        subprocess.run(command, shell=True, cwd=own, check=True)
        folders = {"before": folder, "now": own}
        if measure in PEERS:
            folders[PEERS[measure]] = own
        jobs = {}
        for name, build in folders.items():
            process = stack.enter_context(process_of(build))
            task = measure, *shape, folder, name
            jobs[name] = partial(harness.call, process, time_once, *task)
        result = interleave(jobs, size.rounds, warm_up=1)
    runs, peaks = result["seconds"], {}
    result["seconds"] = {name: [run[0] for run in runs[name]] for name in runs}
    if measure not in SCRIPTS:  # whose memory is that of other processes
        peaks = {name: max(run[1] for run in runs[name]) for name in runs if runs[name]}
    return result | {"peak_bytes": peaks}


def process_of(folder):
    """A fresh process that imports skvae from a folder, as do those that it starts."""
    path = [folder, *sys.path]
    check = (
        f"import skvae; assert skvae.__file__.startswith({folder!r}), skvae.__file__"
    )
    with mock.patch.dict(os.environ, PYTHONPATH=folder), mock.patch("sys.path", path):
        process = harness.fresh_process()
        harness.call(process, exec, check)
    return process


def time_once(*task):
    """Seconds of one call, and the peak of the anonymous memory."""
    timed = prepare(*task)
    with harness.watched_memory() as memory:
        seconds = timed()
    return seconds, max(memory)


@cache
def prepare(measure, n_signals, n_channels, folder, build):
    """A function that returns the seconds of a measure; `build` may be a peer."""
    is_peer = build == PEERS.get(measure)
    if measure in SCRIPTS:
        script = [sys.executable, "-c", SETUP + SCRIPTS[measure], str(n_signals)]
        run = partial(subprocess.check_output, cwd=sys.prefix)  # a folder without skvae
        return lambda: float(run([*script, str(time.time())]))
    if measure == CLOSED_FORM:
        path = Path(folder, "X.npy")  # shared by the processes
        if not path.exists():
            write_signals(path, n_signals, 336)
        X = np.load(path, mmap_mode="r")
        pca = IncrementalPCA(8, batch_size=5000)
        model = pca if is_peer else default_vae(max_epochs=0)
        model.fit(X[:1000])  # to warm up
        return partial(seconds_of, model.fit, X)
    X = profiles(N_FITTED, n_channels)
    if measure == "default fit":
        return partial(seconds_of, default_vae().fit, X[:n_signals])
    if measure == FEATURES:
        transform, X = features(profiles(n_signals, n_channels), is_peer)
    else:
        transform = getattr(default_vae().fit(X), measure)
        X = np.resize(X, (n_signals, *X.shape[1:]))
    n_calls = max(1, N_APPLIED // n_signals)
    return lambda: median([seconds_of(transform, X) for _ in range(n_calls)])


def features(X, by_peer):
    """skvae's features, or as many of MiniRocket, on one thread: a function, its X."""
    from skvae.model.features import RandomConvolutions

    torch.set_num_threads(1)
    X = X.reshape(len(X), -1, X.shape[-1])
    x = torch.from_numpy(X)
    torch.manual_seed(0)
    convolutions = RandomConvolutions(*X.shape[1:]).fit(x[:N_FITTED])
    if not by_peer:
        return torch.inference_mode()(convolutions), x
    from aeon.transformations.collection.convolution_based import MiniRocket

    peer = MiniRocket(convolutions.n_features, random_state=0)
    return peer.fit(X[:N_FITTED]).transform, X


def profiles(n_signals, n_channels=1):
    """Load profiles (n, t), or (n, c, t) of several channels."""
    seeds = range(n_channels)
    channels = [make_load_profiles(n_signals, random_state=seed)[0] for seed in seeds]
    return np.stack(channels, axis=1) if n_channels > 1 else channels[0]


@tabulated(
    f"Comparison with commit {BEFORE} and peers",
    "measure | signals:, | channels | reference | rounds | its seconds:.3g | now:.3g | "
    "ratio | its peak, MB:.0f | now:.0f",
    "Signals of 336 points (of the grid search, 48); whole calls, with the default "
    "number of threads. Peaks are of anonymous memory, imports included. "
    "IncrementalPCA has 8 components and batches of 5000, and reads the same file. "
    "MiniRocket has as many features, rounded down to a multiple of 84.",
)
def compare_section(results):
    for result in results:
        task = result["measure"], result["signals"], result["channels"]
        seconds, peaks = result["seconds"], result["peak_bytes"]
        for reference in [name for name in seconds if name != "now"]:
            pair = reference, "now"
            ratios = {name: text for name, _, text in turns(result, reference)}
            medians = (median(seconds[name]) for name in pair)
            megabytes = (peaks.get(name, math.nan) / 1e6 for name in pair)
            n_rounds = len(seconds["now"])
            yield *task, reference, n_rounds, *medians, ratios["now"], *megabytes


# --- Two fits at once


def time_two_fits(size, name):
    """Seconds of one default fit, and of the slower of two in two processes."""
    with harness.fresh_process() as first, harness.fresh_process() as second:

        def at_once():
            futures = [p.submit(time_default_fit, name) for p in (first, second)]
            return max(future.result() for future in futures)

        alone = partial(harness.call, first, time_default_fit, name)
        jobs = {"a default fit alone": alone, "two at once": at_once}
        return interleave(jobs, size.rounds, warm_up=1)


def time_default_fit(name):
    X = profiles(500) if name == "load profiles" else data.load(name)[0]
    return seconds_of(default_vae().fit, X)


@tabulated("Two fits at once", "set | one fit, s:.2f | slower of two, s:.2f | ratio")
def two_fits_section(results):
    for result in results:
        alone, both = result["seconds"].values()
        yield result["set"], median(alone), median(both), harness.ratio(both, alone)


# --- One signal, in Python and in a graph


def time_graphs(size):
    """Seconds for one signal: methods of a pipeline, and graphs in onnxruntime."""
    from onnxruntime import InferenceSession

    from skvae.onnx import pipeline_to_onnx

    X, y = make_load_profiles(N_FITTED, random_state=0)
    pipeline = make_pipeline(default_vae(), KNeighborsClassifier()).fit(X, y)
    calls = {"transform": pipeline[0].transform, "predict": pipeline.predict}
    for name, model in (("latents", pipeline[0]), ("labels", pipeline)):
        session = InferenceSession(pipeline_to_onnx(model, X).SerializeToString())
        calls[f"graph of {name}"] = lambda x, run=session.run: run(None, {"X": x})

    def of_each(call):
        return median([seconds_of(call, x[None]) for x in X[: size.max_signals]])

    jobs = {name: partial(of_each, call) for name, call in calls.items()}
    return interleave(jobs, size.rounds, warm_up=1)


@tabulated("One signal in a graph", "call | seconds:.2g | ratio to transform")
def graph_section(results):
    for result in results:
        yield from turns(result, "transform")


PARTS = {
    "epoch": Part(time_epochs, epoch_section, each("batch_size", "batch_sizes")),
    "before": Part(compare, compare_section, compare_tasks),
    "threads": Part(time_two_fits, two_fits_section, each("set", "sets")),
    "graph": Part(time_graphs, graph_section),
}
report = partial(harness.report, "Time and memory", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "speed", PARTS, report, Size(), QUICK)
