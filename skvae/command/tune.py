"""The job on labels or numbers: tune pipelines, compare, keep them and a figure.

A cross-validated grid search of ``Pipeline([("vae", ConvVAETransformer()), ("knn",
KNeighborsClassifier())])``, or of a regression by k-NN where the labels are numbers.
"""

import csv
import time
import warnings

import joblib
import numpy as np
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
from skvae.progress import Progress
from skvae.scaling import ChannelScaler

SUPERVISED = {"vae__label_weight": [2.0]}  # the latents are trained by the labels too
GRIDS = {  # by what is written: the name of the file, and of the row
    "vae_knn": {"vae__latent_dim": [8, 16, 32], "vae__feature_weight": [1.0, 4.0]},
    "supervised_vae_knn": {"vae__latent_dim": [8, 16, 32], **SUPERVISED},
}
QUICK_GRIDS = {
    "vae_knn": {"vae__latent_dim": [8], "vae__feature_weight": [1.0, 4.0]},
    "supervised_vae_knn": {"vae__latent_dim": [8], **SUPERVISED},
}
ROWS = {
    "vae_knn": "tuned VAE + k-NN",
    "supervised_vae_knn": "supervised VAE + k-NN",
}


def run(signals, options):
    """Search, compare, print and write; return the table, a list of dicts."""
    n_channels, n_timepoints = signals.X_train.shape[1:]
    n_classes = len(np.unique(signals.y_train))
    what = f"{n_classes} classes" if signals.task == "labels" else "numbers to predict"
    print(
        f"{len(signals.X_train)} signals of {n_channels} x {n_timepoints} values to "
        f"train on, {len(signals.X_test)} to test on ({signals.test_kind}), {what}.",
        flush=True,
    )
    grids = QUICK_GRIDS if options.quick else GRIDS
    n_fits = {name: N_FOLDS * len(ParameterGrid(grid)) for name, grid in grids.items()}
    searches = {}
    # `load` said it once; each of the fits, and of what reads X, would again.
    warnings.filterwarnings("ignore", r"X has (values|the value|\d+ rows,) ")
    warnings.filterwarnings("ignore", "y cannot be predicted")  # the table says it
    with Progress(sum(n_fits.values()) + len(grids) + 3) as progress:
        for name, grid in grids.items():
            progress.stage(f"{ROWS[name]}, {n_fits[name]} fits and the best again")
            searches[name] = tune(signals, grid, options.n_jobs, progress.scoring)
            progress.step()
        table = compare(signals, searches, progress)
    best = max(searches, key=lambda name: searches[name].best_score_)
    print_results(table, searches, signals)
    print_doubts(table, searches, best, signals)
    write(options.output, table, searches, best, signals)
    print_next(options, best, signals)
    return table


def nearest_neighbours(task):
    return KNeighborsClassifier() if task == "labels" else KNeighborsRegressor()


def tune(signals, grid, n_jobs, scoring):
    """The fitted grid search."""
    groups = signals.groups
    folds = StratifiedKFold(N_FOLDS)
    if groups is not None:
        folds = GroupKFold(N_FOLDS)
    elif signals.task == "numbers":
        folds = KFold(N_FOLDS, shuffle=True, random_state=0)
    vae = ConvVAETransformer(random_state=0, target_type=signals.task)
    pipeline = Pipeline([("vae", vae), ("knn", nearest_neighbours(signals.task))])
    search = GridSearchCV(
        pipeline, grid, scoring=scoring, cv=folds, n_jobs=n_jobs, error_score="raise"
    )
    return search.fit(signals.X_train, signals.y_train, groups=groups)


def compare(signals, searches, progress):
    """The table: a row for each method, best ones of the searches last."""
    X_train, X_test = signals.X_train, signals.X_test
    scaler = ChannelScaler("standard").fit(X_train)
    scaled = scaler.transform(X_train), scaler.transform(X_test)
    fill = [FunctionTransformer(interpolate)] if has_gaps(signals) else []
    latent_dim = searches["vae_knn"].best_estimator_["vae"].latent_dim
    k = min(latent_dim, len(X_train), X_train[0].size)
    knn = nearest_neighbours(signals.task)
    methods = {
        "k-NN on the signals": [knn],
        f"PCA({k}) + k-NN": [PCA(k, random_state=0), knn],
    }
    if signals.task == "numbers":
        methods[f"PLS({k})"] = [PLSRegression(k)]
    table = []
    for name, steps in methods.items():
        progress.stage(name)
        start = time.perf_counter()
        estimator = make_pipeline(*fill, FunctionTransformer(flatten), *steps)
        estimator.fit(scaled[0], signals.y_train)
        seconds = time.perf_counter() - start
        table.append(measure(name, estimator, scaled[1], signals, seconds))
        progress.step()
    for name, search in searches.items():
        pipeline, seconds = search.best_estimator_, search.refit_time_
        table.append(measure(ROWS[name], pipeline, X_test, signals, seconds))
    return table


