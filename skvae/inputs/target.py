"""What latents are taught: y as class indicators, or as standardised numbers."""

import logging
from collections.abc import Mapping
from numbers import Number
from typing import NamedTuple

import numpy as np
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from skvae.distributed import from_all, pooled, refuse_differences, shared_errors
from skvae.inputs.containers import is_missing, refuse_masked, to_numpy
from skvae.inputs.suspicions import FAR, sentinels
from skvae.messages import warn_user

LOGGER = logging.getLogger("skvae")
# float64 holds the variance of such numbers.
MAX_NUMBER = 1e150
# A column whose standard deviation is less, or less of its mean, is constant: that of
# 0.1, in binary, comes out as 1e-17.
MIN_STD, MIN_RELATIVE_STD = 1e-300, 1e-14
# Fewer labels say nothing of how many classes there are; scikit-learn's number.
MIN_LABELLED = 20
# What says that a sample has no label, by `target_type`.
UNLABELLED = {"auto": "-1", "labels": "None or NaN"}


class Target(NamedTuple):
    """What latents are taught.

    Attributes
    ----------
    values : ndarray of float32, shape (n_samples, n_targets)
        Class indicators, or numbers standardised by column; NaN where unknown.
    classes : ndarray of shape (n_classes,) or None
        None: y holds numbers.
    offset, scale : ndarray of shape (n_targets,) or None
        Of numbers: ``values = (y - offset) / scale``; a scale of 0 marks a column that
        is left out, since it is constant.
    """

    values: np.ndarray
    classes: np.ndarray | None
    offset: np.ndarray | None
    scale: np.ndarray | None

    @property
    def n_dims(self):
        """Dimensions that a linear map needs to tell all there is."""
        if self.classes is not None:
            return len(self.classes) - 1
        return int((self.scale > 0).sum())


def check_target(y, n_samples, before=None, classes=None, target_type="auto"):
    """`Target` of class labels or numbers.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Class labels, numbers or strings, or numbers, each NaN where it is unknown.
    n_samples : int
    before : Target, optional
        Of an earlier fit that goes on: its classes, or its units.
    classes : array-like of shape (n_classes,), optional
        The classes that will come.
    target_type : {"auto", "labels", "numbers"}
        "auto": as `type_of_target` tells them apart, so that whole numbers in one
        column are labels, and -1 (or "-1") is unlabelled, scikit-learn's convention for
        semi-supervised learning. "labels": None and NaN are unlabelled, -1 is a class.

    Returns
    -------
    Target
    """
    with shared_errors():
        names = list(getattr(y, "columns", ()))
        y = target_array(y)
        if y.ndim not in (1, 2) or len(y) != n_samples:
            raise ValueError(
                f"X has {n_samples} samples and y has shape {y.shape}. Expected one "
                "label or one row of numbers per sample: (n_samples,) or (n_samples, "
                "n_targets)."
            )
        check_size(y)
        if before is not None and classes is None:
            classes = before.classes
        is_numbers = classes is None and (
            target_type == "numbers"
            or before is not None
            or (target_type == "auto" and is_continuous(y))
        )
        if target_type == "numbers" and not is_numbers:
            raise ValueError(
                "target_type='numbers', but there are classes, passed or of the first "
                "fit. Leave `classes` out, or fit anew."
            )
    is_text = y.dtype.kind in "OSU"
    if any(from_all(is_text)) and not is_text and y.ndim == 1:
        unlabelled = is_unlabelled(y, target_type)
        if unlabelled.all():  # beside labels of text
            y, is_text = np.full(len(y), "-1" if target_type == "auto" else None), True
    refuse_differences(
        {
            "Whether y is text": is_text,
            "classes": None if classes is None else np.unique(classes).tolist(),
        }
    )
    if any(from_all(is_numbers)):
        return encode_numbers(y, before, names)
    return encode_labels(y, classes, target_type)


