"""Signals beside samples of the model."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils import check_random_state

from skvae.plotting import shared


@dataclass(repr=False, eq=False)
class SamplesDisplay(shared.SignalDisplay):
    """Signals beside samples of the model."""

    signals: np.ndarray  # (n_samples, n_channels, n_timepoints), NaN in gaps
    generated: np.ndarray  # of the same shape
    _: KW_ONLY
    noise: bool = False  # whether `generated` has the noise of the decoder

    @classmethod
    def from_estimator(
        cls, estimator, X, *, n_samples=4, noise=False, random_state=None, **kwargs
    ):
        """Draw samples of the model beside as many random signals.

        Parameters
        ----------
        estimator, X, **kwargs : see `skvae.plotting`
        n_samples, noise, random_state : as for `ConvVAETransformer.sample`
        """
        model = shared.Model(estimator)
        rng = check_random_state(random_state)
        signals = model.read(X)
        signals = signals[rng.permutation(len(signals))[:n_samples]]
        generated = model.vae.sample(n_samples, noise=noise, random_state=rng)
        axis = model.axis(kwargs, X)
        return cls(signals, model.fold(generated), noise=noise, **axis).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw signals on the left and samples on the right; channels are rows."""
        n_channels = self.signals.shape[1]
        share = {"sharex": True, "sharey": "row"}
        self.axes_ = shared.make_axes(ax, n_channels, 2, (4.5, 2.2), **share)
        title = f"samples of the model\n{'with' if self.noise else 'without'} its noise"
        sides = (
            (self.signals, shared.SIGNAL_COLOR, "signals"),
            (self.generated, shared.MODEL_COLOR, title),
        )
        for panels, (X, color, title) in zip(self.axes_.T, sides, strict=True):
            for x, alpha in zip(X, np.linspace(1, 1 / 3, len(X)), strict=True):
                self.draw_signal(panels, x, {"alpha": alpha} | kwargs, color)
            shared.set_title(panels[0], title)
        self.label_axes(self.name_channels(n_channels))
        return self
