"""The start of training: the closed form of all signals that have been seen."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skvae.distributed import (
    from_first,
    rank,
    shared_errors,
    sum_over_processes,
    take_from_first,
)
from skvae.messages import warn_user
from skvae.model.closed_form import Views, fit_components, held_out_noise, linear_start
from skvae.model.moments import MAX_VALUES, gather, merge
from skvae.training.callbacks import LOGGER
from skvae.training.fitted import in_units_of_X
from skvae.training.memory import seeded

THRESHOLD_TIMEPOINTS = 2**15  # time steps whose quantiles are thresholds of features
STATISTICS_VALUES = 2**18  # values whose means are the statistics of a fit
# Usual share of the line from the closed form to the end of training for many signals,
# and the number of signals that halves it.
USUAL_SHARE, HALF_USUAL = 0.5, 20


class Start(NamedTuple):
    """The model before training."""

    closed: list[torch.Tensor]  # `ConvVAE.trusted_parameters` of the closed form
    before: list[torch.Tensor]  # the same before training
    share: float  # usual share of the line from the closed form to the end of training
    noise: float | None  # variance of a value in signals that were not fitted
    latent_scale: np.ndarray | None  # of the closed form
    excess: float  # ratio of the distortions of new and training signals


def start_of(job, net, scaler, data):
    """`Start` of a net, by the closed form of all signals if it remembers them."""
    params, module, before = job.params, net.module_, job.before
    n_seen = job.n_seen(data)
    parameters = module.trusted_parameters()
    learned = [parameter.detach().clone() for parameter in parameters]
    noise = latent_scale = None
    if job.is_forgotten:
        share, excess = data.new.n_all / n_seen, before.held_back_excess_
        latent_scale = before.latent_scale_ if params.linear_path else None
    else:
        share, excess = USUAL_SHARE * n_seen / (n_seen + HALF_USUAL), 1.0
        module.gaps.fit(data.kept.x_of_all(), job.seed)
        rows = None
        if params.linear_path:
            rows = rows_of(job, module, data)
            linear, latent_scale, noise = closed_form(job, net, data, rows)
            latent_scale = in_units_of_X(latent_scale, scaler, params.whiten)
            module.start_from(linear)
            module.forget_training()
            rows = merge(rows, []) if data.kept.n_all < n_seen else None
        net.memory_ = data.remembered(job.memory, rows)
    if module.head is not None:
        share = 1.0  # only training separates classes
    take_from_first(module)
    closed = [parameter.detach().clone() for parameter in parameters]
    if before is None:
        learned = closed
    else:
        learned = closed[:2] + learned[2:]  # the linear decoder is the closed form's
        with torch.no_grad():
            for parameter, value in zip(parameters, learned, strict=True):
                parameter.copy_(value)
    return Start(closed, learned, share, noise, latent_scale, excess)


def rows_of(job, module, data):
    """`Rows` of all signals that have been seen."""
    LOGGER.info("closed form of %d signals", len(data.closed))
    features, signals = module.encoder.features, data.closed.signals
    if features is not None and job.memory is None:
        n_signals = max(16, THRESHOLD_TIMEPOINTS // module.decoder.shape[1])
        features.fit(module.gaps(data.train.sample(n_signals).x_of_all()))
    y = data.y[data.closed.rows.cpu().numpy()]
    width = 1 + module.encoder.components.in_features + y.shape[1]
    with shared_errors():
        if len(signals.X) * width <= MAX_VALUES:
            signals.keep_inputs(module)
    read = partial(read_rows, module, data.closed, np.nan_to_num(y))
    rows = gather(read, width, ~np.isnan(y), job.seed)
    if job.memory is not None and job.memory.rows is not None:
        rows = merge(job.memory.rows, rows)
    return rows


def read_rows(module, dataset, y, index):
    """Columns of `Rows` at index, float32."""
    rows = dataset.rows[torch.from_numpy(index).to(dataset.rows.device)]
    ones = np.ones((len(rows), 1), np.float32)
    return np.hstack([ones, dataset.signals.read_by(module, rows), y[index]])


def closed_form(job, net, data, rows):
    """`LinearStart`, latent scale, and noise variance of new signals."""
    params, seed, module = job.params, job.seed, net.module_
    encoder, latent_dim = module.encoder, params.latent_dim
    n_values, n_components = (
        math.prod(module.decoder.shape),
        len(encoder.components.bias),
    )
    views = Views(
        n_values=n_values,
        n_features=encoder.components.in_features - n_values,
        feature_weight=params.feature_weight,
        label_weight=0.0 if job.target is None else params.label_weight,
        classes=job.target is not None and job.target.classes is not None,
    )
    fitted = fit_components(rows, views, n_components, seed)
    if fitted.choice is not None and rank() == 0:
        warn_of_unpredicted(fitted.choice, rows, views)
    if job.before is not None:
        directions = encoder.components.weight.cpu().numpy()
        values = np.concatenate([block.values for block in rows])
        fitted = fitted.aligned(latent_dim, values, directions)
    noise = own_noise = fitted.noise(latent_dim)
    if net.max_epochs or job.before is not None:
        noise = held_out_noise(rows, views, latent_dim, seed, fitted.choice)
        noise = max(noise, fitted.noise_floor)
    if data.kept.signals.has_gaps:
        share = share_of_measured(fitted, module, data.kept, latent_dim)
        noise, own_noise = noise * share, own_noise * share
    # A given weight of the reconstruction is a factor of beta.
    beta = params.beta * decoder_variance(net.criterion_, noise) / noise
    linear = linear_start(
        fitted, latent_dim, n_components, noise, min(noise, own_noise), beta
    )
    latent_scale = np.ones(latent_dim)
    n_latents = min(latent_dim, len(fitted.std))
    latent_scale[:n_latents] = (
        fitted.std[:n_latents] * linear.shrinkage[:n_latents].numpy()
    )
    return linear, *from_first((latent_scale, noise))


def decoder_variance(criterion, noise):
    """Variance of p(x|z), by the reconstruction weight; "auto" gives the noise."""
    weight = criterion.reconstruction_weight
    if weight == "auto":
        return noise
    if criterion.likelihood.is_unit_range:
        return noise / weight
    return criterion.likelihood.std(weight, None) ** 2


def warn_of_unpredicted(choice, blocks, views):
    """Warn of known targets without a prediction for left-out signals."""
    is_known = np.any([block.known for block in blocks], axis=0)
    columns = np.flatnonzero(is_known & (choice.trust == 0)).tolist()
    if columns:
        where = "" if views.classes or len(is_known) == 1 else f" in columns {columns}"
        warn_user(
            f"y cannot be predicted{where}: for left-out signals a regression is no "
            "better than the mean. y has no weight in the closed form. Check that its "
            "rows belong to those of X, give more signals of rare classes, or set "
            "label_weight=0."
        )


def share_of_measured(fitted, module, dataset, latent_dim):
    """Ratio of the mean squared residuals over measured values and over all."""
    n_signals = max(64, STATISTICS_VALUES // len(fitted.loadings))
    sample = dataset.sample(n_signals, seeded(0))
    is_measured = ~sample.signals.read(sample.rows).isnan().flatten(1).cpu().numpy()
    no_target, index = np.zeros((len(sample), 0)), np.arange(len(sample))
    rows = read_rows(module, sample, no_target, index)
    squares = np.square(fitted.residuals(rows, latent_dim))
    sums = (squares * is_measured).sum(), is_measured.sum(), squares.sum(), squares.size
    measured, n_measured, total, n_values = sum_over_processes(np.array(sums))
    # The total is 0 where there are as many components as signals.
    return (measured / n_measured) / (total / n_values) if total else 1.0
