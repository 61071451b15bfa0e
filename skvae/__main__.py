"""The main job, `python -m skvae`, and `python -m skvae transform`."""

import argparse
import sys
import warnings
from pathlib import Path

from skvae.command import transform

try:
    from skvae.command import tune, unlabelled
    from skvae.command.load import load
except ModuleNotFoundError as error:
    if error.name != "pandas":
        raise
    load = None

DATA = """your signals: a text with a signal and its label in each line, compressed or
not; .parquet, .feather, .npz or .mat with X (n, t) or (n, c, t) and y, .ts, .arff. A
quarter is kept for testing (default: the wristwatch recordings)"""
LABEL = """column of labels, or of numbers to predict, by name or by number (0 is the
first, -1 the last); none: no labels (default: the column named y, class, label or
target, else the last or the first that can hold labels)"""
GROUPS = """column with the person or the machine of each signal, by name or number; a
group is in the training set or in the test set (default: the array `groups` of
.npz)"""
DECIMAL_COMMA = "take the comma as decimal mark if the text is unclear: 1.234 is 1234"


def main(arguments=None):
    """Run the job of the command line; return the table or the latents."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["transform"]:
        return transform.main(arguments[1:])
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
    with warnings.catch_warnings():  # `load` has already printed these
        warnings.filterwarnings("ignore", r"X has (values|the value|\d+ rows,) ")
        return run(signals, options)


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m skvae",
        description="Tune Pipeline([vae, knn]) by a cross-validated grid search, and "
        "compare it with k-NN on the signals and on PCA. Or apply a fitted model: "
        "python -m skvae transform --help.",
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="FILE", help=DATA)
    add("--label", metavar="COLUMN", help=LABEL)
    add("--groups", metavar="COLUMN", help=GROUPS)
    add("--decimal-comma", action="store_true", help=DECIMAL_COMMA)
    output = "folder for pipelines, table and figure (default: %(default)s)"
    default = Path("skvae-output")
    add("--output", type=Path, default=default, metavar="FOLDER", help=output)
    add("--quick", action="store_true", help="a small grid")
    jobs = "parallel fits, -1 for as many as cores (default: %(default)s)"
    add("--n-jobs", type=n_jobs, default=2, help=jobs)
    return parser.parse_args(arguments)


def n_jobs(text):
    if not (number := int(text)):
        raise argparse.ArgumentTypeError("0 is none. Expected 1, 2, ..., or -1.")
    return number


if __name__ == "__main__":
    main()
