"""ConvVAETransformer: the model behind scikit-learn's interface."""

import contextlib
import math
import os
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skvae.batches import map_batches, resolve_device
from skvae.distributed import check_group, from_first, n_processes, shared_errors
from skvae.inputs.as_given import as_frame
from skvae.inputs.signals import (
    check_latents,
    check_signals,
    read_signals,
    unfold,
)
from skvae.inputs.target import Target, check_target
from skvae.messages import warn_user
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.objective import gaussian_elbo, log_importance_weights
from skvae.model.summary import summarize
from skvae.saving.checkpoint import Checkpoint
from skvae.saving.estimator import load, save
from skvae.saving.files import FORMAT, versions, warn_if_versions_differ
from skvae.scaling import SCALERS
from skvae.sklearn_private import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from skvae.threads import all_threads, draw_seed, forked_random_state, plain_torch
from skvae.training.callbacks import FitTasks
from skvae.training.fit import Job, fit
from skvae.training.fitted import Fitted
from skvae.training.options import check_options, plain_numbers

# Draws from q(z|x) behind the ELBO of score_samples; and pairs of them where a part of
# it is in closed form, which leaves half the error or less.
N_ELBO_DRAWS, N_ELBO_PAIRS = 16, 2
# Values of a layer in a training step that are worth a thread of their own.
VALUES_PER_THREAD = 2**19
# A latent dimension is active when it costs more than this many nats.
ACTIVE_NATS = 0.01
# Parameters that only the first fit reads, of those that go on from each other.
READ_FIRST = (
    *("latent_dim", "likelihood", "feature_weight", "label_weight", "conv_channels"),
    *("kernel_size", "stride", "hidden_dims", "batch_norm", "linear_path", "whiten"),
    *("scale", "n_channels", "target_type"),
)
# Only where `y` was used.
TARGET_ATTRIBUTES = "classes_", "target_offset_", "target_scale_"


