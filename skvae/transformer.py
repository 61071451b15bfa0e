"""ConvVAETransformer: the parts of skvae behind scikit-learn's interface."""

import contextlib
import math
import os
import warnings
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skvae.calibration import choose_shift, choose_trust, start_linear_path
from skvae.checkpoint import Checkpoint
from skvae.losses import (
    LIKELIHOODS,
    Objective,
    distortion,
    kl_per_dim,
    log_importance_weight,
    log_likelihood,
)
from skvae.network import INITS, OUTPUT_ACTIVATIONS, ConvVAE, summarize
from skvae.persistence import load, save
from skvae.scaling import SCALERS, ChannelScaler
from skvae.training import (
    LR_SCHEDULES,
    Batches,
    SignalDataset,
    VAENet,
    auto_epochs,
    decoder_gains,
    draw_seed,
    forked_random_state,
    map_batches,
    n_batches,
    optimizer_params,
    progress_callbacks,
    resolve_device,
    schedule_callbacks,
    stopping_callbacks,
)
from skvae.validation import check_latents, check_signals, encode_labels, unfold

# Values of the training signals that PCA reads at most; and the statistics of the
# fitted latents, which decode each of them several times.
PCA_VALUES = 2**23
STATISTICS_VALUES = 2**18
# Signals of a rehearsal at most: more, a net of this size does not learn by heart.
MAX_REHEARSAL = 5000
# Draws from q(z|x) behind the ELBO of score_samples.
N_ELBO_DRAWS = 16
# A latent dimension is active when it costs more than this many nats.
ACTIVE_NATS = 0.01


