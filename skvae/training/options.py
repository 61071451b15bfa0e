"""Parameters that only several of them together, or they and X, tell to be wrong."""

import contextlib
from numbers import Integral, Real

import numpy as np
import torch
from skorch.callbacks import Callback

from skvae.model.likelihoods import LIKELIHOODS
from skvae.sklearn_private import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from skvae.training.callbacks import SCHEDULES

# What the values in `net_params` may be.
NET_PARAMS = {
    "lr_schedule": [StrOptions(set(SCHEDULES)), None],
    "module__correct_mean": ["boolean"],
    "module__init": [StrOptions({"he", "glorot", "torch"})],
    "module__hidden_dropout": [Interval(Real, 0, 1, closed="left")],
    "module__output_activation": [StrOptions({"sigmoid"}), None],
    "module__output_kernel_size": [Interval(Integral, 1, None, closed="left"), None],
    "criterion__free_bits": [Interval(Real, 0, 1e6, closed="both")],
    "kl_warmup": [Interval(Real, 0, 1, closed="both")],
    "n_threads": [Interval(Integral, 1, None, closed="left")],
}


@contextlib.contextmanager
def plain_numbers(estimator):
    """Parameters as Python's numbers inside, since NumPy's overflow; then as given."""
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


def plain(value):
    """A number or string of NumPy as Python's, and all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def check_options(estimator, X):
    """Check what only several parameters together, or they and X (n, c, t), tell.

    Of `net_params` the values; the names are the net's to check.
    """
    net_params = estimator.net_params or {}
    validate_parameter_constraints(NET_PARAMS, net_params, "net_params")
    optimizer = net_params.get("optimizer", torch.optim.Adam)
    is_optimizer = torch.optim.Optimizer in getattr(optimizer, "__mro__", ())
    if not is_optimizer or optimizer is torch.optim.LBFGS:
        raise ValueError(
            f"optimizer={optimizer!r} in net_params, expected a class of torch.optim "
            "other than LBFGS, which trains on no batches."
        )
    for name in ("conv_channels", "hidden_dims"):
        sizes = getattr(estimator, name)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"{name}={sizes!r}, expected a sequence of positive integers, one for "
                "each layer."
            )
    for entry in estimator.callbacks or []:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks has {entry!r}, expected instances of "
                "skorch.callbacks.Callback, or pairs of a name and one. Those of "
                "scikit-learn go to vae.set_callbacks."
            )
    if estimator.checkpoint is not None and estimator.callbacks:
        raise ValueError(
            "checkpoint with callbacks: what they hold cannot be written to a file "
            "from which no code is run. Use checkpoint=None, or no callbacks."
        )
    if estimator.batch_size == 1 and estimator.batch_norm:
        raise ValueError(
            "batch_size=1 with batch_norm=True: the mean and variance of a single "
            "sample say nothing. Use a larger batch_size, or batch_norm=False."
        )
    activation = net_params.get("module__output_activation")
    is_unit_range = LIKELIHOODS[estimator.likelihood].is_unit_range or activation
    if is_unit_range and estimator.scale != "minmax":
        limits = [float(np.nanmin(X)), float(np.nanmax(X))]
        if estimator.scale == "standard" or limits[0] < 0 or limits[1] > 1:
            raise ValueError(
                f"likelihood={estimator.likelihood!r} with output_activation="
                f"{activation!r} models signals in [0, 1], but X in {limits} with "
                f"scale={estimator.scale!r} is not. Use scale='minmax', or a gaussian "
                "likelihood without activation."
            )
