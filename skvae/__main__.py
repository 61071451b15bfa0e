"""The main job, `python -m skvae`: tune, compare, keep the pipelines and a figure.

Or another, `python -m skvae transform`, see `skvae.apply`.

A cross-validated grid search of ``Pipeline([("vae", ConvVAETransformer()), ("knn",
KNeighborsClassifier())])`` on the wristwatch recordings, or on your own signals.
"""

import argparse
import csv
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    ParameterGrid,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skvae import ConvVAETransformer, apply
from skvae.datasets import load_watch
from skvae.inputs.suspicions import sentinels
from skvae.progress import Progress
from skvae.scaling import ChannelScaler
from skvae.signal_files import MISSING, read

TAUGHT = {"vae__label_weight": [2.0]}  # the latents are trained by the labels too
GRIDS = {  # by what is written: the name of the file, and of the row
    "vae_knn": {"vae__latent_dim": [8, 16, 32], "vae__feature_weight": [1.0, 4.0]},
    "taught_vae_knn": {"vae__latent_dim": [8, 16, 32], **TAUGHT},
}
QUICK_GRIDS = {
    "vae_knn": {"vae__latent_dim": [8], "vae__feature_weight": [1.0, 4.0]},
    "taught_vae_knn": {"vae__latent_dim": [8], **TAUGHT},
}
ROWS = {"vae_knn": "tuned VAE + k-NN", "taught_vae_knn": "taught VAE + k-NN"}
N_FOLDS = 2  # of people not trained on, as the test is; more take longer
UNLABELLED = "", "nan", "-1"
MIN_SIGNALS, MIN_FOLD = 16, 6  # of a file, and to fit in a fold: k-NN asks for 5


