"""What the latents are worth: k-NN, held-out likelihood and reconstruction.

    pip install -e ".[bench]"
    python benchmarks/quality.py run      # 2 hours on 2 cores; may be stopped any time
    python benchmarks/quality.py run --sets GunPoint --methods pca skvae --seeds 0
    python benchmarks/quality.py report   # results/quality.md and figures/quality.png

`run` appends a JSON line to results/quality.jsonl for each set, method, latent_dim and
seed that is not there yet; to do one again, delete its line. All methods but skvae's
get signals standardised by channel. For each result:

- acc1, acc5: test accuracy of 1-NN and 5-NN on the latents; accuracy: of the method's
  own classifier
- acc1_tenth: of 1-NN that knows the labels of a tenth of the training signals, of a
  method that knows none; of the "10%" methods all figures are such
- bound: mean log-likelihood (exact for PCA) or its lower bound, on the test signals, in
  nats per signal in the units of X
- reconstruction: mean squared error a value, on the test signals, of standardised ones
- fit_seconds, transform_seconds: by the clock, the latter of the test signals;
  fit_cpu_seconds: of the processor, on which other work tells less

k1 is the forum thread's Keras model, which `port.py` shows to be equal, p2 its final
script, both for 100 epochs, their latents not scaled; pythae is Pythae's VAE with the
network of p2, on signals of one channel after the other.
"""

import argparse
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import data
import numpy as np
import sklearn
import torch
from p2 import PythaeVAE
from sklearn.decomposition import PCA, FastICA, KernelPCA
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, StandardScaler

from skvae import ConvVAETransformer
from skvae.scaling import ChannelScaler

HERE = Path(__file__).parent
LATENT_DIMS = (2, 8, 16)
SEEDS = (0, 1, 2)
THREAD = {
    "linear_path": False,
    "hidden_dims": (64, 16),
    "output_activation": "sigmoid",
    "scale": "minmax",
    "whiten": True,
    "mixup": 0,
    "input_noise": 0,
    "lr": 1e-3,
    "lr_schedule": None,
    "batch_size": 32,
    "max_epochs": 100,
}
K1 = THREAD | {
    "reconstruction_weight": 10,
    "hidden_dropout": 0.3,
    "output_kernel_size": 8,
    "init": "glorot",
}
P2 = THREAD | {
    "reconstruction_weight": 100,
    "dropout": 0.3,
    "hidden_dropout": 0.5,
    "batch_norm": True,
    "init": "torch",
}

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


def vae(**params):
    return lambda k, seed: ConvVAETransformer(k, random_state=seed, **params)


def minirocket(_, seed):
    from aeon.transformations.collection.convolution_based import MiniRocket

    return make_pipeline(
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
    seeds: tuple = SEEDS


METHODS = {
    "raw": Method(lambda k, seed: FunctionTransformer(), (None,)),
    "pca": Method(lambda k, seed: PCA(k, svd_solver="full")),
    "skvae": Method(vae()),
    "skvae-ppca": Method(vae(max_epochs=0), seeds=(0,)),
    "skvae-labels": Method(vae(label_weight=10.0), (8,)),
    "skvae-10%-labels": Method(vae(label_weight=10.0), (8,)),
    "skvae-10%-alone": Method(vae(label_weight=10.0), (8,)),
    "minirocket": Method(minirocket, (None,), (0,)),
    "k1": Method(vae(**K1), (2, 8), (0,)),
    "p2": Method(vae(**P2), (2, 8), (0,)),
    "pythae": Method(lambda k, seed: PythaeVAE(k, random_state=seed), (2, 8), (0,)),
    "kpca": Method(
        lambda k, seed: KernelPCA(k, kernel="rbf", fit_inverse_transform=True),
        seeds=(0,),
    ),
    "ica": Method(lambda k, seed: FastICA(k, random_state=seed), seeds=(0,)),
    "umap": Method(umap, (2, 8), (0,)),
}
NO_LABELS = (
    "raw",
    "pca",
    "skvae",
    "skvae-ppca",
    "k1",
    "p2",
    "pythae",
    "kpca",
    "ica",
    "umap",
)
NO_RECONSTRUCTION = ("raw", "umap")


# --- Running


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--sets", nargs="+", choices=data.SETS, default=data.SETS)
    runs.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    runs.add_argument("--latent-dims", nargs="+", type=int, default=LATENT_DIMS)
    runs.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    commands.add_parser("report")
    args = vars(parser.parse_args())
    results = HERE / "results" / "quality.jsonl"
    if args.pop("command") == "run":
        run(plan(**args), results)
    else:
        report(results, HERE / "figures" / "quality.png")


def plan(sets, methods, latent_dims, seeds):
    """What to run, as dicts: that which is asked for and the method provides for."""
    for seed, method, name in product(seeds, methods, sets):
        if seed in METHODS[method].seeds:
            for k in METHODS[method].latent_dims:
                if k is None or k in latent_dims:
                    yield {
                        "set": name,
                        "method": method,
                        "latent_dim": k,
                        "seed": seed,
                    }


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(tasks, path):
    """Append the results that are not in the file yet."""
    results = read(path) if path.exists() else []
    versions = environment()
    for task in tasks:
        if any(task.items() <= result.items() for result in results):
            continue
        torch.set_num_threads(versions["threads"])  # aeon's MiniRocket changes it
        try:
            result = evaluate(*task.values())
        except Exception as error:  # a method's failure is a result
            result = {"error": f"{type(error).__name__}: {error}"}
        line = json.dumps(task | result | versions)
        print(line, flush=True)
        with path.open("a") as file:
            file.write(line + "\n")


def environment():
    """What runs: skvae's commit, with a + if it was edited since, versions, threads."""

    def git(*args):
        if shutil.which("git") is None:
            return subprocess.CompletedProcess(args, 1, stdout="unknown")
        return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True)

    commit = git("rev-parse", "--short", "HEAD").stdout.strip()
    edited = git("diff", "--quiet", "HEAD", "--", "../skvae").returncode
    return {
        "commit": commit + "+" * bool(edited),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "sklearn": sklearn.__version__,
            "torch": torch.__version__,
        },
        "threads": torch.get_num_threads(),
    }


