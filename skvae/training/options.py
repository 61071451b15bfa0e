"""Checks of parameters that concern several of them, X, or the first fit."""

import contextlib
from numbers import Integral, Real

import numpy as np
import torch

from skvae.model.likelihoods import LIKELIHOODS
from skvae.sklearn_private import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

# `net_params` takes these names and the arguments of the skorch net, which checks its
# names itself.
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
# Arguments of the skorch net that `fit` sets, and those whose arguments it sets too.
SET_BY_FIT = {
    *("module", "module__n_timepoints", "module__with_features", "module__n_targets"),
    *("criterion", "criterion__classes", "train_split"),
}
ALL_SET_BY_FIT = {"iterator_train", "iterator_valid", "dataset"}
# Values of a layer in a training step that are worth a thread of their own.
VALUES_PER_THREAD = 2**19
# Parameters that only the first fit reads, of those that go on from each other.
READ_FIRST = (
    *("latent_dim", "likelihood", "feature_weight", "label_weight", "conv_channels"),
    *("kernel_size", "stride", "hidden_dims", "batch_norm", "linear_path", "whiten"),
    *("scale", "n_channels", "target_type"),
)


@contextlib.contextmanager
def plain_numbers(estimator):
    """Parameters as Python's numbers inside, since NumPy's overflow; then as given."""

    def plain(value):
        return value.item() if isinstance(value, np.generic) else value

    given = estimator.get_params(deep=False)
    read = {name: plain(value) for name, value in given.items()}
    for name in ("conv_channels", "hidden_dims"):
        if np.iterable(read[name]):  # else it is refused later, in all processes
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
    """Check parameters together, and with X (n, c, t)."""
    net_params = estimator.net_params or {}
    check_net_params(net_params, estimator.get_params(deep=False).keys())
    for name in ("conv_channels", "hidden_dims"):
        sizes = getattr(estimator, name)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"{name}={sizes!r}, expected a sequence of positive integers, one for "
                "each layer."
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
    """Check `net_params`; `parameters` are the names of those of the estimator."""
    validate_parameter_constraints(NET_PARAMS, net_params, "net_params")
    for name in map(str, net_params):
        parts = name.split("__")
        if {parts[0], parts[-1]} & parameters:
            raise ValueError(
                f"net_params has {name!r}, which is a parameter of the estimator. Set "
                "it there."
            )
        is_own = name in SET_BY_FIT or parts[0] in ALL_SET_BY_FIT
        if is_own and name not in NET_PARAMS:
            raise ValueError(
                f"net_params has {name!r}, which fit sets itself. Leave it out."
            )
    optimizer = net_params.get("optimizer", torch.optim.Adam)
    is_optimizer = torch.optim.Optimizer in getattr(optimizer, "__mro__", ())
    if not is_optimizer or optimizer is torch.optim.LBFGS:
        raise ValueError(
            f"optimizer={optimizer!r} in net_params, expected a class of torch.optim "
            "other than LBFGS, which trains on no batches."
        )


def is_unit_range(params):
    """Whether the network's output is in [0, 1]."""
    activation = (params.net_params or {}).get("module__output_activation")
    return LIKELIHOODS[params.likelihood].is_unit_range or activation is not None


def first_params(estimator):
    """Parameters that only the first fit reads, as values that compare."""
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
    """Refuse to go on where a parameter changed that only the first fit reads."""
    before, now = estimator.first_params_, first_params(estimator)
    for name in before.keys() | now.keys():
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{name} is {now.get(name)!r}, but was {before.get(name)!r} in the "
                "first fit, which warm_start and partial_fit go on from. Restore it, "
                "or fit anew with warm_start=False."
            )


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Give the estimator back its attributes if the block raises."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def n_threads(params, X):
    """Threads of a fit: as many as a training step is worth."""
    asked = (params.net_params or {}).get("n_threads")
    if asked is not None:
        return asked
    n_channels = max([1, *params.conv_channels[:1]])
    return max(1, params.batch_size * X[0].size * n_channels // VALUES_PER_THREAD)
