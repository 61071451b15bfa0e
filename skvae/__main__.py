"""The main job, `python -m skvae`: tune, compare, keep the pipeline and a figure.

Or another, `python -m skvae transform`, see `skvae.apply`.

A cross-validated grid search of ``Pipeline([("vae", ConvVAETransformer()), ("knn",
KNeighborsClassifier())])`` on the wristwatch recordings, or on your own signals.
"""

import argparse
import csv
import sys
import time
import zipfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skvae import ConvVAETransformer, apply
from skvae.datasets import load_watch
from skvae.scaling import ChannelScaler

GRID = {"vae__latent_dim": [8, 16, 32], "vae__feature_weight": [1.0, 2.0, 4.0]}
QUICK_GRID = {"vae__latent_dim": [2, 8], "vae__feature_weight": [1.0]}
N_FOLDS = 2  # of people not trained on, as the test is; more take longer
TAUGHT = {"vae__label_weight": 2.0, "vae__feature_weight": 1.0}
MISSING = ("", "na", "nan")  # in lower case: cells of a .csv


def main(arguments=None):
    """Run the job as the command line asks for; return the table, a list of dicts."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["transform"]:
        return apply.main(arguments[1:])
    options = parse(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    X_train, X_test, y_train, y_test, groups = load(options.data)
    start = time.perf_counter()
    search = tune(X_train, y_train, groups, options)
    seconds = time.perf_counter() - start
    pipeline = search.best_estimator_

    print(
        f"\nBest parameters, accuracy {search.best_score_:.3f} in cross-validation, "
        f"found in {seconds:.0f} s:"
    )
    for name, value in search.best_params_.items():
        print(f"  {name} = {value}")

    latent_dim = pipeline["vae"].latent_dim
    pca = PCA(min(latent_dim, len(X_train), X_train[0].size))
    has_gaps = np.isnan(X_train).any() or np.isnan(X_test).any()
    fill = [FunctionTransformer(interpolate)] if has_gaps else []
    flat, pca = (
        make_pipeline(
            *fill, FunctionTransformer(flatten), *steps, KNeighborsClassifier()
        )
        for steps in ([], [pca])
    )
    taught = clone(pipeline).set_params(**TAUGHT)
    scaler = ChannelScaler("standard").fit(X_train)
    scaled = scaler.transform(X_train), scaler.transform(X_test)
    table = [
        compare("k-NN on the signals", flat, *scaled, y_train, y_test),
        compare(f"PCA({latent_dim}) + k-NN", pca, *scaled, y_train, y_test),
        measure("tuned VAE + k-NN", pipeline, X_test, y_test, search.refit_time_),
        compare("same, taught labels", taught, X_train, X_test, y_train, y_test),
    ]
    print_table(table, len(X_test))
    if has_gaps:
        print("Gaps were interpolated in time for the first two, which take none.")
    write(options.output, pipeline, table, X_test, y_test)
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
        help="your signals: .npz with X (n, t) or (n, c, t) and y, or .csv with y in "
        "the last column; NaN, in a .csv also an empty cell or NA, is a missing "
        "value; a quarter of the signals is kept for testing "
        "(default: the wristwatch recordings)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("skvae-output"),
        metavar="FOLDER",
        help="where pipeline, table and figure go (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="a small grid")
    parser.add_argument(
        "--n-jobs", type=int, default=2, help="parallel fits (default: %(default)s)"
    )
    return parser.parse_args(arguments)


def load(path):
    """X_train, X_test, y_train, y_test, groups: X (n, c, t), groups None or (n,)."""
    if path is None:
        train, test = load_watch(subset="train"), load_watch(subset="test")
        y_train, y_test = (
            np.asarray(part.target_names)[part.target] for part in (train, test)
        )
        return train.data, test.data, y_train, y_test, train.subject
    X, y = read(path)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or counts.min() < 2 * N_FOLDS:
        raise SystemExit(
            f"{path}: {len(y)} signals of {len(classes)} classes, the smallest of "
            f"{counts.min()}. Expected at least 2 classes of at least {2 * N_FOLDS} "
            "signals each, to train, tune and test on."
        )
    parts = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    return (*parts, None)


def read(path):
    """X (n, c, t) and y (n,) of a file; SystemExit with the reason if it cannot be."""
    readers = {".npz": read_npz, ".csv": read_csv}
    if path.suffix not in readers:
        raise SystemExit(f"{path}: expected a .npz or a .csv file.")
    try:
        X, y, names = readers[path.suffix](path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SystemExit(f"{path}: {error}") from error
    if X.ndim not in (2, 3) or y.ndim != 1 or len(X) != len(y) or not X.size:
        raise SystemExit(
            f"{path}: X has shape {X.shape} and y has shape {y.shape}. Expected X "
            "(n, t) or (n, c, t) and y (n,)."
        )
    if X.dtype.kind not in "biuf":
        raise SystemExit(f"{path}: X has dtype {X.dtype}. Expected real numbers.")
    flat = flatten(X)
    infinite = "holds infinity. Expected finite numbers, NaN where there is none."
    empty = "has no measured value, all are missing. Leave it out."
    for is_unusable, reason in (
        (np.isinf(flat).any(axis=1), infinite),
        (np.isnan(flat).all(axis=1), empty),
    ):
        if is_unusable.any():
            raise SystemExit(f"{path}: {names[is_unusable.argmax()]} {reason}")
    return X.reshape(len(X), -1, X.shape[-1]), y


def read_npz(path):
    """X, y, and what to call each signal in an error."""
    with np.load(path, allow_pickle=False) as file:
        missing = [name for name in ("X", "y") if name not in file]
        if missing:
            raise ValueError(
                f"no array {' and no array '.join(missing)}, only {file.files}. "
                "Expected numpy.savez(file, X=X, y=y)."
            )
        X, y = file["X"], file["y"]
    return X, y, [f"signal X[{i}]" for i in range(len(X) if X.ndim else 0)]


def read_csv(path):
    """X, y, and what to call each signal in an error: its line in the file."""
    with path.open(newline="") as file:
        reader = csv.reader(file)
        lines = [(f"line {reader.line_num}", row) for row in reader if row]
    if lines and None in map(to_number, lines[0][1][:-1]):
        del lines[0]  # names of columns
    if not lines:
        raise ValueError("no signals. Expected a signal a line, y in the last column.")
    n_columns = len(lines[0][1])
    X = []
    for name, row in lines:
        if len(row) != n_columns or len(row) < 2:
            raise ValueError(
                f"{name} has {len(row)} columns, the first signal has {n_columns}. "
                "Expected equally many, the last of them y."
            )
        X.append([to_number(cell) for cell in row[:-1]])
        if None in X[-1]:
            j = X[-1].index(None)
            raise ValueError(
                f"{name} holds {row[j]!r} in column {j + 1}. Expected numbers, "
                "separated by commas, with a decimal point, or NaN or nothing where "
                "none was measured; the last column is y."
            )
        if not row[-1].strip():
            raise ValueError(f"{name} has no y: its last column is empty.")
    names, rows = zip(*lines, strict=True)
    return np.array(X), np.array([row[-1].strip() for row in rows]), names


def to_number(cell):
    """A cell of a .csv as a float, NaN where it is missing; None: it is a text."""
    if cell.strip().lower() in MISSING:
        return np.nan
    try:
        return float(cell)
    except ValueError:
        return None


def tune(X, y, groups, options):
    """The fitted grid search; it prints a line for each fit."""
    vae = ConvVAETransformer(random_state=0)
    search = GridSearchCV(
        Pipeline([("vae", vae), ("knn", KNeighborsClassifier())]),
        QUICK_GRID if options.quick else GRID,
        cv=StratifiedKFold(N_FOLDS) if groups is None else GroupKFold(N_FOLDS),
        n_jobs=options.n_jobs,
        verbose=3,
        error_score="raise",
    )
    return search.fit(X, y, groups=groups)


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


def compare(name, estimator, X_train, X_test, y_train, y_test):
    """A row of the table for an estimator that is not fitted yet."""
    start = time.perf_counter()
    estimator.fit(X_train, y_train)
    return measure(name, estimator, X_test, y_test, time.perf_counter() - start)


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


def print_table(table, n_test):
    print(f"\n{f'{n_test} test signals':<22}  accuracy    fit, s  score, s")
    for row in table:
        print(
            f"{row['method']:<22}  {row['accuracy']:8.3f}  {row['fit_seconds']:8.2f}  "
            f"{row['score_seconds']:8.2f}"
        )


def write(folder, pipeline, table, X, y):
    """Write pipeline.joblib, table.csv and, with matplotlib, figure.png."""
    joblib.dump(pipeline, folder / "pipeline.joblib")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    written = ["pipeline.joblib", "table.csv"]
    try:
        draw(pipeline["vae"], X, y, folder / "figure.png")
        written.append("figure.png")
    except ImportError:
        print("\nWithout matplotlib no figure: pip install skvae[plot]")
    print(f"\nWritten to {folder}: {', '.join(written)}")


def draw(vae, X, y, path):
    """Latent space by class, and originals against reconstructions, of test signals."""
    import matplotlib
    import matplotlib.pyplot as plt

    from skvae.plotting import LatentSpaceDisplay, ReconstructionDisplay

    with matplotlib.rc_context({"backend": "agg", "figure.dpi": 120}):
        latents = LatentSpaceDisplay.from_estimator(vae, X, y)
        signals = ReconstructionDisplay.from_estimator(
            vae, X, samples="random", n_samples=3, random_state=0
        )
        panels = []
        for figure in (latents.figure_, signals.figure_):
            figure.canvas.draw()
            panels.append(np.asarray(figure.canvas.buffer_rgba()))
            plt.close(figure)
    image = np.full((max(map(len, panels)), 0, 4), 255, np.uint8)
    for panel in panels:
        below = [(0, len(image) - len(panel)), (0, 0), (0, 0)]
        image = np.hstack([image, np.pad(panel, below, constant_values=255)])
    plt.imsave(path, image)


if __name__ == "__main__":
    main()