def evaluate(name, method, latent_dim, seed):
    """Fit and judge one method on one set: a dict of figures."""
    X_train, y_train, X_test, y_test = data.load(name)
    encoder = LabelEncoder().fit(y_train)
    y_train, y_test = encoder.transform(y_train), encoder.transform(y_test)
    model = METHODS[method].make(latent_dim, seed)
    if method == "minirocket":
        return evaluate_classifier(model, X_train, y_train, X_test, y_test)

    scaler = ChannelScaler("standard").fit(as_channels(X_train))
    log_det = scaler.log_det(as_channels(X_test).shape[2])

    def standardise(X):
        """Flat signals, (n, c * t)."""
        return scaler.transform(as_channels(X)).reshape(len(X), -1).astype(float)

    scales_itself = isinstance(model, ConvVAETransformer)
    S_test = standardise(X_test)
    if not scales_itself:
        X_train, X_test = standardise(X_train), S_test

    tenth = draw_tenth(y_train, seed)
    y_fit = y_train
    if method == "skvae-10%-labels":
        y_fit = np.where(tenth, y_train, -1)
    elif method == "skvae-10%-alone":
        X_train, y_fit, tenth = X_train[tenth], y_train[tenth], slice(None)
        y_train = y_fit

    start, cpu_start = time.perf_counter(), time.process_time()
    model.fit(X_train, y_fit)
    result = {
        "fit_seconds": time.perf_counter() - start,
        "fit_cpu_seconds": time.process_time() - cpu_start,
    }
    start = time.perf_counter()
    Z_test = model.transform(X_test)
    result["transform_seconds"] = time.perf_counter() - start

    Z_train = model.transform(X_train)
    if method in NO_LABELS:
        result["acc1_tenth"] = knn_accuracy(
            1, Z_train[tenth], y_train[tenth], Z_test, y_test
        )
    elif "10%" in method:
        Z_train, y_train = Z_train[tenth], y_train[tenth]
    for k in (1, 5):
        result[f"acc{k}"] = knn_accuracy(k, Z_train, y_train, Z_test, y_test)

    if hasattr(model, "score"):
        result["bound"] = float(model.score(X_test))
        if not scales_itself:
            result["bound"] += log_det
    if method not in NO_RECONSTRUCTION:
        X_hat = model.inverse_transform(Z_test)
        S_hat = standardise(X_hat) if scales_itself else X_hat
        result["reconstruction"] = float(np.mean((S_hat - S_test) ** 2))
    return result


