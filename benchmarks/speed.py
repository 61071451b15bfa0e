"""How long one waits: against a plain PyTorch loop, other trainers, and the machine."""

import contextlib
import math
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache, partial
from itertools import chain, product
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import data
import harness
import numpy as np
import peers
import torch
from harness import Part, each, interleave, median, seconds_of, tabulated, turns
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.runtime import torch_threads

N_CALLS = 100  # of which one latency is the median
N_DRAWS = 4  # from q(z|x), behind each ELBO
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
    sets_at_once: tuple = ("watch", "load profiles")
    sets_of_one: tuple = ("load profiles", "watch6")


QUICK = Size(2, 128, (64,), ("GunPoint",), 3, 100.0, 1, 1, 2000, 6000, ("GunPoint",))


def default_vae(**params):
    return ConvVAETransformer(device="cpu", **{"random_state": 0, **params})


def load(name):
    """Signals to fit, and others of the same kind."""
    if name == "load profiles":
        return tuple(make_load_profiles(500, random_state=i)[0] for i in (0, 1))
    X, _, held_back, _ = data.load(name)
    return X.astype(np.float32), held_back.astype(np.float32)


# --- An epoch


def time_epochs(size, batch_size):
    """Seconds an epoch of P2, with as many steps everywhere, by peer and round.

    Signals are of 336 points.
    """
    with contextlib.ExitStack() as stack:
        jobs = {}
        for name in peers.TRAINERS:
            # What one changes in torch or the environment must not serve another.
            process = stack.enter_context(harness.fresh_process())
            task = name, batch_size, size.n_signals
            jobs[name] = partial(harness.call, process, time_trainer, *task)
        return interleave(jobs, size.rounds, warm_up=1)


def time_trainer(*task):
    return peers.seconds_an_epoch(trainer(*task))


@cache
def trainer(name, batch_size, n_signals):
    X, _ = make_load_profiles(n_signals, random_state=0)
    return peers.TRAINERS[name](X, batch_size)


def epoch_section(found):
    columns = "peer | seconds an epoch:.3f | to the plain loop"
    texts = []
    for result in found:
        rows = turns(result, "plain PyTorch loop")
        texts += [f"Batch {result['batch_size']}:", harness.table(columns, rows)]
    return harness.section("An epoch of P2", *texts)


# --- Time to quality


def time_to_quality(size, name):
    """The best ELBO of held-back signals that P2 reaches, and who reaches it how soon.

    P2 in the plain loop, with early stopping, against skvae. At each moment with the
    decoder variance that suits these signals best. What it takes to evaluate does not
    count; what a fit does before it trains does.
    """
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
        reached = (t for t, elbo in fit.pop("curve") if elbo >= thread["elbo"])
        fit["seconds"] = next(reached, None)
    return {"n_train": len(X), "n_timepoints": X.shape[1], "p2": thread, "skvae": fits}


def follow_p2(X, held_back, size):
    """Train P2 until its loss on the held-back signals gets no better."""
    model = peers.P2Transformer()
    train_epoch = model.start_training(X)
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
    found = {"elbo": elbo, "seconds": seconds_to_best, "all_seconds": seconds}
    return found | {"n_epochs": len(curve), "ended": ended}


def follow_skvae(X, held_back, params):
    """A fit: (seconds, ELBO) as training begins, by epoch, and at the end.

    The weights of these moments are kept and judged afterwards.
    """
    states, times, paused = [], [], 0.0

    def look(module):
        nonlocal paused
        pause = time.perf_counter()
        times.append(pause - start - paused)
        states.append({k: value.clone() for k, value in module.state_dict().items()})
        paused += time.perf_counter() - pause

    callback = peers.Look(lambda net: look(net.module_))
    vae = default_vae(whiten=True, callbacks=[callback], **params)
    start = time.perf_counter()
    vae.fit(X)
    look(vae.module_)
    curve = []
    for seconds, state in zip(times, states, strict=True):
        vae.module_.load_state_dict(state)
        elbo = best_variance_elbo(*terms(vae, held_back), X.shape[1])
        curve.append((seconds, elbo))
    found = {"curve": curve, "fit_seconds": times[-1], "seconds_before": times[0]}
    return found | {"elbo": curve[-1][1]}


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

    Of means over samples, each of n_values.
    """
    return -0.5 * n_values * (math.log(2 * math.pi * sse / n_values) + 1) - kl


@tabulated(
    "Time to P2's best ELBO",
    "set | P2's best ELBO, nats:.1f | seconds to it:.1f | all its seconds (epochs, "
    "ended by) | skvae | seconds to that ELBO | ratio:.3f | seconds before "
    "training:.2f | of the whole fit:.2f | ELBO then:.1f",
)
def quality_section(found):
    for result, setting in product(found, SETTINGS):
        p2, fits = result["p2"], result["skvae"][setting]
        reached = [fit["seconds"] for fit in fits if fit["seconds"] is not None]
        # A fit that never got there takes for ever.
        seconds = median(reached + [math.inf] * (len(fits) - len(reached)))
        yield (
            f"{result['set']}, {result['n_train']} x {result['n_timepoints']}",
            p2["elbo"],
            p2["seconds"],
            f"{p2['all_seconds']:.1f} ({p2['n_epochs']}, {p2['ended']})",
            setting,
            f"{seconds:.2f} ({len(reached)} of {len(fits)} fits)",
            seconds / p2["seconds"],
            *(
                median([fit[key] for fit in fits])
                for key in ("seconds_before", "fit_seconds", "elbo")
            ),
        )


# --- The search


def grid(size, **values):
    values = {"latent_dim": [2, 8, 16], **values, "dropout": [0.0, 0.1, 0.3]}
    return {name: choices[: size.n_values] for name, choices in values.items()}


def search_tasks(size):
    """skvae, and a third of P2's grid in which each two values meet: a Latin square."""
    yield {"system": "skvae"}
    choices = grid(size, reconstruction_weight=[1, 10, 100])
    for places in product(range(size.n_values), repeat=3):
        if sum(places) % 3 == 0:
            pairs = zip(choices.items(), places, strict=True)
            candidate = {name: values[i] for (name, values), i in pairs}
            yield {"system": "P2", "candidate": candidate}


