"""ConvVAETransformer: the model behind scikit-learn's interface."""

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

from skvae.batches import finite, map_batches, resolve_device
from skvae.distributed import check_group, from_first, n_processes, shared_errors
from skvae.inputs.as_given import as_frame
from skvae.inputs.signals import check_latents, check_signals, read_signals, unfold
from skvae.inputs.target import Target, check_target
from skvae.messages import warn_user
from skvae.model.likelihoods import LIKELIHOODS
from skvae.model.objective import lower_bound, marginal_posterior
from skvae.saving.checkpoint import Checkpoint, describe_run
from skvae.saving.estimator import SavingMixin
from skvae.scaling import SCALERS
from skvae.sklearn_private import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    callback_context,
    fit_context,
    has_callbacks,
)
from skvae.summary import summarize
from skvae.threads import all_threads, draw_seed, forked_random_state, plain_torch
from skvae.training.callbacks import FitTasks
from skvae.training.fit import Job, fit
from skvae.training.options import (
    check_options,
    check_unchanged,
    n_threads,
    plain_numbers,
    unchanged_on_error,
)

COUNT = Interval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
# A latent dimension is active when its KL term exceeds this many nats.
ACTIVE_NATS = 0.01
TARGET_ATTRIBUTES = "classes_", "target_offset_", "target_scale_"  # if `y` is used


