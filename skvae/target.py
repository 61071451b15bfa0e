"""What latents are taught: y as class indicators, or as standardised numbers."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from skvae.containers import is_na, to_numpy
from skvae.processes import from_all, pooled, refuse_differences, shared_errors
from skvae.runtime import warn_user

# float64 holds the variance of such numbers.
MAX_NUMBER = 1e150
# Fewer labels say nothing of how many classes there are; scikit-learn's number.
MIN_LABELLED = 20


class Target(NamedTuple):
    """What latents are taught.

    Attributes
    ----------
    values : ndarray of float32, shape (n_samples, n_targets)
        Class indicators, or numbers standardised by column; NaN where unlabelled.
    classes : ndarray of shape (n_classes,) or None
        None: y holds numbers.
    offset, scale : ndarray of shape (n_targets,) or None
        Of numbers: ``values = (y - offset) / scale``.
    """

    values: np.ndarray
    classes: np.ndarray | None
    offset: np.ndarray | None
    scale: np.ndarray | None

    @property
    def n_dims(self):
        """Dimensions that a linear map needs to tell all there is."""
        return self.values.shape[1] - (self.classes is not None)


def check_target(y, n_samples, before=None, classes=None):
    """`Target` of class labels or numbers, as `type_of_target` tells them apart.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Class labels, numbers or strings, -1 (or "-1") where unlabelled, scikit-learn's
        convention for semi-supervised learning; or continuous, NaN where unlabelled.
    n_samples : int
    before : Target, optional
        Of an earlier fit that goes on: its classes, or its units.
    classes : array-like of shape (n_classes,), optional
        The classes that will come.

    Returns
    -------
    Target
    """
    with shared_errors():
        y = target_array(y)
        if y.ndim not in (1, 2) or len(y) != n_samples:
            raise ValueError(
                f"X has {n_samples} samples and y has shape {y.shape}. Expected one "
                "label or one row of numbers per sample: (n_samples,) or (n_samples, "
                "n_targets)."
            )
        if before is not None and classes is None:
            classes = before.classes
        is_numbers = classes is None and (is_continuous(y) or before is not None)
    is_text = y.dtype.kind in "OSU"
    if any(from_all(is_text)) and not is_text and (y == -1).all():
        y, is_text = np.full(len(y), "-1"), True  # unlabelled, beside labels of text
    refuse_differences(
        {
            "Whether y is text": is_text,
            "classes": None if classes is None else np.unique(classes).tolist(),
        }
    )
    if any(from_all(is_numbers)):
        return encode_numbers(y, before)
    return encode_labels(y, classes)


def target_array(y):
    """y as an array, of objects only where there is text or None among them.

    NaN where numbers of a DataFrame or Series are missing.
    """
    missing = np.asarray(y.isna() if hasattr(y, "isna") else False)
    y = np.asarray(to_numpy(y, "y"))
    is_text = y.dtype != object or any(isinstance(value, str) for value in y.ravel())
    if is_text:
        return y
    if not missing.any():
        return np.array(y.tolist())
    return np.where(missing, np.nan, y).astype(np.float64)


def is_continuous(y):
    """Whether y holds numbers rather than labels, missing ones left out."""
    if y.dtype.kind not in "fiu":
        return False
    largest = np.nanmax(np.abs(y, dtype=np.float64), initial=0.0)
    if largest > MAX_NUMBER:
        raise ValueError(
            f"y has values as large as {largest:.0e}. Expected finite numbers, of at "
            f"most {MAX_NUMBER:.0e}, or NaN where a sample is unlabelled."
        )
    known = y[~np.isnan(y.reshape(len(y), -1)).any(axis=1)]
    if (y.ndim == 2 and y.shape[1] > 1) or not len(known):
        return True
    return type_of_target(known.ravel()) == "continuous"


def encode_numbers(y, before=None):
    """`Target` of continuous y, NaN where a sample is unlabelled."""
    with shared_errors():
        if y.dtype.kind not in "biuf":
            raise ValueError(
                f"y has dtype {y.dtype}, but that of the first fit held numbers. "
                "Expected numbers, or NaN where a sample is unlabelled."
            )
    values = y.reshape(len(y), -1).astype(np.float64)
    values[np.isnan(values).any(axis=1)] = np.nan
    known = values[~np.isnan(values[:, 0])]
    refuse_differences({"The number of columns of y": values.shape[1]})
    if before is not None:
        offset, scale = before.offset, before.scale
        if len(offset) != values.shape[1]:
            raise ValueError(
                f"y has {values.shape[1]} columns, but that of the first fit had "
                f"{len(offset)}. Expected as many."
            )
    else:
        offset, scale, n_known = mean_and_std(known)
        # Of so small a spread that a number divided by it is none.
        if not (scale > 1e-300).all():
            raise ValueError(
                f"y has {n_known} numbers besides NaN, which means unlabelled, and "
                f"a column of them is constant: standard deviation {scale}. Expected "
                "at least 2 that differ for label_weight > 0."
            )
    values = ((values - offset) / scale).astype(np.float32)
    return Target(values, None, offset, scale)


def mean_and_std(values):
    """Of values (n, d), these (d,), and their number, over all processes."""
    some = values if len(values) else np.zeros((1, values.shape[1]))
    parts = from_all((len(values), some.mean(axis=0), some.var(axis=0)))
    n_values, mean, variance = pooled(*zip(*parts, strict=True))
    return mean, np.sqrt(variance), n_values


def encode_labels(y, classes=None):
    """`Target` of class labels y, -1 where a sample is unlabelled."""
    with shared_errors():
        y = column_or_1d(y, warn=True)
        labels = y.tolist()
        if any(label is None or is_na(label) or label != label for label in labels):
            raise ValueError(
                "y has missing labels, None or NaN. Expected -1 for an unlabelled "
                "sample. (Numbers may have NaN there; whole ones are taken for labels, "
                "unless you pass y + 0.5.)"
            )
        # An array of strings turns the -1 among them into "-1".
        unlabelled = np.array([label in (-1, "-1") for label in labels], dtype=bool)
        kind = type_of_target(y[~unlabelled])
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"y is {kind}, as type_of_target of scikit-learn says. Expected class "
                "labels of one type, or -1 for unlabelled."
            )
    parts = from_all((np.unique(y[~unlabelled]), int((~unlabelled).sum())))
    found = np.unique(np.concatenate([labels for labels, _ in parts]))
    n_labelled = sum(n for _, n in parts)
    is_many = len(found) > n_labelled / 2 > MIN_LABELLED / 2
    if classes is None and is_many and y.dtype.kind not in "OSU":
        warn_user(
            f"y has {len(found)} classes among {n_labelled} labelled samples: whole "
            "numbers are taken for labels. If they are numbers, pass y + 0.5, which "
            "teaches the same, since numbers are standardised."
        )
    classes = found if classes is None else np.unique(classes)
    unknown = np.setdiff1d(found, classes)
    if len(unknown):
        raise ValueError(
            f"y has the labels {unknown.tolist()}, which the first fit did not see. "
            f"Expected {classes.tolist()}, or -1 for unlabelled. Pass all labels that "
            "will come as `classes` to the first call of partial_fit."
        )
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class(es) besides -1, which means unlabelled. "
            "Expected at least 2 for label_weight > 0. If -1 is one of your classes, "
            "rename it."
        )
    values = (y[:, None] == classes).astype(np.float32)
    values[unlabelled] = np.nan
    return Target(values, classes, None, None)
