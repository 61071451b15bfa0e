"""Quality of latents: accuracy of k-NN, held-out likelihood and reconstruction."""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import data
import harness
import numpy as np
import pandas as pd
import peers
import torch
from sklearn.base import BaseEstimator, TransformerMixin, is_classifier
from sklearn.decomposition import PCA, KernelPCA
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, StandardScaler

from skvae import ConvVAETransformer
from skvae.model.features import RandomConvolutions
from skvae.scaling import ChannelScaler

LATENT_DIMS = (2, 8, 16)

# Published accuracies. Sources: for 1-NN the UCR archive's DataSummary (each signal is
# normalised), for T-Loss the CSV of Franceschi et al. (2019), for InceptionTime aeon's
# stored results, for H-InceptionTime the CSV of Ismail-Fawaz et al. (2022).
PUBLISHED_BY = ("1-NN ED", "1-NN DTW", "T-Loss + 1-NN", "InceptionTime")
PUBLISHED_BY += ("H-InceptionTime",)
PUBLISHED = {
    "GunPoint": (0.913, 0.907, 0.833, 1.0, 1.0),
    "ItalyPowerDemand": (0.955, 0.950, 0.942, 0.966, 0.969),
    "OSULeaf": (0.521, 0.591, 0.636, 0.921, 0.950),
    "ArrowHead": (0.800, 0.703, 0.817, 0.863, 0.891),
    "ACSF1": (0.540, 0.640, 0.850, 0.910, 0.940),
    "Coffee": (1.0, 1.0, 1.0, 1.0, 1.0),
    "Trace": (0.760, 1.0, 1.0, 1.0, 1.0),
}


# --- Methods


class Features(TransformerMixin, BaseEstimator):
    """The convolution features of skvae, of scaled signals (n, c, t)."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, X, y=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.convolutions_ = RandomConvolutions(*X.shape[1:])
            self.convolutions_.fit(torch.from_numpy(X))
        return self

    @torch.no_grad()
    def transform(self, X):
        batches = torch.from_numpy(X).split(512)
        return torch.cat([self.convolutions_(x) for x in batches]).numpy()


def features(k, seed):
    steps = [PCA(k, svd_solver="full")] if k else []
    return make_pipeline(Features(seed), StandardScaler(), *steps)


def pca(k, seed):
    return PCA(k, svd_solver="full")


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
    """An estimator, `make(latent_dim, seed)`, and the tasks that it is measured on."""

    make: Callable
    latent_dims: tuple = LATENT_DIMS
    seeds: tuple = (0, 1, 2)
    view: str = "standardised"  # of the signals: see `views`


# The thread's final script does not scale its latents. Pythae's VAE gets the channels
# one after the other, as one signal.
LABELS = {"label_weight": 2.0, "feature_weight": 0.5}
METHODS = {
    "raw": Method(lambda k, seed: FunctionTransformer(), (None,)),
    "pca": Method(pca),
    "pca-raw": Method(pca, view="flat"),
    "features": Method(features, (None,), view="scaled"),
    "features-pca": Method(features, view="scaled"),
    "skvae": Method(vae(), view="signals"),
    "skvae-signal": Method(vae(feature_weight=0.0), view="signals"),
    "skvae-labels": Method(vae(**LABELS), (2, 8), view="signals"),
    "skvae-10%-labels": Method(vae(**LABELS), (2, 8), view="signals"),
    "minirocket": Method(minirocket, (None,), (0,), "signals"),
    "p2": Method(vae(**peers.P2), (2, 8), (0,), "signals"),
    "pythae": Method(
        lambda k, seed: peers.PythaeVAE(k, random_state=seed), (2, 8), (0,)
    ),
    "kpca": Method(
        lambda k, seed: KernelPCA(k, kernel="rbf", fit_inverse_transform=True),
        seeds=(0,),
    ),
    "umap": Method(umap, (2, 8), (0,)),
}
WITH_LABELS = ("skvae-labels", "skvae-10%-labels", "minirocket")
NO_LABELS = tuple(name for name in METHODS if name not in WITH_LABELS)
NO_RECONSTRUCTION = ("raw", "features", "features-pca", "umap")


# --- Measurements


class Size(NamedTuple):
    sets: tuple = data.SETS
    latent_dims: tuple = (None, *LATENT_DIMS)
    seeds: tuple = (0, 1, 2)


QUICK = Size(("GunPoint", "BasicMotions"), (None, 2), (0,))


def tasks(size):
    """Each set, seed and latent_dim of the size that a method is measured with."""
    for seed, name, set_name in product(size.seeds, METHODS, size.sets):
        if seed in METHODS[name].seeds:
            for k in METHODS[name].latent_dims:
                if k in size.latent_dims:
                    task = {"set": set_name, "method": name}
                    yield {**task, "latent_dim": k, "seed": seed}


def evaluate(size, name, method, latent_dim, seed):
    """Figures of one method on the test signals of one set.

    - acc1, acc5: accuracy of 1-NN and 5-NN on the latents
    - accuracy: accuracy of the method's own classifier
    - acc1_tenth: accuracy of 1-NN that knows a tenth of the labels, for methods without
      labels; the methods named "10%" know a tenth of the labels throughout
    - bound: mean log-likelihood (exact for PCA) or its lower bound, in nats per signal
      in the units of X
    - reconstruction: mean squared error of standardised values
    - fit_seconds, transform_seconds: the latter for the test signals
    """
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
    labels = np.where(known, y_train, -1)
    result = {"fit_seconds": harness.seconds_of(model.fit, X_train, labels)}
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
            n_channels = len(scaler.scale_)
            n_measured = np.full((1, n_channels), S_test.shape[1] // n_channels)
            (log_det,) = scaler.log_det(n_measured)
            result["bound"] = float(model.score(X_test)) + is_scaled * log_det
        X_hat = model.inverse_transform(Z_test)
        S_hat = X_hat if is_scaled else standardise(X_hat)
        result["reconstruction"] = float(np.mean((S_hat - S_test) ** 2))
    return result


def views(scaler):
    """Functions of signals (n, t) or (n, c, t), whose results the methods get."""
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
    """Mask of a tenth of the samples of each class, and of at least two."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(y), bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        mask[rows[: max(2, round(len(rows) / 10))]] = True
    return mask