class ConvVAETransformer(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Convolutional variational autoencoder for 1-D signals.

    A few numbers for each signal, for a classifier, a plot or a cluster analysis, and
    signals back from them. The numbers are principal components of the signal beside
    its convolution features and, where there are labels, of what both predict of them:
    a closed form. A decoder of convolutions is trained by the variational bound.

    Parameters
    ----------
    latent_dim : int, default=8
        Number of latent dimensions.
    likelihood : {"gaussian", "laplace", "bernoulli"}, default="gaussian"
        p(x|z). Laplace suits signals with outliers, Bernoulli signals of zeros and
        ones; it needs X in [0, 1], see `scale`.
    reconstruction_weight : float or "auto", default="auto"
        w in the objective of a sample, ``w * SSE + beta * KL`` (for laplace the sum of
        absolute errors, for bernoulli the cross-entropy). "auto": the weight at which
        the likelihood is largest (Rybkin et al. 2021), in the end that of signals not
        trained on. A smaller w shrinks the latents that explain little.
    beta : float, default=1.0
        Weight of the KL term (Higgins et al. 2017). A larger one shrinks the latents
        that explain little (Lucas et al. 2019).
    feature_weight : float, default=1.0
        What the latents tell of the signal's convolution features, in units of what
        they tell of the signal. 0 is probabilistic PCA (Tipping and Bishop 1999) plus
        convolutions, with the smallest reconstruction error. Of signals of unequal gain
        the features are in units of each signal's own spread.
    label_weight : float, default=0.0
        What the latents tell of `y`, in the same units, where `fit` gets it; 2 is
        strong. Class labels, or numbers in one or several columns, see `target_type`.
        A ridge regression on signal and features predicts `y`; where signals that it
        leaves out say that it cannot, `y` counts less, or nothing, with a warning. The
        latents are then those of the closed form, but that where `y` has more to tell
        than they can hold linearly (classes less one, or columns, above 1.25 times
        `latent_dim`) a head on them is trained too. 0 ignores `y`.
    target_type : {"auto", "labels", "numbers"}, default="auto"
        What `y` holds. "auto": as `sklearn.utils.multiclass.type_of_target` says, so
        that one column of whole numbers is labels, of which -1 ("-1") is unlabelled.
        "labels": -1 is a class, and None or NaN unlabelled. "numbers": of any kind,
        NaN where unknown, each on its own where there are several columns.
    conv_channels : tuple of int, default=(16, 32)
        Channels of the convolutions, from the signal inwards.
    kernel_size : int, default=8
        Of the convolutions, in time steps.
    stride : int, default=4
        Of the convolutions, in time steps.
    hidden_dims : tuple of int, default=(64,)
        Widths of the dense layers of the encoder's network. It has one without
        `linear_path`, with ``feature_weight=0``, where a head is trained (see
        `label_weight`) or `module__correct_mean` asks for it.
    dropout : float, default=0.2
        Dropout after each of these layers; without `linear_path` after each convolution
        of the encoder. Without such a network it has no effect.
    batch_norm : bool, default=False
        BatchNorm after each convolution.
    linear_path : bool, default=True
        False: the forum thread's kind of VAE, all of it trained from random weights.
        `feature_weight` then does nothing.
    whiten : bool, default=False
        As in `sklearn.decomposition.PCA`: True gives latents in units of the prior,
        N(0, I); False multiplies each by `latent_scale_`, so that distances between
        latents are like those of signals.
    scale : {"standard", "minmax", None}, default="standard"
        Scaling of each channel, over samples and time: mean 0 and variance 1, range
        [0, 1], or none.
    n_channels : int, default=None
        Channels that two-dimensional X, (n_samples, n_channels * n_timepoints), is
        folded into. None: 1, or as three-dimensional X has.
    lr : float, default=1e-2
        Peak learning rate of `fit`, with `linear_path` reached after at least 15 steps.
        `partial_fit` trains at a constant 0.3 of it. The decoder's linear map takes a
        tenth of either.
    batch_size : int, default=24
        Signals of a training step.
    max_epochs : int or "auto", default="auto"
        "auto" gives n signals 1.6 (n + 150)^.75 steps, at most 17 sqrt(n). Where labels
        train a head on the latents it gives 45 sqrt(n), with ``linear_path=False`` 25
        sqrt(n). It gives at least an epoch. 0 is the closed form alone.
    early_stopping : bool, default=False
        Hold back `validation_fraction` of the signals, stop when their loss has not
        fallen for `patience` epochs, and restore the best epoch.
    validation_fraction : float, default=0.1
        Only used if ``early_stopping=True``.
    patience : int, default=32
        Only used if ``early_stopping=True``.
    device : str or torch.device, default="auto"
        "auto": a GPU where there is one when it is needed. What was fitted on a GPU
        works without.
    random_state : int, RandomState instance or None, default=None
        Of features, first weights, order, dropout and `sample`. An int gives the same
        bits again, on the same machine with the same number of threads.
    verbose : int, default=0
        1: one line of progress, 2: a line each epoch. The logger "skvae" has such lines
        at INFO, whatever `verbose` is.
    callbacks : list, default=None
        skorch callbacks. Copies of them are used, found in ``net_.callbacks_``.
        `set_callbacks` takes those of scikit-learn (1.9, experimental).
    net_params : dict, default=None
        What only experiments need, by the names in the table below, and any other
        argument of the skorch net.
    warm_start : bool, default=False
        `fit` goes on from the last fit, as `partial_fit` does, for all `max_epochs`.
    checkpoint : str or os.PathLike, default=None
        File in which each epoch is saved. The same fit started again, after it was
        killed, goes on from there and ends with the same bits. The file stays, and is
        of one fit: not for a search, nor with skorch `callbacks`, which are objects.

    Attributes
    ----------
    net_ : skorch.NeuralNet
    module_ : torch.nn.Module
        The network, with `encoder` and `decoder`. All methods put it in evaluation
        mode: a loop of your own calls ``.train()`` after them.
    history_ : dict of ndarray
        Of the last `fit` or `partial_fit`: one value an epoch, a mean over its steps,
        dropout on, of the network as it trains. What is fitted may lie between the
        closed form and the end of training, see the README, "How it works".
        Nats per sample, in scaled units: ``train_loss`` and its terms
        ``train_reconstruction`` (-log p(x|z)), ``train_kl``, ``train_kl_per_dim``,
        ``train_label`` (in the loss times `label_weight` and half the measured values
        of a signal); the same with ``valid_``, dropout off, if ``early_stopping=True``.
    n_epochs_, best_epoch_ : int
        Epochs run, and the one, from 1, whose weights were kept.
    reconstruction_weight_ : float
        As used by `score_samples`; the gaussian's variance is ``1 / (2 w)``, in
        scaled units.
    kl_per_dim_ : ndarray of shape (latent_dim,)
        Nats per sample that each latent dimension costs, over training signals.
    n_active_dims_ : int
        Latent dimensions that cost more than 0.01 nats.
    latent_scale_ : ndarray of shape (latent_dim,)
        Factor of each latent, in the units of X, the root mean square of the scales of
        channels that vary; 1 if ``whiten=True``. With `linear_path` the standard
        deviation of the component, shrunk, without it how far the latent moves the
        decoded signal.
    held_back_excess_ : float
        Distortion expected of signals not trained on, over that of training signals.
    n_samples_seen_ : int
        Signals of all calls since the first fit. One that comes again counts once.
    n_epochs_total_ : int
        Epochs of all these calls.
    first_params_ : dict
        Parameters that `partial_fit` and `warm_start` refuse to find changed.
    network_share_ : dict of float
        How much of the ``"latents"`` and of the ``"reconstruction"`` goes through the
        networks: the mean square of what they add, over the sum of that and the mean
        square of the rest, linear maps of signal, features and latents, like PCA's. 1
        without `linear_path`, 0 with ``max_epochs=0``.
    scaler_ : ChannelScaler
    classes_ : ndarray of shape (n_classes,) or None
        If ``label_weight > 0``; None where `y` holds numbers.
    target_offset_, target_scale_ : ndarray of shape (n_targets,) or None
        Mean and standard deviation of `y` that holds numbers; the latter is 0 for a
        column that is left out, since it is constant.
    n_features_in_, n_channels_in_, n_timepoints_in_, n_dims_in_ : int
        Of the fitted X; its features are channels times timepoints.
    feature_names_in_ : ndarray of str
        If X was a DataFrame.
    channel_names_in_ : list of str, or None
        Names of the channels, of columns of signals or of a level of columns.
    timepoints_in_ : ndarray of shape (n_timepoints_in_,), or None
        Positions of the time steps, from the names of the columns: numbers, times of
        day and durations in hours, dates in days from the first.

    Notes
    -----
    Where `torch.distributed` is initialised, all processes of the group have to call
    `fit` or `partial_fit`, each with its share of the signals, two or more; all end
    with the same model, and an error in one is raised in all. `batch_size` is then that
    of each.

    Names in `net_params`, besides those of `skorch.NeuralNet`:

    ================================== ============================================
    ``"module__correct_mean"``         True trains a network that corrects the latent
                                       mean: a higher bound and a smaller error, often
                                       at the price of accuracy. By default where a head
                                       is trained, or ``feature_weight=0``
    ``"module__init"``                 "he" (default), "glorot" as in Keras, "torch"
    ``"module__hidden_dropout"``       after each dense layer but the last, without
                                       linear path
    ``"module__output_activation"``    None (default) or "sigmoid", for X in [0, 1]
    ``"module__output_kernel_size"``   of the last transposed convolution
    ``"criterion__free_bits"``         nats per latent dimension that cost nothing
                                       (Kingma et al. 2016)
    ``"kl_warmup"``                    fraction of `fit` in which beta ramps up
    ``"optimizer"``                    a class of `torch.optim`, default Adam, whose
                                       betas are (0.8, 0.99) with linear path
    ``"lr_schedule"``                  of `fit`, over all `max_epochs`: "one_cycle"
                                       (default; Smith and Topin 2019) or None,
                                       constant; others are skorch's LRScheduler, in
                                       `callbacks`
    ``"n_threads"``                    of PyTorch and BLAS in `fit`; by default as many
                                       as a training step is worth, mostly one; the
                                       closed form of many signals takes one more
    ================================== ============================================

    References
    ----------
    Dempster, Schmidt & Webb (2021), MiniRocket, https://arxiv.org/abs/2012.08791
    Higgins et al. (2017), beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl
    Kingma & Welling (2014), https://arxiv.org/abs/1312.6114
    Kingma et al. (2016), free bits, https://arxiv.org/abs/1606.04934
    Lucas et al. (2019), linear VAEs and pPCA, https://arxiv.org/abs/1911.02469
    Rybkin et al. (2021), sigma-VAE, https://arxiv.org/abs/2006.13202
    Smith & Topin (2019), https://arxiv.org/abs/1708.07120
    Tipping & Bishop (1999), https://doi.org/10.1111/1467-9868.00196

    Examples
    --------
    >>> from skvae import ConvVAETransformer
    >>> from skvae.datasets import make_load_profiles
    >>> X, y = make_load_profiles(200, random_state=0)
    >>> vae = ConvVAETransformer(latent_dim=2, random_state=0)
    >>> vae.fit_transform(X).shape
    (200, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "likelihood": [StrOptions(set(LIKELIHOODS))],
        "reconstruction_weight": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "beta": [Interval(Real, 0, None, closed="left")],
        "feature_weight": [Interval(Real, 0, 1e6, closed="both")],
        "label_weight": [Interval(Real, 0, 1e6, closed="both")],
        "target_type": [StrOptions({"auto", "labels", "numbers"})],
        "conv_channels": ["array-like"],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "hidden_dims": ["array-like"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "linear_path": ["boolean"],
        "whiten": ["boolean"],
        "scale": [StrOptions(set(SCALERS)), None],
        "n_channels": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, None],
        "net_params": [dict, None],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
    }

    def __init__(
        self,
        latent_dim=8,
        *,
        likelihood="gaussian",
        reconstruction_weight="auto",
        beta=1.0,
        feature_weight=1.0,
        label_weight=0.0,
        target_type="auto",
        conv_channels=(16, 32),
        kernel_size=8,
        stride=4,
        hidden_dims=(64,),
        dropout=0.2,
        batch_norm=False,
        linear_path=True,
        whiten=False,
        scale="standard",
        n_channels=None,
        lr=1e-2,
        batch_size=24,
        max_epochs="auto",
        early_stopping=False,
        validation_fraction=0.1,
        patience=32,
        device="auto",
        random_state=None,
        verbose=0,
        callbacks=None,
        net_params=None,
        warm_start=False,
        checkpoint=None,
    ):
        self.latent_dim = latent_dim
        self.likelihood = likelihood
        self.reconstruction_weight = reconstruction_weight
        self.beta = beta
        self.feature_weight = feature_weight
        self.label_weight = label_weight
        self.target_type = target_type
        self.conv_channels = conv_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_dims = hidden_dims
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.linear_path = linear_path
        self.whiten = whiten
        self.scale = scale
        self.n_channels = n_channels
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.net_params = net_params
        self.warm_start = warm_start
        self.checkpoint = checkpoint

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the autoencoder on X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timepoints), \
                (n_samples, n_channels * n_timepoints) or \
                (n_samples, n_channels, n_timepoints), or signals in a list or table
            At least two signals; NaN is a missing value. Two-dimensional X of several
            channels holds one channel after the other, see `n_channels`, or is a
            DataFrame with two levels of columns, channel and time step. Signals in a
            list, a Series or the cells of a table (pandas, polars, pyarrow), (t_i,) or
            (n_channels, t_i), may have unequal lengths. Several columns of such cells
            are a channel each.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), optional
            Used if `label_weight` > 0: class labels or numbers, see `target_type`.

        Returns
        -------
        self : ConvVAETransformer

        Raises
        ------
        ValueError, TypeError
            If X, y or a parameter is unusable.
        FloatingPointError
            If training diverges.
        KeyboardInterrupt
            If it is interrupted by Ctrl-C.

        After any of them the estimator is as it was before.
        """
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        return self._fit(X, y, goes_on)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, classes=None):
        """Take the signals into the closed form, and train for one epoch.

        The first call fixes the shape, the scaling, the thresholds of the features and
        the classes. Each call then ends with the closed form of all signals so far, and
        with statistics over all of them; a signal that comes again, value for value,
        counts once. Training is on X and on as many earlier signals, at three tenths
        of the learning rate `lr`. The latents change, on axes that keep their order and
        sign where they can: what is fitted to latents has to be fitted again.

        For this the estimator keeps some of its signals, about a million values or 64
        signals, and of more signals the sums of their products, tens of MB. A pickle
        holds neither, nor does a file without ``save(path, training=True)``. The
        latents then stay as they are, with a warning, and only the decoder is trained.

        Parameters
        ----------
        X, y : as for `fit`
            After the first call one signal suffices.
        classes : array-like of shape (n_classes,), optional
            All labels that will come, in the first call; by default those in `y`.

        Returns
        -------
        self : ConvVAETransformer
        """
        goes_on = self.__sklearn_is_fitted__()
        return self._fit(X, y, goes_on, one_epoch=True, classes=classes)

    @plain_torch()
    def _fit(self, X, y, goes_on, **options):
        with shared_errors():
            task = self._init_callback_context(max_subtasks=None)
        with unchanged_on_error(self), plain_numbers(self):
            return self._learn(X, y, goes_on, task, **options)

    def _learn(self, given_X, y, goes_on, task, one_epoch=False, classes=None):
        with shared_errors():
            if n_processes() > 1:
                super()._validate_params()
            n_needed = 1 if goes_on else 2
            X = check_signals(self, given_X, reset=not goes_on, min_samples=n_needed)
            check_options(self, X)
            if goes_on:
                self._check_unchanged()
            device = resolve_device(self.device, training=True)
        check_group(self, goes_on)
        before = self._fitted() if goes_on else None
        if before and self.linear_path and before.net.memory_ is None:
            warn_user(
                f"This {type(self).__name__} was pickled, or saved without "
                "training=True: the sums over its signals, which its latents follow "
                "from, are lost. The latents stay as they are, and only the decoder is "
                "trained. Use save(path, training=True) before, or fit anew."
            )
        target = None
        if self.label_weight:
            target = self._check_target(y, len(X), goes_on, classes)
        seed = draw_seed(self.random_state)
        if goes_on:  # other random numbers than in the calls before
            sequence = np.random.SeedSequence([seed, self.n_epochs_total_])
            seed = int(sequence.generate_state(1)[0])
        seed = from_first(seed)
        checkpoint = None
        if self.checkpoint is not None and not one_epoch:
            run = self._describe_run(X, target, device, before)
            checkpoint = Checkpoint(self.checkpoint, run, seed)
            seed = checkpoint.seed
        for name in TARGET_ATTRIBUTES:
            vars(self).pop(name, None)
        tasks = None
        if hasattr(self, "_skl_callbacks"):
            attributes = partial(
                fitted_attributes, target=target, first_params=self._read_first()
            )
            tasks = FitTasks(task, self, given_X, y, attributes)
        job = Job(self, X, target, device, seed, one_epoch, checkpoint, tasks)
        # Fits in several threads wait for each other before they limit the threads.
        with forked_random_state(seed, device), all_threads(self._n_threads(X)):
            fitted = fit(job, before)
        vars(self).update(fitted_attributes(fitted, target, self._read_first()))
        with shared_errors():
            if tasks is not None:
                tasks.end()
        if self.n_epochs_ and not self.n_active_dims_:
            warn_user(
                "No latent dimension is active: the posterior equals the prior and "
                "the latents say nothing about X. Lower beta, raise "
                "reconstruction_weight, set criterion__free_bits in net_params, or "
                "train longer."
            )
        return self

    def _read_first(self):
        """What only the first fit reads: a dict, from which what is equal is equal."""
        read = {name: getattr(self, name) for name in READ_FIRST}
        read |= {
            f"net_params[{name!r}]": value
            for name, value in (self.net_params or {}).items()
            if name.startswith("module__")
        }
        read["n_channels"] = self.n_channels or self.n_channels_in_
        for name in ("conv_channels", "hidden_dims"):
            read[name] = list(read[name])
        return read

    def _check_unchanged(self):
        """Refuse to go on where a parameter changed that would not be read."""
        before, now = self.first_params_, self._read_first()
        for name in before.keys() | now.keys():
            if before.get(name) != now.get(name):
                raise ValueError(
                    f"{name} is {now.get(name)!r}, but was {before.get(name)!r} in the "
                    "first fit, which warm_start and partial_fit go on from. Restore "
                    "it, or fit anew with warm_start=False."
                )

    def _fitted(self):
        return Fitted(
            net=self.net_,
            scaler=self.scaler_,
            reconstruction_weight=self.reconstruction_weight_,
            held_back_excess=self.held_back_excess_,
            kl_per_dim=self.kl_per_dim_,
            latent_scale=self.latent_scale_,
            n_samples_seen=self.n_samples_seen_,
            n_epochs_total=self.n_epochs_total_,
        )

    def _check_target(self, y, n_samples, goes_on, classes):
        with shared_errors():
            if y is None:
                raise ValueError(
                    f"label_weight={self.label_weight} requires y to be passed, but "
                    "the target y is None. Pass y, or set label_weight=0."
                )
        if goes_on and not hasattr(self, "classes_"):
            raise ValueError(
                f"label_weight={self.label_weight}, but the last fit had no labels, "
                "which the closed form is made of. Fit anew, with warm_start=False, or "
                "set label_weight=0."
            )
        before = None
        if goes_on:
            before = Target(
                None, self.classes_, self.target_offset_, self.target_scale_
            )
        classes = None if goes_on else classes
        return check_target(y, n_samples, before, classes, self.target_type)

    def _n_threads(self, X):
        """Threads of a fit: as many as a training step is worth."""
        asked = (self.net_params or {}).get("n_threads")
        if asked is not None:
            return asked
        n_channels = max([1, *self.conv_channels[:1]])
        return max(1, self.batch_size * X[0].size * n_channels // VALUES_PER_THREAD)

    @property
    def module_(self):
        """The fitted network, with `encoder` and `decoder`, where it was used last."""
        check_is_fitted(self)
        return self.net_.module_

    @property
    def n_active_dims_(self):
        """Number of latent dimensions that cost more than 0.01 nats."""
        check_is_fitted(self)
        return int((self.kl_per_dim_ > ACTIVE_NATS).sum())

    def transform(self, X):
        """Latents of X: the posterior mean, on axes scaled by `latent_scale_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_) or \
                (n_samples, n_channels_in_, n_timepoints_in_), or signals in a list \
                or table
            NaN is a missing value. Signals in a list or in the cells of a table may be
            shorter than the fitted ones.

        Returns
        -------
        ndarray of float32, shape (n_samples, latent_dim)
            In the units of X, or with ``whiten=True`` of the prior, N(0, I).
        """
        module = self._module_in_use()
        return self._encode(module, check_signals(self, X, reset=False))

    def _encode(self, module, signals):
        z_mean = self._map_checked(
            lambda inputs: module.encode_read(inputs)[0], signals, module.read
        )
        return finite(z_mean, self.latent_scale_)

    def inverse_transform(self, Z):
        """Signals decoded from latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            As from `transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_) or \
                (n_samples, n_channels_in_, n_timepoints_in_)
            The mean of p(x|z) in the units and the layout of the fitted X, of float32,
            or float64 where float32 is too coarse at the offset of the fitted X, see
            ``scaler_.dtype_``. A DataFrame with the columns of the fitted X where
            `set_output` asks for one and X had two dimensions.
        """
        return as_frame(self, self._inverse_transform(Z), Z)

    def _inverse_transform(self, Z):
        module = self._module_in_use()
        Z = check_latents(self, Z, self.latent_scale_.size)
        with np.errstate(over="ignore"):
            Z = (Z / self.latent_scale_).astype(np.float32)
        return self._decode(module, Z)

    def reconstruct(self, X):
        """Signals encoded and decoded: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : as for `transform`

        Returns
        -------
        ndarray of float32, of the units and the layout of the fitted X
            Of float64 where `inverse_transform` gives that.
            A DataFrame with the columns and the index of X where `set_output` asks for
            one. A list of arrays if a signal of a list is shorter than the fitted ones.
            The signals of a Series, or of cells of a table, come back in such.
        """
        module = self._module_in_use()
        signals, given = read_signals(self, X)
        signals = self._inverse_transform(self._encode(module, signals))
        return given.reconstructed(self, signals)

    def posterior(self, X):
        """Mean and standard deviation of q(z|x), in the units of `transform`.

        Parameters
        ----------
        X : as for `transform`

        Returns
        -------
        mean, std : ndarray of float32, shape (n_samples, latent_dim)
        """
        module = self._module_in_use()
        likelihood = self.net_.criterion_.likelihood

        def mean_and_log_var(x):
            z_mean, z_log_var = module.encode(x)
            if module.is_linear_at_start and x.isnan().any():
                noise = likelihood.std(self.reconstruction_weight_, None) ** 2
                _, scale_tril = module.posterior_given_measured(
                    x, z_mean, z_log_var, noise
                )
                has_gaps = x.isnan().flatten(1).any(dim=1, keepdim=True)
                log_var = 2 * scale_tril.norm(dim=2).log()
                z_log_var = torch.where(has_gaps, log_var, z_log_var)
            return torch.cat([z_mean, z_log_var], dim=1)

        z_mean, z_log_var = np.hsplit(self._map_signals(mean_and_log_var, X), 2)
        std = np.exp(z_log_var / 2)
        return finite(z_mean, self.latent_scale_), finite(std, self.latent_scale_)

    @plain_torch()
    def impute(self, X, return_std=False):
        """X with its gaps filled by their expectation, given what was measured.

        By the closed form of `skvae.model.gaps.GapFiller`, principal components of the
        training signals and noise that is correlated in time and over channels, and
        where that is unsure by a share of `reconstruct`, at most half. The standard
        deviation is that of the former.

        Parameters
        ----------
        X : as for `transform`
            NaN where values are missing.
        return_std : bool
            Give the standard deviation of what is filled, too.

        Returns
        -------
        filled : ndarray, Tensor, DataFrame, Series or list, as X
            Of its shape, dtype and units: what was measured is X's to the bit. A
            DataFrame also where `set_output` makes one of an array.
        std : as `filled`
            Of each value, given what was measured of its signal; 0 where it was
            measured itself. Only with ``return_std=True``.
        """
        module, likelihood = self._module_in_use(), self.net_.criterion_.likelihood
        decoder_std = partial(likelihood.std, self.reconstruction_weight_)
        fill = partial(module.impute, decoder_std=decoder_std, return_std=return_std)
        signals, given = read_signals(self, X)
        missing = np.isnan(signals)
        rows = np.flatnonzero(missing.any(axis=(1, 2)))
        filled = np.zeros(signals.shape, self.scaler_.dtype_)
        std = np.zeros(signals.shape, np.float32)
        if len(rows):
            values = self._map_checked(fill, signals[rows])
            if return_std:
                values, std[rows] = values[:, 0], values[:, 1] * self.scaler_.scale_
            if likelihood.is_unit_range:
                values = values.clip(0, 1)
            filled[rows] = self.scaler_.inverse_transform(values)
        imputed = given.filled(self, missing, filled)
        if return_std:
            return imputed, given.filled(self, np.ones_like(missing), std)
        return imputed

    def sample(self, n_samples=1, *, noise=False, random_state=None):
        """Signals drawn from the model: latents from N(0, I), decoded.

        Parameters
        ----------
        n_samples : int
        noise : bool
            Draw from p(x|z), with the noise of the decoder, instead of its mean.
        random_state : int, RandomState instance or None
            None: that of the estimator.

        Returns
        -------
        ndarray of float32, of the units and the layout of the fitted X.
            Of float64 where `inverse_transform` gives that.
        """
        n_samples = int(check_scalar(n_samples, "n_samples", Integral, min_val=1))
        module = self._module_in_use()
        if random_state is None:
            random_state = self.random_state
        rng = np.random.default_rng(draw_seed(random_state))
        z = rng.standard_normal((n_samples, self.latent_scale_.size), dtype=np.float32)
        if not noise:
            return self._decode(module, z)
        return self._decode(module, z, partial(self._add_decoder_noise, rng))

    @plain_torch()
    def score_samples(self, X, n_importance=1):
        """Lower bound of log p(x) of each sample, in nats, in the units of X.

        It is one in expectation over draws from q(z|x): an estimate for one sample.
        The ELBO at beta = 1 with all constants, dropout off, and the log-determinant
        of the scaling: comparable between any two settings, and with
        `sklearn.decomposition.PCA.score_samples`. The expectation over q(z|x) is a
        mean over 16 draws, the same for each sample and each call; with the gaussian
        likelihood and `linear_path` that of the linear map is in closed form, and the
        rest a mean over two pairs of opposite draws.

        With the Bernoulli likelihood it bounds the log-probability of signals of zeros
        and ones, which no density compares with; values outside [0, 1], once scaled,
        count as 0 or 1.

        Parameters
        ----------
        X : as for `transform`
        n_importance : int
            More than 1: the tighter importance-weighted bound of that many draws.

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        References
        ----------
        Kingma & Welling (2014), https://arxiv.org/abs/1312.6114
        Burda, Grosse & Salakhutdinov (2016), https://arxiv.org/abs/1509.00519
        """
        n_importance = int(
            check_scalar(n_importance, "n_importance", Integral, min_val=1)
        )
        module = self._module_in_use()
        likelihood = self.net_.criterion_.likelihood
        is_elbo = n_importance == 1
        is_closed = is_elbo and likelihood.is_gaussian and module.is_linear_at_start
        n_draws = N_ELBO_DRAWS if is_elbo else n_importance
        if is_closed:
            n_draws = N_ELBO_PAIRS
        weight = self.reconstruction_weight_
        generator = torch.Generator().manual_seed(0)
        size = n_draws, self.latent_scale_.size
        draws = torch.randn(size, generator=generator, dtype=torch.float32)
        draws = draws.to(self.net_.device)

        def bound(x):
            arguments = module, likelihood, weight, x, draws
            if is_closed:
                bounds = gaussian_elbo(*arguments).double()
            elif is_elbo:
                bounds = log_importance_weights(*arguments).double().mean(dim=1)
            else:
                log_weights = log_importance_weights(*arguments).double()
                bounds = log_weights.logsumexp(dim=1) - math.log(n_draws)
            n_measured = (~x.isnan()).sum(dim=2)
            return torch.cat([bounds[:, None], n_measured], dim=1)

        bounds, *n_measured = self._map_signals(bound, X).T
        if likelihood.is_unit_range:  # a probability has no Jacobian
            return finite(bounds)
        return finite(bounds) + self.scaler_.log_det(np.stack(n_measured, axis=1))

    def score(self, X, y=None):
        """Mean of `score_samples`, in nats per sample; higher is better.

        Parameters
        ----------
        X : as for `transform`
        y : ignored

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    save = save
    load = classmethod(load)

    def summary(self):
        """Layers of the fitted network, their output shapes and parameters.

        Returns
        -------
        Summary
            A list of tuples ``(name, output_shape, n_parameters)`` that prints as a
            table with totals. Shapes are of one sample: (channels, timepoints) after
            a convolution. Its last line tells `network_share_`.
        """
        module, share = self.module_, getattr(self, "network_share_", {})
        return summarize(module, self.n_channels_in_, self.n_timepoints_in_, share)

    def __getstate__(self):
        return super().__getstate__() | {"_versions": versions(), "_format": FORMAT}

    def __setstate__(self, state):
        written = state.get("_versions", {})
        if "net_" in state and state.get("_format") != FORMAT:
            raise ValueError(
                f"This {type(self).__name__} was pickled by skvae "
                f"{written.get('skvae', 'of an older version')}, whose fitted models "
                "this version does not read. Install that version, or fit anew."
            )
        warn_if_versions_differ(f"A pickled {type(self).__name__}", written)
        own = ("_versions", "_format")
        super().__setstate__({k: v for k, v in state.items() if k not in own})

    def _validate_params(self):
        if n_processes() == 1:  # else within `fit`, for all processes to be told
            super()._validate_params()

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.required = bool(self.label_weight)
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self):
        return self.latent_scale_.size

    def _module_in_use(self):
        """The fitted network, on the device that `device` means now, to be evaluated.

        A loop of one's own may have left it in training mode, with dropout.
        """
        check_is_fitted(self)
        net = self.net_.to(resolve_device(self.device, training=False))
        if any(layer.training for layer in net.module_.modules()):  # eval takes longer
            net.module_.eval()
        return net.module_

    def _map_signals(self, function, X):
        """Apply a function of scaled x (b, c, t) to X, a batch at a time."""
        return self._map_checked(function, check_signals(self, X, reset=False))

    def _map_checked(self, function, X, prepare=None):
        return map_batches(
            function,
            lambda rows: self.scaler_.transform(X[rows]),
            len(X),
            self.n_timepoints_in_,
            self.net_.device,
            prepare,
        )

    def _decode(self, module, z, finish=lambda x: x):
        """Decode z (n, latent_dim), unscale, in the layout of the fitted X."""
        x = map_batches(
            module.decode,
            z.__getitem__,
            len(z),
            self.n_timepoints_in_,
            self.net_.device,
        )
        return unfold(self, self.scaler_.inverse_transform(finish(x)))

    def _add_decoder_noise(self, rng, x):
        likelihood = self.net_.criterion_.likelihood
        return likelihood.sample(rng, x, self.reconstruction_weight_)

    def _describe_run(self, X, target, device, before):
        """All that the bits of a fit depend on, besides the seed."""
        y = None if target is None else target.values
        run = self.get_params(deep=False) | {"device": str(device), "X": X, "y": y}
        for name in ("conv_channels", "hidden_dims"):
            run[name] = list(run[name])
        for name in ("checkpoint", "verbose", "warm_start"):
            del run[name]
        if before is not None:
            optimizer = before.net.optimizer_
            run["fitted"] = {
                "module": dict(before.net.module_.state_dict()),
                "optimizer": optimizer and optimizer.state_dict(),
                "memory": before.net.memory_ and before.net.memory_._asdict(),
            }
        return run


