"""The plan of a fit: scale, features, closed form, train, sum up."""

import math
from typing import NamedTuple

import numpy as np
import torch

from skvae.model.closed_form import (
    Views,
    fit_components,
    held_out_noise,
    linear_start,
)
from skvae.model.sums import gather
from skvae.processes import (
    from_all,
    from_first,
    n_processes,
    rank,
    shared_errors,
    sum_over_processes,
    take_from_first,
)
from skvae.runtime import map_batches, warn_user
from skvae.scaling import ChannelScaler
from skvae.training.callbacks import LOGGER
from skvae.training.data import ScaledSignals, SignalDataset
from skvae.training.make_net import make_net
from skvae.training.sum_up import decoder_scale, describe, in_units_of_X, sum_up

# Signals for each latent, of 8 at least, of which half of training is trusted.
HALF_TRUSTED = 10
# Numbers to tell of y, for each latent, above which a linear map loses too many.
TOO_MANY_DIMS = 1.25
# Time steps that the thresholds of features are quantiles of, of 16 signals at least;
# and values that the statistics of a fit are means of, of 256 signals at least.
THRESHOLD_TIMEPOINTS = 2**15
STATISTICS_VALUES = 2**18
# Values that the model of gaps is learned from, of 64 signals at least.
GAP_VALUES = 2**20


class Job(NamedTuple):
    """What a fit is asked for.

    Attributes
    ----------
    params : ConvVAETransformer
        Its parameters are read.
    X : ndarray of shape (n_samples, n_channels, n_timepoints)
        NaN where values are missing.
    target : Target or None
    device : str
    seed : int
        Of what NumPy draws; torch draws from its global generators.
    one_epoch : bool
        Train for one epoch at the learning rate ``lr``.
    checkpoint : skorch callback or None
    tasks : FitTasks or None
        Of scikit-learn's callbacks.
    """

    params: object
    X: np.ndarray
    target: object
    device: str
    seed: int
    one_epoch: bool = False
    checkpoint: object = None
    tasks: object = None


