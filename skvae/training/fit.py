"""The plan of a fit: scale, features, closed form, train, sum up."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skvae.distributed import (
    from_all,
    from_first,
    n_processes,
    rank,
    shared_errors,
    sum_over_processes,
    take_from_first,
)
from skvae.messages import warn_user
from skvae.model.closed_form import (
    Views,
    fit_components,
    held_out_noise,
    linear_start,
    posterior_variance,
)
from skvae.model.gaps import n_tried
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.moments import MAX_VALUES, gather, merge
from skvae.scaling import ChannelScaler
from skvae.training.callbacks import LOGGER
from skvae.training.data import ScaledSignals, SignalDataset
from skvae.training.fitted import (
    decoder_scale,
    describe,
    in_units_of_X,
    pooled_with,
    sum_up,
)
from skvae.training.make_net import make_net
from skvae.training.memory import (
    among,
    fingerprints_of,
    first_datasets,
    next_datasets,
    seeded,
)

# Signals for each latent that a first `partial_fit` should have.
ENOUGH_PER_LATENT = 10
# Numbers to tell of y, for each latent, above which a linear map loses too many.
TOO_MANY_DIMS = 1.25
# Time steps that the thresholds of features are quantiles of, of 16 signals at least;
# and values that the statistics of a fit are means of, of 256 signals at least.
THRESHOLD_TIMEPOINTS = 2**15
STATISTICS_VALUES = 2**18
# Signals over which the slope of the decoder is averaged.
N_SLOPES = 32
# Share of reconstructions in what is filled. Gaps are filled better in signals that
# this is learned from than in others, so what they show is multiplied. Where training
# has seen them, they are reconstructed better too, and show too much.
MAX_BLEND, BLEND_FACTOR = 0.5, 3
MAX_BLEND_TRAINED = 0.25
# How far to go from the start of training to its end, where nothing is known but that
# signals are many; how many signals halve that; and how many tests it is worth.
USUAL_SHARE, HALF_USUAL, USUAL_TESTS = 0.5, 20, 20


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


class Start(NamedTuple):
    """Where training starts from.

    Attributes
    ----------
    closed, before : list of Tensor
        Values of `ConvVAE.trusted_parameters` of the closed form, and before training.
    share : float
        How far to go from the closed form to the end of training, 0 to 1, by the number
        of signals; tests may know better.
    noise : float or None
        Variance of a value of signals that the closed form was not fitted on.
    latent_scale : ndarray of shape (latent_dim,) or None
        Of the closed form.
    was_trained : bool
    excess : float
        Distortion of other signals, over that of training signals, where no closed
        form knows it.
    """

    closed: list[torch.Tensor]
    before: list[torch.Tensor]
    share: float
    noise: float | None
    latent_scale: np.ndarray | None
    was_trained: bool
    excess: float = 1.0


def fit(job, before=None):
    """Fit the model to signals, a `Job`, and give what was `Fitted`.

    Where something was `Fitted` before, training goes on from its weights, with its
    scaling and features, towards the closed form of all that has been seen.
    """
    params = job.params
    scaler = before.scaler if before else fit_scaler(job)
    has_head = needs_head(job, before)
    warn_of_few(job, before)
    data, y, valid = datasets(job, scaler, before, has_head)
    if params.batch_norm and min(from_all(len(data.train))) == 1:
        data = data._replace(train=data.train | data.train)  # which one alone has not
    net = make_net(job, has_head, data.train).initialize()
    begin(job.tasks, net)
    if before:
        net.start_from(before.net)
    start = start_of(job, net, scaler, data, y, before)
    some = data.kept.sample(max(256, STATISTICS_VALUES // job.X[0].size))
    samples = [(part, draws_for(part, params.latent_dim)) for part in (some, data.test)]
    parts = [some, data.test]
    if net.max_epochs:
        parts += [data.train] if valid is None else [data.train, valid]
    rows = torch.cat([part.rows for part in parts]).unique()
    some.signals.represent_by(net.module_.eval(), rows)

    def finish(net):
        """`Fitted`, of the net as far as it is trained."""
        fitted = finished(net, params, scaler, *samples, start)
        if is_forgotten(before):
            fitted = pooled_with(before, fitted, data.new.n_all)
        return fitted._replace(
            n_samples_seen=seen_after(before, data),
            n_epochs_total=len(net.history) + (before.n_epochs_total if before else 0),
        )

    train_net(job, net, (data.train, valid), finish)
    return finish(net)


def fit_scaler(job):
    """The `ChannelScaler` of a first fit."""
    activation = (job.params.net_params or {}).get("module__output_activation")
    is_unit_range = LIKELIHOODS[job.params.likelihood].is_unit_range or activation
    return ChannelScaler(job.params.scale).fit(job.X, may_shift=not is_unit_range)


def is_forgotten(before):
    """Whether there was a fit, the signals of which were not kept."""
    return before is not None and before.net.memory_ is None


def seen_after(before, data):
    """Number of signals that have been seen, by then, of all calls and processes."""
    return data.new.n_all + (before.n_samples_seen if before else 0)


def datasets(job, scaler, before, has_head):
    """`Datasets` of a `Job`, the targets of all of them, what is held back or None."""
    X, y = job.X, np.zeros((len(job.X), 0), np.float32)
    if job.target is not None:
        y = job.target.values
    memory = before.net.memory_ if before else None
    others = []
    if memory is not None:
        X_before, y_before = memory.own_part()
        others, y = [X_before], np.concatenate([y, y_before])
    signals = ScaledSignals(X, scaler, job.device, others)
    dataset = SignalDataset(signals, y if has_head else None)
    given, unseen = dataset.subset(slice(len(X))), None
    if memory is not None:
        unseen = given - among(given, fingerprints_of(given, y), memory.fingerprints)
    given, valid = hold_back(job, given, unseen)
    # A head is trusted anyway; the signals of now say nothing of those forgotten.
    has_test = job.params.linear_path and not has_head and not is_forgotten(before)
    if memory is None:
        return first_datasets(given, job.seed, has_test), y, valid
    remembered = dataset.subset(slice(len(X), None))
    data = next_datasets(given, valid, remembered, y, memory, job.seed, has_test)
    return data, y, valid


def draws_for(dataset, latent_dim):
    """Standard normal numbers for the samples of a dataset here, (n, latent_dim)."""
    first = dataset.n_before
    draws = torch.randn(dataset.n_all, latent_dim, dtype=torch.float32)
    return draws[first : first + len(dataset)]


def start_of(job, net, scaler, data, y, before):
    """`Start` at the closed form of all that has been seen, which is then remembered.

    Where it was forgotten, the closed form stays as it is: training is then trusted by
    the share that its signals have of all.
    """
    params, module = job.params, net.module_
    memory = before.net.memory_ if before else None
    n_seen = seen_after(before, data)
    parameters = module.trusted_parameters()
    learned = [parameter.detach().clone() for parameter in parameters]
    latent_scale = noise = rows = None
    if is_forgotten(before):
        share = data.new.n_all / n_seen
        latent_scale = before.latent_scale if params.linear_path else None
    else:
        share = USUAL_SHARE * n_seen / (n_seen + HALF_USUAL)
        module.gaps.fit(data.kept.x_of_all(), job.seed)
        if params.linear_path:
            rows = rows_of(job, module, data, y, memory)
            linear, latent_scale, noise = closed_form(job, net, data, rows, before)
            latent_scale = in_units_of_X(latent_scale, scaler, params.whiten)
            module.start_from(linear)
            module.forget_training()
            rows = merge(rows, []) if data.kept.n_all < n_seen else None
        net.memory_ = data.remembered(y, memory, rows)
    if module.head is not None:
        share = 1.0  # a head is all that teaches the latents their classes
    take_from_first(module)
    closed = [parameter.detach().clone() for parameter in parameters]
    learned = closed[:2] + learned[2:]  # the linear decoder is that of the closed form
    if before:
        with torch.no_grad():
            for parameter, value in zip(parameters, learned, strict=True):
                parameter.copy_(value)
    was_trained = before is not None
    learned = learned if was_trained else closed
    excess = before.held_back_excess if is_forgotten(before) else 1.0
    return Start(closed, learned, share, noise, latent_scale, was_trained, excess)


def warn_of_few(job, before):
    """Warn of a first `partial_fit` that fixes too much by too few signals."""
    latent_dim, n_samples = job.params.latent_dim, sum(from_all(len(job.X)))
    is_first = job.one_epoch and job.params.linear_path and not before
    if is_first and n_samples < ENOUGH_PER_LATENT * latent_dim and rank() == 0:
        warn_user(
            f"The first call of partial_fit got {n_samples} signals for {latent_dim} "
            "latents, and fixes the scaling and the thresholds of the features. Give "
            f"it {ENOUGH_PER_LATENT} for each latent at least."
        )


def rows_of(job, module, data, y, memory):
    """`Rows` of all that has been seen, signals, features and targets."""
    LOGGER.info("closed form of %d signals", len(data.closed))
    features = module.encoder.features
    if features is not None and memory is None:
        n_signals = max(16, THRESHOLD_TIMEPOINTS // module.decoder.shape[1])
        features.fit(module.gaps(data.train.sample(n_signals).x_of_all()))
    y = y[data.closed.rows.cpu().numpy()]
    width = 1 + module.encoder.components.in_features + y.shape[1]
    signals = data.closed.signals
    with shared_errors():
        if len(signals.X) * width <= MAX_VALUES:
            signals.keep_inputs(module)
    read = partial(read_rows, module, data.closed, np.nan_to_num(y))
    rows = gather(read, width, ~np.isnan(y), job.seed)
    if memory is not None and memory.rows is not None:
        rows = merge(memory.rows, rows)
    return rows


def read_rows(module, dataset, y, index):
    """A constant 1, filled signals, features and targets at index, float32."""
    rows = dataset.rows[torch.from_numpy(index).to(dataset.rows.device)]
    ones = np.ones((len(rows), 1), np.float32)
    return np.hstack([ones, dataset.signals.read_by(module, rows), y[index]])


def closed_form(job, net, data, rows, before):
    """`LinearStart`, latent scale, and noise variance of signals not trained on."""
    params, seed, module = job.params, job.seed, net.module_
    encoder, latent_dim = module.encoder, params.latent_dim
    views = Views(
        n_values=math.prod(module.decoder.shape),
        n_features=0 if encoder.features is None else encoder.features.n_features,
        feature_weight=params.feature_weight,
        label_weight=0.0 if job.target is None else params.label_weight,
        classes=job.target is not None and job.target.classes is not None,
    )
    n_components = encoder.components.out_features
    fitted = fit_components(rows, views, n_components, seed)
    if fitted.choice is not None and rank() == 0:
        warn_of_unpredicted(fitted.choice, rows, views)
    if before:
        directions = encoder.components.weight.cpu().numpy()
        values = np.concatenate([block.values for block in rows])
        fitted = fitted.aligned(latent_dim, values, directions)
    noise = own_noise = fitted.noise(latent_dim)
    if net.max_epochs or before:
        noise = held_out_noise(rows, views, latent_dim, seed, fitted.choice)
        noise = max(noise, fitted.noise_floor)
    if data.kept.signals.has_gaps:
        share = share_of_measured(fitted, module, data.kept, latent_dim)
        noise, own_noise = noise * share, own_noise * share
    # A weight that is given acts as beta does, which stands beside the noise.
    beta = params.beta * decoder_variance(net.criterion_, noise) / noise
    noises = noise, min(noise, own_noise)
    linear = linear_start(fitted, latent_dim, n_components, *noises, beta)
    latent_scale = np.ones(latent_dim)
    n_found = min(latent_dim, len(fitted.std))
    latent_scale[:n_found] = fitted.std[:n_found] * linear.shrinkage[:n_found].numpy()
    return linear, *from_first((latent_scale, noise))


def decoder_variance(criterion, found):
    """Variance of p(x|z): as found, or what the reconstruction weight says."""
    weight = criterion.reconstruction_weight
    if weight == "auto":
        return found
    if criterion.likelihood.is_unit_range:
        return found / weight
    return criterion.likelihood.std(weight, None) ** 2


def finished(net, params, scaler, some, test, start):
    """`Fitted`, of the net as far as it is trained, and trusted."""
    module, likelihood = net.module_, net.criterion_.likelihood
    is_trained = net.history or start.was_trained
    gain = trust(net, start, *test) if is_trained else 1.0
    if start.noise is not None and is_trained:
        noise = decoder_variance(net.criterion_, start.noise * gain)
        slopes = decoder_scale(net, some[0].sample(N_SLOPES, seeded(0)))
        variances = posterior_variance(params.beta * noise, slopes)
        module.encoder.set_variances(torch.from_numpy(variances))
    trained = describe(net, *some)
    distortion = trained.distortion * start.excess
    if start.noise is not None:
        expected = likelihood.expected_distortion(start.noise, trained.n_measured)
        distortion = expected * gain
    weight = net.criterion_.weight(distortion, trained.n_measured)
    decoder_std = partial(likelihood.std, weight)
    if test[0].n_all:
        share = BLEND_FACTOR * blend(module, test[0], decoder_std)
        module.gaps.blend.fill_(min(share, MAX_BLEND))
    else:
        share = blend(module, some[0], decoder_std)
        module.gaps.blend.fill_(min(share, MAX_BLEND_TRAINED))
    scale = start.latent_scale
    if scale is None:
        scale = in_units_of_X(decoder_scale(net, some[0]), scaler, params.whiten)
    return sum_up(net, scaler, scale, some[0], trained, distortion)


def blend(module, dataset, decoder_std):
    """The best share of reconstructions in what is filled, of gaps made in signals."""
    some = dataset.sample(n_tried(math.prod(dataset.signals.X.shape[1:])), seeded(0))
    errors, squares = module.blend_errors(some.x_of_all(), decoder_std, seed=0)
    return max(0.0, errors / max(squares, 1e-30))


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
    net.train(parts)
    take_from_first(net.module_)


def hold_back(job, dataset, unseen):
    """What to train on, and what is held back or None, of a dataset.

    If there are enough, of the part of it that is unseen.
    """
    params, n_samples = job.params, len(job.X)
    if job.one_epoch or not params.early_stopping:
        return dataset, None
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
    if unseen is not None and min(from_all(len(unseen) - n_valid)) >= 0:
        valid, _ = unseen.split(n_valid)
        return dataset - valid, valid
    return dataset.split(n_train)


def needs_head(job, before):
    """Whether targets have more to tell than the closed form's latents can hold."""
    params, target = job.params, job.target
    if target is None:
        return False
    if before:
        return before.net.module_.head is not None
    is_unlabelled = bool(np.isnan(target.values).all())
    return (
        not params.linear_path
        or target.n_dims > TOO_MANY_DIMS * params.latent_dim
        or all(from_all(is_unlabelled))  # labels come later
    )


