"""Signals to train and to test on: the wristwatch recordings, or those of a file."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, train_test_split

from skvae.command.table import read
from skvae.datasets import load_watch
from skvae.inputs.long_frames import are_dates
from skvae.inputs.suspicions import sentinels, warn_of_time_in_rows

N_FOLDS = 2
MIN_SIGNALS, MIN_FOLD = 16, 6  # of a file, and of a fold: k-NN needs 5
N_NEEDED = 2 * N_FOLDS  # signals of each class


@dataclass
class Signals:
    """Signals to train on and to test on."""

    X_train: np.ndarray  # (n_samples, n_channels, n_timepoints)
    X_test: np.ndarray
    y_train: np.ndarray | None
    y_test: np.ndarray | None
    test_kind: str = ""
    groups: np.ndarray | None = None  # of the signals to train on
    channel_names: list | None = None
    task: str | None = "labels"  # or "numbers", as `target_type`; None: no y
    index: pd.Index | None = None
    timepoints: np.ndarray | None = None

    @property
    def shape(self):
        """Shape of arrays of signals, as a text."""
        n_channels, n_timepoints = self.X_train.shape[1:]
        return f"(n, {n_channels}, {n_timepoints})".replace("(n, 1, ", "(n, ")

    def name_time_steps(self, vae):
        """Set the positions of time steps in the file on a fitted estimator."""
        if np.shape(self.timepoints) == (vae.n_timepoints_in_,):
            vae.timepoints_in_ = self.timepoints


def load(path, label=None, decimal_comma=False, groups=None):
    """`Signals` of a file, a quarter of them to test on, or of the recordings.

    No group, if there are groups, is both trained on and tested on.
    """
    if path is None:
        train, test = load_watch(subset="train"), load_watch(subset="test")
        names = np.asarray(train.target_names)
        parts = train.data, test.data, names[train.target], names[test.target]
        kind = f"of {len(np.unique(test.subject))} people not trained on"
        return Signals(*parts, kind, train.subject, train.channel_names)
    X, y, groups, index, timepoints = read(path, label, decimal_comma, groups)
    if message := sentinels(X):
        print(message)
    frame = pd.DataFrame(X.reshape(len(X), -1), index=index).add_prefix("column ")
    if index.nlevels == 1 and are_dates(index.to_series()):
        frame.index = pd.to_datetime(index, errors="coerce", format="mixed")
    warn_of_time_in_rows(frame, X, True, timepoints is not None)
    if y is None:
        unlabelled = {"task": None, "index": index, "timepoints": timepoints}
        return Signals(X, X[:0], None, None, **unlabelled)
    is_known = y.notna() if groups is None else y.notna() & groups.notna()
    if not is_known.all():
        what = "label" if groups is None else "label or a group"
        print(f"Left out, {np.sum(~is_known)} signals without a {what}.")
    X, y = X[is_known], as_array(y[is_known])
    kept, task = check_labels(path, y)
    X, y = X[kept], y[kept]
    if groups is None:
        classes = y if task == "labels" else None
        parts = train_test_split(X, y, test_size=0.25, stratify=classes, random_state=0)
        signals = Signals(*parts, "a quarter, drawn at random", task=task)
    else:
        groups = as_array(groups[is_known])[kept]
        signals = split_by_groups(path, X, y, groups, task)
    signals.timepoints = timepoints
    return signals


def as_array(labels):
    """Labels as an array of one type: integers if they are whole numbers."""
    if labels.dtype.kind not in "iuf":  # True and False are texts, too
        return labels.to_numpy(str)
    is_whole = labels.dtype.kind == "f" and (labels % 1 == 0).all()
    return labels.to_numpy(int if is_whole else None)


def check_labels(path, y):
    """Which labels are kept, and whether they are "labels" or "numbers"."""
    counts = pd.Series(y).value_counts(sort=False).sort_index()
    rare = counts[counts < N_NEEDED]
    kept = ~np.isin(y, rare.index)
    is_rare = len(counts) - len(rare) < 2 or kept.sum() < max(MIN_SIGNALS, len(y) / 2)
    are_decimals = y.dtype.kind == "f" and len(counts) > 1
    are_many = y.dtype.kind in "iuf" and len(counts) > 2 and is_rare
    if (are_decimals or are_many) and len(y) >= MIN_SIGNALS:
        print(f"Labels are {len(counts)} different numbers: a regression.")
        return np.ones(len(y), bool), "numbers"
    names = [f"{name} ({n})" for name, n in rare.items()]
    names = ", ".join(names[:5] + ["..."] * (len(names) > 5))
    if is_rare:
        found = f", but too few of {names}" if names else ""
        if len(counts) == 1:
            found = f": all labels are {str(y[0])!r}"
        raise SystemExit(
            f"{path}: {len(y)} signals of {len(counts)} classes{found}. Expected "
            f"{MIN_SIGNALS} signals, and at least {N_NEEDED} of each class. If these "
            "are not labels, pass --label COLUMN, or --label none."
        )
    if names:
        print(f"Left out, classes of fewer than {N_NEEDED} signals: {names}.")
    return kept, "labels"


def split_by_groups(path, X, y, groups, task):
    """`Signals`, a quarter of them of other groups to test on."""
    n_groups = len(np.unique(groups))
    if n_groups >= 2 * N_FOLDS:
        splitter = StratifiedGroupKFold if task == "labels" else GroupKFold
        quarters = splitter(4, shuffle=True, random_state=0)
        train, test = next(quarters.split(X, y, groups))
        folds = list(GroupKFold(N_FOLDS).split(train, groups=groups[train]))
        parts = [y[train][fold] for pair in folds for fold in pair]
        if all(len(part) >= MIN_FOLD and len(set(part)) > 1 for part in parts):
            kind = f"of {len(np.unique(groups[test]))} groups not trained on"
            parts = X[train], X[test], y[train], y[test]
            return Signals(*parts, kind, groups[train], task=task)
    raise SystemExit(
        f"{path}: {n_groups} groups. Expected at least {2 * N_FOLDS}, with at least "
        f"{MIN_FOLD} signals and two classes in each fold. Add groups, or leave out "
        "--groups."
    )
