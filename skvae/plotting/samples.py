"""Signals beside samples of the model."""

from sklearn.utils import check_random_state

from skvae.plotting import shared


class SamplesDisplay(shared.Display):
    """Signals beside samples of the model.

    Parameters
    ----------
    signals, generated : ndarray of shape (n_samples, n_channels, n_timepoints)
    noise : bool
        Whether `generated` has the noise of the decoder, which the title says.
    channel_names : sequence of str, optional
    """

    def __init__(self, signals, generated, *, noise=False, channel_names=None):
        self.signals = signals
        self.generated = generated
        self.noise = noise
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
        """Draw samples of the model and as many random ones of the signals.

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
        """
        shared.check_matplotlib()
        rng = check_random_state(random_state)
        signals = shared.fold(estimator, X)
        rows = rng.permutation(len(signals))[:n_samples]
        generated = estimator.sample(n_samples, noise=noise, random_state=rng)
        return cls(
            signals[rows],
            shared.fold(estimator, generated),
            noise=noise,
            channel_names=channel_names,
        ).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw signals on the left and samples on the right; channels are rows.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
        **kwargs : as for `Axes.plot`
        """
        n_channels = self.signals.shape[1]
        self.axes_ = shared.make_axes(ax, n_channels, 2, (4.5, 2.2))
        sides = (self.signals, self.generated)
        colors = (shared.SIGNAL_COLOR, shared.MODEL_COLOR)
        for column, X, color in zip(self.axes_.T, sides, colors, strict=True):
            for x, shade in zip(X, shared.shades(color, len(X)), strict=True):
                shared.draw_signal(column, x, kwargs, shade)
        noise = "with" if self.noise else "without"
        titles = "signals", f"samples of the model\n{noise} its noise"
        for panel, title in zip(self.axes_[0], titles, strict=True):
            panel.set_title(title, fontsize="medium")
        shared.label_signals(self.axes_, n_channels, self.channel_names)
        return self
