"""Do odd signals rank as odd: spikes, dead meters, swapped days, wrong levels?

Areas under the ROC curve of planted cases, of the README's recipe and of others.
"""

from typing import NamedTuple

import harness
import numpy as np
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from skvae import ConvVAETransformer
from skvae.datasets import load_watch, make_load_profiles

SETS = ("loads", "watch", "watch6")
KINDS = ("spike", "dead", "dying", "noisy", "swap", "gain", "offset")
PEERS = ("IsolationForest", "LOF", "PCA")
METHODS = ("recipe", *PEERS, "score_samples", "signal alone")
ODD_SHARE = 0.02
NOTE = (
    "Areas under the ROC curve, means over seeds; score_samples: the lowest is oddest; "
    "signal alone: the recipe with the signal in place of what the model leaves of it."
)


class Size(NamedTuple):
    seeds: int = 4
    kinds: tuple = KINDS
    sets: tuple = SETS
    max_epochs: int | str = "auto"


QUICK = Size(1, ("dead", "swap"), ("watch",), 1)


def load(name, seed):
    """Signals (n, c, 336): 500 made-up weeks, or 448 recordings of 1 or 6 channels."""
    if name == "loads":
        return make_load_profiles(500, random_state=seed)[0][:, None]
    return load_watch(channels=[0] if name == "watch" else None).data


def plant(X, rows, kind, name, seed):
    """X in which the signals at rows are odd, in one channel but where parts swap."""
    X, rng, std = X.copy(), np.random.default_rng(seed), X.std(axis=(0, 2))
    for x in (X[row] for row in rows):
        c, t = rng.integers(x.shape[0]), rng.integers(x.shape[1])
        if kind == "spike":  # of five standard deviations, up or down
            x[c, t] += rng.choice([-5, 5]) * std[c]
        elif kind == "dead":  # constant, or zero
            x[c] = x[c].mean() * rng.integers(2)
        elif kind == "dying":  # constant from some point in the middle half
            t = 84 + t // 2
            x[c, t:] = x[c, t]
        elif kind == "noisy":  # constant but for noise
            x[c] = rng.normal(x[c].mean(), 0.1 * std[c], x.shape[1])
        elif kind == "swap":  # a working day and a day of the weekend, or two fifths
            days = np.array_split(x, 7 if name == "loads" else 5, axis=1)
            i, j = rng.choice(5, 2, replace=False)
            j = rng.integers(5, 7) if name == "loads" else j
            days[i], days[j] = days[j], days[i]
            x[:] = np.concatenate(days, axis=1)[:, : x.shape[1]]
        else:
            x[c] = x[c] * 1.5 if kind == "gain" else x[c] + std[c]
    return X


def statistics(X, left):
    """What the recipe ranks, (n, k), of signals and what the model leaves of them."""
    jumps = np.diff(left)
    parts = (X.mean(-1), X.std(-1), left.mean(-1), left.std(-1))
    return np.hstack([*parts, jumps.std(-1), np.abs(jumps).max(-1)])


def oddness(statistics, usual=None):
    """Mean of 1/p, with p the two-sided share of usual signals that are as far out.

    The usual ones are all of them, or others (m, k) among which each is ranked alone.
    """
    if usual is None:
        share = rankdata(statistics, axis=0) / (len(statistics) + 1)
    else:
        below = [
            np.searchsorted(np.sort(u), s)
            for u, s in zip(usual.T, statistics.T, strict=True)
        ]
        share = (np.stack(below, axis=1) + 1) / (len(usual) + 2)
    return (0.5 / np.minimum(share, 1 - share)).mean(axis=1)


def score(size, seed, X, new=None):
    """How odd each method finds new signals, or else the fitted X themselves."""
    vae = ConvVAETransformer(8, max_epochs=size.max_epochs, random_state=seed).fit(X)
    scaler = StandardScaler().fit(X.reshape(len(X), -1))
    x = X if new is None else new
    fitted, rows = (scaler.transform(a.reshape(len(a), -1)) for a in (X, x))
    forest = IsolationForest(random_state=seed).fit(fitted)
    if new is None:
        usual, lof = (None, None), LocalOutlierFactor().fit(fitted)
        lof = lof.negative_outlier_factor_
    else:
        usual = statistics(X, X - vae.reconstruct(X)), statistics(X, X)
        lof = LocalOutlierFactor(novelty=True).fit(fitted).score_samples(rows)
    return {
        "recipe": oddness(statistics(x, x - vae.reconstruct(x)), usual[0]),
        "IsolationForest": -forest.score_samples(rows),
        "LOF": -lof,
        "PCA": -PCA(8, random_state=seed).fit(fitted).score_samples(rows),
        "score_samples": -vae.score_samples(x),
        "signal alone": oddness(statistics(x, x), usual[1]),
    }


def measure_fitted(size, name, seed, kind):
    """AUC of each method where 2 percent of the fitted signals are odd."""
    X = load(name, seed)
    rows = np.random.default_rng(seed).permutation(len(X))[: int(ODD_SHARE * len(X))]
    is_odd = np.isin(np.arange(len(X)), rows)
    found = score(size, seed, plant(X, rows, kind, name, seed))
    return {method: roc_auc_score(is_odd, values) for method, values in found.items()}


def measure_new(size, name, seed):
    """AUC by kind and method where half of the signals, none odd, were fitted."""
    X = load(name, seed)
    half, other = np.array_split(np.random.default_rng(seed).permutation(len(X)), 2)
    usual, every = X[other], range(len(other))
    odd = [plant(usual, every, kind, name, seed) for kind in size.kinds]
    found = score(size, seed, X[half], np.concatenate([usual, *odd]))
    is_odd = np.repeat([False, True], len(other))
    figures = {kind: {} for kind in size.kinds}
    for method, values in found.items():
        first, *others = np.split(values, 1 + len(odd))
        for kind, those in zip(size.kinds, others, strict=True):
            auc = roc_auc_score(is_odd, np.concatenate([first, those]))
            figures[kind][method] = auc
    return figures


def section(title, rows):
    """A table of means over seeds; rows are (set, kind, figures of one seed)."""
    cells = []
    for key in dict.fromkeys((name, kind) for name, kind, _ in rows):
        figures = [figures for *found, figures in rows if tuple(found) == key]
        means = [np.mean([f[method] for f in figures]) for method in METHODS]
        cells.append((*key, len(figures), *means, means[0] - max(means[1:4])))
    columns = [f"{method}:.3f" for method in METHODS]
    columns = " | ".join(["set | odd | seeds", *columns, "recipe - best peer:+.3f"])
    return harness.section(title, harness.table(columns, cells), NOTE)


def show_fitted(results):
    rows = [(r["set"], r["kind"], r) for r in results]
    return section("Odd signals among the fitted, 2 percent", rows)


def show_new(results):
    rows = [(r["set"], k, r[k]) for r in results for k in KINDS if k in r]
    return section("New signals, fitted on half of the set, none odd", rows)


def tasks(size):
    return [{"set": n, "seed": s} for n in size.sets for s in range(size.seeds)]


def tasks_by_kind(size):
    return [
        {"set": name, "seed": seed, "kind": kind}
        for name in size.sets
        for kind in size.kinds
        for seed in range(size.seeds)
    ]


PARTS = {
    "new": harness.Part(measure_new, show_new, tasks),
    "fitted": harness.Part(measure_fitted, show_fitted, tasks_by_kind),
}


def report(results, folder):
    return harness.report("Odd signals", PARTS, results, folder)


if __name__ == "__main__":
    harness.main(__doc__, "odd", PARTS, report, Size(), QUICK)