def evaluate_classifier(model, X_train, y_train, X_test, y_test):
    X_train, X_test = as_channels(X_train), as_channels(X_test)
    start = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    return {"fit_seconds": seconds, "accuracy": float(model.score(X_test, y_test))}


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


def knn_accuracy(k, Z_train, y_train, Z_test, y_test):
    knn = KNeighborsClassifier(min(k, len(Z_train)))
    return float(knn.fit(Z_train, y_train).score(Z_test, y_test))


# --- Report


def report(path, figure):
    """Write the tables beside the results, and the figure."""
    results = read(path)
    table = means(results)
    text = "\n\n".join(
        [
            "# What the latents are worth",
            describe_runs(results),
            *(against_pca(table, k) for k in LATENT_DIMS),
            by_method(table),
            with_labels(table),
            with_few_labels(table),
            bars(table),
        ]
    )
    path.with_suffix(".md").write_text(text + "\n")
    draw_ranks(table, figure)


def means(results):
    """Means over seeds, a pandas DataFrame: method, latent_dim, set by figure.

    latent_dim is 0 where there is none; n_seeds is how many there were.
    """
    import pandas as pd

    frame = pd.DataFrame([r for r in results if "error" not in r])
    frame["latent_dim"] = frame["latent_dim"].fillna(0).astype(int)
    groups = frame.groupby(["method", "latent_dim", "set"])
    table = groups.mean(numeric_only=True)
    table["n_seeds"] = groups["seed"].nunique()
    # Rounded, so that equal accuracies of different seeds are equal in the mean.
    return table.drop(columns=["seed", "threads"]).round(9)


def pick(table, method, latent_dim):
    """Figures of a method by set, in the order of `data.SETS`; may be empty."""
    selected = table[
        (table.index.get_level_values("method") == method)
        & (table.index.get_level_values("latent_dim") == latent_dim)
    ]
    by_set = selected.droplevel(["method", "latent_dim"])
    return by_set.reindex([name for name in data.SETS if name in by_set.index])


def compare(table, method, latent_dim, reference="pca"):
    """By set: accuracies, bounds and reconstruction against the reference's."""
    import pandas as pd

    ours, theirs = pick(table, method, latent_dim), pick(table, reference, latent_dim)
    return pd.DataFrame(
        {
            "reference": theirs["acc1"],
            "acc1": ours["acc1"],
            "difference": ours["acc1"] - theirs["acc1"],
            "margin": ours["bound"] - theirs["bound"],
            "ratio": ours["reconstruction"] / theirs["reconstruction"],
            "seconds": ours["fit_seconds"],
            "cpu_seconds": ours["fit_cpu_seconds"],
        }
    ).reindex(theirs.index.intersection(ours.index, sort=False))


def describe_runs(results):
    commits = sorted({r["commit"] for r in results})
    versions = {f"{k} {v}" for r in results for k, v in r["versions"].items()}
    threads = sorted({r["threads"] for r in results})
    lines = [
        f"{len(results)} results; skvae at {', '.join(commits)}; "
        f"{', '.join(sorted(versions))}; threads: {', '.join(map(str, threads))}. "
        "Means over seeds. Seconds are by the clock, on a machine with other work.",
    ]
    lines += [
        f"- failed: {r['method']}, latent_dim {r['latent_dim']}, {r['set']}, "
        f"seed {r['seed']}: {r['error']}"
        for r in results
        if "error" in r
    ]
    return "\n".join(lines)


def against_pca(table, k):
    header = (
        "set | PCA 1-NN | skvae 1-NN | difference | bound above PCA's, nats | "
        "reconstruction error / PCA's | seconds to fit"
    )
    rows = compare(table, "skvae", k).drop(columns="cpu_seconds")
    if len(rows):
        rows.loc["**mean**"] = rows.mean()
    formats = ("{:.3f}", "{:.3f}", "{:+.3f}", "{:+.1f}", "{:.2f}", "{:.1f}")
    return f"## No labels, latent_dim {k}\n\n" + markdown(header, rows, formats)