def warn_of_unpredicted(choice, blocks, views):
    """Warn of what is known of y, but that nothing predicts of signals left out."""
    is_known = np.any([block.known for block in blocks], axis=0)
    columns = np.flatnonzero(is_known & (choice.trust == 0)).tolist()
    if columns:
        where = "" if views.classes or len(is_known) == 1 else f" in columns {columns}"
        warn_user(
            f"y cannot be predicted{where}: of signals left out of a regression on "
            "signals and features, its mean says as much. It has no weight in the "
            "closed form. Check that its rows belong to those of X, or set "
            "label_weight=0."
        )


def share_of_measured(fitted, module, dataset, latent_dim):
    """Mean square that `Components` leave of what was measured, to that of all."""
    n_drawn = max(64, STATISTICS_VALUES // len(fitted.loadings))
    some = dataset.sample(n_drawn, seeded(0))
    index = np.arange(len(some))
    is_measured = ~some.x(slice(None)).isnan().flatten(1).cpu().numpy()
    rows = read_rows(module, some, np.zeros((len(some), 0)), index)
    squares = np.square(fitted.residuals(rows, latent_dim))
    sums = [(squares * is_measured).sum(), is_measured.sum(), squares.sum()]
    left, n_measured, of_all, n_all = sum_over_processes(
        np.array([*sums, squares.size])
    )
    # None is left where components are as many as signals.
    return (left / n_measured) / (of_all / n_all) if of_all else 1.0


@torch.no_grad()
def trust(net, start, test, draws):
    """Go back from the end of training, as far as is best for other signals.

    A network learns few signals by heart. The distortion of others is about a parabola
    along the way from where training began, whose minimum is averaged with the usual
    one, on the way from the closed form.

    Parameters
    ----------
    net : VAENet
    start : Start
    test : SignalDataset
        On which nothing was trained.
    draws : Tensor of shape (n_test, latent_dim)

    Returns
    -------
    float, what is left of the closed form's distortion on these signals.
    """
    parameters = net.module_.trusted_parameters()
    end = [parameter.clone() for parameter in parameters]
    usual = between(start.closed, end, start.share)

    def distortion_at(values):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
        return describe(net, test, draws).distortion if test.n_all else 0.0

    closed, trusted = distortion_at(start.closed), start.before
    if net.history:
        way = [between(start.before, end, share) for share in (0, 0.5, 1)]
        share = minimum_of_parabola([distortion_at(values) for values in way])
        weight = test.n_all / (test.n_all + USUAL_TESTS)
        trusted = between(usual, between(start.before, end, share), weight)
    left = distortion_at(trusted)
    if left > closed:
        distortion_at(start.closed)
        return 1.0
    return min(1.0, left / closed) if closed else 1.0


def between(values, others, share):
    """Tensors on the way from some to others, of the same shapes."""
    return [torch.lerp(*pair, share) for pair in zip(values, others, strict=True)]


def minimum_of_parabola(values):
    """Where, from 0 to 1, the parabola through values at 0, 1/2 and 1 is smallest."""
    first, middle, last = values
    curvature = 2 * (first - 2 * middle + last)
    if curvature <= 0:
        return 0.0
    return float(np.clip((first - last + curvature) / (2 * curvature), 0, 1))
