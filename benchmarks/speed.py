"""How long one waits: against a plain PyTorch loop, other trainers, and the machine.

    pip install -e ".[bench]"
    python benchmarks/speed.py epoch          # 8 minutes on 2 cores
    python benchmarks/speed.py quality-time   # 12
    python benchmarks/speed.py search         # 18
    python benchmarks/speed.py transform memory import   # 6
    python benchmarks/speed.py report         # results/speed.md

Each part appends lines of JSON to results/speed.jsonl, for what is not there yet; to do
one again, delete its line. With --quick everything is tiny and nothing is kept. Nothing
else should run. A peer that is not installed or fails is a line of the table.

- epoch: seconds an epoch of P2, the final script of the forum thread (`p2.py`), with
  the same network, batch and number of steps everywhere; 2048 signals of 336 points.
  The mean of two epochs after a first, in rounds in which the peers take turns.
- quality-time: P2 in the plain loop, up to 1000 epochs, patience 32, against skvae's
  defaults: seconds until the ELBO of held-back signals reaches P2's best. At each
  moment with the decoder variance that suits these signals best. What it takes to
  evaluate does not count; what a fit does before it trains does.
- search: the README's grid search, 27 candidates, on one channel of the watch set;
  against P2 for 100 epochs in `p2.P2Transformer`, of whose grid a third is run.
- transform: of 100 000 signals, against the bare encoder in inference mode.
- memory: added by `fit` to an array, and to a memory map of a million signals; and the
  time for these, a sample, against that for 10 000.
- import: of skvae, against its three large dependencies.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import NamedTuple

import data
import numpy as np
import p2
import quality
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from skorch.callbacks import Callback

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.jsonl"
PACKAGES = ("skorch", "keras", "tensorflow-cpu", "jax", "pythae")
MB = 1e6
# What tells the tasks of a part apart.
TASK_KEYS = ("batch_size", "set", "system", "candidate", "network", "data")


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    import_rounds: int = 7
    n_signals: int = 2048  # of an epoch
    batch_sizes: tuple = (32, 256)
    sets: tuple = ("watch", "load profiles", "GunPoint", "OSULeaf", "Trace")
    max_epochs: int = 1000  # of P2
    cap: float = 100.0  # seconds that P2 trains, at most, on a set
    search_epochs: int = 100
    n_dims: int = 3  # values of each parameter in the grid
    n_transformed: int = 100_000
    n_mapped: int = 1_000_000
    n_small: int = 10_000
    n_array: int = 200_000


QUICK = Size(
    rounds=2,
    import_rounds=1,
    n_signals=128,
    batch_sizes=(64,),
    sets=("GunPoint",),
    max_epochs=3,
    search_epochs=1,
    n_dims=1,
    n_transformed=2000,
    n_mapped=6000,
    n_small=5500,
    n_array=6000,
)


# --- Running


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "report"])
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        path, size = RESULTS, Size()
        if args.quick:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path, size = Path(folder, "speed.jsonl"), QUICK
        for part in args.parts:
            if part != "report":
                run(part, size, path)
        if "report" in args.parts or args.quick:
            report(path)
            print(path.with_suffix(".md").read_text())


def run(part, size, path):
    """Append the results of a part that are not in the file yet."""
    results = quality.read(path) if path.exists() else []
    machine = environment()
    for task, measure in PARTS[part](size, results):
        task = {"part": part, **task}
        if any(task.items() <= result.items() for result in results):
            continue
        print("running:", *task.values(), flush=True)
        try:
            figures = measure()
        except Exception as error:  # a failure is a result
            figures = {"error": f"{type(error).__name__}: {error}"}
        results.append(task | figures | machine)
        print(json.dumps(task | figures), flush=True)
        with path.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")


def environment():
    """What runs, and on what."""
    found = quality.environment()
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found["versions"][name] = metadata.version(name)
    cpu = "unknown processor"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line for line in lines if line.startswith("model name"))
        cpu = cpu.split(":")[1].strip()
    return found | {"cpu": cpu, "cores": os.cpu_count()}


def seconds_of(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def in_fresh_process(function, *args):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor:
        return executor.submit(function, *args).result()


class Look(Callback):
    """Call ``look(net)`` when training begins and at the end of each epoch."""

    def __init__(self, look):
        self.look = look

    def on_train_begin(self, net, **kwargs):
        self.look(net)

    def on_epoch_end(self, net, **kwargs):
        self.look(net)


# --- An epoch: each peer gives a function of a number of epochs that trains for so many
# --- and returns the times at which they ended


def plain_peer(X, batch_size, folder):
    return p2.clocked(p2.training(X, batch_size)[1])


def skorch_peer(X, batch_size, folder):
    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            return p2.vae_loss(y_pred, X)

    times = []
    net = Net(
        p2.P2,
        torch.nn.MSELoss,  # not used
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[Look(lambda net: times.append(time.perf_counter()))],
        verbose=0,
    ).initialize()

    def train(n_epochs):
        times.clear()
        net.partial_fit(X[:, None], epochs=n_epochs)
        return times

    return train


def pythae_peer(X, batch_size, folder):
    """Pythae's trainer, which keeps the best weights; its loss has weight 1/2."""
    from pythae.trainers.training_callbacks import TrainingCallback

    times = []

    class Clock(TrainingCallback):
        def on_epoch_end(self, training_config, **kwargs):
            times.append(time.perf_counter())

    model = p2.pythae_model(X.shape[1], 2)

    def train(n_epochs):
        times.clear()
        p2.train_pythae(model, X, n_epochs, folder, batch_size, [Clock()])
        return times

    return train