def by_method(table):
    import pandas as pd

    rows = {}
    for method in METHODS:
        for k in (0, *LATENT_DIMS):
            ours = pick(table, method, k)
            if not len(ours):
                continue
            accuracy = ours["acc1"]
            if method == "minirocket":
                accuracy = ours["accuracy"]
            compared = compare(table, method, k)
            rows[f"{method} | {k or '-'}"] = {
                "sets": len(ours),
                "seeds": ours["n_seeds"].max(),
                "acc1": accuracy.mean(),
                "acc5": ours["acc5"].mean(),
                "difference": compared["difference"].mean(),
                "margin": compared["margin"].mean(),
                "ratio": compared["ratio"].mean(),
                "fit": ours["fit_seconds"].mean(),
                "transform": ours["transform_seconds"].mean(),
            }
    header = (
        "method | latent_dim | sets | seeds | 1-NN | 5-NN | 1-NN - PCA's | "
        "bound above PCA's, nats | reconstruction error / PCA's | seconds to fit | "
        "to transform"
    )
    formats = ("{:.0f}", "{:.0f}", "{:.3f}", "{:.3f}", "{:+.3f}", "{:+.1f}")
    formats += ("{:.2f}", "{:.2f}", "{:.4f}")
    return (
        "## Means over the sets\n\n"
        + markdown(header, pd.DataFrame(rows).T, formats)
        + "\n\nminirocket's accuracy is that of its ridge classifier."
    )


def with_labels(table):
    import pandas as pd

    rows = pd.DataFrame(
        {
            "raw": pick(table, "raw", 0)["acc1"],
            "pca": pick(table, "pca", 8)["acc1"],
            "skvae": pick(table, "skvae", 8)["acc1"],
            "labels": pick(table, "skvae-labels", 8)["acc1"],
            "ratio": compare(table, "skvae-labels", 8)["ratio"],
            "minirocket": pick(table, "minirocket", 0).get("accuracy"),
        },
        index=pick(table, "skvae-labels", 8).index,
    ).astype(float)
    published = pd.DataFrame(PUBLISHED, index=["ed", "dtw", "tloss", "inception"]).T
    rows = rows.join(published)
    both = rows.loc[rows.index.isin(PUBLISHED)].mean()
    rows.loc["**mean**"] = rows.drop(columns=published.columns).mean()
    rows.loc["**mean of those published**"] = both
    header = (
        "set | raw 1-NN | PCA + 1-NN | skvae, no labels + 1-NN | "
        "**skvae, labels + 1-NN** | its reconstruction error / PCA's | "
        "MiniRocket + ridge | 1-NN ED, published | 1-NN DTW, published | "
        "T-Loss + 1-NN, published | InceptionTime, published"
    )
    formats = ("{:.3f}",) * 4 + ("{:.2f}",) + ("{:.3f}",) * 5
    return "## With labels, latent_dim 8\n\n" + markdown(header, rows, formats)


def with_few_labels(table):
    import pandas as pd

    columns = {
        "raw": pick(table, "raw", 0)["acc1_tenth"],
        "pca": pick(table, "pca", 8)["acc1_tenth"],
        "skvae": pick(table, "skvae", 8)["acc1_tenth"],
        "with": pick(table, "skvae-10%-labels", 8)["acc1"],
        "alone": pick(table, "skvae-10%-alone", 8)["acc1"],
    }
    rows = pd.DataFrame(columns, index=columns["alone"].index)
    rows["difference"] = rows["with"] - rows["alone"]
    if len(rows):
        rows.loc["**mean**"] = rows.mean()
    header = (
        "set | raw 1-NN | PCA + 1-NN | skvae, no labels + 1-NN | "
        "skvae, labels, all signals + 1-NN | skvae, labelled signals only + 1-NN | "
        "gain by unlabelled signals"
    )
    formats = ("{:.3f}",) * 5 + ("{:+.3f}",)
    return (
        "## A tenth of the labels, latent_dim 8\n\n"
        "1-NN knows the labels of a tenth of each class, at least two signals.\n\n"
        + markdown(header, rows, formats)
    )


def bars(table):
    """What was asked for, and what was reached."""
    found = [*bars_without_labels(table), *bars_with_labels(table)]
    lines = ["## Bars", "", "| bar | reached | |", "| --- | --- | --- |"]
    for bar, reached, met in found:
        lines.append(f"| {bar} | {reached} | {'met' if met else 'missed'} |")
    return "\n".join(lines)


