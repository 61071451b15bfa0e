"""How long one waits: against a plain PyTorch loop, other trainers, and the machine.

    pip install -e ".[bench]"
    python benchmarks/speed.py epoch quality-time search transform memory import threads
    python benchmarks/speed.py report         # results/speed.md

Results are lines of results/speed.jsonl; to do one again, delete its line. Nothing else
should run, and OMP_NUM_THREADS not be set.

- epoch: seconds an epoch of P2, the final script of the forum thread (`peers.py`), with
  the same network, batch and number of steps everywhere; 2048 signals of 336 points.
  The mean of two epochs after a first, in rounds in which the peers take turns.
- quality-time: P2 in the plain loop, up to 1000 epochs, patience 32, against skvae with
  `feature_weight=0` and with its defaults: seconds until the ELBO of held-back signals
  reaches P2's best. At each moment with the decoder variance that suits these signals
  best. What it takes to evaluate does not count; what a fit does before it trains does.
- search: the README's grid search, 27 candidates, on one channel of the watch set;
  against P2 for 100 epochs, of whose grid a third is run.
- transform: of 100 000 signals, P2 against its bare encoder in inference mode; and of a
  tenth of them.
- memory: added by `fit` to an array, and to a memory map of a million signals; and the
  time for these, a signal, against that for 10 000.
- import: of skvae, against its three large dependencies.
- threads: two default fits at once, in two processes, against one alone; score_samples
  against transform.
"""

import math
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from functools import cache, partial
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

import data
import harness
import numpy as np
import peers
import torch
from harness import FreshProcess, interleave, median, ratios, seconds_of, spread
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles

MB = 1e6
N_DRAWS = 4  # from q(z|x), behind each ELBO
PLAIN, BARE = "plain PyTorch loop", "bare encoder of P2"
DEPENDENCIES = "torch, sklearn, skorch"
SETTINGS = {"feature_weight=0": {"feature_weight": 0.0}, "defaults": {}}


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 5
    n_signals: int = 2048  # of an epoch
    batch_sizes: tuple = (32, 256)
    sets: tuple = ("watch", "load profiles", "GunPoint", "OSULeaf", "Trace")
    max_epochs: int = 1000  # of P2
    cap: float = 100.0  # seconds that P2 trains, at most, on a set
    search_epochs: int = 100
    n_values: int = 3  # of each parameter in the grid
    n_transformed: int = 100_000
    n_mapped: int = 1_000_000
    n_small: int = 10_000
    n_array: int = 200_000


QUICK = Size(
    rounds=2,
    n_signals=128,
    batch_sizes=(64,),
    sets=("GunPoint",),
    max_epochs=3,
    search_epochs=1,
    n_values=1,
    n_transformed=2000,
    n_mapped=6000,
    n_small=5500,
    n_array=6000,
)


def default_vae(**params):
    return ConvVAETransformer(device="cpu", **{"random_state": 0, **params})


def load(name):
    """Signals to fit, and others of the same kind."""
    if name == "load profiles":
        return tuple(make_load_profiles(500, random_state=i)[0] for i in (0, 1))
    X, _, held_back, _ = data.load(name)
    return X.astype(np.float32), held_back.astype(np.float32)


# --- An epoch


def epoch_tasks(size):
    for batch_size in size.batch_sizes:
        yield {"batch_size": batch_size}, partial(time_epochs, batch_size, size)


def time_epochs(batch_size, size):
    """Seconds an epoch of each peer by round, or what its error says."""
    with ExitStack() as stack:
        jobs = {}
        for name in peers.TRAINERS:
            # What one changes in torch or the environment must not serve another.
            process = stack.enter_context(FreshProcess())
            task = name, batch_size, size.n_signals
            jobs[name] = partial(process, time_trainer, *task)
        seconds, errors = interleave(jobs, size.rounds, warm_up=1)
    return {"seconds": seconds, "errors": errors}


def time_trainer(*task):
    return harness.seconds_an_epoch(trainer(*task)(3))