def keras_peer(backend, X, batch_size, stack):
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    np.save(Path(folder, "X.npy"), X)
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, HERE / "keras_vae.py", "X.npy", str(batch_size)],
            cwd=folder,
            env=os.environ | {"KERAS_BACKEND": backend},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )
    stack.callback(process.kill)

    def train(n_epochs):
        with contextlib.suppress(BrokenPipeError):  # what it says comes first
            print(n_epochs, file=process.stdin, flush=True)
        for line in process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["times"]
        raise RuntimeError(f"the process ended with {process.wait()}")

    return train


def skvae_peer(X, batch_size, folder):
    def train(n_epochs):
        times = []
        params = quality.P2 | {"batch_size": batch_size, "max_epochs": n_epochs}
        look = Look(lambda net: times.append(time.perf_counter()))
        ConvVAETransformer(2, **params, device="cpu", callbacks=[look]).fit(X)
        return times

    return train


def in_own_process(peer, X, batch_size, stack):
    """The peer in a process that stays, for what one changes must not serve another."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    spawn = multiprocessing.get_context("spawn")
    process = stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn))
    process.submit(start_peer, peer, X, batch_size, folder).result()
    return lambda n_epochs: process.submit(train_peer, n_epochs).result()


def start_peer(peer, *args):
    train_peer.train = peer(*args)


def train_peer(n_epochs):
    return train_peer.train(n_epochs)


PEERS = {
    "plain PyTorch loop": partial(in_own_process, plain_peer),
    "skvae": partial(in_own_process, skvae_peer),
    "skorch, default loader": partial(in_own_process, skorch_peer),
    "Pythae": partial(in_own_process, pythae_peer),
    "Keras, TensorFlow": partial(keras_peer, "tensorflow"),
    "Keras, JAX": partial(keras_peer, "jax"),
    "Keras, torch": partial(keras_peer, "torch"),
}


def epoch_tasks(size, results):
    for batch_size in size.batch_sizes:
        yield {"batch_size": batch_size}, partial(time_epochs, batch_size, size)


def time_epochs(batch_size, size):
    """Seconds an epoch of each peer by round, or what its error says."""
    X, _ = make_load_profiles(size.n_signals, random_state=0)
    trains, seconds, errors = {}, {name: [] for name in PEERS}, {}
    with contextlib.ExitStack() as stack:
        for i, name in product(range(1 + size.rounds), PEERS):
            if name in errors:
                continue
            try:
                if i == 0:  # to warm up
                    trains[name] = PEERS[name](X, batch_size, stack)
                times = trains[name](3)
            except Exception as error:
                if name == "plain PyTorch loop":
                    raise
                errors[name] = f"{type(error).__name__}: {error}"
                continue
            if i:
                seconds[name].append((times[-1] - times[-3]) / 2)
                print(f"round {i}: {name} {seconds[name][-1]:.3f} s", flush=True)
    return {"seconds": seconds, "errors": errors}


# --- Time to quality


def quality_tasks(size, results):
    for name in size.sets:
        yield {"set": name}, partial(time_to_quality, name, size)


def time_to_quality(name, size):
    """P2's best ELBO of held-back signals, and how long both took to reach it."""
    if name == "load profiles":
        X, held_back = (make_load_profiles(500, random_state=i)[0] for i in (0, 1))
    else:
        X, _, held_back, _ = data.load(name)
    X, held_back = X.astype(np.float32), held_back.astype(np.float32)
    ConvVAETransformer(max_epochs=1, device="cpu").fit(X[:32])  # to warm up

    half = size.rounds // 2
    fits = [follow_skvae(X, held_back, seed) for seed in range(half)]
    thread = follow_p2(X, held_back, size)
    fits += [follow_skvae(X, held_back, seed) for seed in range(half, size.rounds)]
    for fit in fits:
        fit["seconds"] = seconds_to(thread["elbo"], fit.pop("curve"))
    return {"n_train": len(X), "n_timepoints": X.shape[1], "p2": thread, "skvae": fits}


