"""The main job, `python -m skvae`: tune, compare, keep the pipelines and a figure.

What it does is in `skvae.command`; `python -m skvae transform` is in `skvae.apply`.
"""

import argparse
import sys
import warnings
from pathlib import Path

from skvae import apply

try:
    from skvae.command import tune, unlabelled
    from skvae.command.load import load
except ModuleNotFoundError as error:
    if error.name != "pandas":
        raise
    load = None


def main(arguments=None):
    """Run the job as the command line asks for.

    Returns
    -------
    list of dict, the table; for signals without labels a DataFrame, their latents
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["transform"]:
        return apply.main(arguments[1:])
    options = parse(arguments)
    if load is None:
        raise SystemExit('The job needs pandas: pip install "skvae[job]".')
    signals = load(options.data, options.label, options.decimal_comma, options.groups)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(
            f"--output {options.output}: {error.strerror}. Expected a folder."
        ) from error
    run = unlabelled.run if signals.task is None else tune.run
    with warnings.catch_warnings():  # the job hides what `load` has said
        return run(signals, options)


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
        help="your signals: a table with a signal and its label a line, as text (.csv, "
        ".tsv, .txt, also compressed), .parquet or .feather, with or without names of "
        "columns and an index in front; cells of .parquet may hold signals; .npz or "
        ".mat with X (n, t) or (n, c, t) and y; .ts; .arff. A quarter of the signals "
        "is kept for testing (default: the wristwatch recordings)",
    )
    parser.add_argument(
        "--label",
        metavar="COLUMN",
        help="which column holds the labels, or numbers to predict: its name, or its "
        "number from 0, or from -1 at the end; none: there are no labels (default: "
        "that named y, class, label or target, else the last or the first that can be)",
    )
    parser.add_argument(
        "--groups",
        metavar="COLUMN",
        help="which column says of whom or what a signal is, as a person or a machine, "
        "by name or number: those trained on are not tested on (default: of .npz an "
        "array `groups`)",
    )
    parser.add_argument(
        "--decimal-comma",
        action="store_true",
        help="decimals of a text stand after a comma, where this cannot be found: "
        "1.234 is 1234",
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
        "--n-jobs",
        type=n_jobs,
        default=2,
        help="parallel fits, -1 for as many as cores (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def n_jobs(text):
    if not (number := int(text)):
        raise argparse.ArgumentTypeError("0 is none. Expected 1, 2, ..., or -1.")
    return number


if __name__ == "__main__":
    main()
