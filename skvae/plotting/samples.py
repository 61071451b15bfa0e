"""Signals beside samples of the model."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils import check_random_state

from skvae.plotting import shared


@dataclass(repr=False, eq=False)
class SamplesDisplay(shared.Display):
    """Signals beside samples of the model.

    Parameters
    ----------
    signals, generated : ndarray of shape (n_samples, n_channels, n_timepoints)
        NaN in `signals` is a gap in what is drawn.
    noise : bool
        Whether `generated` has the noise of the decoder, which the title says.
    channel_names : sequence of str, optional
    timepoints : ndarray of shape (n_timepoints,), optional
        Positions of the time steps on the axis, which rise or fall; else 0, 1, 2, ...
    xlabel : str, optional
        Label of that axis; None: "time step", or with `timepoints` nothing.
    """

    signals: np.ndarray
    generated: np.ndarray
    _: KW_ONLY
    noise: bool = False
    channel_names: list | None = None
    timepoints: np.ndarray | None = None
    xlabel: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        n_samples=4,
        noise=False,
        channel_names=None,
        xlabel=None,
        random_state=None,
        **kwargs,
    ):
        """Draw samples of the model and as many random ones of the signals.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `transform`
        n_samples, noise, random_state : as for its `sample`
        channel_names : sequence of str, optional
        xlabel : str, optional
            Label of the axis of time steps, as "wavelength (nm)" where the columns of
            the fitted X were numbers, which the axis then shows.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        rng = check_random_state(random_state)
        signals = shared.read(estimator, X)
        signals = signals[rng.permutation(len(signals))[:n_samples]]
        generated = estimator.sample(n_samples, noise=noise, random_state=rng)
        generated = shared.fold(estimator, generated)
        return cls(
            signals,
            generated,
            noise=noise,
            channel_names=shared.known_names(estimator, channel_names),
            timepoints=shared.known_timepoints(estimator),
            xlabel=xlabel,
        ).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw signals on the left and samples on the right; channels are rows."""
        n_channels = self.signals.shape[1]
        self.axes_ = shared.make_axes(ax, n_channels, 2, (4.5, 2.2))
        noise = "with" if self.noise else "without"
        title = f"samples of the model\n{noise} its noise"
        sides = (
            (self.signals, shared.SIGNAL_COLOR, "signals"),
            (self.generated, shared.MODEL_COLOR, title),
        )
        for panels, (X, color, title) in zip(self.axes_.T, sides, strict=True):
            for x, alpha in zip(X, np.linspace(1, 1 / 3, len(X)), strict=True):
                style = {"alpha": alpha} | kwargs
                shared.draw_signal(panels, x, style, color, self.timepoints)
            shared.set_title(panels[0], title)
        names = self.channel_names, self.timepoints, self.xlabel
        shared.label_signals(self.axes_, n_channels, *names)
        return self
