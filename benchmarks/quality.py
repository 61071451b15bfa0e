"""What the latents are worth: k-NN, held-out likelihood and reconstruction."""

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
# 1-NN, InceptionTime, H-InceptionTime: the UCR archive's DataSummary (signals
# normalised one by one); Franceschi et al. (2019), the authors' CSV; aeon's stored
# results; Ismail-Fawaz et al. (2022), the authors' CSV.
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
    """`make(latent_dim, seed)` gives the estimator; the rest is what to run it for."""

    make: Callable
    latent_dims: tuple = LATENT_DIMS
    seeds: tuple = (0, 1, 2)
    view: str = "standardised"  # of the signals: see `views`
    large: bool = False  # whether on sets of some thousand signals too


# Of the thread's Keras model, which port.py shows to be equal, and its final script the
# latents are not scaled; Pythae's channels follow one another in one signal.
own = partial(Method, view="signals", large=True)
LABELS = {"label_weight": 2.0, "feature_weight": 0.5}
METHODS = {
    "raw": Method(lambda k, seed: FunctionTransformer(), (None,), large=True),
    "pca": Method(pca, large=True),
    "pca-raw": Method(pca, view="flat", large=True),
    "features": Method(features, (None,), view="scaled", large=True),
    "features-pca": Method(features, view="scaled", large=True),
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
        if seed in method.seeds and (method.large or set_name not in data.SETS_LARGE):
            for k in method.latent_dims:
                if k in size.latent_dims:
                    task = {"set": set_name, "method": name}
                    yield {**task, "latent_dim": k, "seed": seed}


def evaluate(size, name, method, latent_dim, seed):
    """Fit and judge one method on one set.

    - acc1, acc5: test accuracy of 1-NN and 5-NN on the latents; accuracy: of the
      method's own classifier
    - acc1_tenth: of 1-NN that knows the labels of a tenth of the training signals, of a
      method that knows none; of the "10%" methods all figures are such
    - bound: mean log-likelihood (exact for PCA) or its lower bound, on the test
      signals, in nats per signal in the units of X
    - reconstruction: mean squared error a value, on the test signals, of standardised
      ones
    - fit_seconds, transform_seconds: the latter of the test signals
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
    found = table["n_seeds"].dropna().index.get_level_values("set")
    sections = [
        against_pca(table, method, k)
        for method, k in product(("skvae", "skvae-signal"), LATENT_DIMS)
    ]
    sections.append(by_method(table, "Means over the sets", data.SETS))
    large = [name for name in data.SETS_LARGE if name in found]
    sections += [by_method(table, name, [name]) for name in large]
    sections += [with_labels(table, k) for k in (2, 8)]
    sections += [with_few_labels(table, k) for k in (2, 8)]
    note = (
        "Means over seeds. Seconds are by the clock, on a machine with other work. PCA "
        "is of signals standardised by channel, plain PCA of signals as they come; "
        "differences and ratios are to the former."
    )
    title = "# What the latents are worth"
    return "\n\n".join([title, harness.describe(results), note, *sections])


def means(results):
    """Means over seeds, a pandas DataFrame: method, latent_dim, set by figure.

    All that there might be, NaN where there is none. latent_dim is 0 where a method has
    none; n_seeds is how many there were; the last four compare with PCA.
    """
    import pandas as pd

    keys = ["method", "latent_dim", "set"]
    figures = ["acc1", "acc5", "acc1_tenth", "accuracy", "bound", "reconstruction"]
    figures += ["fit_seconds", "transform_seconds"]
    frame = pd.DataFrame([r for r in results if "error" not in r])
    frame["latent_dim"] = frame["latent_dim"].fillna(0).astype(int)
    groups = frame.reindex(columns=[*keys, "seed", *figures]).groupby(keys)
    # Rounded, so that equal accuracies of different seeds are equal in the mean.
    table = groups[figures].mean().round(9).assign(n_seeds=groups["seed"].nunique())
    index = product(METHODS, (0, *LATENT_DIMS), data.SETS + data.SETS_LARGE)
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
    """Figures of a method by set, of those of the means."""
    rows = [(method, k, name) for name in data.SETS]
    return table.loc[rows, figures].droplevel(["method", "latent_dim"])


def show(title, columns, rows, means=None):
    """A section with a row for each set, and means below: by default one of all."""
    if len(rows):
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
        "difference:+.3f | bound above PCA's, nats:+.1f | reconstruction error / "
        "PCA's:.2f | seconds to fit:.1f"
    )
    title = f"{method}, no labels, latent_dim {k}"
    return show(title, columns, rows.dropna(subset=["difference"]))


def by_method(table, title, sets):
    table = table[table["n_seeds"].notna() & table.index.isin(sets, level="set")]
    rows = []
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
        "method | latent_dim | sets | seeds | 1-NN:.3f | 5-NN:.3f | 1-NN, a tenth of "
        "the labels:.3f | 1-NN - PCA's:+.3f | the least of a set:+.3f | bound above "
        "PCA's, nats:+.1f | above on sets | reconstruction error / PCA's:.2f | seconds "
        "to fit:.2f | to transform:.4f"
    )
    note = "minirocket's accuracy is that of its ridge classifier."
    return harness.section(title, harness.table(columns, rows), note)


def by_peer(table, k, figure, method):
    """What is compared with a method that knows labels, by set, and its columns."""
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
    import pandas as pd

    rows, columns = by_peer(table, k, "acc1", "skvae-labels")
    rows["ratio"] = pick(table, "skvae-labels", k, "ratio")
    rows["minirocket"] = pick(table, "minirocket", 0, "accuracy")
    rows = rows.dropna(subset=["acc1"])
    mean = rows.mean()
    columns += " | its reconstruction error / PCA's:.2f | MiniRocket + ridge:.3f"
    names = ("1-NN ED", "1-NN DTW", "T-Loss + 1-NN", "InceptionTime", "H-InceptionTime")
    columns += "".join(f" | {name}, published:.3f" for name in names)
    rows = rows.join(pd.DataFrame(PUBLISHED, names).T)
    both = rows[rows.index.isin(PUBLISHED)].mean()
    means = {"mean": mean, "mean of those published": both}
    return show(f"With labels, latent_dim {k}", columns, rows, means)


def with_few_labels(table, k):
    rows, columns = by_peer(table, k, "acc1_tenth", "skvae-10%-labels")
    title = f"A tenth of the labels of each class, at least two, latent_dim {k}"
    return show(title, columns, rows.dropna(subset=["acc1"]))


if __name__ == "__main__":
    parts = {"run": harness.Part(evaluate, tasks=tasks)}
    harness.main(__doc__, "quality", parts, report, Size(), QUICK)
