"""Displays of a fitted autoencoder, in the form of scikit-learn's.

Each holds arrays: `from_estimator` computes them, `plot` draws them and returns the
display with its figure, `figure_`, and axes, `axes_`, the first of which is `ax_`.
They need matplotlib: ``pip install skvae[plot]``.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_consistent_length, check_random_state

__all__ = [
    "LatentSpaceDisplay",
    "LatentTraversalDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "TrainingCurveDisplay",
]

# Told apart with any kind of colour vision: Petroff (2021),
# https://arxiv.org/abs/2107.02270. More classes than these get a colour bar.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#94a4a2",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
MARKERS = "os^DvP<X>*"
SIGNAL_COLOR, MODEL_COLOR = "#555555", "#bd1f01"
# As many class names as a colour bar, or an axis, has room for.
MAX_TICK_LABELS = 20


class LatentSpaceDisplay:
    """Latents of signals in the plane, by class.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2) or (n_samples, 1)
        One dimension is drawn as a row for each class.
    y : ndarray of shape (n_samples,), optional
        Classes, numbers or strings; or any number to colour by.
    std : ndarray of the shape of `points`, optional
        Standard deviations of the posterior, drawn as ellipses.
    axis_labels : sequence of str
        One for each column of `points`.
    other : ndarray of shape (n_samples, 2), optional
        Another embedding of the same samples, drawn beside them.
    other_name : str, optional
        What `other` is.

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib Axes, ndarray of Axes, Figure

    See Also
    --------
    LatentSpaceDisplay.from_estimator : Encode signals and draw their latents.
    LatentSpaceDisplay.from_latents : Draw latents, for example those of a pipeline.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skvae import ConvVAETransformer
    >>> from skvae.datasets import load_watch
    >>> from skvae.plotting import LatentSpaceDisplay
    >>> X, y = load_watch(channels="ax", return_X_y=True)
    >>> vae = ConvVAETransformer(2, max_epochs=1).fit(X)
    >>> LatentSpaceDisplay.from_estimator(vae, X, y)
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        points,
        *,
        y=None,
        std=None,
        axis_labels=("latent 0", "latent 1"),
        other=None,
        other_name=None,
    ):
        self.points = points
        self.y = y
        self.std = std
        self.axis_labels = axis_labels
        self.other = other
        self.other_name = other_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        method=None,
        uncertainty=False,
        compare=None,
        random_state=None,
        ax=None,
        **kwargs,
    ):
        """Encode signals and draw their latents.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `transform`
        y : array-like of shape (n_samples,), optional
            Classes, numbers or strings; or any number to colour by.
        method : {None, "pca", "tsne"}
            How more than two latents become two: None takes the two most active, of
            the largest `kl_per_dim_`.
        uncertainty : bool
            Draw the standard deviations of the posterior as ellipses; needs
            ``method=None``.
        compare : {None, "pca", "tsne"}
            Draw this embedding of the signals themselves, scaled as the estimator
            scales them, beside the latents.
        random_state : int, RandomState instance or None
            Of t-SNE.
        ax, **kwargs : as for `plot`

        Returns
        -------
        LatentSpaceDisplay
        """
        if uncertainty and method is not None:
            raise ValueError(
                f"uncertainty=True with method={method!r}: the ellipses are those of "
                "latent dimensions. Use method=None."
            )
        _check_matplotlib(cls)
        mean, std = estimator.posterior(X)
        kl = estimator.kl_per_dim_
        labels = [f"{_latent_name(k)} (KL {kl[k]:.1f} nats)" for k in range(len(kl))]
        points, dims, labels = _to_plane(mean, method, kl, labels, random_state)
        other = None
        if compare is not None:
            signals = _fold(estimator, X) / estimator.scaler_.scale_
            other = _embed(signals.reshape(len(mean), -1), compare, random_state)
        display = cls(
            points,
            y=_check_target(points, y),
            std=std[:, dims] if uncertainty else None,
            axis_labels=labels,
            other=other,
            other_name=f"{EMBEDDINGS.get(compare)} of the signals",
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_latents(
        cls, Z, y=None, *, method=None, random_state=None, ax=None, **kwargs
    ):
        """Draw latents, for example those of a pipeline.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
        y, method, random_state : as for `from_estimator`
            ``method=None`` takes the two columns of the largest variance.
        ax, **kwargs : as for `plot`

        Returns
        -------
        LatentSpaceDisplay
        """
        _check_matplotlib(cls)
        Z = np.asarray(Z)
        labels = [_latent_name(k) for k in range(Z.shape[1])]
        points, _, labels = _to_plane(Z, method, Z.var(axis=0), labels, random_state)
        y = _check_target(points, y)
        return cls(points, y=y, axis_labels=labels).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the latents.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
            Where; two panels divide a single one. None makes a figure.
        **kwargs : as for `Axes.scatter`

        Returns
        -------
        LatentSpaceDisplay
        """
        n_panels = 1 if self.other is None else 2
        colors = _ClassColors(self.y, len(self.points))
        # One dimension has its classes on the axis already.
        has_key = self.points.shape[1] == 2 or n_panels == 2
        width = 5.0 + (2.0 / n_panels if has_key and len(colors.names) > 1 else 0.0)
        self.figure_, axes = _make_axes(self, ax, 1, n_panels, (width, 4.5))
        self.axes_ = axes.ravel()
        self.ax_ = self.axes_[0]
        if self.points.shape[1] == 1:
            self._plot_rows(colors, kwargs)
        else:
            _scatter(self.ax_, self.points, colors, self.std, kwargs)
            self.ax_.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        if self.other is not None:
            _scatter(self.axes_[1], self.other, colors, None, kwargs)
            self.axes_[1].set(title=self.other_name, xticks=[], yticks=[])
            self.ax_.set_title("latents")
        if has_key:
            colors.add_key(self.axes_[-1])
        return self

    def _plot_rows(self, colors, kwargs):
        jitter = check_random_state(0).uniform(-0.3, 0.3, len(self.points))
        points = np.column_stack([self.points[:, 0], colors.codes + jitter])
        std = self.std
        if std is not None:
            std = np.column_stack([std[:, 0], np.zeros(len(std))])
        _scatter(self.ax_, points, colors, std, kwargs)
        self.ax_.set_xlabel(self.axis_labels[0])
        self.ax_.set_yticks(colors.tick_codes(), colors.tick_names())
        self.ax_.invert_yaxis()


class ReconstructionDisplay:
    """Signals against their reconstructions, in the order of display.

    Parameters
    ----------
    signals, reconstructions : ndarray of shape (n_samples, n_channels, n_timepoints)
    std : ndarray of shape (n_channels,), optional
        Standard deviation of the decoder, in the units of the signals.
    errors : ndarray of shape (n_samples,), optional
        Root mean square error of each sample, in units of the estimator's scaling.
    indices : ndarray of shape (n_samples,), optional
        The numbers of the samples.
    channel_names : sequence of str, optional

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib Axes, ndarray of Axes, Figure

    See Also
    --------
    ReconstructionDisplay.from_estimator : Reconstruct signals and draw some.
    ReconstructionDisplay.browse : Step through all of them with the arrow keys.
    """

    def __init__(
        self,
        signals,
        reconstructions,
        *,
        std=None,
        errors=None,
        indices=None,
        channel_names=None,
    ):
        self.signals = signals
        self.reconstructions = reconstructions
        self.std = std
        self.errors = errors
        self.indices = indices
        self.channel_names = channel_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        samples="worst",
        channel_names=None,
        random_state=None,
        ax=None,
        **kwargs,
    ):
        """Reconstruct signals and draw some of them.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `transform`
        samples : {"worst", "best", "random"} or array-like of int
            Which signals come first, by their reconstruction error, or which to take.
        channel_names : sequence of str, optional
        random_state : int, RandomState instance or None
            Of ``samples="random"``.
        ax, **kwargs : as for `plot`

        Returns
        -------
        ReconstructionDisplay
        """
        _check_matplotlib(cls)
        reconstructions = _fold(estimator, estimator.reconstruct(X))
        signals = _fold(estimator, X)
        scale = estimator.scaler_.scale_
        squared_errors = ((signals - reconstructions) / scale) ** 2
        errors = np.sqrt(squared_errors.mean(axis=(1, 2)))
        indices = _order(errors, samples, random_state)
        display = cls(
            signals[indices],
            reconstructions[indices],
            std=_decoder_std(estimator),
            errors=errors[indices],
            indices=indices,
            channel_names=channel_names,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, *, n_samples=4):
        """Draw the first samples, a column each; channels are rows.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
            Where; panels divide a single one. None makes a figure.
        n_samples : int

        Returns
        -------
        ReconstructionDisplay
        """
        n_channels = self.signals.shape[1]
        n_samples = min(n_samples, len(self.signals))
        self.figure_, self.axes_ = _make_axes(
            self, ax, n_channels, n_samples, (2.8, 2.2), sharex=True, sharey="row"
        )
        self.ax_ = self.axes_[0, 0]
        for i, column in enumerate(self.axes_.T):
            self._draw(column, i)
        _label_signals(self.axes_, n_channels, self.channel_names)
        self._add_legend(ax)
        return self

    def browse(self, start=0):
        """Open a window in which the left and right arrow keys step through samples.

        Parameters
        ----------
        start : int
            Which of the samples to show first.

        Returns
        -------
        ReconstructionDisplay
        """
        import matplotlib.pyplot as plt

        n_samples, n_channels, _ = self.signals.shape
        self.figure_, self.axes_ = _make_axes(
            self, None, n_channels, 1, (8.0, 2.2), sharex=True
        )
        self.ax_ = self.axes_[0, 0]
        self.position_ = start % n_samples

        def draw():
            for ax in self.axes_[:, 0]:  # quicker than to clear it
                for artist in (*ax.lines, *ax.collections):
                    artist.remove()
                ax.relim()
            self._draw(self.axes_[:, 0], self.position_)
            position = f"← {self.position_ + 1} of {n_samples} →"
            self.ax_.set_title(position, loc="right", fontsize="medium")
            self.figure_.canvas.draw_idle()

        def on_key(event):
            step = {"left": -1, "right": 1}.get(event.key, 0)
            if step:
                self.position_ = (self.position_ + step) % n_samples
                draw()

        draw()
        _label_signals(self.axes_, n_channels, self.channel_names)
        self._add_legend(None)
        # matplotlib's own meaning of the arrows, back and forward in the history of
        # zooms, would bring back the limits of another signal.
        canvas = self.figure_.canvas
        canvas.mpl_disconnect(canvas.manager.key_press_handler_id)
        canvas.mpl_connect("key_press_event", on_key)
        plt.show()
        return self

    def _draw(self, axes, i):
        time = np.arange(self.signals.shape[2])
        for channel, ax in enumerate(axes):
            x_hat = self.reconstructions[i, channel]
            ax.plot(time, self.signals[i, channel], color=SIGNAL_COLOR, lw=1)
            ax.plot(time, x_hat, color=MODEL_COLOR, lw=1.2)
            if self.std is not None:
                low, high = x_hat + 2 * self.std[channel] * np.array([[-1], [1]])
                ax.fill_between(time, low, high, color=MODEL_COLOR, alpha=0.15, lw=0)
        title = f"signal {i if self.indices is None else self.indices[i]}"
        if self.errors is not None:
            title += f", RMSE {self.errors[i]:.2f} sd"
        axes[0].set_title(title, fontsize="medium")

    def _add_legend(self, ax):
        names = ["signal", "reconstruction", "± 2 standard deviations of the decoder"]
        _add_legend(self, ax, [*self.ax_.lines, *self.ax_.collections], names)


class TrainingCurveDisplay:
    """Terms of the objective over training, a panel each.

    Parameters
    ----------
    history : dict of ndarray of shape (n_epochs,)
        As `history_`, in nats per sample.
    best_epoch : int, optional
        Marked, counted from 1.

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib Axes, ndarray of Axes, Figure

    See Also
    --------
    TrainingCurveDisplay.from_estimator : Draw the history of a fitted estimator.
    """

    def __init__(self, history, *, best_epoch=None):
        self.history = history
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        ax, **kwargs : as for `plot`

        Returns
        -------
        TrainingCurveDisplay
        """
        display = cls(estimator.history_, best_epoch=estimator.best_epoch_)
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the terms, validation beside training.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
            Where; the panels divide a single one. None makes a figure.
        **kwargs : as for `Axes.plot`

        Returns
        -------
        TrainingCurveDisplay
        """
        from matplotlib.ticker import MaxNLocator

        terms = {"loss": "loss", "reconstruction": "reconstruction", "kl": "KL"}
        if np.any(self.history.get("train_label", 0)):
            terms["label"] = "label"
        n_terms = len(terms)
        self.figure_, axes = _make_axes(self, ax, 1, n_terms, (3.2, 3.0), sharex=True)
        self.axes_ = axes.ravel()
        self.ax_ = self.axes_[0]
        is_validated = "valid_loss" in self.history
        for panel, (term, title) in zip(self.axes_, terms.items(), strict=True):
            for i, part in enumerate(("train", "valid")[: 1 + is_validated]):
                values = self.history[f"{part}_{term}"]
                epochs = np.arange(1, len(values) + 1)
                style = {"color": COLORS[i], "ls": ("-", "--")[i], **kwargs}
                panel.plot(epochs, values, **style)
            if is_validated and self.best_epoch is not None:
                panel.axvline(self.best_epoch, color=SIGNAL_COLOR, lw=1, ls=":")
            panel.set(title=title, xlabel="epoch")
            panel.xaxis.set_major_locator(
                MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True)
            )
        self.ax_.set_ylabel("nats per sample")
        if is_validated:
            names = ["training", "validation", f"best epoch, {self.best_epoch}"]
            _add_legend(self, ax, self.ax_.lines, names)
        return self


class LatentTraversalDisplay:
    """Signals decoded along latent axes, or over the plane of two.

    Parameters
    ----------
    signals : ndarray of shape (n_dims, n_steps, n_channels, n_timepoints) or \
            (n_steps, n_steps, n_channels, n_timepoints)
        Decoded along each axis, the others at 0; or over the plane, ``signals[i, j]``
        at ``(steps[j], steps[i])``.
    steps : ndarray of shape (n_steps,)
        Positions on an axis, in standard deviations of the prior.
    dim_names : sequence of str
        Names of the axes: n_dims, or the two of the plane.
    plane : bool
        Which of both.
    channel_names : sequence of str, optional

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib Axes, ndarray of Axes, Figure

    See Also
    --------
    LatentTraversalDisplay.from_estimator : Decode and draw.
    """

    def __init__(self, signals, steps, *, dim_names, plane=False, channel_names=None):
        self.signals = signals
        self.steps = steps
        self.dim_names = dim_names
        self.plane = plane
        self.channel_names = channel_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        n_dims=8,
        n_steps=9,
        limit=2.0,
        plane="auto",
        channel_names=None,
        ax=None,
        **kwargs,
    ):
        """Decode latents along the most active axes and draw the signals.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        n_dims : int
            Axes at most; inactive ones are left out.
        n_steps : int
            Signals along an axis.
        limit : float
            How far to go both ways, in standard deviations of the prior.
        plane : bool or "auto"
            Decode over the plane of the two most active axes; "auto": with two latents.
        channel_names : sequence of str, optional
        ax, **kwargs : as for `plot`

        Returns
        -------
        LatentTraversalDisplay
        """
        _check_matplotlib(cls)
        kl, scale = estimator.kl_per_dim_, estimator.latent_scale_
        if plane == "auto":
            plane = len(kl) == 2
        n_dims = 2 if plane else min(n_dims, max(1, estimator.n_active_dims_))
        dims = np.argsort(-kl)[:n_dims]
        steps = np.linspace(-limit, limit, n_steps)
        Z = np.zeros((n_steps if plane else n_dims, n_steps, len(kl)))
        if plane:
            Z[:, :, dims[0]] = steps
            Z[:, :, dims[1]] = steps[:, None]
        else:
            Z[np.arange(n_dims), :, dims] = steps
        decoded = estimator.inverse_transform(Z.reshape(-1, len(kl)) * scale)
        display = cls(
            _fold(estimator, decoded).reshape(*Z.shape[:2], *_signal_shape(estimator)),
            steps,
            dim_names=[_latent_name(k) for k in dims],
            plane=plane,
            channel_names=channel_names,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, *, cmap="viridis"):
        """Draw the signals.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
            Where; panels divide a single one. None makes a figure.
        cmap : str or Colormap
            Of the position along an axis.

        Returns
        -------
        LatentTraversalDisplay
        """
        if self.plane:
            return self._plot_plane(ax)
        return self._plot_axes(ax, cmap)

    def _plot_axes(self, ax, cmap):
        import matplotlib.pyplot as plt

        n_dims, _, n_channels, n_timepoints = self.signals.shape
        # One channel leaves room to wrap; several are rows under the same axis.
        n_columns = min(n_dims, 4) if n_channels == 1 else n_dims
        n_rows = -(-n_dims // n_columns) * n_channels
        sharey = True if n_channels == 1 else "row"
        self.figure_, self.axes_ = _make_axes(
            self, ax, n_rows, n_columns, (2.4, 1.9), sharex=True, sharey=sharey
        )
        self.ax_ = self.axes_[0, 0]
        norm = plt.Normalize(self.steps[0], self.steps[-1])
        colors = plt.get_cmap(cmap)(norm(self.steps))
        time = np.arange(n_timepoints)
        for k in range(n_dims):
            row, column = divmod(k, n_columns)
            for channel in range(n_channels):
                panel = self.axes_[row * n_channels + channel, column]
                for signal, color in zip(self.signals[k], colors, strict=True):
                    panel.plot(time, signal[channel], color=color, lw=1)
            self.axes_[row * n_channels, column].set_title(self.dim_names[k])
        _label_signals(self.axes_, n_channels, self.channel_names)
        for panel in self.axes_.ravel()[n_dims * n_channels :]:
            panel.remove()
        self.figure_.colorbar(
            plt.cm.ScalarMappable(norm, cmap),
            ax=self.axes_[:, -1],
            label=f"latent ({PRIOR_UNIT})",
        )
        return self

    def _plot_plane(self, ax):
        from matplotlib.collections import LineCollection

        n_channels, n_timepoints = self.signals.shape[2:]
        n_columns = min(n_channels, 3)
        n_rows = -(-n_channels // n_columns)
        size = (5.5, 5.5) if n_channels == 1 else (4.0, 4.0)
        self.figure_, self.axes_ = _make_axes(
            self, ax, n_rows, n_columns, size, sharex=True, sharey=True
        )
        self.ax_ = self.axes_[0, 0]
        cell = 0.43 * (self.steps[1] - self.steps[0])  # half the width, less a gap
        x = self.steps[:, None] + cell * np.linspace(-1, 1, n_timepoints)  # (j, t)
        panels = self.axes_.ravel()
        for channel, panel in enumerate(panels[:n_channels]):
            signals = self.signals[:, :, channel]  # (i, j, t)
            low, high = signals.min(), signals.max()
            heights = (2 * signals - low - high) / max(high - low, 1e-12)
            y = self.steps[:, None, None] + cell * heights
            lines = np.stack(np.broadcast_arrays(x, y), axis=-1)
            lines = lines.reshape(-1, n_timepoints, 2)
            panel.add_collection(LineCollection(lines, color=MODEL_COLOR, lw=1))
            panel.autoscale_view()
            panel.set_aspect("equal")
            if n_channels > 1:
                panel.set_title(_channel_names(self.channel_names, n_channels)[channel])
        for panel in panels[n_channels:]:
            panel.remove()
        for panel in self.axes_[-1]:
            panel.set_xlabel(f"{self.dim_names[0]} ({PRIOR_UNIT})")
        for panel in self.axes_[:, 0]:
            panel.set_ylabel(f"{self.dim_names[1]} ({PRIOR_UNIT})")
        return self


class SamplesDisplay:
    """Signals beside samples from the model.

    Parameters
    ----------
    signals, samples : ndarray of shape (n_samples, n_channels, n_timepoints)
    channel_names : sequence of str, optional

    Attributes
    ----------
    ax_, axes_, figure_ : matplotlib Axes, ndarray of Axes, Figure

    See Also
    --------
    SamplesDisplay.from_estimator : Draw samples and as many of the signals.
    """

    def __init__(self, signals, samples, *, channel_names=None):
        self.signals = signals
        self.samples = samples
        self.channel_names = channel_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        n_samples=4,
        noise=False,
        channel_names=None,
        random_state=None,
        ax=None,
        **kwargs,
    ):
        """Draw samples from the model and as many random ones of the signals.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `transform`
        n_samples : int
        noise : bool
            With the noise of the decoder, as `sample`.
        channel_names : sequence of str, optional
        random_state : int, RandomState instance or None
        ax, **kwargs : as for `plot`

        Returns
        -------
        SamplesDisplay
        """
        _check_matplotlib(cls)
        rng = check_random_state(random_state)
        signals = _fold(estimator, X)
        rows = rng.permutation(len(signals))[:n_samples]
        samples = estimator.sample(n_samples, noise=noise, random_state=rng)
        display = cls(
            signals[rows], _fold(estimator, samples), channel_names=channel_names
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw signals on the left and samples on the right; channels are rows.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
            Where; panels divide a single one. None makes a figure.
        **kwargs : as for `Axes.plot`

        Returns
        -------
        SamplesDisplay
        """
        n_channels = self.signals.shape[1]
        self.figure_, self.axes_ = _make_axes(
            self, ax, n_channels, 2, (4.5, 2.2), sharex=True, sharey="row"
        )
        self.ax_ = self.axes_[0, 0]
        for column, X in zip(self.axes_.T, (self.signals, self.samples), strict=True):
            for channel, panel in enumerate(column):
                for i, signal in enumerate(X[:, channel]):
                    style = {"color": COLORS[i % len(COLORS)], "lw": 1, **kwargs}
                    panel.plot(signal, **style)
        self.axes_[0, 0].set_title("signals")
        self.axes_[0, 1].set_title("samples from the model")
        _label_signals(self.axes_, n_channels, self.channel_names)
        return self


PRIOR_UNIT = "prior sd"
EMBEDDINGS = {"pca": "PCA", "tsne": "t-SNE"}


class _ClassColors:
    """Colours, markers and their key: a legend for few classes, else a colour bar."""

    def __init__(self, y, n_samples):
        y = np.zeros(n_samples) if y is None else y
        self.names, self.codes = np.unique(y, return_inverse=True)
        self.values = self.codes
        self.few = len(self.names) <= len(COLORS)
        if not self.few and self.names.dtype.kind in "iuf":
            self.values = y

    def add_key(self, ax):
        if len(self.names) == 1:
            return
        if self.few:
            ax.legend(
                loc="upper left", bbox_to_anchor=(1, 1), frameon=False, markerscale=1.5
            )
            return
        bar = ax.figure.colorbar(ax.collections[0], ax=ax)
        bar.solids.set_alpha(1)
        if self.values is self.codes:
            bar.set_ticks(self.tick_codes(), labels=self.tick_names())
            bar.ax.invert_yaxis()

    def tick_codes(self):
        step = -(-len(self.names) // MAX_TICK_LABELS)
        return np.arange(0, len(self.names), step)

    def tick_names(self):
        if len(self.names) == 1:
            return [""]
        return [str(self.names[code]) for code in self.tick_codes()]


def _scatter(ax, points, colors, std, kwargs):
    """Draw points (n, 2) by class, with ellipses of the half axes `std` (n, 2)."""
    from matplotlib.collections import EllipseCollection

    size = 24 if std is None else 10  # so that the ellipses are seen
    style = {"s": size, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.3} | kwargs
    if colors.few:
        for code, name in enumerate(colors.names):
            ax.scatter(
                *points[colors.codes == code].T,
                label=str(name),
                facecolors=COLORS[code],
                marker=MARKERS[code],
                **style,
            )
        face_colors = np.array(COLORS)[colors.codes]
    else:
        dots = ax.scatter(*points.T, c=colors.values, **style)
        face_colors = dots.to_rgba(colors.values)
    if std is not None:
        ellipses = EllipseCollection(
            *2 * std.T,
            0,
            units="xy",
            offsets=points,
            offset_transform=ax.transData,
            facecolors=face_colors,
            alpha=0.25,
            zorder=0,
        )
        ax.add_collection(ellipses)


def _to_plane(Z, method, activity, labels, random_state):
    """Two columns of Z or made of Z, their numbers where they have one, and labels."""
    if method is None or Z.shape[1] == 1:
        dims = np.argsort(-activity)[:2]
        return Z[:, dims], dims, [labels[k] for k in dims]
    points = _embed(Z, method, random_state)
    return (
        points,
        None,
        [f"{EMBEDDINGS[method]} {k + 1} of the latents" for k in (0, 1)],
    )


def _embed(rows, method, random_state):
    """PCA or t-SNE of rows (n, m) in two dimensions."""
    if method not in EMBEDDINGS:
        raise ValueError(f"{method!r} is no embedding. Use one of {list(EMBEDDINGS)}.")
    if method == "pca":
        return PCA(2, random_state=random_state).fit_transform(rows)
    # t-SNE asks for more samples than its perplexity.
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, random_state=random_state)
    return tsne.fit_transform(rows)


def _order(errors, samples, random_state):
    """Indices of the samples in the order that `samples` names."""
    if not isinstance(samples, str):
        return np.atleast_1d(samples)
    if samples == "random":
        return check_random_state(random_state).permutation(len(errors))
    if samples not in ("worst", "best"):
        raise ValueError(
            f"samples={samples!r}, expected 'worst', 'best', 'random' or indices."
        )
    order = np.argsort(errors, kind="stable")
    return order[::-1] if samples == "worst" else order


def _decoder_std(estimator):
    """Standard deviation of p(x|z), one a channel, in units of X; None: bernoulli."""
    weight, scale = estimator.reconstruction_weight_, estimator.scaler_.scale_[:, 0]
    if estimator.net_.criterion_.likelihood == "gaussian":
        return scale * np.sqrt(0.5 / weight)
    if estimator.net_.criterion_.likelihood == "laplace":
        return scale * np.sqrt(2.0) / weight
    return None


def _signal_shape(estimator):
    return estimator.n_channels_in_, estimator.n_timepoints_in_


def _fold(estimator, X):
    """X, checked by the estimator before, as an array (n, c, t)."""
    return np.asarray(X).reshape(-1, *_signal_shape(estimator))


def _check_target(points, y):
    if y is None:
        return None
    check_consistent_length(points, y)
    return np.asarray(y)


def _latent_name(k):
    return f"latent {k}"


def _channel_names(names, n_channels):
    return [f"channel {k}" for k in range(n_channels)] if names is None else names


def _label_signals(axes, n_channels, channel_names):
    """Label panels of signals: channels left, repeating down the rows; time below."""
    if n_channels > 1 or channel_names is not None:
        names = _channel_names(channel_names, n_channels)
        for i, panel in enumerate(axes[:, 0]):
            # Level: many channels leave no height for a name.
            panel.set_ylabel(names[i % n_channels], rotation=0, ha="right", va="center")
    for panel in axes.flat:
        panel.margins(x=0)
    for panel in axes[-1]:
        panel.set_xlabel("time step")


def _add_legend(display, ax, handles, names):
    """A legend below the display's own figure, or in the axes that it was given."""
    names = names[: len(handles)]
    if ax is None:
        style = {"loc": "outside lower center", "ncols": 3, "frameon": False}
        display.figure_.legend(handles, names, **style)
    else:
        corner = np.atleast_2d(display.axes_)[0, -1]
        # Out of the layout: small panels would collapse to make room for it.
        corner.legend(handles, names, fontsize="small").set_in_layout(False)


def _check_matplotlib(display):
    try:
        import matplotlib  # noqa: F401 (is it installed?)
    except ImportError as error:
        raise ImportError(
            f"{display.__name__} needs matplotlib. Install it with "
            "`pip install skvae[plot]`."
        ) from error


def _make_axes(display, ax, n_rows, n_columns, size, **kwargs):
    """A figure and its panels (n_rows, n_columns): new, given, or inside a given one.

    `size` is that of a panel, in inches; a figure is kept to what a screen can show.
    """
    _check_matplotlib(type(display))
    import matplotlib.pyplot as plt

    if ax is None:
        return plt.subplots(
            n_rows,
            n_columns,
            figsize=np.clip([size[0] * n_columns, size[1] * n_rows], (5, 3), (18, 10)),
            squeeze=False,
            layout="constrained",
            **kwargs,
        )
    axes = np.asarray(ax, dtype=object)
    if axes.size == 1 < n_rows * n_columns:
        (bounds,) = axes.ravel()
        bounds.set_axis_off()
        grid = bounds.get_subplotspec().subgridspec(n_rows, n_columns)
        axes = grid.subplots(squeeze=False, **kwargs)
    elif axes.size != n_rows * n_columns:
        raise ValueError(
            f"ax has {axes.size} axes, but {n_rows} x {n_columns} panels are drawn. "
            "Pass as many, or one to divide."
        )
    return axes.flat[0].figure, axes.reshape(n_rows, n_columns)