@dataclass
class Signals:
    """To train on, X (n, c, t), and to test on; `groups` are people, None or (n,)."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray
    test_kind: str
    groups: np.ndarray | None = None
    channel_names: list | None = None


def main(arguments=None):
    """Run the job as the command line asks for; return the table, a list of dicts."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["transform"]:
        return apply.main(arguments[1:])
    options = parse(arguments)
    signals = load(options.data, options.label, options.decimal_comma, options.groups)
    options.output.mkdir(parents=True, exist_ok=True)
    n_channels, n_timepoints = signals.X_train.shape[1:]
    print(
        f"{len(signals.X_train)} signals of {n_channels} x {n_timepoints} values to "
        f"train on, {len(signals.X_test)} to test on ({signals.test_kind}), "
        f"{len(np.unique(signals.y_train))} classes.",
        flush=True,
    )
    grids = QUICK_GRIDS if options.quick else GRIDS
    n_fits = {name: N_FOLDS * len(ParameterGrid(grid)) for name, grid in grids.items()}
    searches = {}
    # `load` said it once; each of the fits, and of what reads X, would again.
    warnings.filterwarnings("ignore", "X has (values|the value) ")
    with Progress(sum(n_fits.values()) + len(grids) + 2) as progress:
        for name, grid in grids.items():
            progress.stage(f"{ROWS[name]}, {n_fits[name]} fits and the best again")
            searches[name] = tune(signals, grid, options.n_jobs, progress.scoring)
            progress.step()
        table = compare(signals, searches, progress)
    best = max(searches, key=lambda name: searches[name].best_score_)
    print_results(table, searches, signals)
    write(options.output, table, searches, best, signals)
    print_next(options, best, signals)
    return table


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m skvae",
        description="Tune Pipeline([vae, knn]) by a cross-validated grid search, and "
        "compare it with k-NN on the signals and on PCA. Or apply a fitted model: "
        "python -m skvae transform --help.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="your signals: a table with a signal and its label a line, .csv, .tsv, "
        ".txt or .parquet, with or without names of columns and an index in front; "
        ".npz with X (n, t) or (n, c, t) and y; or .ts. NaN, NA or an empty cell is a "
        "missing value. A quarter of the signals is kept for testing (default: the "
        "wristwatch recordings)",
    )
    parser.add_argument(
        "--label",
        metavar="COLUMN",
        help="of a table, which column holds the labels: its name, or its number from "
        "0, or from -1 at the end (default: that named y, class, label or target, "
        "else the last)",
    )
    parser.add_argument(
        "--groups",
        metavar="COLUMN",
        help="of a table, which column tells of whom or what a signal is, as a person "
        "or a machine, by name or number: those trained on are not tested on; of .npz "
        "an array `groups`",
    )
    parser.add_argument(
        "--decimal-comma",
        action="store_true",
        help="cells stand between semicolons (or tabs), decimals after a comma",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("skvae-output"),
        metavar="FOLDER",
        help="where pipelines, table and figure go (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="a small grid")
    parser.add_argument(
        "--n-jobs", type=int, default=2, help="parallel fits (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def load(path, label=None, decimal_comma=False, groups=None):
    """The recordings, tested on other people; or a file, of which a quarter is kept.

    If the file has groups, signals of those that are trained on are not tested on.
    """
    if path is None:
        train, test = load_watch(subset="train"), load_watch(subset="test")
        y_train, y_test = (
            np.asarray(part.target_names)[part.target] for part in (train, test)
        )
        kind = f"of {len(np.unique(test.subject))} people not trained on"
        parts = train.data, test.data, y_train, y_test
        return Signals(*parts, kind, train.subject, train.channel_names)
    X, y, groups = read(path, label, decimal_comma, groups)
    is_known = ~np.isin(y.astype(str), UNLABELLED)
    if groups is not None:
        is_known &= ~np.isin(np.char.lower(groups.astype(str)), MISSING)
    if not is_known.all():
        X, y = X[is_known], y[is_known]
        groups = None if groups is None else groups[is_known]
        what = "label" if groups is None else "label or a group"
        print(f"Left out, {np.sum(~is_known)} signals without a {what}.")
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    n_needed = 2 * N_FOLDS  # to train, tune and test on
    rare = counts < n_needed
    names = [
        f"{name} ({n})" for name, n in zip(classes[rare], counts[rare], strict=True)
    ]
    names = ", ".join(names[:5] + ["..."] * (len(names) > 5))
    kept = ~rare[codes]
    is_small = (~rare).sum() < 2 or kept.sum() < MIN_SIGNALS
    if is_small or kept.mean() < 0.5:
        raise SystemExit(
            f"{path}: {len(y)} signals of {len(classes)} classes; of these there are "
            f"too few: {names or 'none'}. Expected {MIN_SIGNALS} signals, and at "
            f"least {n_needed} of each class. If they are no labels, say which column "
            "is, for they are needed: --label COLUMN."
        )
    if rare.any():
        print(f"Left out, classes of fewer than {n_needed} signals: {names}.")
    X, y = X[kept], y[kept]
    if message := sentinels(X):
        print(message)
    if groups is None:
        parts = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
        return Signals(*parts, "a quarter, drawn at random")
    return split_by_groups(path, X, y, groups[kept])


def split_by_groups(path, X, y, groups):
    """`Signals`, of which a quarter is kept for testing, of groups of its own."""
    n_groups = len(np.unique(groups))
    if n_groups >= 2 * N_FOLDS:
        quarters = StratifiedGroupKFold(4, shuffle=True, random_state=0)
        train, test = next(quarters.split(X, y, groups))
        folds = list(GroupKFold(N_FOLDS).split(train, groups=groups[train]))
        parts = [y[train][fold] for pair in folds for fold in pair]
        if all(len(part) >= MIN_FOLD and len(set(part)) > 1 for part in parts):
            kind = f"of {len(np.unique(groups[test]))} groups not trained on"
            parts = X[train], X[test], y[train], y[test]
            return Signals(*parts, kind, groups[train])
    raise SystemExit(
        f"{path}: {n_groups} groups. Expected at least {2 * N_FOLDS}, of which half of "
        f"those trained on have {MIN_FOLD} signals and two classes. Add groups, or "
        "leave them out."
    )


def tune(signals, grid, n_jobs, scoring):
    """The fitted grid search."""
    groups = signals.groups
    search = GridSearchCV(
        Pipeline(
            [
                ("vae", ConvVAETransformer(random_state=0)),
                ("knn", KNeighborsClassifier()),
            ]
        ),
        grid,
        scoring=scoring,
        cv=StratifiedKFold(N_FOLDS) if groups is None else GroupKFold(N_FOLDS),
        n_jobs=n_jobs,
        error_score="raise",
    )
    return search.fit(signals.X_train, signals.y_train, groups=groups)


def compare(signals, searches, progress):
    """The table: a row for each method, best ones of the searches last."""
    X_train, X_test = signals.X_train, signals.X_test
    scaler = ChannelScaler("standard").fit(X_train)
    scaled = scaler.transform(X_train), scaler.transform(X_test)
    fill = [FunctionTransformer(interpolate)] if has_gaps(signals) else []
    latent_dim = searches["vae_knn"].best_estimator_["vae"].latent_dim
    pca = PCA(min(latent_dim, len(X_train), X_train[0].size), random_state=0)
    table = []
    for name, steps in (
        ("k-NN on the signals", []),
        (f"PCA({pca.n_components}) + k-NN", [pca]),
    ):
        progress.stage(name)
        steps = [*fill, FunctionTransformer(flatten), *steps, KNeighborsClassifier()]
        start = time.perf_counter()
        estimator = make_pipeline(*steps).fit(scaled[0], signals.y_train)
        seconds = time.perf_counter() - start
        table.append(measure(name, estimator, scaled[1], signals.y_test, seconds))
        progress.step()
    for name, search in searches.items():
        pipeline, seconds = search.best_estimator_, search.refit_time_
        table.append(measure(ROWS[name], pipeline, X_test, signals.y_test, seconds))
    return table


def measure(name, estimator, X, y, fit_seconds):
    """A row of the table: accuracy on the test signals, seconds to fit and to score."""
    start = time.perf_counter()
    accuracy = estimator.score(X, y)
    return {
        "method": name,
        "accuracy": round(float(accuracy), 4),
        "fit_seconds": round(fit_seconds, 3),
        "score_seconds": round(time.perf_counter() - start, 3),
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
    print(f"\n{f'{n_test} test signals':<22}  accuracy    fit, s  score, s")
    for row in table:
        print(
            f"{row['method']:<22}  {row['accuracy']:8.3f}  {row['fit_seconds']:8.2f}  "
            f"{row['score_seconds']:8.2f}"
        )
    error = max((p * (1 - p) / n_test) ** 0.5 for p in (r["accuracy"] for r in table))
    print(
        f"Each row: all {n_test}, {signals.test_kind}. Differences below "
        f"{max(error, 0.001):.2g}, the standard error, may be chance."
    )
    if has_gaps(signals):
        print("Gaps were interpolated in time for the first two, which take none.")
    print("\nBest parameters, and their accuracy in cross-validation:")
    for name, search in searches.items():
        best = ", ".join(f"{key}={value}" for key, value in search.best_params_.items())
        print(f"{ROWS[name]:<22}  {search.best_score_:8.3f}  {best}")


def write(folder, table, searches, best, signals):
    """Write all pipelines, the table and, with matplotlib, a figure of the best."""
    for name, search in searches.items():
        joblib.dump(search.best_estimator_, folder / f"{name}.joblib")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    written = ", ".join([*(f"{name}.joblib" for name in searches), "table.csv"])
    print(f"\nWritten to {folder}: {written}", end="", flush=True)
    try:
        draw(ROWS[best], searches[best].best_estimator_, signals, folder)
        print(f", figure.png (of the {ROWS[best]})")
    except ImportError:
        print(". No figure: pip install matplotlib")


def draw(name, pipeline, signals, folder):
    """Latent space by class, and originals against reconstructions, of test signals."""
    import matplotlib
    import matplotlib.pyplot as plt

    from skvae.plotting import LatentSpaceDisplay, ReconstructionDisplay

    vae, X, y = pipeline["vae"], signals.X_test, signals.y_test
    n_shown = min(3, len(X))
    size = 14, np.clip(1.2 * X.shape[1], 5, 12)
    with matplotlib.rc_context({"backend": "agg", "figure.dpi": 120}):
        figure = plt.figure(figsize=size, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.4])
        left.suptitle(f"{name}: latents of {len(X)} test signals")
        right.suptitle(f"{n_shown} of these, and what their latents keep")
        latents = LatentSpaceDisplay.from_estimator(
            vae, X, y, method="tsne", random_state=0, ax=left.subplots()
        )
        reconstructions = ReconstructionDisplay.from_estimator(
            vae,
            X,
            samples="random",
            n_samples=n_shown,
            random_state=0,
            channel_names=signals.channel_names,
            ax=right.subplots(X.shape[1], n_shown, sharex=True, sharey="row"),
        )
        for part, display in ((left, latents), (right, reconstructions)):
            if legend := display.axes_[0, -1].get_legend():  # it hides what is drawn
                names = [text.get_text() for text in legend.get_texts()]
                style = {"ncols": 3, "frameon": False, "fontsize": "small"}
                legend.remove()
                style |= {"loc": "outside lower center"}
                part.legend(legend.legend_handles, names, **style)
        figure.savefig(folder / "figure.png")
        plt.close(figure)


def print_next(options, best, signals):
    """How to use what was written, and what to do next."""
    n_channels, n_timepoints = signals.X_train.shape[1:]
    print(f"\nTo use the {ROWS[best]}, the better in cross-validation:")
    print(f"  pipeline = joblib.load({str(options.output / f'{best}.joblib')!r})")
    shape = f"{n_channels}, {n_timepoints}" if n_channels > 1 else n_timepoints
    print(f"  pipeline.predict(X)  # an array of shape (n, {shape}), no DataFrame")
    if options.data is None:
        print("\nNext, your own signals, a line each with its label:")
        print("  python -m skvae --data FILE.csv --label COLUMN")
    elif signals.groups is None:
        print(
            "\nNext, if several signals are of one person or machine, test on others:"
        )
        print("  --groups COLUMN, which tells of whom they are, or `groups` in .npz")


if __name__ == "__main__":
    main()
