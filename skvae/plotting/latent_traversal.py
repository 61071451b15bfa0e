"""Effect of each latent on the mean signal."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar

from skvae.plotting import shared

MAX_CURVES = 5  # in a panel


@dataclass(repr=False, eq=False)
class LatentTraversalDisplay(shared.SignalDisplay):
    """Effect of each latent on the mean signal."""

    # (n_dims, n_steps, n_channels, n_timepoints), decoded along one latent, others at 0
    decoded: np.ndarray
    steps: np.ndarray  # (n_steps,), in standard deviations of the prior
    mean: np.ndarray  # (n_channels, n_timepoints), decoded at 0
    _: KW_ONLY
    axis_labels: list  # (n_dims,), names of the latents

    @classmethod
    def from_estimator(cls, estimator, *, n_dims=5, n_steps=5, limit=2.0, **kwargs):
        """Decode positions along the most active latents and draw the signals.

        Parameters
        ----------
        estimator, **kwargs : see `skvae.plotting`
        n_dims : int
            Largest number of latents. Inactive latents are left out.
        n_steps : int
            Number of signals along a latent, 2 to 5.
        limit : float
            Last position on both sides, in standard deviations of the prior.
        """
        model = shared.Model(estimator)
        vae = model.vae
        kl = vae.kl_per_dim_
        check_scalar(n_dims, "n_dims", Integral, min_val=1)
        check_scalar(n_steps, "n_steps", Integral, min_val=2, max_val=MAX_CURVES)
        dims = np.argsort(-kl)[: min(n_dims, max(1, vae.n_active_dims_))]
        steps = np.linspace(-limit, limit, n_steps)
        Z = np.zeros((len(dims), n_steps, len(kl)))
        Z[np.arange(len(dims)), :, dims] = steps
        rows = np.vstack([np.zeros(len(kl)), Z.reshape(-1, len(kl))])
        mean, *decoded = model.fold(vae.inverse_transform(rows * vae.latent_scale_))
        return cls(
            np.reshape(decoded, Z.shape[:2] + mean.shape),
            steps,
            mean,
            axis_labels=[f"latent {k}" for k in dims],
            **model.axis(kwargs),
        ).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the mean signal and, below it, the differences that each latent makes.

        Channels are columns.
        """
        n_dims, n_steps, n_channels, _ = self.decoded.shape
        size = (max(7.0 / n_channels, 3.6), 1.5)
        self.axes_ = shared.make_axes(ax, 1 + n_dims, n_channels, size, sharex=True)
        self.draw_signal(self.axes_[0], self.mean, kwargs, shared.SIGNAL_COLOR)
        colors = shared.pyplot().get_cmap("viridis")(np.linspace(0, 0.9, n_steps))
        # The largest first, so that the smaller ones lie over it.
        order = np.argsort(-np.abs(self.steps), kind="stable")
        differences = self.decoded - self.mean
        limits = 1.05 * np.abs(differences).max(axis=(0, 1, 3))
        limits[limits == 0] = 1.0  # a constant channel
        for panels, signals in zip(self.axes_[1:], differences, strict=True):
            for k in order:
                self.draw_signal(panels, signals[k], kwargs, colors[k])
            for panel, limit in zip(panels, limits, strict=True):
                panel.set_ylim(-limit, limit)
        for c, name in enumerate(self.name_channels(n_channels)):
            # The mean of scaled signals is about 0, and its shape rounding errors.
            low, high = self.mean[c].min(), self.mean[c].max()
            margin = max(0.05 * (high - low), 0.1 * limits[c])
            self.axes_[0, c].set_ylim(low - margin, high + margin)
            shared.set_title(self.axes_[0, c], name)
        self.label_axes(["mean\nsignal", *self.axis_labels])
        lines = [self.axes_[1, 0].lines[k] for k in np.argsort(order)]
        names = [f"{step:+.3g} sd" if step else "0" for step in self.steps]
        style = {"title": "difference from the mean signal at", "ncols": n_steps}
        shared.add_legend(self.axes_, ax, lines, names, **style)
        return self