def measure(name, estimator, X, signals, fit_seconds):
    """A row of the table: how exact it is on the test signals, and how long it takes.

    The standard error is that of the accuracy, or of the RMSE.
    """
    start = time.perf_counter()
    predicted, y = estimator.predict(X), signals.y_test
    seconds = time.perf_counter() - start
    if signals.task == "labels":
        is_right = predicted == y
        # Of two right and two wrong ones more: 15 of 15 may be chance (Agresti & Coull
        # 1998, https://doi.org/10.1080/00031305.1998.10480550).
        p = (is_right.sum() + 2) / (len(y) + 4)
        found = {"accuracy": is_right.mean()}
        error = (p * (1 - p) / (len(y) + 4)) ** 0.5
    else:
        squares = np.square(predicted.ravel() - y)
        rmse = squares.mean() ** 0.5
        found = {"RMSE": rmse, "R2": 1 - squares.mean() / max(np.var(y), 1e-300)}
        error = squares.std() / (2 * max(rmse, 1e-300) * len(y) ** 0.5)
    return {
        "method": name,
        **{key: float(f"{value:.4g}") for key, value in found.items()},
        "standard_error": float(f"{error:.2g}"),
        "fit_seconds": round(fit_seconds, 3),
        "score_seconds": round(seconds, 3),
    }


def has_gaps(signals):
    return bool(np.isnan(signals.X_train).any() or np.isnan(signals.X_test).any())


def flatten(X):
    return X.reshape(len(X), -1)


def interpolate(X):
    """Standardised X (n, c, t), gaps filled in time; 0, the mean, for a whole channel.

    For methods that take no gaps. None of it is our model's.
    """
    X, time = X.copy(), np.arange(X.shape[-1])
    for x in X.reshape(-1, len(time)):
        known = ~np.isnan(x)
        filled = np.interp(time, time[known], x[known]) if known.any() else 0.0
        x[:] = np.where(known, x, filled)
    return X


def print_results(table, searches, signals):
    n_test = len(signals.y_test)
    columns = [key for key in table[0] if key in ("accuracy", "RMSE", "R2")]
    heads = "".join(f"  {key:>8}" for key in columns)
    print(f"\n{f'{n_test} test signals':<22}{heads}    fit, s  score, s")
    for row in table:
        found = "".join(f"  {row[key]:8.4g}" for key in columns)
        print(
            f"{row['method']:<22}{found}  {row['fit_seconds']:8.2f}  "
            f"{row['score_seconds']:8.2f}"
        )
    error = max(row["standard_error"] for row in table)
    print(
        f"Each row: all {n_test}, {signals.test_kind}. Differences of {columns[0]} "
        f"below {error:.2g}, the standard error, may be chance."
    )
    if has_gaps(signals):
        print("Gaps were interpolated in time for methods without a VAE.")
    score = "accuracy" if signals.task == "labels" else "R2"
    print(f"\nBest parameters, and their {score} in cross-validation:")
    for name, search in searches.items():
        best = ", ".join(f"{key}={value}" for key, value in search.best_params_.items())
        print(f"{ROWS[name]:<22}  {search.best_score_:8.3f}  {best}")


def print_doubts(table, searches, best, signals):
    """Say where the best VAE is not worth using: chance, or another row, is as good."""
    is_numbers, score = signals.task == "numbers", searches[best].best_score_
    chance, error, of_chance = 0.0, 0.0, "the mean"
    if not is_numbers:
        names, counts = np.unique(signals.y_train, return_counts=True)
        chance = counts.max() / counts.sum()
        error = (chance * (1 - chance) / counts.sum()) ** 0.5
        of_chance = f"always {str(names[counts.argmax()])!r}"
    if score <= chance + error:
        print(
            f"\nNo VAE is better than {of_chance} in cross-validation ({score:.3f}, "
            f"{chance:.3f}). Are these the labels of these signals? Spectra may need a "
            "derivative first."
        )
    key, sign = ("RMSE", -1) if is_numbers else ("accuracy", 1)
    rows = {row["method"]: row for row in table}
    own, other = rows[ROWS[best]], max(table, key=lambda row: sign * row[key])
    if sign * (other[key] - own[key]) > other["standard_error"]:
        print(
            f"\n{other['method']} is better on the test signals: {key} "
            f"{other[key]:.4g} against {own[key]:.4g}."
        )


def write(folder, table, searches, best, signals):
    """Write all pipelines, the table and, with matplotlib, a figure of the best."""
    for name, search in searches.items():
        signals.name_time_steps(search.best_estimator_["vae"])
        joblib.dump(search.best_estimator_, folder / f"{name}.joblib")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    written = ", ".join([*(f"{name}.joblib" for name in searches), "table.csv"])
    print(f"\nWritten to {folder}: {written}", end="", flush=True)
    n_shown = min(3, len(signals.X_test))
    try:
        draw(
            folder,
            searches[best].best_estimator_["vae"],
            signals.X_test,
            signals.y_test,
            titles=(
                f"{ROWS[best]}: latents of {len(signals.X_test)} test signals",
                f"{n_shown} of these, and what their latents keep",
            ),
            n_samples=n_shown,
            samples="random",
            channel_names=signals.channel_names,
        )
        print(f", figure.png (of the {ROWS[best]})")
    except ImportError:
        print(". No figure: pip install matplotlib")


def print_next(options, best, signals):
    """How to use what was written, and what to do next."""
    n_channels, n_timepoints = signals.X_train.shape[1:]
    print(f"\nTo use the {ROWS[best]}, the better in cross-validation:")
    print(f"  pipeline = joblib.load({str(options.output / f'{best}.joblib')!r})")
    shape = f"{n_channels}, {n_timepoints}" if n_channels > 1 else n_timepoints
    print(f"  pipeline.predict(X)  # X an array of shape (n, {shape})")
    if options.data is None:
        print("\nNext, your own signals, a line each, with or without a label:")
        print("  python -m skvae --data FILE.csv")
    elif signals.groups is None:
        print(
            "\nNext, if several signals are of one person or machine, test on others:"
        )
        print("  --groups COLUMN, which says of whom they are, or `groups` in .npz")