def target_array(y):
    """y as an array, of objects only where there is text among them.

    NaN where numbers are missing: None, or missing in a DataFrame or Series.
    """
    refuse_masked(y, "y")
    is_array = hasattr(y, "__len__") or hasattr(y, "__array__")
    if isinstance(y, (Mapping, str)) or not is_array:
        raise ValueError(
            f"y is of type {type(y).__name__}. Expected an array, a Series or a list "
            "of labels or numbers, one for each signal."
        )
    missing = np.asarray(y.isna() if hasattr(y, "isna") else False)
    y = np.asarray(to_numpy(y, "y"))
    if y.dtype.kind not in "biufSUO":
        raise ValueError(
            f"y has dtype {y.dtype}. Expected labels or numbers: convert it, for "
            "example with y.astype(str)."
        )
    is_text = y.dtype != object or any(isinstance(value, str) for value in y.ravel())
    if is_text:
        return y
    missing = missing | np.frompyfunc(is_missing, 1, 1)(y).astype(bool)
    is_numbers = all(isinstance(value, Number) for value in y[~missing].ravel())
    if not missing.any() and not (is_numbers and y.dtype == object):
        return np.array(y.tolist())
    return np.where(missing, np.nan, y).astype(np.float64)


def check_size(y):
    """Refuse infinity, and numbers whose variance float64 does not hold."""
    largest = 0.0
    if y.dtype.kind in "fiu":
        largest = np.nanmax(np.abs(y, dtype=np.float64), initial=0.0)
    if largest > MAX_NUMBER:
        raise ValueError(
            f"y has values as large as {largest:.0e}. Expected finite numbers, of at "
            f"most {MAX_NUMBER:.0e}, or NaN where a sample is unlabelled."
        )


def is_continuous(y):
    """Whether y holds numbers rather than labels, missing ones left out."""
    if y.dtype.kind not in "fiu":
        return False
    known = y[~np.isnan(y)]
    if (y.ndim == 2 and y.shape[1] > 1) or not len(known):
        return True
    return type_of_target(known) == "continuous"


def encode_numbers(y, before=None, names=()):
    """`Target` of numbers y, NaN where one is unknown.

    A constant column is left out, with a warning that gives its name or number.
    """
    with shared_errors():
        if y.dtype.kind not in "biuf":
            raise ValueError(
                f"y has dtype {y.dtype}, but numbers are what target_type or the first "
                "fit says. Expected numbers, or NaN where one is unknown."
            )
        values = y.reshape(len(y), -1).astype(np.float64)
        if message := sentinels(values[:, :, None], "y", "column"):
            warn_user(message)
    refuse_differences({"The number of columns of y": values.shape[1]})
    if before is not None:
        offset, scale = before.offset, before.scale
        if len(offset) != values.shape[1]:
            raise ValueError(
                f"y has {values.shape[1]} columns, but that of the first fit had "
                f"{len(offset)}. Expected as many."
            )
    else:
        offset, scale, n_known = mean_and_std(values)
        # Of so small a spread that a number divided by it is none.
        is_constant = scale <= np.maximum(MIN_STD, MIN_RELATIVE_STD * np.abs(offset))
        if is_constant.all():
            raise ValueError(
                f"y has {n_known.max()} numbers besides NaN, which means unlabelled, "
                f"and each column of them is constant: standard deviation {scale}. "
                "Expected at least 2 that differ for label_weight > 0."
            )
        scale = np.where(is_constant, 0.0, scale)
        if is_constant.any():
            left_out = np.flatnonzero(is_constant).tolist()
            left_out = [names[k] if names else k for k in left_out]
            warn_user(
                f"y is constant, or known nowhere, in its columns {left_out}, which "
                "are left out."
            )
    is_used = scale > 0
    values = np.where(is_used, (values - offset) / np.where(is_used, scale, 1), np.nan)
    return Target(values.astype(np.float32), None, offset, scale)


def mean_and_std(values):
    """Of known values (n, d), these (d,), and their number (d,), over all processes."""
    is_known = ~np.isnan(values)
    n_known = is_known.sum(axis=0)
    n = np.maximum(1, n_known)
    mean = np.where(is_known, values, 0).sum(axis=0) / n
    variance = np.square(np.where(is_known, values - mean, 0)).sum(axis=0) / n
    parts = from_all((n_known, mean, variance))
    n_known, mean, variance = pooled(*zip(*parts, strict=True))
    return mean, np.sqrt(variance), n_known


