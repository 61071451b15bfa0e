"""The skorch net that the parameters of an estimator describe."""

import inspect
import math

import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.callbacks import LRScheduler

from skvae.distributed import rank
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.network import ConvVAE
from skvae.model.objective import Objective
from skvae.training.callbacks import (
    progress_callbacks,
    schedule_callbacks,
    stopping_callbacks,
)
from skvae.training.data import Batches, n_batches
from skvae.training.net import VAENet

# Where training starts at the closed form it takes few steps, of which PyTorch's Adam
# then remembers fewer than is usual. Learning rate of the linear decoder, which starts
# at its optimum, as a share of `lr`.
BETAS = (0.8, 0.99)
LINEAR_LR = 0.1
# Steps in which the rate then rises, at least: fewer, at the full rate, would leave the
# closed form without arriving anywhere. Rate of `partial_fit`, which never falls, as a
# share of `lr`.
MIN_RISE = 15
STEADY_LR = 0.3
# Components that the encoder's correction sees, at least; or twice the latents.
MIN_COMPONENTS = 16
# Steps of max_epochs="auto" for n samples. From the closed form AUTO_STEPS times
# (n + MORE_SAMPLES) ** AUTO_POWER, at most MOST_STEPS for each root of n. From nothing,
# and with labels, which take longer to learn than shapes, they are so many for each.
AUTO_STEPS, AUTO_POWER, MORE_SAMPLES = 1.6, 0.75, 150
MOST_STEPS, SCRATCH_STEPS, LABEL_STEPS = 17, 25, 45
# Of `net_params`, what no argument of the net is.
OWN_OPTIONS = ("lr_schedule", "n_threads")
# Of a history, where signals are held back.
VALID_COLUMNS = {"valid_loss", "valid_reconstruction", "valid_kl", "valid_label"}
# Arguments of a skorch net that are the model, its data and the batches of these.
SET_BY_NET = {
    *("module", "criterion", "dataset", "iterator_train", "iterator_valid", "kwargs"),
}
# Of a `ConvVAE`, what is no parameter of the estimator and follows from X and y.
SET_BY_FIT = {"n_timepoints", "with_features", "n_targets"}


def make_net(job, has_head, train):
    """The skorch net of a `Job`, not initialized, to train on a `SignalDataset`."""
    params, target = job.params, job.target
    options = params.net_params or {}
    check_names(options, params)
    lr_schedule = options.get("lr_schedule", "one_cycle")
    max_epochs, callbacks, lr = 1, [], params.lr
    if job.one_epoch:
        options = options | {"kl_warmup": 0.0}
        lr *= STEADY_LR
    else:
        max_epochs = params.max_epochs
        n_steps = n_batches(train.n_largest, params.batch_size)  # of an epoch
        if max_epochs == "auto":
            budget = auto_steps(train.n_all, params.linear_path, has_head)
            max_epochs = max(1, round(budget / n_steps))
        n_steps *= max_epochs
        min_rise = MIN_RISE if params.linear_path else 1
        callbacks += schedule_callbacks(lr_schedule, n_steps, min_rise)
        if params.early_stopping:
            callbacks += stopping_callbacks(params.patience)
    own_callbacks = copies(params.callbacks or [])
    has_split = options.get("train_split") is not None
    if has_split and params.early_stopping:
        raise ValueError(
            "net_params has 'train_split', but early_stopping=True holds back signals "
            "itself. Leave one out; skorch's EarlyStopping goes with a split."
        )
    if not has_split and (job.one_epoch or not params.early_stopping):
        refuse_monitors(own_callbacks, job.one_epoch)
    check_schedules(own_callbacks, callbacks)
    callbacks += own_callbacks
    if rank() == 0:  # after those that may stop
        callbacks += progress_callbacks(params.verbose)
    if job.checkpoint is not None:
        callbacks.append(("checkpoint", job.checkpoint))
    net_params = {
        "module": ConvVAE,
        "module__n_channels": job.X.shape[1],
        "module__n_timepoints": job.X.shape[2],
        "module__latent_dim": params.latent_dim,
        "module__conv_channels": params.conv_channels,
        "module__kernel_size": params.kernel_size,
        "module__stride": params.stride,
        "module__hidden_dims": params.hidden_dims,
        "module__dropout": params.dropout,
        "module__batch_norm": params.batch_norm,
        "module__linear_path": params.linear_path,
        "module__with_features": needs_features(params, target),
        "module__n_components": max(MIN_COMPONENTS, 2 * params.latent_dim),
        "module__n_targets": target.values.shape[1] if has_head else 0,
        "module__correct_mean": has_head or not needs_features(params, target),
        "criterion": Objective,
        "criterion__likelihood": params.likelihood,
        "criterion__reconstruction_weight": params.reconstruction_weight,
        "criterion__beta": params.beta,
        "criterion__label_weight": params.label_weight if has_head else 0.0,
        "criterion__classes": has_head and target.classes is not None,
        "optimizer": torch.optim.Adam,
        "lr": params.lr,
        "optimizer__lr": lr,
        "max_epochs": max_epochs,
        "batch_size": params.batch_size,
        "callbacks": callbacks,
        "iterator_train": Batches,
        "iterator_train__shuffle": True,
        "iterator_train__in_step": True,
        "iterator_valid": Batches,
        "train_split": None,
        "verbose": 0,
        "device": job.device,
    }
    net_params |= {k: v for k, v in options.items() if k not in OWN_OPTIONS}
    if LIKELIHOODS[params.likelihood].is_unit_range:
        net_params["module__output_activation"] = "sigmoid"
    optimizer = net_params["optimizer"]
    if "fused" in inspect.signature(optimizer).parameters:
        net_params.setdefault("optimizer__fused", True)
    if params.linear_path:
        if optimizer is torch.optim.Adam:
            net_params.setdefault("optimizer__betas", BETAS)
        slow = ("decoder.linear.*", {"lr": LINEAR_LR * lr})
        net_params.setdefault("optimizer__param_groups", [slow])
    return VAENet(**net_params)


