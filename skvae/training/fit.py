"""The steps of a fit: scaling, features, closed form, training, trust, statistics."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skvae.distributed import from_all, rank, shared_errors, take_from_first
from skvae.messages import warn_user
from skvae.model.closed_form import posterior_variance
from skvae.model.gaps import n_tried
from skvae.scaling import ChannelScaler
from skvae.training.fitted import (
    Sample,
    decoder_scale,
    describe,
    in_units_of_X,
    network_share,
    pooled_with,
)
from skvae.training.make_net import make_net
from skvae.training.memory import datasets, seeded
from skvae.training.options import first_params, is_unit_range
from skvae.training.start import STATISTICS_VALUES, decoder_variance, start_of

ENOUGH_PER_LATENT = 10  # signals in a first `partial_fit`
TOO_MANY_DIMS = 1.25  # dimensions of y, per latent, that a linear map cannot hold
N_SLOPES = 32  # signals over which the slope of the decoder is averaged
# Largest share of reconstructions in filled gaps. Filling was learned from the signals
# that choose it: hence a factor. Without a test the network was, too: a lower limit.
MAX_BLEND, BLEND_FACTOR = 0.5, 3
MAX_BLEND_TRAINED = 0.25
USUAL_TESTS = 20  # number of tests that have as much weight as the usual share


class Job(NamedTuple):
    """Arguments of a fit."""

    params: object  # the estimator
    X: np.ndarray  # (n_samples, n_channels, n_timepoints), NaN where missing
    target: object  # `Target` or None
    device: str
    seed: int  # of NumPy's draws; torch's are from its global generators
    before: object = None  # the estimator after the fit that this one continues
    one_epoch: bool = False  # whether to train for one epoch at a constant rate
    checkpoint: object = None  # a skorch callback
    tasks: object = None  # `FitTasks` of scikit-learn's callbacks

    @property
    def memory(self):
        return None if self.before is None else self.before.net_.memory_

    @property
    def is_forgotten(self):
        """Whether the signals of earlier fits are not remembered."""
        return self.before is not None and self.memory is None

    def n_seen(self, data):
        """Number of signals seen in all calls and processes."""
        return data.new.n_all + (self.before.n_samples_seen_ if self.before else 0)


def fit(job):
    """Fit the model of a `Job`, and return a dict of an estimator's fitted attributes.

    A fit after another one keeps scaling and features, and goes on from the weights.
    """
    params, before = job.params, job.before
    if before is None:
        scaler = ChannelScaler(params.scale)
        scaler.fit(job.X, may_shift=not is_unit_range(params))
    else:
        scaler = before.scaler_
    has_head = needs_head(job)
    warn_of_few(job)
    data = datasets(job, scaler, has_head)
    if params.batch_norm and min(from_all(len(data.train))) == 1:
        data = data._replace(train=data.train | data.train)  # 1 has no variance
    with shared_errors():
        net = make_net(job, has_head, data.train)
        if job.tasks is not None:
            job.tasks.begin(net.max_epochs)
    if before is not None:
        net.start_from(before.net_)
    start = start_of(job, net, scaler, data)

    n_signals = max(256, STATISTICS_VALUES // job.X[0].size)
    statistics = Sample.of(data.kept.sample(n_signals), params.latent_dim)
    test = Sample.of(data.test, params.latent_dim)
    parts = [statistics.dataset, data.test]
    if net.max_epochs:
        parts += [data.train] if data.valid is None else [data.train, data.valid]
    rows = torch.cat([part.rows for part in parts]).unique()
    data.train.signals.represent_by(net.module_.eval(), rows)

    def finish(net):
        return finished(job, net, scaler, data, start, statistics, test)

    if net.max_epochs:
        if job.tasks is not None:
            job.tasks.finish = lambda: finish(net.as_it_is_now())
            net.tasks = job.tasks
        net.train((data.train, data.valid))
        take_from_first(net.module_)
    return finish(net)


def needs_head(job):
    """Whether targets need a head, because a linear map would lose too much."""
    params, target = job.params, job.target
    if target is None:
        return False
    if job.before is not None:
        return job.before.net_.module_.head is not None
    is_unlabelled = bool(np.isnan(target.values).all())
    return (
        not params.linear_path
        or target.n_dims > TOO_MANY_DIMS * params.latent_dim
        or all(from_all(is_unlabelled))  # labels come later
    )


def warn_of_few(job):
    """Warn if the first `partial_fit` fixes scaling and features by few signals."""
    latent_dim, n_samples = job.params.latent_dim, sum(from_all(len(job.X)))
    is_first = job.one_epoch and job.params.linear_path and job.before is None
    if is_first and n_samples < ENOUGH_PER_LATENT * latent_dim and rank() == 0:
        warn_user(
            f"The first call of partial_fit got {n_samples} signals for {latent_dim} "
            "latents, and fixes the scaling and the thresholds of the features. Give "
            f"it {ENOUGH_PER_LATENT} for each latent at least."
        )


def finished(job, net, scaler, data, start, statistics, test):
    """Fitted attributes of a net, after it goes back as far as tests say."""
    params, before, module = job.params, job.before, net.module_
    objective, likelihood = net.criterion_, net.criterion_.likelihood
    is_trained = len(net.history) > 0 or before is not None
    gain = trust(net, start, test) if is_trained else 1.0
    if start.noise is not None and is_trained:
        noise = decoder_variance(objective, start.noise * gain)
        slopes = decoder_scale(net, statistics.dataset.sample(N_SLOPES, seeded(0)))
        variances = posterior_variance(params.beta * noise, slopes)
        module.encoder.set_variances(torch.from_numpy(variances))
    trained = describe(net, statistics)
    distortion = trained.distortion * start.excess  # for new signals
    if start.noise is not None:
        n_measured = trained.n_measured
        distortion = gain * likelihood.expected_distortion(start.noise, n_measured)
    weight = objective.weight(distortion, trained.n_measured)
    set_blend(module, statistics.dataset, test.dataset, partial(likelihood.std, weight))
    latent_scale = start.latent_scale
    if latent_scale is None:
        latent_scale = decoder_scale(net, statistics.dataset)
        latent_scale = in_units_of_X(latent_scale, scaler, params.whiten)
    fitted = {
        "first_params_": first_params(params),
        "net_": net,
        "scaler_": scaler,
        "history_": net.epochs(),
        "n_epochs_": len(net.history),
        "best_epoch_": net.best_epoch(),
        "reconstruction_weight_": float(weight),
        "held_back_excess_": distortion / max(trained.distortion, 1e-30),
        "kl_per_dim_": trained.kl_per_dim,
        "latent_scale_": latent_scale,
        "network_share_": network_share(net, statistics.dataset),
        "n_samples_seen_": job.n_seen(data),
        "n_epochs_total_": len(net.history) + (before.n_epochs_total_ if before else 0),
    }
    if (target := job.target) is not None:
        fitted["classes_"] = target.classes
        fitted |= {"target_offset_": target.offset, "target_scale_": target.scale}
    if job.is_forgotten:
        fitted = pooled_with(before, fitted, data.new.n_all / job.n_seen(data))
    return fitted


def set_blend(module, trained, test, decoder_std):
    """Set the share of reconstructions in filled gaps, by gaps that are made here."""
    dataset = test if test.n_all else trained
    signals = dataset.sample(n_tried(math.prod(dataset.signals.X.shape[1:])), seeded(0))
    errors, squares = module.blend_errors(signals.x_of_all(), decoder_std, seed=0)
    factor, limit = (BLEND_FACTOR, MAX_BLEND) if test.n_all else (1, MAX_BLEND_TRAINED)
    share = factor * max(0.0, errors / max(squares, 1e-30))
    module.gaps.blend.fill_(min(share, limit))


@torch.no_grad()
def trust(net, start, test):
    """Go back from the end of training to the best weights for the signals of a test.

    On the line from the weights before training, the test's distortion is about a
    parabola, whose minimum is averaged with the usual share of the line from the closed
    form. Return the remaining share of the closed form's distortion.
    """
    parameters, n_tests = net.module_.trusted_parameters(), test.dataset.n_all
    end = [parameter.clone() for parameter in parameters]

    def distortion_at(values):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
        return describe(net, test).distortion if n_tests else 0.0

    closed, trusted = distortion_at(start.closed), start.before
    if net.history:
        usual = between(start.closed, end, start.share)
        way = [between(start.before, end, share) for share in (0, 0.5, 1)]
        share = minimum_of_parabola([distortion_at(values) for values in way])
        weight = n_tests / (n_tests + USUAL_TESTS)
        trusted = between(usual, between(start.before, end, share), weight)
    remaining = distortion_at(trusted)
    if remaining > closed:
        distortion_at(start.closed)
        return 1.0
    return min(1.0, remaining / closed) if closed else 1.0


def between(first, last, share):
    """Tensors at a share of the line from the first to the last."""
    return [torch.lerp(*pair, share) for pair in zip(first, last, strict=True)]


def minimum_of_parabola(values):
    """Minimum in [0, 1] of the parabola through values at 0, 1/2 and 1."""
    first, middle, last = values
    curvature = 2 * (first - 2 * middle + last)
    if curvature <= 0:
        return 0.0
    return float(np.clip((first - last + curvature) / (2 * curvature), 0, 1))