class ConvVAETransformer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Convolutional variational autoencoder for 1-D signals.

    A few numbers for each signal, for a classifier, a plot or a cluster analysis, and
    signals back from them. The default is a probabilistic PCA (Tipping and Bishop
    1999) whose encoder and decoder convolutional networks then improve as far as
    signals held back from training confirm it.

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
        trained on.
    beta : float, default=1.0
        Weight of the KL term (Higgins et al. 2017).
    kl_warmup : float, default=0.0
        Fraction of training over which beta ramps up from 0.
    free_bits : float, default=0.0
        Nats per latent dimension that cost nothing (Kingma et al. 2016).
    label_weight : float, default=0.0
        Weight of the cross-entropy of a linear classifier on the latent mean, per
        value of the signal; 10 is strong. `fit` then needs `y`, in which -1 means
        unlabelled: the classifier's guesses, which count more and more during training,
        take the place of such labels (Lee 2013), and where fewer than three of four
        signals are labelled, these come up to ten times an epoch. 0 ignores `y`.
    conv_channels : tuple of int, default=(16, 16, 32, 32)
        Channels of the encoder's convolutions; the decoder mirrors them.
    kernel_size : int, default=8
        Of the convolutions, in time steps.
    stride : int, default=2
        Of the convolutions, in time steps.
    hidden_dims : tuple of int, default=(64,)
        Widths of the encoder's dense layers.
    dropout : float, default=0.0
        After each convolution of the encoder.
    hidden_dropout : float, default=0.0
        After each dense layer but the last.
    batch_norm : bool, default=False
        BatchNorm after each convolution, and each dense layer but the last.
    output_activation : {None, "sigmoid"}, default=None
        Of the decoder. "sigmoid" needs X in [0, 1], see `scale`.
    output_kernel_size : int, default=None
        Of the last transposed convolution. None: the odd one next below
        `kernel_size`, or `kernel_size` itself.
    init : {"he", "glorot", "torch"}, default="he"
        He-normal weights and zero biases (He et al. 2015); Glorot-uniform weights and
        zero biases, as in Keras; or PyTorch's own.
    mixup : float, default=0.4
        Training signals are mixed pairwise with Beta(mixup, mixup) weights (Zhang et
        al. 2018), and with `linear_path` shifted at random by up to 2 % of their
        length, where PCA gains by that in cross-validation. 0 is off, for both.
    input_noise : float, default=1.0
        Standard deviation of the noise added to the encoder's input in training, in
        units of the root mean square reconstruction error; the target stays clean. 0
        is off.
    linear_path : bool, default=True
        Start from probabilistic PCA, a linear VAE (Lucas et al. 2019), and train a
        convolutional correction of it. False: the convolutional VAE alone.
    whiten : bool, default=False
        As in `sklearn.decomposition.PCA`: True gives latents in units of the prior,
        N(0, I); False multiplies each by what it moves in the units of X,
        `latent_scale_`, so that distances between latents are like those of signals.
    scale : {"standard", "minmax", None}, default="standard"
        Scaling of each channel, over samples and time: mean 0 and variance 1, range
        [0, 1], or none.
    n_channels : int, default=None
        Channels that two-dimensional X, (n_samples, n_channels * n_timepoints), is
        folded into. None: 1, or as three-dimensional X has.
    optimizer : type, default=torch.optim.Adam
        A class of `torch.optim`.
    lr : float, default=3e-3
        Learning rate; a tenth of it for the linear path.
    lr_schedule : {"one_cycle", None}, default="one_cycle"
        Rise within a tenth of the steps, then fall to 0 as a cosine (Smith and Topin
        2019); None is constant.
    batch_size : int, default=16
        Signals of a training step.
    max_epochs : int or "auto", default="auto"
        "auto": 25 steps for each root of the number of signals, with labels 75, and
        at least an epoch. 0 with `linear_path` is probabilistic PCA itself.
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
        Of initialisation, order, dropout, noise and `sample`. An int gives the same
        bits again, on the same machine with the same number of threads.
    verbose : int, default=0
        1: one line of progress, 2: a line each epoch.
    callbacks : list, default=None
        skorch callbacks. Copies of them are used, found in ``net_.callbacks_``.
    net_params : dict, default=None
        Any other argument of the skorch net, as ``{"optimizer__weight_decay": 1e-4}``.
    warm_start : bool, default=False
        `fit` goes on from the weights of the last fit.
    checkpoint : str or os.PathLike, default=None
        File in which each epoch is saved. The same fit started again, after it was
        killed, goes on from there and ends with the same bits.

    Attributes
    ----------
    net_ : skorch.NeuralNet
    module_ : torch.nn.Module
        The network, with `encoder` and `decoder`.
    history_ : dict of ndarray
        One value an epoch, nats per sample, in scaled units: ``train_loss`` and its
        terms ``train_reconstruction`` (-log p(x|z)), ``train_kl``,
        ``train_kl_per_dim``, ``train_label``; the same with ``valid_`` if
        ``early_stopping=True``.
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
        Root mean square, over training signals, of the norm of d x / d z_k of the
        scaled signals, times the root mean square of the channels' scales; 1 if
        ``whiten=True``.
    held_back_excess_ : float
        Mean distortion of signals held back over that of training signals;
        `partial_fit` and `warm_start` go on with it.
    scaler_ : ChannelScaler
    classes_ : ndarray of shape (n_classes,)
        If ``label_weight > 0``.
    n_features_in_, n_channels_in_, n_timepoints_in_, n_dims_in_ : int
        Of the fitted X; its features are channels times timepoints.
    feature_names_in_ : ndarray of str
        If X was a DataFrame.

    References
    ----------
    He et al. (2015), https://arxiv.org/abs/1502.01852
    Higgins et al. (2017), beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl
    Kingma & Welling (2014), https://arxiv.org/abs/1312.6114
    Kingma et al. (2016), free bits, https://arxiv.org/abs/1606.04934
    Lee (2013), Pseudo-Label, ICML workshop on challenges in representation learning
    Lucas et al. (2019), linear VAEs and pPCA, https://arxiv.org/abs/1911.02469
    Rybkin et al. (2021), sigma-VAE, https://arxiv.org/abs/2006.13202
    Smith & Topin (2019), https://arxiv.org/abs/1708.07120
    Tipping & Bishop (1999), https://doi.org/10.1111/1467-9868.00196
    Zhang et al. (2018), mixup, https://arxiv.org/abs/1710.09412

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
        "kl_warmup": [Interval(Real, 0, 1, closed="both")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "label_weight": [Interval(Real, 0, None, closed="left")],
        "conv_channels": ["array-like"],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "hidden_dims": ["array-like"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "hidden_dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "output_activation": [StrOptions(set(OUTPUT_ACTIVATIONS) - {None}), None],
        "output_kernel_size": [Interval(Integral, 1, None, closed="left"), None],
        "init": [StrOptions(set(INITS))],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "linear_path": ["boolean"],
        "whiten": ["boolean"],
        "scale": [StrOptions(set(SCALERS)), None],
        "n_channels": [Interval(Integral, 1, None, closed="left"), None],
        "optimizer": [type],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions(set(LR_SCHEDULES)), None],
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
        kl_warmup=0.0,
        free_bits=0.0,
        label_weight=0.0,
        conv_channels=(16, 16, 32, 32),
        kernel_size=8,
        stride=2,
        hidden_dims=(64,),
        dropout=0.0,
        hidden_dropout=0.0,
        batch_norm=False,
        output_activation=None,
        output_kernel_size=None,
        init="he",
        mixup=0.4,
        input_noise=1.0,
        linear_path=True,
        whiten=False,
        scale="standard",
        n_channels=None,
        optimizer=torch.optim.Adam,
        lr=3e-3,
        lr_schedule="one_cycle",
        batch_size=16,
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
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits
        self.label_weight = label_weight
        self.conv_channels = conv_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_dims = hidden_dims
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.batch_norm = batch_norm
        self.output_activation = output_activation
        self.output_kernel_size = output_kernel_size
        self.init = init
        self.mixup = mixup
        self.input_noise = input_noise
        self.linear_path = linear_path
        self.whiten = whiten
        self.scale = scale
        self.n_channels = n_channels
        self.optimizer = optimizer
        self.lr = lr
        self.lr_schedule = lr_schedule
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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the autoencoder on X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timepoints), \
                (n_samples, n_channels * n_timepoints) or \
                (n_samples, n_channels, n_timepoints)
            At least two signals, finite. Two-dimensional X of several channels holds
            one channel after the other, see `n_channels`.
        y : array-like of shape (n_samples,), optional
            Class labels, used if `label_weight` > 0; -1 is unlabelled.

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
        with unchanged_on_error(self):
            go_on = self.warm_start and self.__sklearn_is_fitted__()
            return self._fit(X, y, go_on)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, classes=None):
        """Train for one epoch on X, at the constant learning rate `lr`.

        The first call fixes the shape, the scaling, the linear path and the classes;
        later ones go on from the weights and the optimizer's state.

        Parameters
        ----------
        X, y : as for `fit`
        classes : array-like of shape (n_classes,), optional
            All labels that will come, in the first call; by default those in `y`.

        Returns
        -------
        self : ConvVAETransformer
        """
        with unchanged_on_error(self):
            go_on = self.__sklearn_is_fitted__()
            return self._fit(X, y, go_on, one_epoch=True, classes=classes)

    def _fit(self, X, y, go_on, one_epoch=False, classes=None):
        X = check_signals(self, X, reset=not go_on, min_samples=2)
        y, classes = self._check_labels(y, len(X), go_on, classes)
        self._check_options(X)
        scaler = self.scaler_ if go_on else ChannelScaler(self.scale).fit(X)
        seed = draw_seed(self.random_state)
        device = resolve_device(self.device, training=True)
        checkpoint = None
        if self.checkpoint is not None and not one_epoch:
            run = self._describe_run(X, y, device, go_on)
            checkpoint = Checkpoint(self.checkpoint, run, seed)
            seed = checkpoint.seed
        make_net = partial(self._make_net, classes, device, one_epoch, checkpoint)
        with forked_random_state(seed, device):
            train, valid = self._split(SignalDataset(X, scaler, y, device), one_epoch)
            if go_on:
                net = make_net(len(train)).initialize().start_from(self.net_)
                net.partial_fit((train, valid))
                mean_distortion = None
            elif one_epoch:
                net, _, _ = self._train(make_net, train, None, seed)
                mean_distortion = None
            elif self.max_epochs == 0:
                net, _, mean_distortion = self._train(make_net, train, valid, seed)
            else:
                net, mean_distortion = self._train_calibrated(
                    make_net, train, valid, seed
                )
            net.module_.eval()
            statistics = self._statistics(
                net, scaler, train.sample(STATISTICS_VALUES), mean_distortion, go_on
            )
        self.net_ = net
        self.scaler_ = scaler
        self.history_ = net.epochs()
        self.n_epochs_ = len(net.history)
        self.best_epoch_ = net.best_epoch()
        self.reconstruction_weight_ = statistics["weight"]
        self.held_back_excess_ = statistics["excess"]
        self.kl_per_dim_ = statistics["kl_per_dim"]
        self.latent_scale_ = statistics["latent_scale"]
        if classes is not None:
            self.classes_ = classes
        elif hasattr(self, "classes_"):
            del self.classes_
        if self.n_epochs_ and not self.n_active_dims_:
            warnings.warn(
                "No latent dimension is active: the posterior equals the prior and "
                "the latents say nothing about X. Lower beta, raise "
                "reconstruction_weight, set free_bits, or train longer.",
                UserWarning,
                stacklevel=3,
            )
        return self

    @property
    def module_(self):
        """The fitted network, with `encoder` and `decoder`, on the device in use."""
        check_is_fitted(self)
        return self.net_.to(resolve_device(self.device, training=False)).module_

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
                (n_samples, n_channels_in_, n_timepoints_in_)

        Returns
        -------
        ndarray of float32, shape (n_samples, latent_dim)
            In the units of X, or with ``whiten=True`` of the prior, N(0, I).
        """
        encode = self.module_.encode
        z_mean = self._map_signals(lambda x: encode(x)[0], X)
        return finite(z_mean, self.latent_scale_)

    def inverse_transform(self, Z):
        """Signals decoded from latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            As from `transform`.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_features_in_) or \
                (n_samples, n_channels_in_, n_timepoints_in_)
            The mean of p(x|z) in the units and the layout of the fitted X.
        """
        module = self.module_
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
        ndarray of float32, of the units and the layout of the fitted X.
        """
        return self.inverse_transform(self.transform(X))

    def posterior(self, X):
        """Mean and standard deviation of q(z|x), in the units of `transform`.

        Parameters
        ----------
        X : as for `transform`

        Returns
        -------
        mean, std : ndarray of float32, shape (n_samples, latent_dim)
        """
        encode = self.module_.encode
        parameters = self._map_signals(lambda x: torch.cat(encode(x), dim=1), X)
        z_mean, z_log_var = np.hsplit(parameters, 2)
        std = np.exp(z_log_var / 2)
        return finite(z_mean, self.latent_scale_), finite(std, self.latent_scale_)

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
        """
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        module = self.module_
        if random_state is None:
            random_state = self.random_state
        rng = np.random.default_rng(draw_seed(random_state))
        z = rng.standard_normal((n_samples, self.latent_scale_.size), dtype=np.float32)
        if not noise:
            return self._decode(module, z)
        return self._decode(module, z, partial(self._add_decoder_noise, rng))

    def score_samples(self, X, n_importance=1):
        """Lower bound of log p(x) of each sample, in nats, in the units of X.

        The ELBO at beta = 1 with all constants, dropout off, and the log-determinant
        of the scaling: comparable between any two settings, and with
        `sklearn.decomposition.PCA.score_samples`. The expectation over q(z|x) is a
        mean over 16 draws, the same for each sample and each call.

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
        check_scalar(n_importance, "n_importance", Integral, min_val=1)
        module = self.module_
        likelihood = self.net_.criterion_.likelihood
        is_elbo = n_importance == 1
        n_draws = N_ELBO_DRAWS if is_elbo else n_importance
        generator = torch.Generator().manual_seed(0)
        draws = torch.randn(n_draws, self.latent_scale_.size, generator=generator)
        draws = draws.to(self.net_.device)

        def bound(x):
            z_mean, z_log_var = module.encode(x)
            log_weights = []
            for draw in draws:
                z = z_mean + (0.5 * z_log_var).exp() * draw
                log_px_given_z = log_likelihood(
                    module.decode(z), x, self.reconstruction_weight_, likelihood
                )
                log_weights.append(
                    log_importance_weight(log_px_given_z, z, z_mean, z_log_var)
                )
            log_weights = torch.stack(log_weights, dim=1).double()
            if is_elbo:
                return log_weights.mean(dim=1)
            return log_weights.logsumexp(dim=1) - math.log(n_draws)

        bounds = finite(self._map_signals(bound, X))
        return bounds + self.scaler_.log_det(self.n_timepoints_in_)

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

    def save(self, path):
        """Write the fitted estimator to a file that `skvae.load` reads, without pickle.

        Parameters
        ----------
        path : str or os.PathLike
            A safetensors file; it is replaced in one step.
        """
        save(self, path)

    @classmethod
    def load(cls, path):
        """Read an estimator that `save` wrote. No code from the file is run.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        ConvVAETransformer
            Fitted. It transforms with the same bits as the one that was saved, and
            `partial_fit` and `warm_start` go on from it.

        Raises
        ------
        FileNotFoundError
        ValueError
            If the file is a pickle, truncated, changed in any byte, of an unknown
            format, or has parameters that this version does not know.
        """
        return load(cls, path)

    def summary(self):
        """Layers of the fitted network, their output shapes and parameters.

        Returns
        -------
        Summary
            A list of tuples ``(name, output_shape, n_parameters)`` that prints as a
            table with totals. Shapes are of one sample: (channels, timepoints) after
            a convolution.
        """
        return summarize(self.module_, self.n_channels_in_, self.n_timepoints_in_)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = bool(self.label_weight)
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self):
        return self.latent_scale_.size

    def _map_signals(self, function, X):
        """Apply a function of scaled x (b, c, t) to X, a batch at a time."""
        X = check_signals(self, X, reset=False)
        return map_batches(
            function,
            lambda rows: self.scaler_.transform(X[rows]),
            len(X),
            X[0].size,
            self.net_.device,
        )

    def _decode(self, module, z, finish=lambda x: x):
        """Decode z (n, latent_dim), unscale, in the layout of the fitted X."""
        x = map_batches(
            module.decode, z.__getitem__, len(z), self.n_features_in_, self.net_.device
        )
        return unfold(self, self.scaler_.inverse_transform(finish(x)))

    def _add_decoder_noise(self, rng, x):
        weight = self.reconstruction_weight_
        likelihood = self.net_.criterion_.likelihood
        if likelihood == "gaussian":
            return x + rng.normal(0.0, math.sqrt(0.5 / weight), x.shape)
        if likelihood == "laplace":
            return x + rng.laplace(0.0, 1.0 / weight, x.shape)
        return rng.binomial(1, x)

    def _check_labels(self, y, n_samples, go_on, classes):
        """Class probabilities and classes, or None and None where labels are unused."""
        if not self.label_weight:
            return None, None
        if y is None:
            raise ValueError(
                f"label_weight={self.label_weight} requires y to be passed, but the "
                "target y is None. Pass y, or set label_weight=0."
            )
        if go_on:
            classes = getattr(self, "classes_", None)
        return encode_labels(y, n_samples, classes)

    def _check_options(self, X):
        """Check what only several parameters together, or they and X, can tell."""
        is_optimizer = issubclass(self.optimizer, torch.optim.Optimizer)
        if not is_optimizer or self.optimizer is torch.optim.LBFGS:
            raise ValueError(
                f"optimizer={self.optimizer!r}, expected a class of torch.optim other "
                "than LBFGS, which trains on no batches."
            )
        for name in ("conv_channels", "hidden_dims"):
            sizes = getattr(self, name)
            if not all(isinstance(size, Integral) and size > 0 for size in sizes):
                raise ValueError(
                    f"{name}={sizes!r}, expected a sequence of positive integers, one "
                    "for each layer."
                )
        if self.batch_size == 1 and self.batch_norm:
            raise ValueError(
                "batch_size=1 with batch_norm=True: the mean and variance of a single "
                "sample say nothing. Use a larger batch_size, or batch_norm=False."
            )
        unit_range = self.likelihood == "bernoulli" or self.output_activation
        if unit_range and self.scale != "minmax":
            limits = [float(X.min()), float(X.max())]
            if self.scale == "standard" or limits[0] < 0 or limits[1] > 1:
                raise ValueError(
                    f"likelihood={self.likelihood!r} with output_activation="
                    f"{self.output_activation!r} models signals in [0, 1], but X in "
                    f"{limits} with scale={self.scale!r} is not. Use scale='minmax', "
                    "or a gaussian likelihood without activation."
                )

    def _split(self, dataset, one_epoch):
        """Training and validation part; None where no sample is held back."""
        if one_epoch or not self.early_stopping:
            return dataset, None
        n_train = len(dataset) - math.ceil(self.validation_fraction * len(dataset))
        if n_train < 2:
            raise ValueError(
                f"early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves {n_train} of {len(dataset)} "
                "samples to train on. At least 2 are required: pass more samples, or "
                "use early_stopping=False."
            )
        return dataset.split(n_train)

    def _train(self, make_net, train, valid, seed, noise=None, shift=0):
        """A trained net, its `blended_parameters` at the start, the start's distortion.

        The latter two are None without linear path.
        """
        net = make_net(len(train), shift=shift).initialize()
        start = mean_distortion = None
        if self.linear_path:
            signals = train.sample(PCA_VALUES)
            noise = start_linear_path(net.module_, signals, seed, noise, shift)
            start = [p.detach().clone() for p in net.module_.blended_parameters()]
            if self.likelihood == "gaussian":
                mean_distortion = noise * self.n_features_in_
        net.partial_fit((train, valid))
        return net, start, mean_distortion

    def _train_calibrated(self, make_net, train, valid, seed):
        """A trained net and the mean distortion to expect of signals not trained on.

        Both are judged by signals held back: those of early stopping or, where none
        are, a fifth of the signals in a rehearsal. With so many signals that training
        cannot learn them by heart, the training signals do: the distortion is None.
        """
        to_choose = self.linear_path or self.reconstruction_weight == "auto"
        if not to_choose or not 3 <= len(train) <= MAX_REHEARSAL:
            return self._train(make_net, train, valid, seed)[0], None
        shift, noise = 0, None
        if self.linear_path:
            signals = train.sample(PCA_VALUES)
            shift, noise = choose_shift(
                signals, self.latent_dim, seed, may_shift=self.mixup > 0
            )
        if valid is None:
            part, held_back = train.split(len(train) - math.ceil(len(train) / 5))
            rehearsal = partial(make_net, rehearsal=True)
            net, start, _ = self._train(rehearsal, part, None, seed, noise, shift)
            calibration = choose_trust(net, start, held_back, seed)
        net, start, at_start = self._train(make_net, train, valid, seed, noise, shift)
        if valid is not None:
            calibration = choose_trust(net, start, valid, seed)
        trust, mean_distortion, excess = calibration
        if start:
            net.module_.blend(start, net.module_.blended_parameters(), trust)
        return net, mean_distortion if at_start is None else excess * at_start

    def _describe_run(self, X, y, device, go_on):
        """All that the bits of a fit depend on, besides the seed."""
        run = self.get_params(deep=False) | {"device": device, "X": X, "y": y}
        for name in ("checkpoint", "verbose", "warm_start"):
            del run[name]
        if go_on:
            run["fitted"] = {
                "module": dict(self.net_.module_.state_dict()),
                "optimizer": self.net_.optimizer_.state_dict(),
            }
        return run

    def _make_net(
        self,
        classes,
        device,
        one_epoch,
        checkpoint,
        n_samples,
        *,
        shift=0,
        rehearsal=False,
    ):
        """The skorch net that these parameters describe, not initialized."""
        max_epochs, callbacks = 1, []
        if not one_epoch:
            max_epochs = self.max_epochs
            if max_epochs == "auto":
                max_epochs = auto_epochs(
                    n_samples, self.batch_size, classes is not None
                )
            n_steps = max_epochs * n_batches(n_samples, self.batch_size)
            callbacks += schedule_callbacks(self.lr_schedule, n_steps)
            if self.early_stopping:
                callbacks += stopping_callbacks(self.patience)
        title = "rehearsal" if rehearsal else "epoch"
        callbacks += progress_callbacks(self.verbose, title)
        if not rehearsal:
            callbacks += clone(self.callbacks or [], safe=False)
        if checkpoint is not None:
            callbacks.append(("checkpoint", checkpoint))
        params = {
            "module": ConvVAE,
            "module__n_channels": self.n_channels_in_,
            "module__n_timepoints": self.n_timepoints_in_,
            "module__latent_dim": self.latent_dim,
            "module__conv_channels": tuple(self.conv_channels),
            "module__kernel_size": self.kernel_size,
            "module__stride": self.stride,
            "module__hidden_dims": tuple(self.hidden_dims),
            "module__dropout": self.dropout,
            "module__hidden_dropout": self.hidden_dropout,
            "module__batch_norm": self.batch_norm,
            "module__output_kernel_size": self.output_kernel_size,
            "module__output_activation": (
                "sigmoid" if self.likelihood == "bernoulli" else self.output_activation
            ),
            "module__init": self.init,
            "module__linear_path": self.linear_path,
            "module__n_classes": 0 if classes is None else len(classes),
            "criterion": Objective,
            "criterion__likelihood": self.likelihood,
            "criterion__reconstruction_weight": self.reconstruction_weight,
            "criterion__beta": self.beta,
            "criterion__free_bits": self.free_bits,
            "criterion__label_weight": self.label_weight,
            "input_noise": self.input_noise,
            "kl_warmup": self.kl_warmup,
            "optimizer": self.optimizer,
            **optimizer_params(self.optimizer, self.lr, self.linear_path),
            "lr": self.lr,
            "max_epochs": max_epochs,
            "batch_size": self.batch_size,
            "callbacks": callbacks,
            "iterator_train": Batches,
            "iterator_train__shuffle": True,
            "iterator_train__mixup": self.mixup,
            "iterator_train__shift": shift,
            "iterator_valid": Batches,
            "train_split": None,
            "verbose": 0,
            "device": device,
        }
        return VAENet(**params | (self.net_params or {}))

    def _statistics(self, net, scaler, signals, mean_distortion, go_on):
        """Weight, KL per dimension and latent scale, over scaled signals (n, c, t)."""
        module, objective = net.module_, net.criterion_

        def describe(x):
            z_mean, z_log_var = module.encode(x)
            x_hat = module.decode(module.reparameterize(z_mean, z_log_var))
            errors = distortion(x_hat, x, self.likelihood)[:, None]
            gains = (
                torch.zeros_like(z_mean)
                if self.whiten
                else decoder_gains(module.decode, z_mean)
            )
            return torch.cat([errors, kl_per_dim(z_mean, z_log_var), gains], dim=1)

        n_values = signals[0].size
        rows = map_batches(
            describe, signals.__getitem__, len(signals), n_values, net.device
        )
        if not np.isfinite(rows).all():
            raise net.divergence("The latents or their reconstruction became infinite")
        errors, kl, squared_gains = np.split(
            rows.astype(np.float64), [1, 1 + module.latent_dim], axis=1
        )
        # Going on, training signals are as much closer as they were in the first fit.
        excess = getattr(self, "held_back_excess_", 1.0) if go_on else 1.0
        if mean_distortion is None:
            mean_distortion = excess * errors.mean()
        unit = math.sqrt(np.mean(scaler.scale_**2))
        gains = (unit * np.sqrt(squared_gains.mean(axis=0))).astype(np.float32)
        latent_scale = np.where(gains > 0, gains, np.float32(1.0))
        return {
            "weight": float(objective.weight(mean_distortion, n_values)),
            "excess": float(mean_distortion / max(errors.mean(), 1e-30)),
            "kl_per_dim": kl.mean(axis=0),
            "latent_scale": latent_scale,
        }


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
