"""The job on labels or numbers: pipelines of a VAE and k-NN, tuned and compared."""

import sys
import time
import warnings

import joblib
import numpy as np
import pandas as pd
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ParameterGrid,
    StratifiedKFold,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skvae import ConvVAETransformer
from skvae.command.figure import draw
from skvae.command.load import N_FOLDS
from skvae.scaling import ChannelScaler

SUPERVISED = {"vae__label_weight": [2.0]}
GRIDS = {  # by the name of the file that is written
    "vae_knn": {"vae__latent_dim": [8, 16, 32], "vae__feature_weight": [1.0, 4.0]},
    "supervised_vae_knn": {"vae__latent_dim": [8, 16, 32], **SUPERVISED},
}
QUICK_GRIDS = {name: grid | {"vae__latent_dim": [8]} for name, grid in GRIDS.items()}
ROWS = {"vae_knn": "tuned VAE + k-NN", "supervised_vae_knn": "supervised VAE + k-NN"}
KNN = {"labels": KNeighborsClassifier(), "numbers": KNeighborsRegressor()}


def run(signals, options):
    """Search, compare, print and write; return the table, a DataFrame."""
    n_channels, n_timepoints = signals.X_train.shape[1:]
    n_classes = len(np.unique(signals.y_train))
    what = f"{n_classes} classes" if signals.task == "labels" else "numbers to predict"
    print(
        f"{len(signals.X_train)} signals of {n_channels} x {n_timepoints} values to "
        f"train on, {len(signals.X_test)} to test on ({signals.test_kind}), {what}.",
        flush=True,
    )
    warnings.filterwarnings("ignore", "y cannot be predicted")  # the table shows it
    searches = {}
    for name, grid in (QUICK_GRIDS if options.quick else GRIDS).items():
        n_fits = N_FOLDS * len(ParameterGrid(grid)) + 1
        print(f"{ROWS[name]}, {n_fits} fits ...", file=sys.stderr, flush=True)
        searches[name] = tune(signals, grid, options.n_jobs)
    table = compare(signals, searches)
    best = max(searches, key=lambda name: searches[name].best_score_)
    print_results(table, searches, signals)
    print_doubts(table, searches, best, signals)
    write(options.output, table, searches, best, signals)
    print(f"\nTo use the {ROWS[best]}, the better in cross-validation:")
    print(f"  pipeline = joblib.load({str(options.output / f'{best}.joblib')!r})")
    print(f"  pipeline.predict(X)  # X an array of shape {signals.shape}")
    print_next(options, signals)
    return table


def tune(signals, grid, n_jobs):
    """The fitted grid search."""
    groups = signals.groups
    if groups is not None:
        folds = GroupKFold(N_FOLDS)
    elif signals.task == "labels":
        folds = StratifiedKFold(N_FOLDS)
    else:
        folds = KFold(N_FOLDS, shuffle=True, random_state=0)
    vae = ConvVAETransformer(random_state=0, target_type=signals.task)
    pipeline = Pipeline([("vae", vae), ("knn", KNN[signals.task])])
    search = GridSearchCV(pipeline, grid, cv=folds, n_jobs=n_jobs, error_score="raise")
    return search.fit(signals.X_train, signals.y_train, groups=groups)


def compare(signals, searches):
    """The table, with a row for each method; those of the searches come last."""
    X, knn = signals.X_train, KNN[signals.task]
    scaler = ChannelScaler("standard").fit(X)
    scaled, scaled_test = map(scaler.transform, (X, signals.X_test))
    latent_dim = searches["vae_knn"].best_estimator_["vae"].latent_dim
    k = min(latent_dim, len(X), X[0].size)
    methods = {"k-NN on the signals": [knn]}
    methods[f"PCA({k}) + k-NN"] = [PCA(k, random_state=0), knn]
    if signals.task == "numbers":
        methods[f"PLS({k})"] = [PLSRegression(k)]
    rows = []
    for name, steps in methods.items():
        start = time.perf_counter()
        estimator = make_pipeline(FunctionTransformer(flatten), *steps)
        estimator.fit(scaled, signals.y_train)
        seconds = time.perf_counter() - start
        rows.append(measure(name, estimator, scaled_test, signals, seconds))
    for name, search in searches.items():
        fitted = search.best_estimator_, signals.X_test, signals, search.refit_time_
        rows.append(measure(ROWS[name], *fitted))
    return pd.DataFrame(rows)


