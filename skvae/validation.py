"""Array-likes to arrays of shape (n_samples, n_channels, n_timepoints), and back."""

import numpy as np
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d, validate_data


@np.errstate(invalid="ignore")  # scikit-learn adds infinities of both signs
def check_signals(estimator, X, *, reset, min_samples=1):
    """Check X and view it as signals.

    With ``reset=True`` the shape is learned: `n_features_in_`, `n_channels_in_`,
    `n_timepoints_in_`, `n_dims_in_` and, from a DataFrame, `feature_names_in_` are
    set on the estimator, whose `n_channels` tells how to fold two-dimensional input.

    Parameters
    ----------
    estimator : ConvVAETransformer
    X : array-like of shape (n_samples, n_features) or \
            (n_samples, n_channels, n_timepoints)
    reset : bool
    min_samples : int

    Returns
    -------
    ndarray of shape (n_samples, n_channels, n_timepoints), of the dtype of X (bool,
    integer or floating): a view of X wherever NumPy can.

    Raises
    ------
    ValueError, TypeError
        If X is not numeric, finite, dense and rectangular, or does not have the shape
        that was asked for or fitted.
    """
    X = to_numpy(X)
    if np.ma.is_masked(X):
        raise ValueError(
            "X is a masked array with masked values, which would be read as if they "
            "were measured. Impute them first, for example with "
            "sklearn.impute.SimpleImputer."
        )
    n_dims = getattr(X, "ndim", 0)
    if n_dims > 3:
        raise ValueError(
            f"X has {n_dims} dimensions, shape {tuple(X.shape)}. Expected 2, "
            "(n_samples, n_timepoints), or 3, (n_samples, n_channels, n_timepoints). "
            "Reshape X."
        )
    checks = {"dtype": "numeric", "ensure_min_samples": min_samples}
    if n_dims == 3:
        X = check_array(X, allow_nd=True, estimator=estimator, input_name="X", **checks)
    else:
        X = validate_data(estimator, X, reset=reset, **checks)
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"X has dtype {X.dtype}. Expected real numbers. Convert X, for example "
            "with X.astype(np.float32)."
        )
    if reset:
        _learn_shape(estimator, X)
    return _fold(estimator, X)


def _learn_shape(estimator, X):
    n_channels = estimator.n_channels
    if X.ndim == 3:
        if n_channels not in (None, X.shape[1]):
            raise ValueError(
                f"X has {X.shape[1]} channels, shape {X.shape}, but "
                f"n_channels={n_channels}. Expected X of shape (n_samples, "
                f"{n_channels}, n_timepoints). Leave n_channels=None for "
                "three-dimensional X."
            )
        if 0 in X.shape[1:]:
            what = "timepoints" if X.shape[1] else "channels"
            raise ValueError(
                f"X has 0 {what}, shape {X.shape}. At least 1 is required."
            )
        # scikit-learn would count the channels alone, and keep names of an older fit.
        estimator.n_features_in_ = X.shape[1] * X.shape[2]
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif X.shape[1] % (n_channels or 1):
        raise ValueError(
            f"n_channels={n_channels} does not divide the {X.shape[1]} columns of X. "
            "Expected n_channels * n_timepoints columns, channel after channel."
        )
    estimator.n_dims_in_ = X.ndim
    estimator.n_channels_in_ = X.shape[1] if X.ndim == 3 else n_channels or 1
    estimator.n_timepoints_in_ = estimator.n_features_in_ // estimator.n_channels_in_


def _fold(estimator, X):
    shape = (estimator.n_channels_in_, estimator.n_timepoints_in_)
    if X.ndim == 3 and X.shape[1:] != shape:
        name = type(estimator).__name__
        raise ValueError(
            f"X has (n_channels, n_timepoints) = {X.shape[1:]}, but this {name} was "
            f"fitted on {shape}. Resample or reorder X to that shape, or refit."
        )
    return X.reshape(len(X), *shape)


def unfold(estimator, X):
    """Signals (n, c, t) in the layout that the estimator was fitted on."""
    return X if estimator.n_dims_in_ == 3 else X.reshape(len(X), -1)


def to_numpy(X):
    """Lists and tensors, from any device, as arrays; the rest is scikit-learn's."""
    if isinstance(X, torch.Tensor):
        return X.detach().cpu().numpy()
    return np.asarray(X) if isinstance(X, (list, tuple)) else X


@np.errstate(invalid="ignore")
def check_latents(estimator, Z, latent_dim):
    """Check Z and return it as float64 of shape (n_samples, latent_dim)."""
    Z = check_array(to_numpy(Z), dtype=np.float64, estimator=estimator, input_name="Z")
    if Z.shape[1] != latent_dim:
        raise ValueError(
            f"Z has {Z.shape[1]} columns, but this {type(estimator).__name__} has "
            f"latent_dim={latent_dim}. Expected Z of shape (n_samples, {latent_dim}), "
            "as from transform."
        )
    return Z


def encode_labels(y, n_samples, classes=None):
    """Class probabilities of y and the sorted classes.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels: numbers or strings. -1 (or "-1") means unlabelled, scikit-learn's
        convention for semi-supervised learning.
    n_samples : int
    classes : ndarray of shape (n_classes,), optional
        The classes that y may have; by default those that it has.

    Returns
    -------
    probabilities : ndarray of float32, shape (n_samples, n_classes)
        1 for the class of the sample; a row of zeros where it is unlabelled.
    classes : ndarray of shape (n_classes,)
    """
    y = column_or_1d(to_numpy(y), warn=True)
    if len(y) != n_samples:
        raise ValueError(
            f"X has {n_samples} samples and y has {len(y)}. Expected one label per "
            "sample."
        )
    if any(label is None or label != label for label in y.tolist()):
        raise ValueError(
            "y has missing labels, None or NaN. Expected -1 for an unlabelled sample."
        )
    # An array of strings turns the -1 among them into "-1".
    unlabelled = y == ("-1" if y.dtype.kind in "US" else -1)
    check_classification_targets(y[~unlabelled])
    found = np.unique(y[~unlabelled])
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
    return (y[:, None] == classes).astype(np.float32), classes