def seconds_to(elbo, curve):
    """The first time in (time, ELBO) pairs at which it is reached, or None."""
    return next((seconds for seconds, value in curve if value >= elbo), None)


def follow_p2(X, held_back, size):
    """Train P2 until its loss on the held-back signals gets no better."""
    offset, scale = float(X.min()), float(np.ptp(X))
    judge = Judge(held_back, offset, scale)
    torch.manual_seed(0)
    module, train_epoch = p2.training((X - offset) / scale)
    seconds, curve, best_loss, best_epoch, ended = 0.0, [], np.inf, 0, "all epochs"
    for epoch in range(size.max_epochs):
        seconds += seconds_of(train_epoch)
        sse, kl = judge.terms(module)
        curve.append((judge.elbo(sse, kl), seconds))
        if 100 * sse + kl < best_loss:
            best_loss, best_epoch = 100 * sse + kl, epoch
        if epoch - best_epoch >= 32:
            ended = "patience"
            break
        if seconds > size.cap:
            ended = f"stopped after {size.cap:.0f} s"
            break
    elbo, seconds_to_best = max(curve, key=lambda point: point[0])
    return {
        "elbo": elbo,
        "seconds": seconds_to_best,
        "all_seconds": seconds,
        "n_epochs": len(curve),
        "ended": ended,
    }


def follow_skvae(X, held_back, seed):
    """A default fit: (seconds, ELBO) as training begins, by epoch, and at the end."""
    judge = Judge(held_back, float(X.mean()), float(X.std()))
    curve, paused = [], 0.0

    def look(net):
        nonlocal paused
        pause = time.perf_counter()
        curve.append((pause - start - paused, judge.elbo(*judge.terms(net.module_))))
        paused += time.perf_counter() - pause

    vae = ConvVAETransformer(random_state=seed, device="cpu", callbacks=[Look(look)])
    start = time.perf_counter()
    vae.fit(X)
    fit_seconds = time.perf_counter() - start - paused
    curve.append((fit_seconds, judge.elbo(*judge.terms(vae.module_))))
    return {
        "curve": curve,
        "fit_seconds": fit_seconds,
        "seconds_before": curve[0][0],
        "elbo": curve[-1][1],
    }


class Judge:
    """The ELBO of signals (n, t), in nats, in their units, at the best variance.

    For any module with `encode` and `decode`, of signals ``(X - offset) / scale``.
    """

    N_DRAWS = 4

    def __init__(self, X, offset, scale):
        self.x = torch.from_numpy((X - np.float32(offset)) / np.float32(scale))[:, None]
        self.n_values = X.shape[1]
        self.log_det = -self.n_values * math.log(scale)

    @torch.no_grad()
    def terms(self, module):
        """Means of SSE and KL, of the same draws each time; leaves no trace."""
        generator = torch.Generator().manual_seed(0)
        was_training = module.training
        module.eval()
        sse, z_mean, z_log_var = 0.0, *module.encode(self.x)
        for _ in range(self.N_DRAWS):
            draw = torch.randn(z_mean.shape, generator=generator)
            x_hat = module.decode(z_mean + (0.5 * z_log_var).exp() * draw)
            sse += float((x_hat - self.x).square().sum()) / self.N_DRAWS
        module.train(was_training)
        kl = 0.5 * (z_mean.square() + z_log_var.exp() - 1 - z_log_var).sum()
        return sse / len(self.x), float(kl) / len(self.x)

    def elbo(self, sse, kl):
        return best_variance_elbo(sse, kl, self.n_values) + self.log_det


