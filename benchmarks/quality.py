"""What the latents are worth: k-NN, held-out likelihood and reconstruction.

    pip install -e ".[bench]" && pip install --no-deps seglearn==1.2.5
    python benchmarks/quality.py run report   # may be stopped any time, and goes on
    python benchmarks/quality.py run --only set=GunPoint method=pca,skvae seed=0

Results are lines of results/quality.jsonl, one for each set, method, latent_dim and
seed; to do one again, delete its line. For each:

- acc1, acc5: test accuracy of 1-NN and 5-NN on the latents; accuracy: of the method's
  own classifier
- acc1_tenth: of 1-NN that knows the labels of a tenth of the training signals, of a
  method that knows none; of the "10%" methods all figures are such
- bound: mean log-likelihood (exact for PCA) or its lower bound, on the test signals, in
  nats per signal in the units of X
- reconstruction: mean squared error a value, on the test signals, of standardised ones
- fit_seconds, transform_seconds: by the clock, the latter of the test signals;
  fit_cpu_seconds: of the processor, on which other work tells less

Methods but skvae's, minirocket and pca-raw get signals standardised by channel. k1 is
the forum thread's Keras model, which `port.py` shows to be equal, p2 its final script,
both for 100 epochs, their latents not scaled; pythae is Pythae's VAE with the network
of p2, on signals of one channel after the other.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import data
import harness
import numpy as np
import peers
import torch
from sklearn.base import BaseEstimator, TransformerMixin, is_classifier
from sklearn.decomposition import PCA, FastICA, KernelPCA
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, StandardScaler

from skvae import ConvVAETransformer
from skvae.scaling import ChannelScaler

LATENT_DIMS = (2, 8, 16)

# Accuracies of 1-NN with Euclidean distance and with DTW (full window), T-Loss and
# 1-NN, InceptionTime: the UCR archive's DataSummary (signals normalised one by one);
# Franceschi et al. (2019), the authors' CSV; aeon's stored results.
PUBLISHED = {
    "GunPoint": (0.913, 0.907, 0.833, 1.0),
    "ItalyPowerDemand": (0.955, 0.950, 0.942, 0.966),
    "OSULeaf": (0.521, 0.591, 0.636, 0.921),
    "ArrowHead": (0.800, 0.703, 0.817, 0.863),
    "ACSF1": (0.540, 0.640, 0.850, 0.910),
    "Coffee": (1.0, 1.0, 1.0, 1.0),
    "Trace": (0.760, 1.0, 1.0, 1.0),
}


# --- Methods


class Features(TransformerMixin, BaseEstimator):
    """skvae's convolution features alone, of scaled signals (n, c, t)."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, X, y=None):
        from skvae.model.features import RandomConvolutions

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.convolutions_ = RandomConvolutions(*X.shape[1:])
            self.convolutions_.fit(torch.from_numpy(X))
        return self

    @torch.no_grad()
    def transform(self, X):
        batches = torch.from_numpy(X).split(512)
        return torch.cat([self.convolutions_(x) for x in batches]).numpy()


def features(k, seed, *steps):
    return make_pipeline(Features(seed), StandardScaler(), *steps)


def vae(**params):
    return lambda k, seed: ConvVAETransformer(k, random_state=seed, **params)


def minirocket(k, seed):
    from aeon.transformations.collection.convolution_based import MiniRocket

    return make_pipeline(
        FunctionTransformer(as_channels),
        MiniRocket(random_state=seed),
        StandardScaler(with_mean=False),
        RidgeClassifierCV(np.logspace(-3, 3, 10)),
    )


def umap(k, seed):
    from umap import UMAP

    return UMAP(n_components=k, random_state=seed, n_jobs=1)


class Method(NamedTuple):
    """`make(latent_dim, seed)` gives the estimator; the rest is what to run it for."""

    make: Callable
    latent_dims: tuple = LATENT_DIMS
    seeds: tuple = (0, 1, 2)
    view: str = "standardised"  # of the signals: see `views`
    large: bool = False  # whether on sets of some thousand signals too