@cache
def trainer(name, batch_size, n_signals):
    X, _ = make_load_profiles(n_signals, random_state=0)
    return peers.TRAINERS[name](X, batch_size)


def epoch_section(found):
    header = "peer | seconds an epoch | to the plain loop"
    sections = []
    for result in found:
        rows = harness.turns(result, PLAIN)
        sections.append(f"Batch {result['batch_size']}:")
        sections.append(harness.table(header, "s .3f s", rows))
    return harness.section("An epoch of P2", *sections)


# --- Time to quality


def quality_tasks(size):
    for name in size.sets:
        yield {"set": name}, partial(time_to_quality, name, size)


def time_to_quality(name, size):
    """P2's best ELBO of held-back signals, and how long each took to reach it."""
    X, held_back = load(name)
    default_vae(max_epochs=1).fit(X[:32])  # to warm up
    fits = {setting: [] for setting in SETTINGS}

    def follow(seeds):
        for seed, setting in product(seeds, SETTINGS):
            params = SETTINGS[setting] | {"random_state": seed}
            fits[setting].append(follow_skvae(X, held_back, params))

    half = size.rounds // 2
    follow(range(half))
    thread = follow_p2(X, held_back, size)
    follow(range(half, size.rounds))
    for fit in chain(*fits.values()):
        fit["seconds"] = seconds_to(thread["elbo"], fit.pop("curve"))
    return {"n_train": len(X), "n_timepoints": X.shape[1], "p2": thread, "skvae": fits}


def seconds_to(elbo, curve):
    """The first time in (time, ELBO) pairs at which it is reached, or None."""
    return next((seconds for seconds, value in curve if value >= elbo), None)


def follow_p2(X, held_back, size):
    """Train P2 until its loss on the held-back signals gets no better."""
    model = peers.P2Transformer()
    train_epoch = model.start(X)
    seconds, curve, best_loss, best_epoch, ended = 0.0, [], np.inf, 0, "all epochs"
    for epoch in range(size.max_epochs):
        seconds += seconds_of(train_epoch)
        sse, kl = terms(model, held_back)
        curve.append((best_variance_elbo(sse, kl, X.shape[1]), seconds))
        loss = 100 * sse / model.range_**2 + kl
        if loss < best_loss:
            best_loss, best_epoch = loss, epoch
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


def follow_skvae(X, held_back, params):
    """A fit: (seconds, ELBO) as training begins, by epoch, and at the end.

    The weights of these moments are kept and judged afterwards.
    """
    states, times, paused = [], [], 0.0

    def look(net):
        nonlocal paused
        pause = time.perf_counter()
        times.append(pause - start - paused)
        state = net.module_.state_dict()
        states.append({name: value.clone() for name, value in state.items()})
        paused += time.perf_counter() - pause

    vae = default_vae(whiten=True, callbacks=[peers.Look(look)], **params)
    start = time.perf_counter()
    vae.fit(X)
    times.append(time.perf_counter() - start - paused)
    states.append({name: v.clone() for name, v in vae.module_.state_dict().items()})
    curve = []
    for seconds, state in zip(times, states, strict=True):
        vae.module_.load_state_dict(state)
        elbo = best_variance_elbo(*terms(vae, held_back), X.shape[1])
        curve.append((seconds, elbo))
    return {
        "curve": curve,
        "fit_seconds": times[-1],
        "seconds_before": times[0],
        "elbo": curve[-1][1],
    }


def terms(model, X):
    """Means over signals (n, t) of SSE, in the units of X, and KL; always equal draws.

    For any model with `posterior`, in units of the prior, and `inverse_transform`.
    """
    z_mean, z_std = (part.astype(float) for part in model.posterior(X))
    rng, sse = np.random.default_rng(0), 0.0
    for _ in range(N_DRAWS):
        X_hat = model.inverse_transform(z_mean + z_std * rng.normal(size=z_mean.shape))
        sse += np.square(X_hat.astype(float) - X).sum() / N_DRAWS
    kl = 0.5 * (z_mean**2 + z_std**2 - 1 - 2 * np.log(z_std)).sum()
    return float(sse) / len(X), float(kl) / len(X)


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