# --- Report


def section(results):
    table = means(results)
    note = (
        "Means over seeds. Seconds are wall time, on a machine with other work. PCA is "
        "of signals standardised by channel, plain PCA of the signals themselves; "
        "differences and ratios refer to the former."
    )
    sections = [
        against_pca(table, method, k)
        for method, k in product(("skvae", "skvae-signal"), LATENT_DIMS)
    ]
    sections += [by_method(table)]
    sections += [with_labels(table, k) for k in (2, 8)]
    sections += [with_few_labels(table, k) for k in (2, 8)]
    return "\n\n".join([note, *sections])


def means(results):
    """Means over seeds, a DataFrame: method, latent_dim and set by figure.

    It has a row for each combination, NaN where there is no result. latent_dim is 0 for
    methods without latents, n_seeds is the number of seeds, the last four columns
    compare with PCA.
    """
    keys = ["method", "latent_dim", "set"]
    figures = ["acc1", "acc5", "acc1_tenth", "accuracy", "bound", "reconstruction"]
    figures += ["fit_seconds", "transform_seconds"]
    frame = pd.DataFrame(results)
    frame["latent_dim"] = frame["latent_dim"].fillna(0).astype(int)
    groups = frame.reindex(columns=[*keys, "seed", *figures]).groupby(keys)
    # Rounded, so that equal accuracies of different seeds are equal in the mean.
    table = groups[figures].mean().round(9).assign(n_seeds=groups["seed"].nunique())
    index = product(METHODS, (0, *LATENT_DIMS), data.SETS)
    table = table.reindex(pd.MultiIndex.from_tuples(index, names=keys))
    pca = table.loc["pca"].reindex(table.index.droplevel("method"))
    pca = pca.set_axis(table.index)
    return table.assign(
        of_pca=pca["acc1"],
        difference=table["acc1"] - pca["acc1"],
        margin=table["bound"] - pca["bound"],
        ratio=table["reconstruction"] / pca["reconstruction"],
    )


def pick(table, method, k, figures):
    """Columns of the means, by set, for one method and latent_dim."""
    rows = [(method, k, name) for name in data.SETS]
    return table.loc[rows, figures].droplevel(["method", "latent_dim"])


