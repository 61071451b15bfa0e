"""Error of filled gaps, and accuracy on latents of signals with gaps.

Training and test signals have the same gaps for all methods: single points, blocks of
a fifth of the length, or ends, where signals stop early.
"""

import warnings
import zlib
from functools import partial
from itertools import product
from typing import NamedTuple

import data
import harness
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.neighbors import KNeighborsClassifier

from skvae import ConvVAETransformer

KINDS, SHARES = ("points", "blocks", "ends"), (0.1, 0.3, 0.5)
# IterativeImputer takes 46 s on 300 columns, and more than 60 s on 336.
FEW_COLUMNS = ("ItalyPowerDemand", "GunPoint", "ArrowHead", "Coffee", "Trace")


class Size(NamedTuple):
    sets: tuple = data.SETS
    seeds: int = 2
    max_epochs: int | str = "auto"


QUICK = Size(("ItalyPowerDemand", "BasicMotions"), 1, 1)


def make_gaps(X, kind, share, rng):
    """X (n, c, t) with about this share of NaN, or whole, if `kind` is "whole".

    Each channel has its own points and blocks, which do not overlap. Ends are common to
    the channels of a signal; lengths are uniform, 2 points or more.
    """
    n_timepoints = X.shape[2]
    is_missing = np.zeros(X.shape, bool)
    if kind == "points":
        is_missing = rng.random(X.shape) < share
    elif kind == "ends":
        lengths = n_timepoints * (1 - rng.uniform(0, 2 * share, (len(X), 1, 1)))
        is_missing |= np.arange(n_timepoints) >= np.maximum(lengths.round(), 2)
    elif kind == "blocks":
        length = round(n_timepoints / 5)
        for row in is_missing.reshape(-1, n_timepoints):
            n_blocks = int(share * n_timepoints / length + rng.random())
            n_starts = n_timepoints - n_blocks * length + 1
            starts = np.sort(rng.integers(n_starts, size=n_blocks))
            for start in starts + length * np.arange(n_blocks):
                row[start : start + length] = True
    return np.where(is_missing, np.nan, X)


def load(name, kind, share):
    """X, y, X_test, y_test with gaps, then X and X_test without; standardised."""
    X, y, X_test, y_test = data.load(name)
    X, X_test = (a.reshape(len(a), -1, a.shape[-1]).astype(float) for a in (X, X_test))
    mean, std = (f(X, axis=(0, 2), keepdims=True) for f in (np.mean, np.std))
    X, X_test = (X - mean) / std, (X_test - mean) / std
    rng = np.random.default_rng(zlib.crc32(f"{name} {kind} {share}".encode()))
    G, G_test = (make_gaps(a, kind, share, rng) for a in (X, X_test))
    return G, y, G_test, y_test, X, X_test


# --- Methods


class PPCA:
    """Probabilistic PCA with 8 components of rows with NaN, by 50 EM iterations."""

    def fit(self, X):
        filled = SimpleImputer(keep_empty_features=True).fit_transform(X)
        for _ in range(50):
            self.pca = PCA(min(8, len(X) - 1), random_state=0).fit(filled)
            # Filled values lie near the components, so they hide part of the noise.
            self.noise = self.pca.noise_variance_ / (~np.isnan(X)).mean() + 1e-9
            filled = self.transform(X)
        return self

    def transform(self, X):
        gains = np.maximum(self.pca.explained_variance_ - self.noise, 0)
        loadings = (self.pca.components_ * np.sqrt(gains)[:, None]).T  # (d, k)
        products = (loadings[:, :, None] * loadings[:, None]).reshape(len(loadings), -1)
        precision = (~np.isnan(X) @ products).reshape(len(X), *[len(gains)] * 2)
        precision += self.noise * np.eye(len(gains))
        projected = np.nan_to_num(X - self.pca.mean_) @ loadings
        z = np.linalg.solve(precision, projected[..., None])[..., 0]
        return np.where(np.isnan(X), self.pca.mean_ + z @ loadings.T, X)


def interpolate(X):
    """Linear in time, constant before the first and after the last measured value."""
    X, times = X.copy(), np.arange(X.shape[-1])
    for x in X.reshape(-1, len(times)):
        known = ~np.isnan(x)
        x[~known] = np.interp(times[~known], times[known], x[known])
    return X


def by_rows(imputer):
    """A method from an imputer of flat signals."""

    def fill(X, X_test):
        imputer.fit(X.reshape(len(X), -1))
        return imputer.transform(X_test.reshape(len(X_test), -1)).reshape(X_test.shape)

    return fill


def impute(X, X_test):
    """Filled signals and standard deviations; training would not change them."""
    vae = ConvVAETransformer(8, max_epochs=0, random_state=0).fit(X)
    return vae.impute(X_test, return_std=True)


METHODS = {
    "skvae": impute,
    "interpolation": lambda X, X_test: interpolate(X_test),
    "mean signal": by_rows(SimpleImputer(keep_empty_features=True)),
    "KNNImputer": by_rows(KNNImputer(keep_empty_features=True)),
    "pPCA": by_rows(PPCA()),
    "IterativeImputer": by_rows(
        IterativeImputer(random_state=0, keep_empty_features=True)
    ),
}


# --- Measurements


