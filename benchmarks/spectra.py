"""Latents of spectra beside those of PLS: a concentration and an origin.

The data are those of chemotools: glucose in 21 spectra of a fermentation, and 60
spectra of coffee from three countries. All figures are of cross-validation.
"""

from functools import partial
from typing import NamedTuple

import harness
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from skvae import ConvVAETransformer

N_FOLDS = {"fermentation": 7, "coffee": 5}


class PLS(TransformerMixin, BaseEstimator):
    """Scores of PLS regression, or of PLS-DA where y is text."""

    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, X, y):
        y = LabelBinarizer().fit_transform(y) if y.dtype.kind in "OU" else y
        self.pls_ = PLSRegression(self.n_components, scale=False).fit(X, y)
        return self

    def transform(self, X):
        return self.pls_.transform(X)


def vae(k, seed, **params):
    return ConvVAETransformer(k, random_state=seed, **params)


METHODS = {
    "PLS": lambda k, seed: PLS(k),
    "PCA": lambda k, seed: PCA(k, svd_solver="full"),
    "skvae": vae,
    "skvae-labels": partial(vae, label_weight=2.0),
}


class Size(NamedTuple):
    sets: tuple = tuple(N_FOLDS)
    latent_dims: tuple = (2, 6)
    seeds: tuple = (0, 1, 2)


QUICK = Size(latent_dims=(2,), seeds=(0,))


def load(name):
    """Spectra (n, t), y, and the steps of preprocessing."""
    from chemotools import baseline, derivative, feature_selection, scatter
    from chemotools.datasets import load_coffee, load_fermentation_train

    if name == "coffee":
        X, y = load_coffee()
        steps = [scatter.StandardNormalVariate()]
    else:
        X, y = load_fermentation_train()
        band = {"start": 950, "end": 1500, "x_axis": X.columns.to_numpy()}
        steps = [feature_selection.RangeCut(**band), baseline.LinearCorrection()]
    steps += [derivative.SavitzkyGolay(15, 2, 1), StandardScaler(with_std=False)]
    return X.to_numpy(), np.asarray(y.iloc[:, 0]), steps


def measure(size, name, method, latent_dim, seed):
    """Root mean square error, or accuracy, of two models on the latents.

    - linear: linear regression, of indicators where y is classes
    - neighbours: mean of the five nearest neighbours
    """
    X, y, steps = load(name)
    is_classes = y.dtype.kind not in "if"
    folds = (StratifiedKFold if is_classes else KFold)(
        N_FOLDS[name], shuffle=True, random_state=seed
    )
    targets = LabelBinarizer().fit_transform(y) if is_classes else y[:, None]
    models = {"linear": LinearRegression(), "neighbours": KNeighborsRegressor(5)}
    predicted = {key: np.empty(targets.shape) for key in models}
    for train, test in folds.split(X, y):
        encode = make_pipeline(*steps, METHODS[method](latent_dim, seed))
        encode.fit(X[train], y[train])
        Z, Z_test = encode.transform(X[train]), encode.transform(X[test])
        for key, model in models.items():
            predicted[key][test] = model.fit(Z, targets[train]).predict(Z_test)

    def score(values):
        if is_classes:
            return float((values.argmax(axis=1) == targets.argmax(axis=1)).mean())
        return float(np.sqrt(np.square(values - targets).mean()))

    return {key: score(values) for key, values in predicted.items()}


def tasks(size):
    return [
        {"set": name, "method": method, "latent_dim": k, "seed": seed}
        for name in size.sets
        for k in size.latent_dims
        for method in METHODS
        for seed in size.seeds
    ]


def section(results):
    """Means and ranges over seeds, which draw the folds and the fits."""
    titles = {
        "fermentation": "Glucose: root mean square error (standard deviation 12.4)",
        "coffee": "Coffee: accuracy of three countries",
    }
    columns = "latents | method | seeds | linear:.2f | range | 5-NN:.2f | range"
    texts = []
    for name, title in titles.items():
        rows = []
        own = [r for r in results if r["set"] == name]
        for task in dict.fromkeys((r["latent_dim"], r["method"]) for r in own):
            seeds = [r for r in own if (r["latent_dim"], r["method"]) == task]
            row = [*task, len(seeds)]
            for key in ("linear", "neighbours"):
                values = [r[key] for r in seeds]
                row += [np.mean(values), f"{min(values):.2f} to {max(values):.2f}"]
            rows.append(row)
        texts.append(harness.section(title, harness.table(columns, rows)))
    return "\n\n".join(texts)


PARTS = {"run": harness.Part(measure, section, tasks)}
report = partial(harness.report, "Latents of spectra", PARTS)

if __name__ == "__main__":
    harness.main(__doc__, "spectra", PARTS, report, Size(), QUICK)