def measure(name, estimator, X, signals, fit_seconds):
    """A row of the table, with the standard error of accuracy or RMSE."""
    start = time.perf_counter()
    predicted, y = estimator.predict(X), signals.y_test
    seconds = time.perf_counter() - start
    if signals.task == "labels":
        is_right = predicted == y
        # 15 right of 15 may be chance, so two right and two wrong are added (Agresti &
        # Coull 1998, https://doi.org/10.1080/00031305.1998.10480550).
        p = (is_right.sum() + 2) / (len(y) + 4)
        scores = {"accuracy": is_right.mean()}
        error = (p * (1 - p) / (len(y) + 4)) ** 0.5
    else:
        squares = np.square(predicted.ravel() - y)
        rmse = squares.mean() ** 0.5
        scores = {"RMSE": rmse, "R2": 1 - squares.mean() / max(np.var(y), 1e-300)}
        error = squares.std() / (2 * max(rmse, 1e-300) * len(y) ** 0.5)
    return {
        "method": name,
        **{key: float(f"{value:.4g}") for key, value in scores.items()},
        "standard_error": float(f"{error:.2g}"),
        "fit_seconds": round(fit_seconds, 3),
        "score_seconds": round(seconds, 3),
    }


def flatten(X):
    """Standardised X (n, c, t) as (n, c * t), gaps interpolated in time.

    A channel without a value is 0, the mean.
    """
    if np.isnan(X).any():
        rows = pd.DataFrame(X.reshape(-1, X.shape[-1]))
        rows = rows.interpolate(axis=1, limit_direction="both").fillna(0.0)
        X = rows.to_numpy().reshape(X.shape)
    return X.reshape(len(X), -1)


def print_results(table, searches, signals):
    error, score = table["standard_error"].max(), table.columns[1]
    shown = table.drop(columns="standard_error").set_index("method")
    shown.columns = shown.columns.str.replace("_seconds", ", s")
    print(f"\n{shown.rename_axis(None)}")
    print(
        f"Each row is a test on {len(signals.y_test)} signals ({signals.test_kind}). "
        f"Differences of {score} below the standard error, {error:.2g}, may be chance."
    )
    if np.isnan(signals.X_train).any() or np.isnan(signals.X_test).any():
        print("Gaps were interpolated in time for methods without a VAE.")
    score = "accuracy" if signals.task == "labels" else "R2"
    print(f"\nBest parameters, and their {score} in cross-validation:")
    for name, search in searches.items():
        best = ", ".join(f"{key}={value}" for key, value in search.best_params_.items())
        print(f"{ROWS[name]:<22}  {search.best_score_:8.3f}  {best}")


def print_doubts(table, searches, best, signals):
    """Print that chance or another method is as good as the best VAE, if so."""
    score, chance, error, baseline = searches[best].best_score_, 0.0, 0.0, "the mean"
    if signals.task == "labels":
        shares = pd.Series(signals.y_train).value_counts(normalize=True)
        chance, baseline = shares.iloc[0], f"always {str(shares.index[0])!r}"
        error = (chance * (1 - chance) / len(signals.y_train)) ** 0.5
    if score <= chance + error:
        print(
            f"\nNo VAE is better than {baseline} in cross-validation ({score:.3f}, "
            f"{chance:.3f}). Are these the labels of these signals? Spectra may need a "
            "derivative first."
        )
    key = table.columns[1]
    errors = table.set_index("method")[key] * (1 if key == "RMSE" else -1)
    other, own = errors.idxmin(), ROWS[best]
    standard_error = table["standard_error"][errors.argmin()]
    if errors[own] - errors[other] > standard_error:
        print(
            f"\n{other} is better on the test signals: {key} {abs(errors[other]):.4g} "
            f"against {abs(errors[own]):.4g}."
        )


def write(folder, table, searches, best, signals):
    """Write all pipelines, the table and, with matplotlib, a figure of the best."""
    for name, search in searches.items():
        signals.name_time_steps(search.best_estimator_["vae"])
        joblib.dump(search.best_estimator_, folder / f"{name}.joblib")
    table.to_csv(folder / "table.csv", index=False)
    files = ", ".join([*(f"{name}.joblib" for name in searches), "table.csv"])
    print(f"\nWritten to {folder}: {files}", end="", flush=True)
    X, y, n_drawn = signals.X_test, signals.y_test, min(3, len(signals.X_test))
    latents = f"{ROWS[best]}: latents of {len(X)} test signals"
    titles = latents, f"{n_drawn} of these, and their reconstructions"
    drawn = {"n_samples": n_drawn, "samples": "random"}
    drawn["channel_names"] = signals.channel_names
    vae = searches[best].best_estimator_["vae"]
    print(draw(folder / "figure.png", vae, X, y, titles=titles, **drawn))


def print_next(options, signals):
    if options.data is None:
        print("\nNext, your own signals, a line each, with or without a label:")
        print("  python -m skvae --data FILE.csv")
    elif signals.groups is None:
        print("\nNext, if a person or machine has several signals, test on other ones:")
        print("  --groups COLUMN with the person or machine, or `groups` in .npz")