def quality_section(found):
    rows = []
    for result, setting in product(found, SETTINGS):
        thread, fits = result["p2"], result["skvae"][setting]
        reached = [fit["seconds"] for fit in fits if fit["seconds"] is not None]
        # A fit that never got there takes for ever.
        seconds = median(reached + [math.inf] * (len(fits) - len(reached)))
        rows.append(
            (
                f"{result['set']}, {result['n_train']} x {result['n_timepoints']}",
                thread["elbo"],
                thread["seconds"],
                f"{thread['all_seconds']:.1f} ({thread['n_epochs']}, "
                f"{thread['ended']})",
                setting,
                f"{seconds:.2f} ({len(reached)} of {len(fits)} fits)",
                seconds / thread["seconds"],
                *(
                    median([fit[key] for fit in fits])
                    for key in ("seconds_before", "fit_seconds", "elbo")
                ),
            )
        )
    header = (
        "set | P2's best ELBO, nats | seconds to it | all its seconds (epochs, ended "
        "by) | skvae | seconds to that ELBO | ratio | seconds before training | "
        "of the whole fit | ELBO then"
    )
    formats = "s .1f .1f s s s .3f .2f .2f .1f"
    return harness.section(
        "Time to P2's best ELBO", harness.table(header, formats, rows)
    )


# --- The search


def search_tasks(size):
    yield {"system": "skvae"}, partial(search_skvae, size)
    for candidate in third_of_grid(size):
        task = {"system": "P2", "candidate": candidate}
        yield task, partial(search_p2, candidate, size)


def grid(size, **values):
    values = {"latent_dim": [2, 8, 16], **values, "dropout": [0.0, 0.1, 0.3]}
    return {name: choices[: size.n_values] for name, choices in values.items()}


def third_of_grid(size):
    """Candidates of P2's grid in which each two values meet once: a Latin square."""
    choices = grid(size, reconstruction_weight=[1, 10, 100])
    for places in product(range(size.n_values), repeat=3):
        if sum(places) % 3 == 0:
            pairs = zip(choices.items(), places, strict=True)
            yield {name: values[i] for (name, values), i in pairs}


def search_skvae(size):
    return search(default_vae(), grid(size, feature_weight=[0.0, 0.5, 1.0]), n_jobs=2)


def search_p2(candidate, size):
    model = peers.P2Transformer(n_epochs=size.search_epochs)
    return search(model, {name: [value] for name, value in candidate.items()})


def search(vae, grid, **options):
    """Search on one channel of the watch set, fit the best, and test it."""
    X, y, X_test, y_test = data.load("watch")
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    grid = {f"vae__{name}": values for name, values in grid.items()}
    found = GridSearchCV(pipeline, grid, cv=5, **options)
    seconds = seconds_of(found.fit, X, y)
    return {
        "seconds": seconds - found.refit_time_,
        "refit_seconds": found.refit_time_,
        "n_candidates": len(found.cv_results_["params"]),
        "accuracy": float(found.best_score_),
        "test_accuracy": found.score(X_test, y_test),
        "best": {name[5:]: value for name, value in found.best_params_.items()},
    }


def search_section(found):
    ours = [r for r in found if r["system"] == "skvae"]
    theirs = [r for r in found if r["system"] == "P2"]
    n_candidates = ours[0]["n_candidates"] if ours else 27
    rows, notes = [], []
    if theirs:
        best = max(theirs, key=lambda result: result["accuracy"])
        searched = sum(result["seconds"] for result in theirs)
        times = n_candidates / len(theirs)
        seconds = times * searched + best["refit_seconds"]
        chosen = best["candidate"]
        rows.append(("P2, n_jobs=1", seconds, None, best, chosen))
        notes.append(
            f"P2's seconds are those of {len(theirs)} candidates, {searched:.0f}, "
            f"times {times:.3g}, and of a fit of the best of them."
        )
    for r in ours:
        taken = r["seconds"] + r["refit_seconds"]
        share = taken / seconds if theirs else None
        rows.insert(0, ("skvae, n_jobs=2", taken, share, r, r["best"]))
    header = (
        "system | seconds | ratio | best accuracy, 5 folds | accuracy of the test "
        "set | best candidate"
    )
    formats = "s .0f .3f .3f .3f s"
    rows = [
        (*start, result["accuracy"], result["test_accuracy"], chosen)
        for *start, result, chosen in rows
    ]
    return harness.section(
        "The grid search",
        f"One run, {n_candidates} candidates, 5 folds, and a fit of the best.",
        *notes,
        harness.table(header, formats, rows),
    )


