"""The skorch net that the parameters of an estimator describe."""

import inspect
import logging
import math
from functools import partial

import torch
from sklearn.base import clone
from skorch.callbacks import Callback, EpochScoring, LRScheduler
from skorch.utils import noop

from skvae.distributed import rank
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.network import ConvVAE
from skvae.model.objective import Objective
from skvae.training.callbacks import LOGGER, Progress, WarmEarlyStopping, one_cycle
from skvae.training.data import Batches, n_batches
from skvae.training.net import VAENet

BETAS = (0.8, 0.99)  # shorter than usual, because there are few steps
LINEAR_LR = 0.1  # rate of the linear decoder, which starts at its optimum, over `lr`
MIN_RISE = 15  # steps in which the rate rises: a faster rise loses the closed form
STEADY_LR = 0.3  # rate of `partial_fit`, over `lr`
MIN_COMPONENTS = 16  # least number of components that the encoder's correction reads
# max_epochs="auto" takes AUTO_STEPS * (n + MORE_SAMPLES) ** AUTO_POWER steps from the
# closed form of n samples. The other numbers, times sqrt(n), are the largest number of
# these steps, and the steps from random weights and with a head for labels.
AUTO_STEPS, AUTO_POWER, MORE_SAMPLES = 1.6, 0.75, 150
MOST_STEPS, SCRATCH_STEPS, LABEL_STEPS = 17, 25, 45
# Columns of a history where signals are held back.
VALID_COLUMNS = {"valid_loss", "valid_reconstruction", "valid_kl", "valid_label"}
MODULE_PARAMS = (
    *("latent_dim", "conv_channels", "kernel_size", "stride", "hidden_dims"),
    *("dropout", "batch_norm", "linear_path"),
)


def make_net(job, has_head, train):
    """The initialized skorch net of a `Job`."""
    params, target = job.params, job.target
    options = dict(params.net_params or {})
    schedule = options.pop("lr_schedule", "one_cycle")
    options.pop("n_threads", None)
    max_epochs, lr = params.max_epochs, params.lr
    n_steps = n_batches(train.n_largest, params.batch_size)  # in an epoch
    if job.one_epoch:
        max_epochs, lr = 1, STEADY_LR * lr
        schedule, options["kl_warmup"] = None, 0.0
    elif max_epochs == "auto":
        steps = auto_steps(train.n_all, params.linear_path, has_head)
        max_epochs = max(1, round(steps / n_steps))
    # The closed form needs features for their own view, or to predict a target.
    has_views = params.feature_weight > 0 or target is not None
    with_features = params.linear_path and has_views
    settings = {
        "module": ConvVAE,
        "module__n_channels": job.X.shape[1],
        "module__n_timepoints": job.X.shape[2],
        **{f"module__{name}": getattr(params, name) for name in MODULE_PARAMS},
        "module__with_features": with_features,
        "module__n_components": max(MIN_COMPONENTS, 2 * params.latent_dim),
        "module__n_targets": target.values.shape[1] if has_head else 0,
        "module__correct_mean": has_head or not with_features,
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
        "callbacks": make_callbacks(job, schedule, max_epochs * n_steps),
        "iterator_train": Batches,
        "iterator_train__shuffle": True,
        "iterator_train__in_step": True,
        "iterator_valid": Batches,
        "train_split": None,
        "verbose": 0,
        "device": job.device,
        **options,
    }
    if LIKELIHOODS[params.likelihood].is_unit_range:
        settings["module__output_activation"] = "sigmoid"
    optimizer = settings["optimizer"]
    if "fused" in inspect.signature(optimizer).parameters:
        settings.setdefault("optimizer__fused", True)
    if params.linear_path:
        if optimizer is torch.optim.Adam:
            settings.setdefault("optimizer__betas", BETAS)
        slow = ("decoder.linear.*", {"lr": LINEAR_LR * lr})
        settings.setdefault("optimizer__param_groups", [slow])
    try:
        return VAENet(**settings).initialize()
    except (TypeError, ValueError) as error:
        if not params.net_params:
            raise
        raise ValueError(f"net_params: {error}") from error


def auto_steps(n_samples, linear_path, has_head):
    """Steps of max_epochs="auto"."""
    root = math.sqrt(n_samples)
    if linear_path and not has_head:
        steps = AUTO_STEPS * (n_samples + MORE_SAMPLES) ** AUTO_POWER
        return min(steps, MOST_STEPS * root)
    return (LABEL_STEPS if has_head else SCRATCH_STEPS) * root


def make_callbacks(job, schedule, n_steps):
    """The callbacks of a net in the order in which they run."""
    params, callbacks = job.params, []
    if schedule and n_steps:
        min_rise = MIN_RISE if params.linear_path else 1
        scheduler = LRScheduler(
            torch.optim.lr_scheduler.LambdaLR,
            lr_lambda=partial(one_cycle, n_steps=n_steps, min_rise=min_rise),
            step_every="batch",
            event_name=None,
        )
        callbacks.append(("lr_schedule", scheduler))
    if params.early_stopping and not job.one_epoch:
        # A relative threshold has the wrong sign below zero.
        stopping = WarmEarlyStopping(
            patience=params.patience, threshold_mode="abs", load_best=True, sink=noop
        )
        callbacks.append(("early_stopping", stopping))
    callbacks += users_callbacks(params.callbacks or [], dict(callbacks))
    is_heard = params.verbose or LOGGER.isEnabledFor(logging.INFO)
    if is_heard and rank() == 0:  # after those that may stop
        callbacks.append(("progress", Progress(params.verbose)))
    if job.checkpoint is not None:
        callbacks.append(("checkpoint", job.checkpoint))
    return callbacks


def users_callbacks(callbacks, defaults):
    """Copies of the user's callbacks, checked beside the default ones."""
    try:
        callbacks = clone(callbacks, safe=False)
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"callbacks: {error}. fit runs copies of the callbacks. Set the state of a "
            "callback in on_train_begin, under names that end in _."
        ) from error
    for entry in callbacks:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks has {entry!r}, expected instances of "
                "skorch.callbacks.Callback, or pairs of a name and one. Those of "
                "scikit-learn go to vae.set_callbacks."
            )
        if isinstance(callback, LRScheduler) and "lr_schedule" in defaults:
            raise ValueError(
                "callbacks has an LRScheduler beside the default one. Leave it out, or "
                "set net_params={'lr_schedule': None}."
            )
        if isinstance(callback, EpochScoring) and callback.use_caching:
            raise ValueError(
                "callbacks has an EpochScoring that keeps predictions, of which this "
                "net has none. Use use_caching=False and score its history or module, "
                "or a ScoringMonitor of scikit-learn in vae.set_callbacks."
            )
        monitor = str(getattr(callback, "monitor", None))
        is_of_valid = monitor.removesuffix("_best") in VALID_COLUMNS
        if is_of_valid and "early_stopping" not in defaults:
            raise ValueError(
                f"callbacks: {type(callback).__name__} monitors {monitor!r}, but no "
                "signals are held back to validate on. Let it monitor 'train_loss'; "
                "fit with early_stopping=True holds some back, partial_fit never does."
            )
    return callbacks