def fit(job):
    """Fit the model to signals, a `Job`, and give what was `Fitted`."""
    params, n_values = job.params, job.X[0].size
    scaler = ChannelScaler(params.scale).fit(job.X)
    has_head = needs_head(params, job.target)
    signals, train, valid = split(job, scaler, has_head)
    is_few = train.n_all < HALF_TRUSTED * params.latent_dim
    if job.one_epoch and params.linear_path and is_few and rank() == 0:
        warn_user(
            f"The first call of partial_fit got {train.n_all} signals for "
            f"{params.latent_dim} latents, and fixes scaling and closed form. Give it "
            f"{HALF_TRUSTED} for each latent at least."
        )
    net = make_net(job, has_head, train).initialize()
    begin(job.tasks, net)
    module, latent_scale, noise = net.module_, None, None
    seeded = torch.Generator().manual_seed(job.seed)
    some = train.sample(max(64, GAP_VALUES // n_values), seeded)
    module.gaps.fit(some.x_of_all(), job.seed)
    if params.linear_path:
        is_trained = bool(net.max_epochs)
        LOGGER.info("closed form of %d signals", len(train))
        start, latent_scale, noise = start_of(job, module, train, is_trained)
        module.start_from(start)
    take_from_first(module)
    signals.represent_by(module.eval())

    some = train.sample(max(256, STATISTICS_VALUES // n_values))
    draws = torch.randn(some.n_all, params.latent_dim)[some.n_before :]
    at_start = describe(net, some, draws)
    starts = [p.detach().clone() for p in module.trusted_parameters()]
    share = trusted_share(train.n_all, params.latent_dim)

    def finish(net):
        """`Fitted`, of the net as far as it is trained."""
        # A head is all that teaches the latents their classes.
        trust(net.module_, starts, 1.0 if has_head else share)
        trained = describe(net, some, draws)
        # What is left of training's gain on its own signals holds on others in part.
        has_trained = net.max_epochs and at_start.distortion > 0
        ratio = trained.distortion / at_start.distortion if has_trained else 1.0
        distortion = trained.distortion
        if noise is not None:
            likelihood = net.criterion_.likelihood
            expected = likelihood.expected_distortion(noise, trained.n_measured)
            distortion = expected * ratio**share**2
        scale = decoder_scale(net, some) if latent_scale is None else latent_scale
        scale = in_units_of_X(scale, scaler, params.whiten)
        return sum_up(net, scaler, scale, some, trained, distortion)

    train_net(job, net, (train, valid), finish)
    return finish(net)


def go_on(job, before):
    """Train what was `Fitted` before further; its scaling and closed form stay."""
    params, n_values = job.params, job.X[0].size
    scaler = before.scaler
    has_head = job.target is not None and before.net.module_.head is not None
    signals, train, valid = split(job, scaler, has_head)
    net = make_net(job, has_head, train).initialize()
    begin(job.tasks, net)
    net.start_from(before.net)
    signals.represent_by(net.module_.eval())
    some = train.sample(max(256, STATISTICS_VALUES // n_values))
    draws = torch.randn(some.n_all, params.latent_dim)[some.n_before :]

    def finish(net):
        """`Fitted`, of the net as far as it is trained."""
        trained = describe(net, some, draws)
        # Training signals are as much closer than others as they were in the first fit.
        distortion = before.held_back_excess * trained.distortion
        latent_scale = before.latent_scale
        if not params.linear_path:
            latent_scale = decoder_scale(net, some)
            latent_scale = in_units_of_X(latent_scale, scaler, params.whiten)
        return sum_up(net, scaler, latent_scale, some, trained, distortion)

    train_net(job, net, (train, valid), finish)
    return finish(net)


def begin(tasks, net):
    """Tell scikit-learn's callbacks of the fit."""
    with shared_errors():
        if tasks is not None:
            tasks.begin(net.max_epochs)


def train_net(job, net, parts, finish):
    """Train a net; callbacks may ask for what `finish` makes of it so far."""
    if not net.max_epochs:
        return
    if job.tasks is not None:
        job.tasks.finish = lambda: finish(net.as_it_is_now())
        net.tasks = job.tasks
    net.partial_fit(parts)
    take_from_first(net.module_)


def split(job, scaler, has_head):
    """Scaled signals, those to train on, and those held back or None."""
    params, n_samples = job.params, len(job.X)
    signals = ScaledSignals(job.X, scaler, job.device)
    dataset = SignalDataset(signals, job.target.values if has_head else None)
    if job.one_epoch or not params.early_stopping:
        return signals, dataset, None
    n_valid = math.ceil(params.validation_fraction * n_samples)
    if n_processes() > 1:  # others hold back enough
        n_valid = min(n_valid, n_samples - 2)
    n_train = n_samples - n_valid
    if not any(from_all(n_valid)) or n_train < 2:
        raise ValueError(
            f"early_stopping=True with validation_fraction="
            f"{params.validation_fraction} leaves {n_train} of {n_samples} samples to "
            "train on. At least 2 are required, and one to validate: pass more "
            "samples, or use early_stopping=False."
        )
    return signals, *dataset.split(n_train)


def needs_head(params, target):
    """Whether targets have more to tell than the closed form's latents can hold."""
    if target is None:
        return False
    is_unlabelled = bool(np.isnan(target.values).any(axis=1).all())
    return (
        not params.linear_path
        or target.n_dims > TOO_MANY_DIMS * params.latent_dim
        or all(from_all(is_unlabelled))  # labels come later
    )


def start_of(job, module, train, is_trained):
    """`LinearStart`, latent scale, and noise variance of signals not trained on."""
    params, target, seed = job.params, job.target, job.seed
    features = module.encoder.features
    if features is not None:
        n_signals = max(16, THRESHOLD_TIMEPOINTS // module.decoder.shape[1])
        features.fit(module.gaps(train.sample(n_signals).x_of_all()))
    n_values = math.prod(module.decoder.shape)
    views = Views(
        n_values=n_values,
        n_features=0 if features is None else features.n_features,
        feature_weight=params.feature_weight,
        label_weight=0.0 if target is None else params.label_weight,
    )
    y = np.zeros((len(train), 0))
    if target is not None:
        y = target.values[train.rows.cpu().numpy()]
    is_labelled = ~np.isnan(y).any(axis=1)
    y = np.nan_to_num(y)
    width = 1 + views.n_values + views.n_features + y.shape[1]

    def read(index):
        x = module.gaps(train.x(torch.from_numpy(index).to(train.rows.device)))
        values = np.empty((len(index), width))
        values[:, 0] = 1
        values[:, 1 : 1 + n_values] = x.flatten(1).cpu()
        if features is not None:
            values[:, 1 + n_values : width - y.shape[1]] = map_batches(
                features, x.__getitem__, len(x), x.shape[2], x.device
            )
        values[:, width - y.shape[1] :] = y[index]
        return values

    blocks = gather(read, width, is_labelled, seed)
    n_components = module.encoder.components.out_features
    fitted = fit_components(blocks, views, n_components, seed)
    noise = own_noise = fitted.noise(params.latent_dim)
    if is_trained:
        noise = held_out_noise(blocks, views, params.latent_dim, seed)
        noise = max(noise, fitted.noise_floor)
    if train.signals.has_gaps:
        share = share_of_measured(fitted, params.latent_dim, train, read, seed)
        noise, own_noise = noise * share, own_noise * share
    start = linear_start(
        fitted, params.latent_dim, n_components, noise, min(noise, own_noise)
    )
    latent_scale = np.ones(params.latent_dim)
    n_found = min(params.latent_dim, len(fitted.std))
    latent_scale[:n_found] = fitted.std[:n_found] * start.shrinkage[:n_found].numpy()
    return start, *from_first((latent_scale, noise))


def share_of_measured(fitted, latent_dim, train, read, seed):
    """Mean square that `Components` leave of what was measured, to that of all."""
    n_drawn = max(64, STATISTICS_VALUES // len(fitted.loadings))
    index = train.draw(n_drawn, torch.Generator().manual_seed(seed))
    is_measured = ~train.x(index).isnan().flatten(1).cpu().numpy()
    squares = np.square(fitted.residuals(read(index.cpu().numpy()), latent_dim))
    sums = [(squares * is_measured).sum(), is_measured.sum(), squares.sum()]
    left, n_measured, of_all, n_all = sum_over_processes(
        np.array([*sums, squares.size])
    )
    # None is left where components are as many as signals.
    return (left / n_measured) / (of_all / n_all) if of_all else 1.0


def trusted_share(n_samples, latent_dim):
    """How far to go from the closed form to the trained network, 0 to 1.

    A network learns few signals by heart, the better the more latents it has, so it is
    trusted the more, the more signals there are for each latent.
    """
    return n_samples / (n_samples + HALF_TRUSTED * max(8, latent_dim))


@torch.no_grad()
def trust(module, starts, share):
    """Go back from the trained network towards its start, where few signals were."""
    for parameter, start in zip(module.trusted_parameters(), starts, strict=True):
        parameter.copy_(torch.lerp(start, parameter, share))