# --- Transform


def transform_tasks(size):
    yield {}, partial(time_transform, size)


def time_transform(size):
    X, _ = make_load_profiles(1000, random_state=0)
    run = {"max_epochs": 1, "random_state": 0, "device": "cpu"}
    p2 = ConvVAETransformer(2, **(peers.P2 | run)).fit(X[:256])
    vae = ConvVAETransformer(**run).fit(X[:256])
    module = p2.module_.eval()

    X = np.tile(X, (size.n_transformed // len(X), 1))
    x, few = torch.from_numpy(X)[:, None], X[: len(X) // 10]
    encode_bare(module, x[: len(few)], 256)  # to warm up
    batch_sizes = {
        2**i: partial(seconds_of, encode_bare, module, x[: len(few)], 2**i)
        for i in range(4, 13)
    }
    times, _ = interleave(batch_sizes, 3)
    best = min(times, key=lambda batch_size: min(times[batch_size]))
    jobs = {
        BARE: partial(encode_bare, module, x, best),
        "transform, P2": partial(p2.transform, X),
        "transform, defaults": partial(vae.transform, X),
        "transform of a tenth, defaults": partial(vae.transform, few),
        "inverse_transform of a tenth, defaults": partial(
            vae.inverse_transform, vae.transform(few)
        ),
    }
    jobs = {name: partial(seconds_of, job) for name, job in jobs.items()}
    seconds, errors = interleave(jobs, size.rounds)
    n_signals = {name: len(few if "tenth" in name else X) for name in jobs}
    figures = {"best_batch_size": best, "n_signals": n_signals}
    return figures | {"seconds": seconds, "errors": errors}


@torch.inference_mode()
def encode_bare(module, x, batch_size):
    means = [module.encode(batch)[0] for batch in x.split(batch_size)]
    return torch.cat(means).numpy()


def transform_section(found):
    result, rows = found[-1], []
    for name, seconds, ratio in harness.turns(result, BARE):
        n = result["n_signals"][name]
        micro = seconds and 1e6 * seconds / n
        rows.append((name, n, seconds, micro, None if "tenth" in name else ratio))
    header = "job | signals | seconds | µs a signal | to the bare encoder"
    note = f"The bare encoder's batches are of {result['best_batch_size']}."
    return harness.section(
        "Transform", note, harness.table(header, "s , .2f .1f s", rows)
    )


# --- Memory


def memory_tasks(size):
    yield {"data": "memory map"}, partial(fit_memory_map, size)
    yield {"data": "array"}, partial(fit_array, size)


def fit_memory_map(size):
    X, _ = make_load_profiles(1000, random_state=0)
    with tempfile.TemporaryDirectory() as folder, FreshProcess() as process:
        path = Path(folder, "X.npy")
        shape = (size.n_mapped, X.shape[1])
        on_disk = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        for start in range(0, len(on_disk), len(X)):
            on_disk[start : start + len(X)] = X
        on_disk.flush()
        del on_disk
        return process(fit_mapped, path, size.n_small, size.rounds)


def fit_mapped(path, n_small, rounds):
    """Fit a whole memory map, then, several times, its beginning."""
    X = np.load(path, mmap_mode="r")
    return measure_fit(X) | {
        "n_small": n_small,
        "seconds_small": [time_fit(X[:n_small]) for _ in range(rounds)],
    }


def fit_array(size):
    with FreshProcess() as process:
        return process(fit_tiled, size.n_array)


def fit_tiled(n_signals):
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
    vae = default_vae(batch_size=256, max_epochs=1, callbacks=[peers.clock(times)])
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


def memory_section(found):
    rows = []
    for result in found:
        parts = [("", result["n_signals"], result["seconds"], result["added_bytes"])]
        if "n_small" in result:
            small = {
                name: median([seconds[name] for seconds in result["seconds_small"]])
                for name in ("fit", "epoch")
            }
            parts.append((", its beginning", result["n_small"], small, None))
        for name, n, seconds, added in parts:
            micro = [1e6 * seconds[key] / n for key in ("fit", "epoch")]
            size = None if added is None else result["data_bytes"] / MB
            added = None if added is None else added / MB
            rows.append((result["data"] + name, n, *micro, size, added))
    header = (
        "data | signals of 336 points | fit, µs a signal | of it the epoch | "
        "MB of data | MB added"
    )
    formats = "s , .0f .0f .0f .0f"
    note = (
        "Default settings but for batches of 256 and one epoch; anonymous memory, in a "
        "fresh process; of the beginning the median of several fits."
    )
    return harness.section("Memory", note, harness.table(header, formats, rows))


# --- Import


def import_tasks(size):
    yield {}, partial(time_imports, size)


def time_imports(size):
    jobs = {names: partial(time_import, names) for names in ("skvae", DEPENDENCIES)}
    return {"seconds": interleave(jobs, size.rounds, warm_up=1)[0]}


def time_import(names):
    code = (
        f"import time; start = time.perf_counter(); import {names}; "
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_section(found):
    rows = harness.turns(found[-1], DEPENDENCIES)
    header = "import | seconds | ratio"
    return harness.section("Import", harness.table(header, "s .2f s", rows))


# --- Threads


def thread_tasks(size):
    for name in size.sets[:2]:
        yield {"set": name}, partial(time_at_once, name, size)


def time_at_once(name, size):
    with FreshProcess() as first, FreshProcess() as second:

        def at_once():
            """The seconds of the slower of two."""
            futures = [p.submit(time_default_fit, name) for p in (first, second)]
            return max(future.result() for future in futures)

        jobs = {
            "a default fit alone": partial(first, time_default_fit, name),
            "two at once": at_once,
            "transform": partial(first, time_method, name, "transform"),
            "score_samples": partial(first, time_method, name, "score_samples"),
        }
        seconds, errors = interleave(jobs, size.rounds, warm_up=1)
    return {"seconds": seconds, "errors": errors}


fitted = {}  # by name of the set, in the process that fitted it


def time_default_fit(name):
    X, _ = load(name)
    fitted[name] = default_vae()
    return seconds_of(fitted[name].fit, X)


def time_method(name, method):
    X, _ = load(name)
    return seconds_of(getattr(fitted[name], method), X)


def thread_section(found):
    rows = []
    for result in found:
        alone, both, transform, score = result["seconds"].values()
        rows.append(
            (
                result["set"],
                median(alone),
                median(both),
                spread(ratios(both, alone)),
                1e3 * median(transform),
                1e3 * median(score),
                spread(ratios(score, transform)),
            )
        )
    header = (
        "set | a default fit alone, s | the slower of two at once | ratio | "
        "transform, ms | score_samples | ratio of these"
    )
    formats = "s .2f .2f s .1f .1f s"
    return harness.section("Two at once", harness.table(header, formats, rows))


# --- Report


SECTIONS = {
    "epoch": epoch_section,
    "quality-time": quality_section,
    "search": search_section,
    "transform": transform_section,
    "memory": memory_section,
    "import": import_section,
    "threads": thread_section,
}
PARTS = {
    "epoch": epoch_tasks,
    "quality-time": quality_tasks,
    "search": search_tasks,
    "transform": transform_tasks,
    "memory": memory_tasks,
    "import": import_tasks,
    "threads": thread_tasks,
}


def report(results, folder):
    return harness.report_parts(results, "How long one waits", SECTIONS)


if __name__ == "__main__":
    harness.main(__doc__, "speed", PARTS, report, Size(), QUICK)
