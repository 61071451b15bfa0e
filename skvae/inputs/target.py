"""Targets y as class indicators or standardised numbers."""

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
MAX_NUMBER = 1e150  # float64 holds the variance of such numbers
# Standard deviation of a column that varies, and its share of the mean. A constant 0.1
# has 1e-17, by rounding.
MIN_STD, MIN_RELATIVE_STD = 1e-300, 1e-14
MIN_LABELLED = 20  # labels from which many classes are suspicious, as in scikit-learn
UNLABELLED = {"auto": "-1", "labels": "None or NaN"}  # by `target_type`


class Target(NamedTuple):
    """y as the latents learn it."""

    values: np.ndarray  # (n, n_targets) float32, NaN where unknown
    classes: np.ndarray | None  # None: y holds numbers
    offset: np.ndarray | None  # (n_targets,), of numbers: (y - offset) / scale
    scale: np.ndarray | None  # 0 for a constant column, which is left out

    @property
    def n_dims(self):
        """Number of dimensions in which a linear map can hold y."""
        if self.classes is not None:
            return len(self.classes) - 1
        return int((self.scale > 0).sum())


def check_target(y, n_samples, before=None, classes=None, target_type="auto"):
    """`Target` of class labels (n_samples,) or numbers y (n_samples, n_targets).

    `before` is the target of the first fit, whose classes or units stay. `classes` are
    all labels that will come.
    """
    with shared_errors():
        names = list(getattr(y, "columns", ()))
        y = target_array(y, n_samples)
        if before is not None and classes is None:
            classes = before.classes
        is_numbers = classes is None and (
            target_type == "numbers"
            or before is not None
            or (target_type == "auto" and is_continuous(y))
        )
        if target_type == "numbers" and not is_numbers:
            raise ValueError(
                "Classes were given, or are known from the first fit, but target_type "
                "is 'numbers'. Leave `classes` out, or fit anew."
            )
    is_text = y.dtype.kind in "OSU"
    is_text_elsewhere = any(from_all(is_text)) and not is_text and y.ndim == 1
    if is_text_elsewhere and is_unlabelled(y, target_type).all():
        y, is_text = np.full(len(y), "-1" if target_type == "auto" else None), True
    given = None if classes is None else np.unique(classes).tolist()
    refuse_differences({"Whether y is text": is_text, "classes": given})
    if any(from_all(is_numbers)):
        return encode_numbers(y, before, names)
    return encode_labels(y, classes, target_type)


def target_array(y, n_samples):
    """y as an array of numbers, NaN if missing, or of objects if it holds text."""
    refuse_masked(y, "y")
    is_array = hasattr(y, "__len__") or hasattr(y, "__array__")
    if isinstance(y, (Mapping, str)) or not is_array:
        raise ValueError(
            f"y is of type {type(y).__name__}. Expected an array of labels or numbers."
        )
    missing = np.asarray(y.isna() if hasattr(y, "isna") else False)
    y = np.asarray(to_numpy(y, "y"))
    if y.dtype.kind not in "biufSUO":
        raise ValueError(f"y has dtype {y.dtype}. Expected labels or numbers.")
    if y.ndim not in (1, 2) or len(y) != n_samples:
        raise ValueError(
            f"X has {n_samples} samples and y has shape {y.shape}. Expected one label "
            "or one row of numbers for each sample."
        )
    if y.dtype == object and not any(isinstance(value, str) for value in y.ravel()):
        missing = missing | np.frompyfunc(is_missing, 1, 1)(y).astype(bool)
        is_numbers = all(isinstance(value, Number) for value in y[~missing].ravel())
        if not is_numbers and not missing.any():
            return np.array(y.tolist())
        y = np.where(missing, np.nan, y).astype(np.float64)
    is_number = y.dtype.kind in "fiu"
    largest = np.nanmax(np.abs(y, dtype=float), initial=0.0) if is_number else 0
    if largest > MAX_NUMBER:
        raise ValueError(
            f"y has values as large as {largest:.0e}. Expected finite numbers, of at "
            f"most {MAX_NUMBER:.0e}, or NaN where a sample is unlabelled."
        )
    return y


def is_continuous(y):
    """Whether y holds numbers rather than labels."""
    if y.dtype.kind not in "fiu":
        return False
    known = y[~np.isnan(y)]
    is_wide = y.ndim == 2 and y.shape[1] > 1
    return is_wide or not len(known) or type_of_target(known) == "continuous"


def encode_numbers(y, before=None, names=()):
    """`Target` of numbers y, NaN where unknown, with these names of columns."""
    with shared_errors():
        if y.dtype.kind not in "biuf":
            texts = [
                str(value) for value in y.ravel() if isinstance(value, str | bytes)
            ]
            raise ValueError(
                f"y has {texts[0]!r}, but target_type or the first fit requires "
                "numbers. Expected numbers, or NaN where a number is unknown."
            )
        values = y.reshape(len(y), -1).astype(np.float64)
        if message := sentinels(values[:, :, None], "y", "column"):
            warn_user(message)
    refuse_differences({"The number of columns of y": values.shape[1]})
    if before is None:
        offset, scale = offset_and_scale(values, names)
    else:
        offset, scale = before.offset, before.scale
        if len(offset) != values.shape[1]:
            raise ValueError(
                f"y has {values.shape[1]} columns. Expected {len(offset)}, as in the "
                "first fit."
            )
    is_used = scale > 0
    values = np.where(is_used, (values - offset) / np.where(is_used, scale, 1), np.nan)
    return Target(values.astype(np.float32), None, offset, scale)


