"""How long one waits: against a plain PyTorch loop, other trainers, and before."""

import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from itertools import chain, product
from operator import itemgetter
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
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.datasets import make_load_profiles
from skvae.model.features import RandomConvolutions
from skvae.threads import torch_threads

BEFORE = "9025113"  # the last commit before issue 24
N_SEEN = 1000  # signals of the calls of few, of whose times the median counts
N_FITTED = 300  # signals behind what is applied
MANY = 1_000_000  # signals, for which three rounds are enough
N_DRAWS = 4  # from q(z|x), behind each ELBO
SETTINGS = {"feature_weight=0": {"feature_weight": 0.0}, "defaults": {}}


class Size(NamedTuple):
    """How much is measured."""

    rounds: int = 7
    n_signals: int = 2048  # of an epoch
    batch_sizes: tuple = (32, 256)
    sets: tuple = ("watch", "load profiles", "GunPoint", "OSULeaf", "Trace")
    max_epochs: int = 1000  # of P2
    cap: float = 100.0  # seconds that P2 trains, at most, on a set
    search_epochs: int = 100
    n_values: int = 3  # of each parameter in the grid
    n_most: int = MANY  # signals that both builds see
    sets_at_once: tuple = ("watch", "load profiles")


QUICK = Size(2, 128, (64,), ("GunPoint",), 3, 100.0, 1, 1, 400, ("GunPoint",))


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
    """A search on one channel of the watch set, tested there."""
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


# --- To the build before

# Scripts print seconds. They get a number of signals, and the time they start at.
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
FORM = "closed form of a map"
FEATURES = "features on one thread"
PEERS = {FORM: "IncrementalPCA", FEATURES: "MiniRocket"}


def compared(size):
    for measure, n_signals, n_channels in (
        ("default fit", N_FITTED, 1),
        ("default fit", N_FITTED, 6),
        ("start of Python to latents", N_FITTED, 1),
        ("first step of two workers", N_FITTED, 1),
        ("README's grid search", 200, 1),
        ("transform", 1, 1),
        ("transform", 1, 6),
        ("transform", 20_000, 1),
        ("score_samples", 2000, 1),
        (FEATURES, 64, 1),
        (FEATURES, 256, 1),
        (FEATURES, 2000, 1),
        (FEATURES, 256, 6),
        (FORM, 20_000, 1),
        (FORM, MANY, 1),
    ):
        n_signals = min(n_signals, size.n_most)
        yield {"measure": measure, "signals": n_signals, "channels": n_channels}


def compare(size, measure, *shape):
    """Seconds and the most memory of both builds, each in a process, and of a peer."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        own = str(harness.HERE.parent)
        command = f"git archive {BEFORE} skvae | tar x -C '{folder}'"
        subprocess.run(command, shell=True, cwd=own, check=True)
        builds = {"before": folder, "now": own}
        if measure in PEERS:
            builds[PEERS[measure]] = own
        jobs = {}
        for name, build in builds.items():
            process = stack.enter_context(process_of(build))
            once = time_once, measure, *shape, folder, name
            jobs[name] = partial(harness.call, process, *once)
        rounds = (3, 0) if shape[0] == MANY else (size.rounds, 1)  # and to warm up
        found = interleave(jobs, *rounds)
    runs, peaks = found["seconds"], {}
    found["seconds"] = {name: [run[0] for run in runs[name]] for name in runs}
    if measure not in SCRIPTS:  # whose memory is that of other processes
        peaks = {name: max(run[1] for run in runs[name]) for name in runs if runs[name]}
    return found | {"peak_bytes": peaks}


def process_of(build):
    """A fresh process that, as those it starts, imports skvae from a folder."""
    path = [build, *sys.path]
    check = f"import skvae; assert skvae.__file__.startswith({build!r}), skvae.__file__"
    with mock.patch.dict(os.environ, PYTHONPATH=build), mock.patch("sys.path", path):
        process = harness.fresh_process()
        harness.call(process, exec, check)
    return process


def time_once(measure, *task):
    """Seconds of one call, and the most anonymous memory meanwhile."""
    timed = prepared(measure, *task)
    with harness.watched_memory() as memory:
        seconds = timed()
    return seconds, max(memory)


@cache
def prepared(measure, n_signals, n_channels, folder, build):
    """A function that gives the seconds of a measure, once, by a build or a peer."""
    is_peer = build == PEERS.get(measure)
    if measure in SCRIPTS:
        script = [sys.executable, "-c", SETUP + SCRIPTS[measure], str(n_signals)]
        run = partial(subprocess.check_output, cwd=sys.prefix)  # without an skvae
        return lambda: float(run([*script, str(time.time())]))
    if measure == FORM:
        path = Path(folder, "X.npy")  # of all processes
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
        call = partial(seconds_of, *features(profiles(n_signals, n_channels), is_peer))
        call = torch_threads(1)(torch.inference_mode()(call))
    else:
        method = getattr(default_vae().fit(X), measure)
        call = partial(seconds_of, method, np.resize(X, (n_signals, *X.shape[1:])))
    n_calls = max(1, N_SEEN // n_signals)
    return lambda: median([call() for _ in range(n_calls)])


def features(X, by_peer):
    """A function that gives features, and what it takes; MiniRocket's are as many."""
    X = X.reshape(len(X), -1, X.shape[-1])
    x = torch.from_numpy(X)
    torch.manual_seed(0)
    convolutions = RandomConvolutions(*X.shape[1:]).fit(x[:N_FITTED])
    if not by_peer:
        return convolutions, x
    from aeon.transformations.collection.convolution_based import MiniRocket

    peer = MiniRocket(convolutions.n_features, random_state=0)
    return peer.fit(X[:N_FITTED]).transform, X