def best_variance_elbo(sse, kl, n_values):
    """The largest ELBO that a shared decoder variance gives, which is SSE / n_values.

    Parameters
    ----------
    sse, kl : float
        Means over samples.
    n_values : int
        Values a sample.
    """
    return -0.5 * n_values * (math.log(2 * math.pi * sse / n_values) + 1) - kl


# --- The search


def search_tasks(size, results):
    yield {"system": "skvae"}, partial(search_skvae, size)
    for candidate in third_of_grid(size):
        task = {"system": "P2", "candidate": candidate}
        yield task, partial(search_p2, candidate, size)
    yield {"system": "P2", "candidate": "best"}, partial(refit_p2, size, results)


def grid(size, weights):
    values = {
        "latent_dim": [2, 8, 16],
        "reconstruction_weight": weights,
        "dropout": [0.0, 0.1, 0.3],
    }
    return {name: choices[: size.n_dims] for name, choices in values.items()}


def third_of_grid(size):
    """Candidates of P2's grid in which each two values meet once: a Latin square."""
    names, values = zip(*grid(size, [1, 10, 100]).items(), strict=True)
    for places in product(range(size.n_dims), repeat=3):
        if sum(places) % 3 == 0:
            chosen = (v[i] for v, i in zip(values, places, strict=True))
            yield dict(zip(names, chosen, strict=True))


def search_skvae(size):
    X, y, X_test, y_test = data.load("watch")
    search = grid_search(
        ConvVAETransformer(random_state=0, device="cpu"),
        grid(size, ["auto", 1.0, 10.0]),
        n_jobs=2,
    )
    seconds = seconds_of(search.fit, X, y)
    return {
        "seconds": seconds,
        "n_candidates": len(search.cv_results_["params"]),
        "accuracy": search.best_score_,
        "test_accuracy": search.score(X_test, y_test),
        "best": search.best_params_,
    }


def search_p2(candidate, size):
    X, y, _, _ = data.load("watch")
    candidate = {name: [value] for name, value in candidate.items()}
    model = p2.P2Transformer(n_epochs=size.search_epochs)
    search = grid_search(model, candidate, n_jobs=1, refit=False)
    seconds = seconds_of(search.fit, X, y)
    return {
        "seconds": seconds,
        "accuracy": float(search.cv_results_["mean_test_score"][0]),
    }


def refit_p2(size, results):
    X, y, X_test, y_test = data.load("watch")
    found = [
        result
        for result in results
        if result.get("system") == "P2" and "accuracy" in result
    ]
    best = max(found, key=lambda result: result["accuracy"])["candidate"]
    vae = p2.P2Transformer(n_epochs=size.search_epochs, **best)
    model = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    seconds = seconds_of(model.fit, X, y)
    return {"seconds": seconds, "test_accuracy": model.score(X_test, y_test)}


def grid_search(vae, grid, **options):
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    grid = {f"vae__{name}": values for name, values in grid.items()}
    return GridSearchCV(pipeline, grid, cv=5, **options)


# --- Transform


def transform_tasks(size, results):
    networks = {"default": (8, {}), "P2": (2, quality.P2)}
    for name, (latent_dim, params) in networks.items():
        params = params | {"max_epochs": 1, "random_state": 0, "device": "cpu"}
        vae = ConvVAETransformer(latent_dim, **params)
        yield {"network": name}, partial(time_transform, vae, size)