own = partial(Method, view="signals", large=True)
LABELS = {"label_weight": 2.0, "feature_weight": 0.5}
METHODS = {
    "raw": Method(lambda k, seed: FunctionTransformer(), (None,), large=True),
    "pca": Method(lambda k, seed: PCA(k, svd_solver="full"), large=True),
    "pca-raw": Method(
        lambda k, seed: PCA(k, svd_solver="full"), view="flat", large=True
    ),
    "features": Method(features, (None,), view="scaled", large=True),
    "features-pca": Method(
        lambda k, seed: features(k, seed, PCA(k, svd_solver="full")),
        view="scaled",
        large=True,
    ),
    "skvae": own(vae()),
    "skvae-signal": own(vae(feature_weight=0.0)),
    "skvae-labels": own(vae(**LABELS), (2, 8)),
    "skvae-10%-labels": own(vae(**LABELS), (2, 8)),
    "minirocket": own(minirocket, (None,), (0,)),
    "k1": Method(vae(**peers.K1), (2, 8), (0,), "signals"),
    "p2": Method(vae(**peers.P2), (2, 8), (0,), "signals"),
    "pythae": Method(
        lambda k, seed: peers.PythaeVAE(k, random_state=seed), (2, 8), (0,)
    ),
    "kpca": Method(
        lambda k, seed: KernelPCA(k, kernel="rbf", fit_inverse_transform=True),
        seeds=(0,),
    ),
    "ica": Method(lambda k, seed: FastICA(k, random_state=seed), seeds=(0,)),
    "umap": Method(umap, (2, 8), (0,)),
}
WITH_LABELS = ("skvae-labels", "skvae-10%-labels", "minirocket")
NO_LABELS = tuple(name for name in METHODS if name not in WITH_LABELS)
NO_RECONSTRUCTION = ("raw", "features", "features-pca", "umap")


# --- Running


class Size(NamedTuple):
    sets: tuple = data.SETS + data.SETS_LARGE
    latent_dims: tuple = (None, *LATENT_DIMS)
    seeds: tuple = (0, 1, 2)


QUICK = Size(("GunPoint", "BasicMotions"), (None, 2), (0,))


def tasks(size):
    """Each set, method, latent_dim and seed that the method provides for."""
    for seed, (name, method), set_name in product(
        size.seeds, METHODS.items(), size.sets
    ):
        if seed not in method.seeds or (
            set_name in data.SETS_LARGE and not method.large
        ):
            continue
        for k in method.latent_dims:
            if k in size.latent_dims:
                task = {
                    "set": set_name,
                    "method": name,
                    "latent_dim": k,
                    "seed": seed,
                }
                yield task, partial(evaluate, *task.values())