def profiles(n_signals, n_channels=1):
    """Load profiles (n, t), or (n, c, t) of several channels."""
    seeds = range(n_channels)
    channels = [make_load_profiles(n_signals, random_state=seed)[0] for seed in seeds]
    return np.stack(channels, axis=1) if n_channels > 1 else channels[0]


@tabulated(
    f"To the build before ({BEFORE}), and to peers",
    "measure | signals:, | channels | to | rounds | its seconds:.3g | now:.3g | ratio "
    "| its MB at most:.0f | now:.0f",
    "Signals of 336 points, of the search 48; whole calls, with threads as a user has "
    "them. Memory is anonymous, with all that is imported. IncrementalPCA has 8 "
    "components and batches of 5000, of the same file; MiniRocket as many features, "
    "rounded down to a multiple of 84.",
)
def before_section(found):
    for result in found:
        task = result["measure"], result["signals"], result["channels"]
        seconds, peaks = result["seconds"], result["peak_bytes"]
        for other in [name for name in seconds if name != "now"]:
            pair = other, "now"
            ratios = {name: told for name, _, told in turns(result, other)}
            taken = (median(seconds[name]) for name in pair)
            most = (peaks.get(name, math.nan) / 1e6 for name in pair)
            yield *task, other, len(seconds["now"]), *taken, ratios["now"], *most


# --- Two fits at once


def time_at_once(size, name):
    """Two default fits in two processes against one."""
    with harness.fresh_process() as first, harness.fresh_process() as second:

        def at_once():
            """The seconds of the slower of two."""
            futures = [p.submit(time_default_fit, name) for p in (first, second)]
            return max(future.result() for future in futures)

        alone = partial(harness.call, first, time_default_fit, name)
        jobs = {"a default fit alone": alone, "two at once": at_once}
        return interleave(jobs, size.rounds, warm_up=1)


def time_default_fit(name):
    X, _ = load(name)
    return seconds_of(default_vae().fit, X)


@tabulated(
    "Two at once",
    "set | a default fit alone, s:.2f | the slower of two at once:.2f | ratio",
)
def thread_section(found):
    for result in found:
        alone, both = result["seconds"].values()
        yield result["set"], median(alone), median(both), harness.ratio(both, alone)


PARTS = {
    "epoch": Part(time_epochs, epoch_section, each("batch_size", "batch_sizes")),
    "quality-time": Part(time_to_quality, quality_section, each("set", "sets")),
    "search": Part(search, search_section, search_tasks),
    "before": Part(compare, before_section, compared),
    "threads": Part(time_at_once, thread_section, each("set", "sets_at_once")),
}
report = partial(harness.report, "How long one waits", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "speed", PARTS, report, Size(), QUICK)