def bars_without_labels(table):
    """Yield what is asked for, what was reached, and whether it suffices."""
    for k in LATENT_DIMS:
        found = compare(table, "skvae", k)
        if found.empty:
            continue
        gain, margin, ratio = found["difference"], found["margin"], found["ratio"]
        needed = 0.05 if k == 2 else 0.01
        yield (
            f"latent_dim {k}: mean 1-NN at least PCA's {needed:+.2f}",
            f"{gain.mean():+.4f}",
            gain.mean() >= needed,
        )
        yield (
            f"latent_dim {k}: no set below PCA by more than 0.02",
            f"worst {gain.min():+.3f}, {gain.idxmin()}; {(gain < -0.02).sum()} below",
            gain.min() >= -0.02,
        )
        yield (
            f"latent_dim {k}: bound above PCA's on every set",
            f"least {margin.min():+.1f} nats, {margin.idxmin()}; above on "
            f"{(margin > 0).sum()} of {len(margin)}",
            margin.min() > 0,
        )
        yield (
            f"latent_dim {k}: reconstruction error below PCA's on average",
            f"mean ratio {ratio.mean():.3f}, below on {(ratio < 1).sum()} of "
            f"{len(ratio)}",
            ratio.mean() < 1,
        )
        if "watch6" in found.index:
            seconds, cpu = found.loc["watch6", ["seconds", "cpu_seconds"]]
            yield (
                f"latent_dim {k}: watch6, the largest set, fitted in 10 seconds",
                f"{seconds:.1f} by the clock, {cpu:.1f} of the processor",
                seconds <= 10,
            )


def bars_with_labels(table):
    accuracy = pick(table, "skvae-labels", 8)["acc1"]
    accuracy = accuracy[accuracy.index.isin(PUBLISHED)]
    if len(accuracy) == len(PUBLISHED):
        for name, needed in (("1-NN DTW's", 0.827), ("InceptionTime's", 0.951)):
            yield (
                f"labels, latent_dim 8: mean 1-NN of the {len(accuracy)} published "
                f"sets at least {name} {needed}",
                f"{accuracy.mean():.3f}",
                accuracy.mean() >= needed,
            )
    with_unlabelled = pick(table, "skvae-10%-labels", 8)["acc1"]
    gain = (with_unlabelled - pick(table, "skvae-10%-alone", 8)["acc1"]).dropna()
    if len(gain):
        yield (
            "a tenth of the labels, latent_dim 8: better with the unlabelled signals",
            f"mean {gain.mean():+.3f}, better on {(gain > 0).sum()}, worse on "
            f"{(gain < 0).sum()} of {len(gain)}",
            gain.mean() > 0,
        )


def markdown(header, rows, formats):
    """A table of a DataFrame's rows; a dash where there is no figure."""
    lines = [f"| {header} |", "|" + " --- |" * (header.count("|") + 1)]
    for name, row in rows.iterrows():
        cells = (
            style.format(value) if np.isfinite(value) else "-"
            for value, style in zip(row, formats, strict=True)
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_ranks(table, k):
    """Mean rank of each method by 1-NN accuracy, best first, and the number of sets.

    Of the methods that know no labels, over the sets that all of them have.
    """
    import pandas as pd

    accuracies = {}
    for method in NO_LABELS:
        found = pick(table, method, 0 if method == "raw" else k)
        if len(found):
            accuracies[method] = found["acc1"]
    ranks = pd.DataFrame(accuracies).dropna().rank(axis=1, ascending=False)
    return ranks.mean().sort_values(), len(ranks)


def draw_ranks(table, path):
    """Mean ranks, with bars of Nemenyi's critical difference (Demsar 2006).

    Methods whose bars do not overlap differ at the 5 % level.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from scipy.stats import studentized_range

    fig, axes = plt.subplots(
        1, len(LATENT_DIMS), figsize=(9, 2.8), sharex=True, layout="constrained"
    )
    for ax, k in zip(axes, LATENT_DIMS, strict=True):
        ranks, n_sets = mean_ranks(table, k)
        n = len(ranks)
        quantile = studentized_range.ppf(0.95, n, np.inf) / 2**0.5
        critical = quantile * (n * (n + 1) / (6 * max(n_sets, 1))) ** 0.5
        colors = ["C1" if name == "skvae" else "C0" for name in ranks.index]
        ax.hlines(range(n), ranks - critical / 2, ranks + critical / 2, colors, lw=2)
        ax.scatter(ranks, range(n), c=colors, zorder=3)
        ax.set_yticks(range(n), ranks.index)
        ax.invert_yaxis()
        ax.set_title(f"latent_dim {k}, {n_sets} sets", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="x", alpha=0.3)
    fig.supxlabel("mean rank by 1-NN accuracy without labels (1 is best)", fontsize=10)
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=110)
    plt.close(fig)


if __name__ == "__main__":
    main()