def fill(size, name, method, kind, share):
    """Root mean square error over the gaps of the test signals.

    For skvae also the share of the filled values that are off by less than 2 of the
    standard deviations that `impute` gives.
    """
    G, _, G_test, _, _, X_test = load(name, kind, share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # IterativeImputer has not converged
        filled = METHODS[method](G, G_test)
    filled, std = filled if method == "skvae" else (filled, None)
    is_gap = np.isnan(G_test)
    errors = np.abs(filled - X_test)[is_gap]
    figures = {"rmse": float(np.sqrt(np.mean(errors**2)))}
    if std is not None:
        figures["within 2 std"] = float((errors < 2 * std[is_gap]).mean())
    return figures


def classify(size, name, kind, seed):
    """Test accuracies of 1-NN with 30 percent missing, by what has gaps.

    - "skvae": training and test signals, on latents
    - "skvae, whole": training signals, on latents
    - "skvae, neighbours whole": the signals of `fit` only, on latents
    - "interpolated": training and test signals, on interpolated signals
    """
    G, y, G_test, y_test, X, X_test = load(name, kind, 0.3)
    vae = ConvVAETransformer(8, max_epochs=size.max_epochs, random_state=seed).fit(G)

    def accuracy(Z, Z_test):
        return KNeighborsClassifier(1).fit(Z, y).score(Z_test, y_test)

    Z, Z_test = vae.transform(G), vae.transform(X_test)
    rows, rows_test = (interpolate(a).reshape(len(a), -1) for a in (G, G_test))
    return {
        "skvae": accuracy(Z, vae.transform(G_test)),
        "skvae, whole": accuracy(Z, Z_test),
        "skvae, neighbours whole": accuracy(vae.transform(X), Z_test),
        "interpolated": accuracy(rows, rows_test),
    }


# --- Report


def show(title, frame, *notes):
    """A section of a DataFrame; a column's name may end with its format."""
    columns = [name if ":" in name else f"{name}:.3f" for name in frame]
    columns = " | ".join([frame.index.name, *columns])
    rows = frame.itertuples(name=None)
    return harness.section(title, harness.table(columns, rows), *notes)


def filling_section(results):
    keys = ["kind", "share", "set"]
    frame = pd.DataFrame(results).pivot(index=keys, columns="method", values="rmse")
    frame = frame.reindex(KINDS, level="kind").reindex(columns=METHODS)
    by_set = frame.loc["blocks", 0.3]
    by_set.loc["**mean**"] = by_set.mean(skipna=False)
    note = (
        "Root mean square error in standard deviations. IterativeImputer takes more "
        "than 60 s on 336 columns; the second table has the sets where it ends."
    )
    few = means_over_sets(frame[frame.notna().all(axis=1)])
    texts = [
        show("Error in gaps, means over all sets", means_over_sets(frame), note),
        show("Error in gaps, means over sets of few columns", few),
        show("Error in gaps, blocks, 30 percent", by_set),
    ]
    frame = pd.DataFrame(r for r in results if r["method"] == "skvae")
    frame = frame[frame["share"] == 0.3].pivot(
        index="set", columns="kind", values="within 2 std"
    )
    frame.loc["**mean**"] = frame.mean()
    title = "Share of filled values within 2 standard deviations, 30 percent missing"
    return "\n\n".join([*texts, show(title, frame[list(KINDS)])])


def means_over_sets(frame):
    """Means of the methods that have figures of all sets."""
    frame = frame.dropna(axis=1)
    wins = frame["skvae"] < frame["interpolation"]
    means, wins = (f.groupby(level=[0, 1], sort=False) for f in (frame, wins))
    means = means.mean()
    means["skvae / best other:.2f"] = means["skvae"] / means.iloc[:, 1:].min(axis=1)
    means["sets:.0f"] = wins.size()
    means["skvae better than interpolation:.0f"] = wins.sum()
    index = [f"{kind}, {share:.0%}" for kind, share in means.index]
    return means.set_axis(pd.Index(index, name="gaps"))


def accuracy_section(results):
    means = pd.DataFrame(results).groupby(["set", "kind"]).mean(numeric_only=True)
    means = means.unstack()
    means.loc["**mean**"] = means.mean()
    pairs = product(("whole", *KINDS), ("interpolated", "skvae"))
    both = {f"{kind}, {figure}": means[figure, kind] for kind, figure in pairs}
    note = "30 percent missing, 8 latents, means over seeds."
    title = "Accuracy of 1-NN, gaps in training and test signals"
    text = show(title, pd.DataFrame(both), note)
    whole = means["skvae", "whole"]
    training = {"no gaps": whole}
    for name, figure in (
        ("gaps in `fit` and neighbours", "skvae, whole"),
        ("gaps in `fit` only", "skvae, neighbours whole"),
    ):
        training[name] = means[figure, "points"]
        training[f"{name}, loss:+.3f"] = whole - means[figure, "points"]
    title = "Accuracy of 1-NN, gaps (points, 30 percent) in training signals only"
    return text + "\n\n" + show(title, pd.DataFrame(training))


def filling_tasks(size):
    for method, name, kind, share in product(METHODS, size.sets, KINDS, SHARES):
        if method != "IterativeImputer" or name in FEW_COLUMNS:
            yield {"set": name, "method": method, "kind": kind, "share": share}


def accuracy_tasks(size):
    for seed, name, kind in product(range(size.seeds), size.sets, ("whole", *KINDS)):
        yield {"set": name, "kind": kind, "seed": seed}


PARTS = {
    "filling": harness.Part(fill, filling_section, filling_tasks),
    "accuracy": harness.Part(classify, accuracy_section, accuracy_tasks),
}
report = partial(harness.report, "Signals with gaps", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "gaps", PARTS, report, Size(), QUICK)