class ConvVAETransformer(
    SavingMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Convolutional variational autoencoder for 1-D signals.

    `transform` gives a few latent dimensions per signal, for a classifier, a plot or a
    cluster analysis. `inverse_transform` gives signals back. The latents are the first
    principal components of three views side by side: the signal, its random convolution
    features and, with labels, a prediction of them. A convolutional decoder is trained
    on top by the evidence lower bound (ELBO).

    Parameters
    ----------
    latent_dim : int, default=8
        Number of latent dimensions.
    likelihood : {"gaussian", "laplace", "bernoulli"}, default="gaussian"
        Distribution p(x|z) of a signal given its latents. "laplace" suits signals with
        outliers. "bernoulli" suits signals of zeros and ones and needs X in [0, 1], see
        `scale`.
    reconstruction_weight : float or "auto", default="auto"
        Weight w of the reconstruction error in the objective ``w * SSE + beta * KL``.
        The error is the sum of absolute errors for "laplace" and the cross-entropy for
        "bernoulli". "auto" takes the weight that maximises the likelihood (Rybkin et
        al. 2021). A smaller w shrinks latents that explain little.
    beta : float, default=1.0
        Weight of the KL term (Higgins et al. 2017). A larger beta shrinks latents that
        explain little (Lucas et al. 2019).
    feature_weight : float, default=1.0
        Weight of the convolution features in the closed form, relative to the signal. 0
        is probabilistic PCA (Tipping and Bishop 1999) plus convolutions and has the
        smallest reconstruction error. If signals differ in gain, features are computed
        in units of each signal's own spread.
    label_weight : float, default=0.0
        Weight of the prediction of `y` in the closed form, relative to the signal. 0
        ignores `y`, 2 is strong. A ridge regression on signal and features predicts
        `y`. If it fails on signals left out, the weight is reduced, down to 0 with a
        warning. A linear head on the latents is trained too if the dimensions of `y`
        (classes less one, or columns) exceed 1.25 times `latent_dim`.
    target_type : {"auto", "labels", "numbers"}, default="auto"
        Kind of `y`. "auto" decides by `sklearn.utils.multiclass.type_of_target`: one
        column of whole numbers holds labels. Then -1 or "-1" is unlabelled. With
        "labels", -1 is a class, and None or NaN is unlabelled. "numbers" takes one or
        several columns, with NaN where a number is unknown.
    conv_channels : tuple of int, default=(16, 32)
        Numbers of channels of the convolutions, from the signal inwards.
    kernel_size : int, default=8
        Kernel size of the convolutions, in time steps.
    stride : int, default=4
        Stride of the convolutions, in time steps.
    hidden_dims : tuple of int, default=(64,)
        Widths of the dense layers of the encoder network. It exists only with
        ``linear_path=False``, ``feature_weight=0``, a head (see `label_weight`) or
        `module__correct_mean`.
    dropout : float, default=0.2
        Dropout after each dense layer of the encoder network, or with
        ``linear_path=False`` after each of its convolutions.
    batch_norm : bool, default=False
        Whether BatchNorm follows each convolution.
    linear_path : bool, default=True
        Whether the model contains the closed form. False gives a VAE trained from
        random weights; `feature_weight` is then ignored.
    whiten : bool, default=False
        Whether latents are in units of the prior N(0, I), as in
        `sklearn.decomposition.PCA`. False multiplies each by `latent_scale_`, so that
        distances between latents resemble distances between signals.
    scale : {"standard", "minmax", None}, default="standard"
        Scaling of each channel over samples and time: to mean 0 and variance 1, to the
        range [0, 1], or none.
    n_channels : int, default=None
        Number of channels of 2-D X, of shape (n_samples, n_channels * n_timepoints).
        None means 1, or for 3-D X its number of channels.
    lr : float, default=1e-2
        Peak learning rate of `fit`. `partial_fit` has the constant rate 0.3 `lr`. The
        linear map of the decoder uses a tenth of these rates.
    batch_size : int, default=24
        Number of signals in a training step.
    max_epochs : int or "auto", default="auto"
        Number of epochs. 0 is the closed form alone. "auto" takes 1.6 (n + 150)^.75
        training steps for n training signals, at most 17 sqrt(n), at least an epoch.
        With a head it takes 45 sqrt(n), with ``linear_path=False`` 25 sqrt(n).
    early_stopping : bool, default=False
        Whether to hold back `validation_fraction` of the signals, stop when their loss
        has not fallen for `patience` epochs, and restore the best epoch.
    validation_fraction : float, default=0.1
        Share of signals held back. Only used if ``early_stopping=True``.
    patience : int, default=32
        Number of epochs without improvement before ``early_stopping=True`` stops. A fit
        of fewer epochs runs to its end, and the best epoch is restored.
    device : str or torch.device, default="auto"
        Device of PyTorch. "auto" is a GPU if there is one when the model is used. A
        model fitted on a GPU also works on a CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of features, initial weights, batches, dropout and `sample`. An int gives
        equal bits on the same machine with the same number of threads.
    verbose : int, default=0
        Verbosity. 1 prints ten lines of progress, 2 a line per epoch. The logger
        "skvae" has these lines at level INFO.
    callbacks : list, default=None
        skorch callbacks. The fit copies them, and ``net_.callbacks_`` holds the copies.
        Callbacks of scikit-learn (1.9, experimental) go to `set_callbacks`.
    net_params : dict, default=None
        Parameters of the skorch net, its module and its criterion, see Notes.
    warm_start : bool, default=False
        Whether `fit` continues from the last fit, like `partial_fit`, and runs all
        `max_epochs`.
    checkpoint : str or os.PathLike, default=None
        File in which each epoch is saved. A killed fit, started again, continues from
        it and ends with the same bits. Not for a search, nor with `callbacks`.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        Trained net.
    module_ : torch.nn.Module
        Network with `encoder` and `decoder`. All methods put it in evaluation mode.
    history_ : dict of ndarray
        One value per epoch of the last `fit` or `partial_fit`, in nats per sample in
        scaled units: ``train_loss`` and its terms ``train_reconstruction``
        (-log p(x|z)), ``train_kl``, ``train_kl_per_dim`` and ``train_label``; with
        ``early_stopping=True`` also ``valid_loss`` and so on, without dropout.
    n_epochs_, best_epoch_ : int
        Number of epochs run, and the epoch, counted from 1, whose weights were kept.
    reconstruction_weight_ : float
        Weight used by `score_samples`. The Gaussian variance is ``1 / (2 w)``.
    kl_per_dim_ : ndarray of shape (latent_dim,)
        KL term of each latent dimension, mean over training signals, in nats.
    n_active_dims_ : int
        Number of latent dimensions whose KL term exceeds 0.01 nats.
    latent_scale_ : ndarray of shape (latent_dim,)
        Factor of each latent, in the units of X; 1 if ``whiten=True``. It is the shrunk
        standard deviation of the component, or with ``linear_path=False`` the distance
        by which the latent moves the decoded signal.
    held_back_excess_ : float
        Distortion of signals not trained on, divided by that of training signals.
    n_samples_seen_ : int
        Number of different signals in all calls since the first fit.
    n_epochs_total_ : int
        Number of epochs in all these calls.
    first_params_ : dict
        Parameters that `partial_fit` and `warm_start` require unchanged.
    network_share_ : dict of float
        Share of networks in the mean square of the ``"latents"`` and of the
        ``"reconstruction"``. Linear maps make the rest.
    scaler_ : ChannelScaler
        Scaling of the channels.
    classes_ : ndarray of shape (n_classes,) or None
        Class labels, if ``label_weight > 0``; None if `y` holds numbers.
    target_offset_, target_scale_ : ndarray of shape (n_targets,) or None
        Mean and standard deviation of each column of `y`, if it holds numbers. A
        constant column is ignored, and its scale is 0.
    n_features_in_, n_channels_in_, n_timepoints_in_, n_dims_in_ : int
        Numbers of features, channels, time points and dimensions of the fitted X.
    feature_names_in_ : ndarray of str
        Column names, if X was a DataFrame.
    channel_names_in_ : list of str or None
        Channel names, from columns of signals or a level of column names.
    timepoints_in_ : ndarray of shape (n_timepoints_in_,) or None
        Positions of the time steps, from numeric or temporal column names: numbers,
        hours for times of day and durations, days since the first for dates.

    Notes
    -----
    In a process group of `torch.distributed`, all processes call `fit` or
    `partial_fit`. Each passes its share of the signals, at least two. All end with the
    same model. An error in one is raised in all. `batch_size` is that of each process.

    `net_params` takes these names and other arguments of `skorch.NeuralNet`:

    ================================== ============================================
    ``"module__correct_mean"``         Whether a network corrects the latent mean, for a
                                       smaller error but often a lower accuracy.
                                       Default: with a head or ``feature_weight=0``.
    ``"module__init"``                 Initialisation: "he" (default), "glorot" as in
                                       Keras, or "torch".
    ``"module__hidden_dropout"``       Dropout after each dense layer but the last, with
                                       ``linear_path=False``.
    ``"module__output_activation"``    None (default) or "sigmoid", for X in [0, 1].
    ``"module__output_kernel_size"``   Kernel size of the last transposed convolution.
    ``"criterion__free_bits"``         Nats per latent dimension without KL cost
                                       (Kingma et al. 2016).
    ``"kl_warmup"``                    Fraction of `fit` in which beta ramps up. The
                                       history has the loss at full beta.
    ``"optimizer"``                    Class of `torch.optim`. Default: Adam, with
                                       betas (0.8, 0.99) if ``linear_path=True``.
    ``"lr_schedule"``                  "one_cycle" (default; Smith and Topin 2019) or
                                       None, a constant rate.
    ``"n_threads"``                    Number of threads of PyTorch and BLAS in `fit`.
                                       Default: as many as help, mostly one.
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
        "latent_dim": [COUNT],
        "likelihood": [StrOptions(set(LIKELIHOODS))],
        "reconstruction_weight": [StrOptions({"auto"}), POSITIVE],
        "beta": [Interval(Real, 0, None, closed="left")],
        "feature_weight": [Interval(Real, 0, 1e6, closed="both")],
        "label_weight": [Interval(Real, 0, 1e6, closed="both")],
        "target_type": [StrOptions({"auto", "labels", "numbers"})],
        "conv_channels": ["array-like"],
        "kernel_size": [COUNT],
        "stride": [COUNT],
        "hidden_dims": ["array-like"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "linear_path": ["boolean"],
        "whiten": ["boolean"],
        "scale": [StrOptions(set(SCALERS)), None],
        "n_channels": [COUNT, None],
        "lr": [POSITIVE],
        "batch_size": [COUNT],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [COUNT],
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
        """Fit the model to X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timepoints), \
                (n_samples, n_channels * n_timepoints) or \
                (n_samples, n_channels, n_timepoints), or signals in a list or table
            At least two signals. NaN is a missing value. 2-D X of several channels
            holds one channel after the other, see `n_channels`, or is a DataFrame with
            two column levels, channel and time step. A list, a Series or table cells
            hold signals of shape (t_i,) or (n_channels, t_i), which may differ in
            length. With several columns of such cells, each column is a channel.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), optional
            Class labels or numbers, see `target_type`. Ignored if `label_weight` is 0.

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
            If Ctrl-C interrupts the fit.

        After an error the estimator is as it was before.
        """
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        return self._fit(X, y, goes_on)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, classes=None):
        """Add signals to the closed form, and train for one epoch.

        The first call determines the shape, the scaling, the thresholds of the features
        and the classes. After each call the closed form and all statistics are those of
        all signals so far; a signal given twice counts once. Training uses X and as
        many earlier signals. The latents change, but axes keep order and sign where
        possible. Refit the models that use them.

        The estimator keeps some signals (about a million values), and sums over the
        others (tens of MB). A pickle drops both; ``save(path, training=True)`` keeps
        them. Without them only the decoder is trained, with a warning.

        Parameters
        ----------
        X, y : as for `fit`
            After the first call one signal is enough.
        classes : array-like of shape (n_classes,), optional
            All labels that will come, in the first call. Default: those in `y`.

        Returns
        -------
        self : ConvVAETransformer
        """
        goes_on = self.__sklearn_is_fitted__()
        return self._fit(X, y, goes_on, one_epoch=True, classes=classes)

    @plain_torch()
    def _fit(self, X, y, goes_on, **options):
        with shared_errors():
            task = callback_context(self)
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
                check_unchanged(self)
            device = resolve_device(self.device, training=True)
        check_group(self, goes_on)
        before = self if goes_on else None
        if goes_on and self.linear_path and self.net_.memory_ is None:
            warn_user(
                f"This {type(self).__name__} was pickled, or saved without "
                "training=True: it lost the sums over signals from which latents are "
                "computed. The latents stay as they are, and only the decoder is "
                "trained. Use save(path, training=True) before, or fit anew."
            )
        target = None
        if self.label_weight:
            target = self._check_target(y, len(X), goes_on, classes)
        seed = draw_seed(self.random_state)
        if goes_on:  # other random numbers than in the calls before
            sequence = np.random.SeedSequence([seed, self.n_epochs_total_])
            seed = int(sequence.generate_state(1)[0])
        seed, checkpoint = from_first(seed), None
        if self.checkpoint is not None and not one_epoch:
            run = describe_run(self, X, target, device, goes_on)
            checkpoint = Checkpoint(self.checkpoint, run, seed)
            seed = checkpoint.seed
        for name in TARGET_ATTRIBUTES:
            vars(self).pop(name, None)
        tasks = None
        if has_callbacks(self):
            tasks = FitTasks(task, self, given_X, y)
        job = Job(self, X, target, device, seed, before, one_epoch, checkpoint, tasks)
        # Fits in several threads wait for each other before they limit the threads.
        with forked_random_state(seed, device), all_threads(n_threads(self, X)):
            attributes = fit(job)
        vars(self).update(attributes)
        with shared_errors():
            if tasks is not None:
                tasks.end()
        if self.n_epochs_ and not self.n_active_dims_:
            warn_user(
                "No latent dimension is active: the posterior equals the prior. Check "
                "that the signals differ from each other, lower beta, or raise "
                "reconstruction_weight."
            )
        return self

    def _check_target(self, y, n_samples, goes_on, classes):
        with shared_errors():
            if y is None:
                raise ValueError(
                    f"label_weight={self.label_weight} requires y to be passed, but "
                    "the target y is None. Pass y, or set label_weight=0."
                )
        before = None
        if goes_on:
            units = self.target_offset_, self.target_scale_
            before, classes = Target(None, self.classes_, *units), None
        return check_target(y, n_samples, before, classes, self.target_type)

    @property
    def module_(self):
        """The fitted network, with `encoder` and `decoder`."""
        check_is_fitted(self)
        return self.net_.module_

    @property
    def n_active_dims_(self):
        """Number of latent dimensions whose KL term exceeds 0.01 nats."""
        check_is_fitted(self)
        return int((self.kl_per_dim_ > ACTIVE_NATS).sum())

    def transform(self, X):
        """Latents of X: posterior means, multiplied by `latent_scale_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_) or \
                (n_samples, n_channels_in_, n_timepoints_in_), or signals in a list \
                or table
            NaN is a missing value. Signals in a list or in table cells may be shorter
            than the fitted ones.

        Returns
        -------
        ndarray of float32, shape (n_samples, latent_dim)
            In units of X, or with ``whiten=True`` of the prior N(0, I).
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
            Latents as from `transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_) or \
                (n_samples, n_channels_in_, n_timepoints_in_)
            Mean of p(x|z) in the units and layout of the fitted X. The dtype is
            ``scaler_.dtype_``: float32, or float64 if float32 is too coarse at the
            offset of the fitted X. With `set_output` it is a DataFrame with the columns
            of the fitted 2-D X, as `timepoints_in_` if they were no text.
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
        ndarray, as from `inverse_transform`
            With `set_output` it is a DataFrame with the columns and the index of X. It
            is a list of arrays if a signal in a list is shorter than the fitted ones.
            Signals in a Series or in table cells give the same container.
        """
        module = self._module_in_use()
        signals, given = read_signals(self, X)
        signals = self._inverse_transform(self._encode(module, signals))
        return given.reconstructed(self, signals)

    def posterior(self, X):
        """Mean and standard deviation of q(z|x), in units of `transform`.

        Parameters
        ----------
        X : as for `transform`

        Returns
        -------
        mean, std : ndarray of float32, shape (n_samples, latent_dim)
            With `linear_path` all signals without gaps have the same std.
        """
        posterior = partial(marginal_posterior, *self._model())
        z_mean, z_log_var = self._map_signals(posterior, X)
        std = np.exp(z_log_var / 2)
        return finite(z_mean, self.latent_scale_), finite(std, self.latent_scale_)

    @plain_torch()
    def impute(self, X, return_std=False):
        """X with its missing values filled by their conditional expectation.

        The expectation is that of a linear Gaussian model
        (`skvae.model.gaps.GapFiller`), mixed with that of `reconstruct`.

        Parameters
        ----------
        X : as for `transform`
            NaN marks missing values.
        return_std : bool
            Whether to return standard deviations too.

        Returns
        -------
        filled : ndarray, Tensor, DataFrame, Series or list, as X
            Container, shape, dtype and units of X. Measured values keep their bits.
        std : as `filled`
            Standard deviation of each filled value under the linear model; 0 for
            measured values. Only if ``return_std=True``.
        """
        module, likelihood, weight = self._model()
        decoder_std = partial(likelihood.std, weight)
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
        """`n_samples` signals, decoded from latents drawn from N(0, I).

        Parameters
        ----------
        n_samples : int
        noise : bool
            Whether to draw from p(x|z) instead of taking its mean.
        random_state : int, RandomState instance or None
            None means that of the estimator.

        Returns
        -------
        ndarray, as from `inverse_transform`
        """
        n_samples = int(check_scalar(n_samples, "n_samples", Integral, min_val=1))
        module = self._module_in_use()
        if random_state is None:
            random_state = self.random_state
        rng = np.random.default_rng(draw_seed(random_state))
        z = rng.standard_normal((n_samples, self.latent_scale_.size), dtype=np.float32)
        if not noise:
            return self._decode(module, z)
        draw = partial(self.net_.criterion_.likelihood.sample, rng)
        return self._decode(module, z, lambda x: draw(x, self.reconstruction_weight_))

    @plain_torch()
    def score_samples(self, X, n_importance=1):
        """Evidence lower bound of log p(x) of each sample, in nats, in units of X.

        The ELBO has beta = 1, all constants and no dropout. It is comparable between
        any two settings and with `sklearn.decomposition.PCA.score_samples`. The
        expectation over q(z|x) is a mean over draws, equal in each call; with the
        Gaussian likelihood and `linear_path` its linear part is exact. The mean over
        samples is a lower bound, and the value of one sample is an estimate.

        With the Bernoulli likelihood the ELBO bounds a log-probability, which is not
        comparable with a density. Scaled values outside [0, 1] are clipped.

        Parameters
        ----------
        X : as for `transform`
        n_importance : int
            Number of draws of the tighter importance-weighted bound, if above 1.

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
        module, likelihood, weight = self._model()

        def bound(x):
            bounds = lower_bound(
                module, likelihood, weight, x, self.latent_scale_.size, n_importance
            )
            return bounds, (~x.isnan()).sum(dim=2)

        bounds, n_measured = self._map_signals(bound, X)
        if likelihood.is_unit_range:  # a probability has no Jacobian
            return finite(bounds)
        return finite(bounds) + self.scaler_.log_det(n_measured)

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

    def summary(self):
        """Layers of the fitted network, their output shapes and parameters.

        Returns
        -------
        Summary
            List of tuples ``(name, output_shape, n_parameters)`` that prints as a table
            with totals. Shapes are those of one sample: (channels, timepoints) after a
            convolution. The last line is `network_share_`.
        """
        module, share = self.module_, self.network_share_
        return summarize(module, self.n_channels_in_, self.n_timepoints_in_, share)

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
        """The fitted network in evaluation mode, on the device in use."""
        check_is_fitted(self)
        net = self.net_.to(resolve_device(self.device, training=False))
        if any(layer.training for layer in net.module_.modules()):  # eval takes longer
            net.module_.eval()
        return net.module_

    def _model(self):
        """The network in use, its likelihood and the weight of that."""
        module = self._module_in_use()
        return module, self.net_.criterion_.likelihood, self.reconstruction_weight_

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