def evaluate(name, method, latent_dim, seed):
    """Fit and judge one method on one set: a dict of figures."""
    X_train, y_train, X_test, y_test = data.load(name)
    encoder = LabelEncoder().fit(y_train)
    y_train, y_test = encoder.transform(y_train), encoder.transform(y_test)
    scaler = ChannelScaler("standard").fit(as_channels(X_train))
    standardise = views(scaler)["standardised"]
    view = views(scaler)[METHODS[method].view]
    S_test, X_train, X_test = standardise(X_test), view(X_train), view(X_test)
    model = METHODS[method].make(latent_dim, seed)

    tenth = draw_tenth(y_train, seed)
    known = tenth if "10%" in method else np.ones_like(tenth)
    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(X_train, np.where(known, y_train, -1))
    result = {
        "fit_seconds": time.perf_counter() - start,
        "fit_cpu_seconds": time.process_time() - cpu_start,
    }
    if is_classifier(model):
        return result | {"accuracy": float(model.score(X_test, y_test))}

    start = time.perf_counter()
    Z_test = model.transform(X_test)
    result["transform_seconds"] = time.perf_counter() - start
    Z_train = model.transform(X_train)

    def knn_accuracy(k, rows):
        knn = KNeighborsClassifier(min(k, rows.sum())).fit(Z_train[rows], y_train[rows])
        return float(knn.score(Z_test, y_test))

    if method in NO_LABELS:
        result["acc1_tenth"] = knn_accuracy(1, tenth)
    result |= {"acc1": knn_accuracy(1, known), "acc5": knn_accuracy(5, known)}

    if method not in NO_RECONSTRUCTION:
        is_scaled = METHODS[method].view == "standardised"
        if hasattr(model, "score"):
            log_det = scaler.log_det(S_test.shape[1] // len(scaler.scale_))
            result["bound"] = float(model.score(X_test)) + is_scaled * log_det
        X_hat = model.inverse_transform(Z_test)
        S_hat = X_hat if is_scaled else standardise(X_hat)
        result["reconstruction"] = float(np.mean((S_hat - S_test) ** 2))
    return result


def views(scaler):
    """What a method may get, made from signals (n, t) or (n, c, t)."""
    n_channels = len(scaler.scale_)

    def scale(X):
        return scaler.transform(X.reshape(len(X), n_channels, -1))

    return {
        "signals": lambda X: X,
        "flat": lambda X: X.reshape(len(X), -1).astype(float),  # in the units of X
        "scaled": scale,  # (n, c, t) in float32
        "standardised": lambda X: scale(X).reshape(len(X), -1).astype(float),
    }


def as_channels(X):
    return X[:, None] if X.ndim == 2 else X  # (n, c, t)


def draw_tenth(y, seed):
    """Mask of a tenth of the samples of each class, at least two."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(y), bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        mask[rows[: max(2, round(len(rows) / 10))]] = True
    return mask


# --- Report


def report(results, folder):
    table = means(results)
    found = table.index.get_level_values("set")
    return "\n\n".join(
        [
            "# What the latents are worth",
            harness.describe(results),
            "Means over seeds. Seconds are by the clock, on a machine with other work. "
            "PCA is of signals standardised by channel, plain PCA of signals as they "
            "come; differences and ratios are to the former.",
            *(
                against_pca(table, method, k)
                for method, k in product(("skvae", "skvae-signal"), LATENT_DIMS)
            ),
            by_method(table, "Means over the sets", data.SETS),
            *(
                by_method(table, name, (name,))
                for name in data.SETS_LARGE
                if name in found
            ),
            *(with_labels(table, k) for k in (2, 8)),
            *(with_few_labels(table, k) for k in (2, 8)),
        ]
    )


def means(results):
    """Means over seeds, a pandas DataFrame: method, latent_dim, set by figure.

    latent_dim is 0 where there is none; n_seeds is how many there were.
    """
    import pandas as pd

    columns = ["acc1", "acc5", "acc1_tenth", "accuracy", "bound", "reconstruction"]
    columns += ["fit_seconds", "transform_seconds"]
    frame = pd.DataFrame([r for r in results if "error" not in r])
    frame["latent_dim"] = frame["latent_dim"].fillna(0).astype(int)
    frame = frame.reindex(columns=["method", "latent_dim", "set", "seed", *columns])
    groups = frame.groupby(["method", "latent_dim", "set"])
    # Rounded, so that equal accuracies of different seeds are equal in the mean.
    table = groups[columns].mean().round(9)
    return table.assign(n_seeds=groups["seed"].nunique())


def pick(table, method, latent_dim, sets=data.SETS):
    """Figures of a method by set, in the order of the sets; may be empty."""
    selected = table[
        (table.index.get_level_values("method") == method)
        & (table.index.get_level_values("latent_dim") == latent_dim)
    ]
    by_set = selected.droplevel(["method", "latent_dim"])
    return by_set.reindex([name for name in sets if name in by_set.index])


def compare(ours, theirs):
    """By set, what both have: accuracies, bounds and errors against the reference's."""
    import pandas as pd

    return pd.DataFrame(
        {
            "reference": theirs["acc1"],
            "acc1": ours["acc1"],
            "difference": ours["acc1"] - theirs["acc1"],
            "margin": ours["bound"] - theirs["bound"],
            "ratio": ours["reconstruction"] / theirs["reconstruction"],
        }
    ).reindex(theirs.index.intersection(ours.index, sort=False))


def show(title, header, formats, rows):
    """A section whose table has a row for each set and one of means."""
    if len(rows):
        rows.loc["**mean**"] = rows.mean()
    return harness.section(title, harness.table(header, formats, cells(rows)))


def cells(rows):
    return rows.astype(object).itertuples(name=None)


def against_pca(table, method, k):
    ours = pick(table, method, k)
    rows = compare(ours, pick(table, "pca", k))
    rows.insert(1, "plain", pick(table, "pca-raw", k)["acc1"].reindex(rows.index))
    rows["seconds"] = ours["fit_seconds"]
    header = (
        f"set | PCA 1-NN | plain PCA 1-NN | {method} 1-NN | difference | bound above "
        "PCA's, nats | reconstruction error / PCA's | seconds to fit"
    )
    formats = "s .3f .3f .3f +.3f +.1f .2f .1f"
    return show(f"{method}, no labels, latent_dim {k}", header, formats, rows)


def by_method(table, title, sets):
    rows = []
    for method, k in product(METHODS, (0, *LATENT_DIMS)):
        ours = pick(table, method, k, sets)
        if len(ours):
            accuracy = ours["acc1"].fillna(ours["accuracy"])
            compared = compare(ours, pick(table, "pca", k, sets))
            margins = compared["margin"].dropna()
            rows.append(
                (
                    method,
                    k or None,
                    len(ours),
                    ours["n_seeds"].max(),
                    accuracy.mean(),
                    ours["acc5"].mean(),
                    ours["acc1_tenth"].mean(),
                    compared["difference"].mean(),
                    compared["difference"].min(),
                    margins.mean(),
                    f"{(margins > 0).sum()} of {len(margins)}" if len(margins) else "-",
                    compared["ratio"].mean(),
                    ours["fit_seconds"].mean(),
                    ours["transform_seconds"].mean(),
                )
            )
    header = (
        "method | latent_dim | sets | seeds | 1-NN | 5-NN | 1-NN, a tenth of the "
        "labels | 1-NN - PCA's | the least of a set | bound above PCA's, nats | above "
        "on sets | reconstruction error / PCA's | seconds to fit | to transform"
    )
    formats = "s s s s .3f .3f .3f +.3f +.3f +.1f s .2f .2f .4f"
    note = "minirocket's accuracy is that of its ridge classifier."
    return harness.section(title, harness.table(header, formats, rows), note)


def by_peer(table, k, figure, method):
    """A figure by set, of what is compared with a method that knows labels."""
    import pandas as pd

    ours = pick(table, method, k)
    columns = {
        "raw 1-NN": pick(table, "raw", 0)[figure],
        "features 1-NN": pick(table, "features", 0)[figure],
        "PCA 1-NN": pick(table, "pca", k)[figure],
        "skvae, no labels, 1-NN": pick(table, "skvae", k)[figure],
        f"**{method}, 1-NN**": ours["acc1"],
    }
    return pd.DataFrame(columns, ours.index)


def with_labels(table, k):
    import pandas as pd

    rows = by_peer(table, k, "acc1", "skvae-labels")
    compared = compare(pick(table, "skvae-labels", k), pick(table, "pca", k))
    rows["its reconstruction error / PCA's"] = compared["ratio"]
    rows["MiniRocket + ridge"] = pick(table, "minirocket", 0)["accuracy"]
    own = list(rows)
    names = ("1-NN ED", "1-NN DTW", "T-Loss + 1-NN", "InceptionTime")
    published = pd.DataFrame(PUBLISHED, [f"{name}, published" for name in names]).T
    rows = rows.join(published)
    both = rows[rows.index.isin(PUBLISHED)].mean()
    rows.loc["**mean**"] = rows[own].mean()
    rows.loc["**mean of those published**"] = both
    formats = "s" + " .3f" * 5 + " .2f" + " .3f" * 5
    text = harness.table(" | ".join(["set", *rows]), formats, cells(rows))
    return harness.section(f"With labels, latent_dim {k}", text)


def with_few_labels(table, k):
    rows = by_peer(table, k, "acc1_tenth", "skvae-10%-labels")
    title = f"A tenth of the labels of each class, at least two, latent_dim {k}"
    return show(title, " | ".join(["set", *rows]), "s" + " .3f" * 5, rows)


if __name__ == "__main__":
    harness.main(__doc__, "quality", {"run": tasks}, report, Size(), QUICK)