def time_transform(vae, size):
    X, _ = make_load_profiles(1000, random_state=0)
    vae.fit(X[:256])
    X = np.tile(X, (size.n_transformed // len(X), 1))
    x = torch.from_numpy(X)[:, None]
    encoder = vae.module_.encoder
    few = x[: len(x) // 10]
    encode_bare(encoder, few, 256)  # to warm up
    times = {
        batch_size: min(
            seconds_of(encode_bare, encoder, few, batch_size) for _ in range(3)
        )
        for batch_size in (2**i for i in range(4, 13))
    }
    best = min(times, key=times.get)
    few = X[: len(few)]
    Z = vae.transform(few)
    jobs = {
        "bare encoder": partial(encode_bare, encoder, x, best),
        "transform": partial(vae.transform, X),
        "inverse_transform of a tenth": partial(vae.inverse_transform, Z),
        "score_samples of a tenth": partial(vae.score_samples, few),
    }
    seconds = {name: [] for name in jobs}
    for _, (name, job) in product(range(size.rounds), jobs.items()):
        if name == "score_samples of a tenth" and seconds[name]:
            continue  # 16 draws take long
        seconds[name].append(seconds_of(job))
    return {"n_signals": len(X), "best_batch_size": best, "seconds": seconds}


@torch.inference_mode()
def encode_bare(encoder, x, batch_size):
    return torch.cat([encoder(batch)[0] for batch in x.split(batch_size)]).numpy()


# --- Memory


def memory_tasks(size, results):
    yield {"data": "memory map"}, partial(fit_memory_map, size)
    yield {"data": "array"}, partial(in_fresh_process, fit_array, size.n_array)


def fit_memory_map(size):
    X, _ = make_load_profiles(1000, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.npy")
        shape = (size.n_mapped, X.shape[1])
        on_disk = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        for start in range(0, len(on_disk), len(X)):
            on_disk[start : start + len(X)] = X
        on_disk.flush()
        del on_disk
        return in_fresh_process(fit_mapped, path, size.n_small, size.rounds)


def fit_mapped(path, n_small, rounds):
    """Fit a whole memory map, then, several times, its beginning."""
    X = np.load(path, mmap_mode="r")
    return measure_fit(X) | {
        "n_small": n_small,
        "seconds_small": [time_fit(X[:n_small]) for _ in range(rounds)],
    }


def fit_array(n_signals):
    X, _ = make_load_profiles(1000, random_state=0)
    return measure_fit(np.tile(X, (n_signals // len(X), 1)))


def measure_fit(X):
    with PeakMemory() as memory:
        seconds = time_fit(X)
    return {
        "n_signals": len(X),
        "data_bytes": X.nbytes,
        "added_bytes": memory.added,
        "seconds": seconds,
    }


def time_fit(X):
    """Seconds of a default fit of one epoch in batches of 256, and of that epoch."""
    times = []
    look = Look(lambda net: times.append(time.perf_counter()))
    vae = ConvVAETransformer(
        batch_size=256, max_epochs=1, random_state=0, device="cpu", callbacks=[look]
    )
    return {"fit": seconds_of(vae.fit, X), "epoch": times[-1] - times[0]}


class PeakMemory:
    """Anonymous memory that a block adds at its peak, in bytes, looked at every 50 ms.

    What is mapped from a file is not in it, for the system may drop it any time.
    """

    def __enter__(self):
        self.before = self.peak = anonymous_memory()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, anonymous_memory())

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()
        self.peak = max(self.peak, anonymous_memory())
        self.added = self.peak - self.before


def anonymous_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


# --- Import


def import_tasks(size, results):
    yield {}, partial(time_imports, size)


def time_imports(size):
    modules = ("skvae", "torch, sklearn, skorch")
    seconds = {names: [] for names in modules}
    for i, names in product(range(1 + size.import_rounds), modules):
        code = (
            f"import time; start = time.perf_counter(); import {names}; "
            "print(time.perf_counter() - start)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        if i:  # the first warms up
            seconds[names].append(float(done.stdout))
    return {"seconds": seconds}


PARTS = {
    "epoch": epoch_tasks,
    "quality-time": quality_tasks,
    "search": search_tasks,
    "transform": transform_tasks,
    "memory": memory_tasks,
    "import": import_tasks,
}


# --- Report


def report(path):
    """Write the tables beside the results."""
    results = quality.read(path)
    finished = [result for result in results if "error" not in result]
    parts = {
        part: [result for result in finished if result["part"] == part]
        for part in PARTS
    }
    sections = [describe(results)]
    bars = []
    for part, found in parts.items():
        if found:
            section_bars, section = SECTIONS[part](found)
            bars += section_bars
            sections.append(section)
    header = ("bar", "at most", "reached", "")
    rows = [
        (bar, limit, reached, "met" if met else "missed")
        for bar, limit, reached, met in bars
    ]
    sections.insert(1, table(header, rows))
    text = "\n\n".join(["# How long one waits", *sections])
    path.with_suffix(".md").write_text(text + "\n")


def describe(results):
    commits = sorted({result["commit"] for result in results})
    versions = {f"{k} {v}" for r in results for k, v in r["versions"].items()}
    machines = {(r["cpu"], r["cores"], r["threads"]) for r in results}
    lines = [
        *(
            f"{cpu}, {cores} cores, {threads} threads."
            for cpu, cores, threads in machines
        ),
        f"skvae at {', '.join(commits)}; {', '.join(sorted(versions))}.",
        "Medians of interleaved rounds; a ratio is the median of the rounds' ratios, "
        "its range in brackets.",
    ]
    for result in results:
        if "error" in result:
            what = ", ".join(
                str(result[name])
                for name in ("part", *TASK_KEYS)
                if result.get(name) is not None
            )
            lines.append(f"- failed: {what}: {result['error']}")
    return "\n".join(lines)


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def bar(text, limit, value, form="{:.2f}", also=True):
    return text, form.format(limit), form.format(value), also and value <= limit


def ratios(values, others):
    return [a / b for a, b in zip(values, others, strict=True)]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def epoch_section(found):
    bars, parts = [], ["## An epoch of P2"]
    for result in found:
        seconds, errors = result["seconds"], result["errors"]
        plain = seconds["plain PyTorch loop"]
        rows = []
        for name, values in seconds.items():
            if name in errors:
                rows.append((name, "-", errors[name]))
            else:
                against = ratios(values, plain)
                rows.append((name, f"{statistics.median(values):.3f}", spread(against)))
        parts.append(f"Batch {result['batch_size']}, {len(plain)} rounds:")
        parts.append(table(("peer", "seconds an epoch", "to the plain loop"), rows))
        if "skvae" not in errors:
            limit = 0.65 if result["batch_size"] == 32 else 0.60
            what = f"epoch of P2, batch {result['batch_size']}, to the plain loop's"
            value = statistics.median(ratios(seconds["skvae"], plain))
            bars.append(bar(what, limit, value))
    return bars, "\n\n".join(parts)


def quality_section(found):
    bars, rows = [], []
    for result in found:
        name, thread, fits = result["set"], result["p2"], result["skvae"]
        reached = [fit["seconds"] for fit in fits if fit["seconds"] is not None]
        # A fit that never got there takes for ever.
        seconds = statistics.median(
            [*reached, *[math.inf] * (len(fits) - len(reached))]
        )
        share = seconds / thread["seconds"]
        bars.append(bar(f"seconds to P2's best ELBO, {name}", 0.05, share, "{:.3f}"))
        rows.append(
            (
                f"{name}, {result['n_train']} x {result['n_timepoints']}",
                f"{thread['elbo']:.1f}",
                f"{thread['seconds']:.1f}",
                f"{thread['all_seconds']:.1f} ({thread['n_epochs']}, "
                f"{thread['ended']})",
                f"{seconds:.2f} ({len(reached)} of {len(fits)} fits)",
                f"{share:.3f}",
                f"{middle(fits, 'seconds_before'):.2f}",
                f"{middle(fits, 'fit_seconds'):.2f}",
                f"{middle(fits, 'elbo'):.1f}",
            )
        )
    header = (
        "set",
        "P2's best ELBO, nats",
        "seconds to it",
        "all its seconds (epochs, ended by)",
        "skvae's seconds to that ELBO",
        "ratio",
        "of which before the last training",
        "its whole fit, s",
        "its ELBO then",
    )
    return bars, "## Time to P2's best ELBO\n\n" + table(header, rows)


def middle(records, name):
    return statistics.median(record[name] for record in records)


def search_section(found):
    ours = [r for r in found if r["system"] == "skvae"]
    theirs = [r for r in found if r["system"] == "P2" and "accuracy" in r]
    refits = [r for r in found if r.get("candidate") == "best"]
    title = "## The grid search"
    if not (ours and theirs and refits):
        return [], f"{title}\n\nNot finished: {len(theirs)} candidates of P2."
    ours, refit = ours[0], refits[0]
    n, best = ours["n_candidates"], max(theirs, key=lambda r: r["accuracy"])
    searched = sum(r["seconds"] for r in theirs)
    seconds = searched * n / len(theirs) + refit["seconds"]
    share = ours["seconds"] / seconds
    no_lower = ours["accuracy"] >= best["accuracy"]
    header = (
        "system",
        "seconds",
        "best accuracy, 5 folds",
        "accuracy of the test set",
        "best candidate",
    )
    rows = [
        (
            name,
            f"{seconds:.0f}",
            f"{result['accuracy']:.3f}",
            f"{test['test_accuracy']:.3f}",
            chosen,
        )
        for name, seconds, result, test, chosen in (
            ("skvae, n_jobs=2", ours["seconds"], ours, ours, ours["best"]),
            ("P2, n_jobs=1", seconds, best, refit, best["candidate"]),
        )
    ]
    note = (
        f"One run of each, {n} candidates, 5 folds, and a fit of the best. P2's "
        f"seconds are those of {len(theirs)} candidates, {searched:.0f}, times "
        f"{n / len(theirs):.3g}, and of that fit; its best is of these candidates."
    )
    bars = [
        bar(
            "the grid search, to P2's, with accuracy no lower "
            f"({ours['accuracy']:.3f} and {best['accuracy']:.3f})",
            0.10,
            share,
            "{:.3f}",
            no_lower,
        )
    ]
    return bars, "\n\n".join([title, note, table(header, rows)])


def transform_section(found):
    bars, rows = [], []
    for result in found:
        seconds, n = result["seconds"], result["n_signals"]
        bare = seconds["bare encoder"]
        against = ratios(seconds["transform"], bare)
        for name, values in seconds.items():
            of_bare = spread(against) if name == "transform" else ""
            if name == "bare encoder":
                name += f", batch {result['best_batch_size']}"
            median = f"{statistics.median(values):.2f}"
            rows.append((result["network"], name, median, of_bare))
        what = f"transform of {n:,} signals, {result['network']}, to the bare encoder's"
        bars.append(bar(what, 1.10, statistics.median(against)))
    header = ("network", f"of {n:,} signals", "seconds", "to the bare encoder")
    return bars, "## Transform\n\n" + table(header, rows)


def memory_section(found):
    bars, rows = [], []
    for result in found:
        kind, n, size = result["data"], result["n_signals"], result["data_bytes"]
        added, seconds = result["added_bytes"], result["seconds"]
        limit = 300.0
        if kind == "array":
            limit += 0.25 * size / MB
        what = f"MB added by a fit, {kind} of {n:,} signals"
        bars.append(bar(what, limit, added / MB, "{:.0f}"))
        rows.append((f"{n:,}, {kind}", *cells(n, seconds), f"{added / MB:.0f}"))
        if kind == "memory map":
            few, small = result["n_small"], result["seconds_small"]
            small = {name: middle(small, name) for name in ("fit", "epoch")}
            shares = [seconds[name] / n / (small[name] / few) for name in small]
            rows.append((f"{few:,}, {kind}", *cells(few, small), ""))
            what = f"time a sample at {n:,}, to {few:,}: the larger of fit and epoch"
            bars.append(bar(what, 1.2, max(shares)))
    header = (
        "signals of 336 points",
        "fit, µs a signal",
        "of it the epoch, µs a signal",
        "MB added",
    )
    note = (
        "Default settings but for batches of 256 and one epoch; anonymous memory, in a "
        "fresh process; of the few signals the median of several fits."
    )
    return bars, "\n\n".join(["## Memory", note, table(header, rows)])


def cells(n_signals, seconds):
    return [f"{1e6 * seconds[name] / n_signals:.0f}" for name in ("fit", "epoch")]


def import_section(found):
    seconds = found[0]["seconds"]
    ours, theirs = seconds.values()
    against = ratios(ours, theirs)
    rows = [(name, f"{statistics.median(v):.2f}") for name, v in seconds.items()]
    rows[0] += (spread(against),)
    rows[1] += ("",)
    value = statistics.median(against)
    return [bar("import, to its dependencies'", 1.10, value)], (
        "## Import\n\n" + table(("import", "seconds", "ratio"), rows)
    )


SECTIONS = {
    "epoch": epoch_section,
    "quality-time": quality_section,
    "search": search_section,
    "transform": transform_section,
    "memory": memory_section,
    "import": import_section,
}


if __name__ == "__main__":
    main()