def fitted_attributes(fitted, target, first_params):
    """What an estimator has of `Fitted` and of a `Target` or None: a dict by name."""
    attributes = {
        "first_params_": first_params,
        "net_": fitted.net,
        "scaler_": fitted.scaler,
        "history_": fitted.net.epochs(),
        "n_epochs_": len(fitted.net.history),
        "best_epoch_": fitted.net.best_epoch(),
        "reconstruction_weight_": fitted.reconstruction_weight,
        "held_back_excess_": fitted.held_back_excess,
        "kl_per_dim_": fitted.kl_per_dim,
        "latent_scale_": fitted.latent_scale,
        "network_share_": fitted.network_share,
        "n_samples_seen_": fitted.n_samples_seen,
        "n_epochs_total_": fitted.n_epochs_total,
    }
    if target is not None:
        values = target.classes, target.offset, target.scale
        attributes |= zip(TARGET_ATTRIBUTES, values, strict=True)
    return attributes


def finite(values, scale=1.0):
    """values * scale; a ValueError if X led the network beyond float32."""
    with np.errstate(over="ignore"):
        result = values * scale
    if not np.isfinite(result).all():
        raise ValueError(
            "X is so far from the fitted signals that the network's output is not "
            "finite. Check that X is in the same units."
        )
    return result


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
