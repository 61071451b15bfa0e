"""Checks of parameters against each other, X, and the first fit."""

import contextlib
from numbers import Integral, Real

import numpy as np
import torch

from skvae.model.likelihoods import LIKELIHOODS
from skvae.sklearn_private import Interval, StrOptions, validate_parameter_constraints

# Names in `net_params`, beside the skorch net's, which it checks itself.
NET_PARAMS = {
    "lr_schedule": [StrOptions({"one_cycle"}), None],
    "module__correct_mean": ["boolean"],
    "module__init": [StrOptions({"he", "glorot", "torch"})],
    "module__hidden_dropout": [Interval(Real, 0, 1, closed="left")],
    "module__output_activation": [StrOptions({"sigmoid"}), None],
    "module__output_kernel_size": [Interval(Integral, 1, None, closed="left"), None],
    "criterion__free_bits": [Interval(Real, 0, 1e6, closed="both")],
    "iterator_train__shuffle": ["boolean"],
    "kl_warmup": [Interval(Real, 0, 1, closed="both")],
    "n_threads": [Interval(Integral, 1, None, closed="left")],
}
# Arguments of the skorch net that `fit` sets, the second set with all of their own.
SET_BY_FIT = {
    *("module", "module__n_timepoints", "module__with_features", "module__n_targets"),
    *("criterion", "criterion__classes", "train_split"),
}
ALL_SET_BY_FIT = {"iterator_train", "iterator_valid", "dataset"}
VALUES_PER_THREAD = 2**19  # of a layer in a training step
# Parameters that a later fit may not change.
READ_FIRST = (
    *("latent_dim", "likelihood", "feature_weight", "label_weight", "conv_channels"),
    *("kernel_size", "stride", "hidden_dims", "batch_norm", "linear_path", "whiten"),
    *("scale", "n_channels", "target_type"),
)


@contextlib.contextmanager
def plain_numbers(estimator):
    """Turn parameters into Python's numbers in the block, because NumPy's overflow."""

    def plain(value):
        return value.item() if isinstance(value, np.generic) else value

    given = estimator.get_params(deep=False)
    read = {name: plain(value) for name, value in given.items()}
    for name in ("conv_channels", "hidden_dims"):
        if np.iterable(read[name]):  # `check_options` refuses others
            read[name] = tuple(map(plain, read[name]))
    if read["net_params"]:
        options = read["net_params"].items()
        read["net_params"] = {name: plain(value) for name, value in options}
    vars(estimator).update(read)
    try:
        yield
    finally:
        vars(estimator).update(given)


def check_options(estimator, X):
    """Check parameters against each other, and X (n, c, t)."""
    net_params = estimator.net_params or {}
    check_net_params(net_params, estimator.get_params(deep=False).keys())
    for name in ("conv_channels", "hidden_dims"):
        sizes = getattr(estimator, name)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"{name}={sizes!r}. Expected a sequence of positive integers, one for "
                "each layer."
            )
    if estimator.checkpoint is not None and estimator.callbacks:
        raise ValueError(
            "checkpoint does not go with callbacks, whose state needs pickle. Use "
            "checkpoint=None, or no callbacks."
        )
    if estimator.batch_size == 1 and estimator.batch_norm:
        raise ValueError(
            "batch_size=1 with batch_norm=True: a single sample has no variance. Use a "
            "larger batch_size, or batch_norm=False."
        )
    if is_unit_range(estimator) and estimator.scale != "minmax":
        limits = [float(np.nanmin(X)), float(np.nanmax(X))]
        if estimator.scale == "standard" or limits[0] < 0 or limits[1] > 1:
            raise ValueError(
                f"likelihood={estimator.likelihood!r} with output_activation="
                f"{net_params.get('module__output_activation')!r} models signals in "
                f"[0, 1], but X in {limits} with scale={estimator.scale!r} is not. Use "
                "scale='minmax', or a gaussian likelihood without activation."
            )


def check_net_params(net_params, parameters):
    """Check `net_params`, given the names of the estimator's parameters."""
    validate_parameter_constraints(NET_PARAMS, net_params, "net_params")
    for name in map(str, net_params):
        parts = name.split("__")
        if {parts[0], parts[-1]} & parameters:
            owner = "a callback" if name.startswith("callbacks__") else "the estimator"
            reason = f"is a parameter of {owner}. Set it there."
            raise ValueError(f"net_params has {name!r}, which {reason}")
        is_own = name in SET_BY_FIT or parts[0] in ALL_SET_BY_FIT
        if is_own and name not in NET_PARAMS:
            reason = "fit sets itself. Leave it out."
            raise ValueError(f"net_params has {name!r}, which {reason}")
    optimizer = net_params.get("optimizer", torch.optim.Adam)
    is_optimizer = torch.optim.Optimizer in getattr(optimizer, "__mro__", ())
    if not is_optimizer or optimizer is torch.optim.LBFGS:
        raise ValueError(
            f"net_params has optimizer={optimizer!r}. Expected a class of torch.optim, "
            "but not LBFGS, which does not train on batches."
        )


def is_unit_range(params):
    """Whether reconstructions are in [0, 1]."""
    activation = (params.net_params or {}).get("module__output_activation")
    return LIKELIHOODS[params.likelihood].is_unit_range or activation is not None


def first_params(estimator):
    """Values of the parameters that a later fit may not change."""
    read = {name: getattr(estimator, name) for name in READ_FIRST}
    read |= {
        f"net_params[{name!r}]": value
        for name, value in (estimator.net_params or {}).items()
        if name.startswith("module__")
    }
    read["n_channels"] = estimator.n_channels or estimator.n_channels_in_
    for name in ("conv_channels", "hidden_dims"):
        read[name] = list(read[name])
    return read


def check_unchanged(estimator):
    """Refuse a later fit with changed `first_params`."""
    before, now = estimator.first_params_, first_params(estimator)
    for name in before.keys() | now.keys():
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{name} is {now.get(name)!r}, but was {before.get(name)!r} in the "
                "first fit. warm_start and partial_fit continue that fit. Restore it, "
                "or fit anew with warm_start=False."
            )


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Restore the estimator's attributes if the block raises."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def n_threads(params, X):
    """Number of threads that speed up a training step, or as given."""
    n_channels = max([1, *params.conv_channels[:1]])
    n_values = params.batch_size * X[0].size * n_channels
    most = max(1, n_values // VALUES_PER_THREAD)
    return (params.net_params or {}).get("n_threads", most)