def is_unlabelled(y, target_type):
    """Which labels y (n,) say that there is none."""
    labels = y.tolist()
    if target_type == "labels":
        return np.array([is_missing(label) for label in labels], dtype=bool)
    # An array of strings turns the -1 among them into "-1".
    return np.array(
        [not is_missing(label) and label in (-1, "-1") for label in labels], dtype=bool
    )


def encode_labels(y, classes=None, target_type="auto"):
    """`Target` of class labels y; see `check_target` for what is unlabelled."""
    with shared_errors():
        y = column_or_1d(y, warn=True)
        unlabelled = is_unlabelled(y, target_type)
        known = y[~unlabelled]
        if any(is_missing(label) for label in known.tolist()):
            raise ValueError(
                "y has missing labels, None or NaN. Expected -1 for an unlabelled "
                "sample, or target_type='labels', where None and NaN are unlabelled. "
                "If y holds numbers, set target_type='numbers'."
            )
        kind = type_of_target(known)
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"y is {kind}, as type_of_target of scikit-learn says. Expected class "
                f"labels of one type, or {UNLABELLED[target_type]} for unlabelled; "
                "numbers are learned with target_type='numbers'."
            )
    parts = from_all((np.unique(known), len(known), int(unlabelled.sum())))
    found = np.unique(np.concatenate([labels for labels, *_ in parts]))
    n_labelled, n_unlabelled = (sum(part[i] for part in parts) for i in (1, 2))
    if classes is None:
        warn_of_labels(found, n_labelled, n_unlabelled, target_type)
    if target_type == "auto" and n_unlabelled:
        LOGGER.info(
            "%d of %d samples, of label -1, are taken for unlabelled",
            n_unlabelled,
            n_labelled + n_unlabelled,
        )
    classes = found if classes is None else np.unique(classes)
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise ValueError(
            f"y has the labels {unknown.tolist()}, which the first fit did not see. "
            f"Expected {classes.tolist()}, or {UNLABELLED[target_type]} for "
            "unlabelled. Pass all labels that will come as `classes` to the first call "
            "of partial_fit."
        )
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class(es) besides {UNLABELLED[target_type]}, which "
            "means unlabelled. Expected at least 2 for label_weight > 0. If -1 is one "
            "of your classes, set target_type='labels'."
        )
    values = np.full((len(y), len(classes)), np.nan, np.float32)
    values[~unlabelled] = known[:, None] == classes
    return Target(values, classes, None, None)


def warn_of_labels(found, n_labelled, n_unlabelled, target_type):
    """Warn of classes that may be numbers, or marks of what is unlabelled."""
    is_auto = target_type == "auto"
    is_text = found.dtype.kind in "OSU"
    is_many = len(found) > n_labelled / 2 > MIN_LABELLED / 2
    if is_auto and is_many and not is_text:
        warn_user(
            f"y has {len(found)} classes among {n_labelled} labelled samples: whole "
            "numbers are taken for labels. If they are numbers, set "
            "target_type='numbers'; if not, 'labels'."
        )
    if is_auto and n_unlabelled and found.tolist() in ([0, 1], ["0", "1"]):
        warn_user(
            f"y has -1, 0 and 1, of which -1, in {n_unlabelled} samples, is taken for "
            "unlabelled. If it is a class, set target_type='labels', if these are "
            "numbers, 'numbers'. If it is not, put NaN in its place and set 'labels'."
        )
    if found.dtype.kind in "if" and len(found) > 2:
        least, low, high = float(found[0]), float(found[1]), float(found[-1])
        if low >= 0 and -least > FAR * (high - low):
            warn_user(
                f"y has the class {least:.9g}, far below all others, {low:.9g} to "
                f"{high:.9g}. If it marks what is unlabelled, put "
                f"{UNLABELLED[target_type]} in its place."
            )