def check_names(options, params):
    """Refuse a name in `net_params` that reaches nothing, or is a parameter."""
    parameters = params.get_params(deep=False).keys()
    own = {*OWN_OPTIONS, *arguments(VAENet) - arguments(NeuralNet)}
    of_net = own | arguments(NeuralNet) - SET_BY_NET
    of_optimizer = arguments(options.get("optimizer", torch.optim.Adam))
    of_parts = {
        "module": arguments(ConvVAE) - SET_BY_FIT - parameters,
        "criterion": arguments(Objective) - {"classes"} - parameters,
        "optimizer": of_optimizer - {"params"} - parameters | {"param_groups"},
        "iterator_train": {"shuffle"},
        "callbacks": names_of(params.callbacks or []),
        "compile": arguments(torch.compile) - {"model"},
    }
    for name in map(str, options):
        part, is_nested, argument = name.partition("__")
        if is_nested and part == "callbacks":  # whose own arguments may have any name
            argument = argument.partition("__")[0]
        elif name.rpartition("__")[2] in parameters:
            raise ValueError(
                f"net_params has {name!r}, which is a parameter of the estimator. Set "
                "it there."
            )
        known = of_parts.get(part, set()) if is_nested else of_net
        takes_any = part == "optimizer" and "kwargs" in known
        if (argument if is_nested else name) in known or takes_any:
            continue
        if is_nested and known:
            expected = f"'{part}__' and one of {sorted(known)}"
        else:
            expected = (
                f"an argument of skorch.NeuralNet, one of {sorted(own)}, or after "
                f"'module__' one of {sorted(of_parts['module'])}, after 'criterion__' "
                f"one of {sorted(of_parts['criterion'])}. Signals are read by slices, "
                "without a DataLoader"
            )
        raise ValueError(
            f"net_params has {name!r}, which nothing takes. Expected {expected}."
        )


def names_of(callbacks):
    """The names that skorch gives to callbacks, of a list of them and of pairs."""
    return {
        entry[0] if isinstance(entry, tuple) else type(entry).__name__
        for entry in callbacks
    }


def copies(callbacks):
    """Callbacks as they were before any fit."""
    try:
        return clone(callbacks, safe=False)
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"callbacks: {error}. Copies run, found in vae.net_.callbacks_, made of "
            "the arguments of __init__, each kept under its own name. Make what a "
            "callback counts in on_train_begin, under a name that ends in _."
        ) from error


def check_schedules(own, others):
    """Refuse an LRScheduler of the user's beside the default schedule."""
    if "lr_schedule" in dict(others) and any(
        isinstance(callback, LRScheduler) for callback in unnamed(own)
    ):
        raise ValueError(
            "callbacks has an LRScheduler, but the default schedule changes the "
            "learning rate too. Set net_params={'lr_schedule': None}, or leave it out."
        )


def refuse_monitors(own, one_epoch):
    """Refuse what monitors signals held back, of which there are none.

    `one_epoch`: of `partial_fit`, which never holds any back.
    """
    remedy = "" if one_epoch else ", or fit with early_stopping=True, which holds some"
    for callback in unnamed(own):
        monitor = str(getattr(callback, "monitor", None))
        if monitor.removesuffix("_best") in VALID_COLUMNS:
            raise ValueError(
                f"callbacks: {type(callback).__name__} monitors {monitor!r}, but no "
                "signals are held back to validate on. Let it monitor 'train_loss'"
                f"{remedy}."
            )


def unnamed(callbacks):
    """Callbacks, of a list of them and of pairs of a name and one."""
    return [entry[1] if isinstance(entry, tuple) else entry for entry in callbacks]


def arguments(function):
    return set(inspect.signature(function).parameters)


def needs_features(params, target):
    """Whether the closed form has other views than the signal."""
    return params.linear_path and (params.feature_weight > 0 or target is not None)


def auto_steps(n_samples, linear_path, has_head):
    """Steps of max_epochs="auto", which grow more slowly than the data."""
    root = math.sqrt(n_samples)
    if linear_path and not has_head:
        steps = AUTO_STEPS * (n_samples + MORE_SAMPLES) ** AUTO_POWER
        return min(steps, MOST_STEPS * root)
    return (LABEL_STEPS if has_head else SCRATCH_STEPS) * root