def search(size, system, candidate=None):
    """The README's search on one channel of the watch set, tested there."""
    if system == "skvae":
        vae, options = default_vae(), {"n_jobs": 2}
        values = grid(size, feature_weight=[0.0, 0.5, 1.0])
    else:
        vae, options = peers.P2Transformer(n_epochs=size.search_epochs), {}
        values = {name: [value] for name, value in candidate.items()}
    X, y, X_test, y_test = data.load("watch")
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    values = {f"vae__{name}": choices for name, choices in values.items()}
    found = GridSearchCV(pipeline, values, cv=5, **options)
    seconds = seconds_of(found.fit, X, y)
    return {
        "seconds": seconds - found.refit_time_,
        "refit_seconds": found.refit_time_,
        "n_candidates": len(found.cv_results_["params"]),
        "accuracy": float(found.best_score_),
        "test_accuracy": found.score(X_test, y_test),
        "best": {name[5:]: value for name, value in found.best_params_.items()},
    }


@tabulated(
    "The grid search",
    "system | seconds:.0f | ratio:.3f | best accuracy, 5 folds:.3f | accuracy of the "
    "test set:.3f | best candidate",
    "One run, 5 folds, and a fit of the best. Of P2's grid a third was tried, and its "
    "seconds are taken times three.",
)
def search_section(found):
    ours = [result for result in found if result["system"] == "skvae"]
    theirs = [result for result in found if result["system"] == "P2"]
    if not (ours and theirs):  # as yet
        return
    ours, best = ours[0], max(theirs, key=itemgetter("accuracy"))
    accuracies = itemgetter("accuracy", "test_accuracy")
    times = ours["n_candidates"] / len(theirs)
    seconds = times * sum(r["seconds"] for r in theirs) + best["refit_seconds"]
    taken = ours["seconds"] + ours["refit_seconds"]
    yield "skvae, n_jobs=2", taken, taken / seconds, *accuracies(ours), ours["best"]
    yield "P2, n_jobs=1", seconds, None, *accuracies(best), best["candidate"]


# --- Transform