def show(title, columns, rows, means=None):
    """A section with a row for each set and the means below, by default of all."""
    if len(rows):
        rows = rows.copy()  # pandas 2 warns of a change in a part of a table
        for name, row in (means or {"mean": rows.mean()}).items():
            rows.loc[f"**{name}**"] = row
    cells = rows.astype(object).itertuples(name=None)
    return harness.section(title, harness.table(columns, cells))


def against_pca(table, method, k):
    figures = ["of_pca", "acc1", "difference", "margin", "ratio", "fit_seconds"]
    rows = pick(table, method, k, figures)
    rows.insert(1, "plain", pick(table, "pca-raw", k, "acc1"))
    columns = (
        f"set | PCA 1-NN:.3f | plain PCA 1-NN:.3f | {method} 1-NN:.3f | "
        "difference:+.3f | bound - PCA's, nats:+.1f | reconstruction error / "
        "PCA's:.2f | fit, s:.1f"
    )
    title = f"{method}, no labels, {k} latents"
    return show(title, columns, rows.dropna(subset=["difference"]))


def by_method(table):
    table, rows = table[table["n_seeds"].notna()], []
    for (method, k), ours in table.groupby(["method", "latent_dim"], sort=False):
        margins = ours["margin"].dropna()
        rows.append(
            (
                method,
                k or None,
                len(ours),
                int(ours["n_seeds"].max()),
                ours["acc1"].fillna(ours["accuracy"]).mean(),
                *ours[["acc5", "acc1_tenth", "difference"]].mean(),
                ours["difference"].min(),
                margins.mean(),
                f"{(margins > 0).sum()} of {len(margins)}" if len(margins) else None,
                *ours[["ratio", "fit_seconds", "transform_seconds"]].mean(),
            )
        )
    columns = (
        "method | latents | sets | seeds | 1-NN:.3f | 5-NN:.3f | 1-NN, a tenth of "
        "the labels:.3f | 1-NN - PCA's:+.3f | its minimum over sets:+.3f | bound - "
        "PCA's, nats:+.1f | bound above PCA's on | reconstruction error / PCA's:.2f | "
        "fit, s:.2f | transform, s:.4f"
    )
    note = "minirocket's accuracy is that of its ridge classifier."
    return harness.section("Means over the sets", harness.table(columns, rows), note)


def by_peer(table, k, figure, method):
    """A method that knows labels beside four that do not, by set; its columns."""
    rows = pick(table, method, k, ["acc1"])
    compared = {"raw": 0, "features": 0, "pca": k, "skvae": k}
    for i, (name, latent_dim) in enumerate(compared.items()):
        rows.insert(i, name, pick(table, name, latent_dim, figure))
    columns = (
        "set | raw 1-NN:.3f | features 1-NN:.3f | PCA 1-NN:.3f | skvae, no labels, "
        f"1-NN:.3f | **{method}, 1-NN**:.3f"
    )
    return rows, columns


def with_labels(table, k):
    rows, columns = by_peer(table, k, "acc1", "skvae-labels")
    rows["ratio"] = pick(table, "skvae-labels", k, "ratio")
    rows["minirocket"] = pick(table, "minirocket", 0, "accuracy")
    rows = rows.dropna(subset=["acc1"])
    mean = rows.mean()
    columns += " | its reconstruction error / PCA's:.2f | MiniRocket + ridge:.3f"
    columns += "".join(f" | {name}, published:.3f" for name in PUBLISHED_BY)
    rows = rows.join(pd.DataFrame(PUBLISHED, PUBLISHED_BY).T)
    published = rows[rows.index.isin(PUBLISHED)].mean()
    means = {"mean": mean, "mean of sets with published results": published}
    return show(f"With labels, {k} latents", columns, rows, means)


def with_few_labels(table, k):
    rows, columns = by_peer(table, k, "acc1_tenth", "skvae-10%-labels")
    title = f"A tenth of the labels of each class, at least two, {k} latents"
    return show(title, columns, rows.dropna(subset=["acc1"]))


PARTS = {"run": harness.Part(evaluate, section, tasks)}
report = partial(harness.report, "Quality of latents", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "quality", PARTS, report, Size(), QUICK)
