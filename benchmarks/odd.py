"""Ranking of odd signals: spikes, dead meters, swapped days, wrong levels.

Areas under the ROC curve of odd signals planted in sets, for the README's recipe, the
same without a model, and common detectors.
"""

from functools import partial
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

KINDS = ("spike", "dead", "dying", "noisy", "swap", "gain", "offset")
PEERS = ("IsolationForest", "LOF", "PCA")
METHODS = ("recipe", *PEERS, "score_samples", "signal alone")
ODD_SHARE = 0.02


class Size(NamedTuple):
    seeds: int = 4
    kinds: tuple = KINDS
    sets: tuple = ("loads", "watch", "watch6")
    max_epochs: int | str = "auto"


QUICK = Size(1, ("dead", "swap"), ("watch",), 1)


def load(name, seed):
    """Signals (n, c, 336): 500 made-up weeks, or 448 recordings of 1 or 6 channels."""
    if name == "loads":
        return make_load_profiles(500, random_state=seed)[0][:, None]
    return load_watch(channels=[0] if name == "watch" else None).data


def plant(X, rows, kind, name, seed):
    """A copy of X with odd signals in some rows.

    One channel is odd; where parts of a signal are swapped, all channels are.
    """
    X, rng, std = X.copy(), np.random.default_rng(seed), X.std(axis=(0, 2))
    for x in (X[row] for row in rows):
        c, t = rng.integers(x.shape[0]), rng.integers(x.shape[1])
        if kind == "spike":  # of five standard deviations, up or down
            x[c, t] += rng.choice([-5, 5]) * std[c]
        elif kind == "dead":  # constant, or zero
            x[c] = x[c].mean() * rng.integers(2)
        elif kind == "dying":  # constant from a point in the middle half
            t = 84 + t // 2
            x[c, t:] = x[c, t]
        elif kind == "noisy":  # constant plus noise
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


def statistics(X, residuals):
    """The statistics (n, k) that the recipe ranks signals by."""
    jumps = np.diff(residuals)
    parts = (X.mean(-1), X.std(-1), residuals.mean(-1), residuals.std(-1))
    return np.hstack([*parts, jumps.std(-1), np.abs(jumps).max(-1)])


def oddness(statistics):
    """Mean of 1 / p, with p the two-sided share of signals that are as far out."""
    share = rankdata(statistics, axis=0) / (len(statistics) + 1)
    return (0.5 / np.minimum(share, 1 - share)).mean(axis=1)


def measure(size, name, seed, kind):
    """The area of each method, with 2 percent of the fitted signals odd."""
    X = load(name, seed)
    rows = np.random.default_rng(seed).permutation(len(X))[: int(ODD_SHARE * len(X))]
    is_odd = np.isin(np.arange(len(X)), rows)
    X = plant(X, rows, kind, name, seed)
    vae = ConvVAETransformer(8, max_epochs=size.max_epochs, random_state=seed).fit(X)
    flat = StandardScaler().fit_transform(X.reshape(len(X), -1))
    forest, pca = IsolationForest(random_state=seed), PCA(8, random_state=seed)
    scores = {
        "recipe": oddness(statistics(X, X - vae.reconstruct(X))),
        "IsolationForest": -forest.fit(flat).score_samples(flat),
        "LOF": -LocalOutlierFactor().fit(flat).negative_outlier_factor_,
        "PCA": -pca.fit(flat).score_samples(flat),
        "score_samples": -vae.score_samples(X),
        "signal alone": oddness(statistics(X, X)),
    }
    return {method: roc_auc_score(is_odd, values) for method, values in scores.items()}


@harness.tabulated(
    f"Odd signals among the fitted ones, {ODD_SHARE:.0%}",
    f"set | odd | seeds | {':.3f | '.join(METHODS)}:.3f | recipe - best detector:+.3f",
    "Areas under the ROC curve, means over seeds. score_samples: signals of low "
    "likelihood are odd. Signal alone: the recipe with the signal itself in place of "
    "the residuals of its reconstruction.",
)
def section(results):
    for name, kind in dict.fromkeys((r["set"], r["kind"]) for r in results):
        own = [r for r in results if (r["set"], r["kind"]) == (name, kind)]
        means = {method: np.mean([r[method] for r in own]) for method in METHODS}
        margin = means["recipe"] - max(means[peer] for peer in PEERS)
        yield (name, kind, len(own), *means.values(), margin)


def tasks(size):
    return [
        {"set": name, "seed": seed, "kind": kind}
        for name in size.sets
        for kind in size.kinds
        for seed in range(size.seeds)
    ]


PARTS = {"fitted": harness.Part(measure, section, tasks)}
report = partial(harness.report, "Odd signals", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "odd", PARTS, report, Size(), QUICK)