def offset_and_scale(values, names):
    """Mean, and standard deviation or 0 if constant, of known values (n, d).

    They are of all processes.
    """
    n_known = (~np.isnan(values)).sum(axis=0)
    known = np.ma.masked_invalid(values)
    moments = [part.filled(0.0) for part in (known.mean(axis=0), known.var(axis=0))]
    parts = from_all((n_known, *moments))
    n_known, offset, variance = pooled(*zip(*parts, strict=True))
    scale = np.sqrt(variance)
    is_constant = scale <= np.maximum(MIN_STD, MIN_RELATIVE_STD * np.abs(offset))
    if is_constant.all():
        raise ValueError(
            f"y has {n_known.max()} numbers besides NaN, constant in each column: "
            f"standard deviation {scale}. Expected at least 2 that differ."
        )
    if is_constant.any():
        columns = np.flatnonzero(is_constant).tolist()
        columns = [names[k] if names else k for k in columns]
        warn_user(
            f"y is constant or entirely unknown in its columns {columns}. They are "
            "left out."
        )
    return offset, np.where(is_constant, 0.0, scale)


def is_unlabelled(y, target_type):
    """Whether each label of y (n,) marks an unlabelled sample."""
    is_auto = target_type != "labels"  # an array of strings turns -1 into "-1"
    marks = [
        not is_missing(label) and label in (-1, "-1") if is_auto else is_missing(label)
        for label in y.tolist()
    ]
    return np.array(marks, dtype=bool)


def encode_labels(y, classes=None, target_type="auto"):
    """`Target` of class labels y."""
    with shared_errors():
        y = column_or_1d(y, warn=True)
        unlabelled = is_unlabelled(y, target_type)
        known = y[~unlabelled]
        if any(is_missing(label) for label in known.tolist()):
            raise ValueError(
                "y has missing labels, None or NaN. Expected -1 for an unlabelled "
                "sample. Or set target_type='labels', or 'numbers' if y has numbers."
            )
        kind = type_of_target(known)
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"y is {kind} according to scikit-learn's type_of_target. Expected "
                f"labels of one type, and {UNLABELLED[target_type]} for unlabelled "
                "samples, or numbers and target_type='numbers'."
            )
    parts = from_all((np.unique(known), len(known), int(unlabelled.sum())))
    labels, n_labelled, n_unlabelled = zip(*parts, strict=True)
    labels = np.unique(np.concatenate(labels))
    if classes is None:
        warn_of_labels(labels, sum(n_labelled), sum(n_unlabelled), target_type)
    if target_type == "auto" and (n := sum(n_unlabelled)):
        total = n + sum(n_labelled)
        LOGGER.info("%d of %d samples have the label -1, read as unlabelled", n, total)
    classes = labels if classes is None else np.unique(classes)
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise ValueError(
            f"y has the labels {unknown.tolist()}, which the first fit did not see. "
            f"Expected {classes.tolist()}, or {UNLABELLED[target_type]}. Pass all "
            "labels as `classes` to the first call of partial_fit."
        )
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class(es) besides {UNLABELLED[target_type]}. "
            "Expected at least 2 for label_weight > 0. If -1 is a class, set "
            "target_type='labels'."
        )
    values = np.full((len(y), len(classes)), np.nan, np.float32)
    values[~unlabelled] = known[:, None] == classes
    return Target(values, classes, None, None)


def warn_of_labels(labels, n_labelled, n_unlabelled, target_type):
    """Warn of classes that may be numbers, or marks of unlabelled samples."""
    is_auto, is_text = target_type == "auto", labels.dtype.kind in "OSU"
    if is_auto and not is_text and len(labels) > n_labelled / 2 > MIN_LABELLED / 2:
        warn_user(
            f"y has {len(labels)} classes among {n_labelled} labelled samples. Set "
            "target_type='numbers' if these are numbers, 'labels' if they are labels."
        )
    if is_auto and n_unlabelled and labels.tolist() in ([0, 1], ["0", "1"]):
        warn_user(
            f"y has -1, 0 and 1. -1, in {n_unlabelled} samples, is read as unlabelled. "
            "If -1 is a class, set target_type='labels'. If y has numbers, set "
            "'numbers'. If -1 means unlabelled, put NaN in its place and set 'labels'."
        )
    if labels.dtype.kind in "if" and len(labels) > 2:
        least, low, high = float(labels[0]), float(labels[1]), float(labels[-1])
        if low >= 0 and -least > FAR * (high - low):
            warn_user(
                f"y has the class {least:.9g}, far below all others, {low:.9g} to "
                f"{high:.9g}. If it means unlabelled, put {UNLABELLED[target_type]} in "
                "its place."
            )