def time_transform(size):
    """`transform` of many signals and of a tenth, and back."""
    few, _ = make_load_profiles(1000, random_state=0)
    vae = default_vae(max_epochs=1).fit(few[:256])
    X = np.tile(few, (size.n_transformed // len(few), 1))
    tenth = X[: len(X) // 10]
    Z = vae.transform(tenth)
    jobs = {
        "transform, defaults": (vae.transform, X),
        "transform of a tenth, defaults": (vae.transform, tenth),
        "inverse_transform of a tenth, defaults": (vae.inverse_transform, Z),
    }
    n_signals = {name: len(array) for name, (_, array) in jobs.items()}
    jobs = {name: partial(seconds_of, *job) for name, job in jobs.items()}
    return {"n_signals": n_signals} | interleave(jobs, size.rounds)


@tabulated("Transform", "job | signals:, | seconds:.2f | µs a signal:.1f")
def transform_section(found):
    for result in found:
        for name, values in result["seconds"].items():
            n, seconds = result["n_signals"][name], median(values)
            yield name, n, seconds, 1e6 * seconds / n


# --- Latency


def time_latency(size, name):
    """`transform` of one signal, against the network alone, one thread each."""
    X, _ = load(name)
    vae = default_vae(max_epochs=1).fit(X[:256])
    one, encode = X[:1], vae.module_.encode
    x = vae.scaler_.transform(one.reshape(1, *vae.module_.decoder.shape))

    @torch.inference_mode()
    def network():
        encode(torch.from_numpy(x))

    calls = {"the network": network, "transform": partial(vae.transform, one)}
    jobs = {
        name: lambda call=call: median([seconds_of(call) for _ in range(N_CALLS)])
        for name, call in calls.items()
    }
    with torch_threads(1):
        return interleave(jobs, size.rounds, warm_up=1)


@tabulated("Latency", "set | one signal, by | ms:.2f | ratio")
def latency_section(found):
    for result in found:
        for name, seconds, ratio in turns(result, "the network"):
            yield result["set"], name, 1e3 * seconds, ratio


# --- Memory


def measure_memory(size):
    """What a fit of a memory map adds, and how long it takes, in a fresh process."""
    few, _ = make_load_profiles(1000, random_state=0)
    with tempfile.TemporaryDirectory() as folder, harness.fresh_process() as process:
        path = Path(folder, "X.npy")
        shape = (size.n_mapped, few.shape[1])
        X = np.lib.format.open_memmap(path, "w+", few.dtype, shape)
        X.reshape(-1, *few.shape)[:] = few
        return harness.call(process, measure_fit, path)


def measure_fit(path):
    """A default fit but for batches of 256 and one epoch."""
    X, times = np.load(path, mmap_mode="r"), []
    vae = default_vae(batch_size=256, max_epochs=1, callbacks=[peers.clock(times)])
    with watched_memory() as memory:
        seconds = {"fit": seconds_of(vae.fit, X), "epoch": times[-1] - times[0]}
    figures = {"n_signals": len(X), "data_bytes": X.nbytes, "seconds": seconds}
    return figures | {"added_bytes": max(memory) - memory[0]}


@contextlib.contextmanager
def watched_memory():
    """A list that grows by the anonymous memory in use, every 50 ms, in bytes.

    What is mapped from a file is not in it, for the system may drop it any time.
    """
    found, ended = [anonymous_memory()], threading.Event()

    def watch():
        while not ended.wait(0.05):
            found.append(anonymous_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
    found.append(anonymous_memory())


def anonymous_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


@tabulated(
    "Memory",
    "signals of 336 points:, | fit, µs a signal:.0f | of it the epoch:.0f | MB of "
    "data:.0f | MB added:.0f",
    "A memory map; default settings but for batches of 256 and one epoch.",
)
def memory_section(found):
    for result in found:
        n, seconds = result["n_signals"], result["seconds"]
        micro = [1e6 * seconds[key] / n for key in ("fit", "epoch")]
        megabytes = [result[key] / 1e6 for key in ("data_bytes", "added_bytes")]
        yield (n, *micro, *megabytes)


# --- Import


def time_imports(size):
    """The import of skvae, against its three large dependencies."""
    jobs = {names: partial(time_import, names) for names in ("skvae", DEPENDENCIES)}
    return interleave(jobs, size.rounds, warm_up=1)


def time_import(names):
    code = (
        f"import time; start = time.perf_counter(); import {names}; "
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


@tabulated("Import", "import | seconds:.2f | ratio")
def import_section(found):
    return turns(found[-1], DEPENDENCIES)


# --- Threads


def time_at_once(size, name):
    """Two default fits in two processes against one; score_samples and transform."""
    with harness.fresh_process() as first, harness.fresh_process() as second:
        alone = partial(harness.call, first)

        def at_once():
            """The seconds of the slower of two."""
            futures = [p.submit(time_default_fit, name) for p in (first, second)]
            return max(future.result() for future in futures)

        jobs = {
            "a default fit alone": partial(alone, time_default_fit, name),
            "two at once": at_once,
            "transform": partial(alone, time_method, name, "transform"),
            "score_samples": partial(alone, time_method, name, "score_samples"),
        }
        return interleave(jobs, size.rounds, warm_up=1)


fitted = {}  # by name of the set, in the process that fitted it


def time_default_fit(name):
    X, _ = load(name)
    fitted[name] = default_vae()
    return seconds_of(fitted[name].fit, X)


def time_method(name, method):
    X, _ = load(name)
    return seconds_of(getattr(fitted[name], method), X)


@tabulated(
    "Two at once",
    "set | a default fit alone, s:.2f | the slower of two at once:.2f | ratio | "
    "transform, ms:.1f | score_samples:.1f | ratio of these",
)
def thread_section(found):
    for result in found:
        alone, both, transform, score = result["seconds"].values()
        fits = median(alone), median(both), harness.ratio(both, alone)
        milli = 1e3 * median(transform), 1e3 * median(score)
        yield (result["set"], *fits, *milli, harness.ratio(score, transform))


PARTS = {
    "epoch": Part(time_epochs, epoch_section, each("batch_size", "batch_sizes")),
    "quality-time": Part(time_to_quality, quality_section, each("set", "sets")),
    "search": Part(search, search_section, search_tasks),
    "transform": Part(time_transform, transform_section),
    "latency": Part(time_latency, latency_section, each("set", "sets_of_one")),
    "memory": Part(measure_memory, memory_section),
    "import": Part(time_imports, import_section),
    "threads": Part(time_at_once, thread_section, each("set", "sets_at_once")),
}
report = partial(harness.report, "How long one waits", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "speed", PARTS, report, Size(), QUICK)
