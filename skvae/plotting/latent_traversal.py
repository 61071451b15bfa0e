"""Effect of each latent on the mean signal, or signals over a plane of latents."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar

from skvae.plotting import shared

MAX_CURVES = 5  # in a panel
MAX_PLANE = 2000  # time steps beside each other in a plane: three to a pixel
CELL = 0.43  # half the width of a signal in a plane, less a gap


@dataclass(repr=False, eq=False)
class LatentTraversalDisplay(shared.SignalDisplay):
    """Effect of each latent on the mean signal, or signals over a plane."""

    # (n_dims, n_steps, n_channels, n_timepoints): along one latent, the others at 0.
    # Over a plane (n_steps, n_steps, ...): [i, j] is decoded at (steps[j], steps[i]).
    decoded: np.ndarray
    steps: np.ndarray  # (n_steps,), in standard deviations of the prior
    _: KW_ONLY
    axis_labels: list  # names of the n_dims latents, or of the two of the plane
    mean: np.ndarray | None = None  # (n_channels, n_timepoints), the signal at 0

    @classmethod
    def from_estimator(
        cls, estimator, *, n_dims=5, n_steps=5, limit=2.0, plane="auto", **kwargs
    ):
        """Decode positions along the most active latents and draw the signals.

        Parameters
        ----------
        estimator, **kwargs : see `skvae.plotting`
        n_dims : int
            Largest number of latents. Inactive latents are left out.
        n_steps : int
            Number of signals along a latent: 2 to 5, or more in a plane.
        limit : float
            Last position on both sides, in standard deviations of the prior.
        plane : bool or "auto"
            Whether to draw the signals over the plane of the two most active latents. A
            plane takes one channel and at most 2000 / `n_steps` time steps. "auto"
            draws a plane if there are two latents and the signals keep these limits.
        """
        model = shared.Model(estimator)
        vae = model.vae
        kl = vae.kl_per_dim_
        n_dims = int(check_scalar(n_dims, "n_dims", Integral, min_val=1))
        n_steps = int(check_scalar(n_steps, "n_steps", Integral, min_val=2))
        is_legible = (
            vae.n_channels_in_ == 1 and n_steps * vae.n_timepoints_in_ <= MAX_PLANE
        )
        if plane == "auto":
            plane = len(kl) == 2 and is_legible
        elif plane and not (len(kl) > 1 and is_legible):
            raise ValueError(
                f"plane=True with {len(kl)} latents, {vae.n_channels_in_} channels and "
                f"{n_steps} times {vae.n_timepoints_in_} time steps beside each other. "
                "A plane takes two or more latents, one channel and at most "
                f"{MAX_PLANE} time steps. Use plane=False, or fewer n_steps."
            )
        by_activity = np.argsort(-kl)
        if plane:
            dims = np.sort(by_activity[:2])  # as in a LatentSpaceDisplay
        else:
            check_scalar(n_steps, "n_steps", Integral, max_val=MAX_CURVES)
            dims = by_activity[: min(n_dims, max(1, vae.n_active_dims_))]
        steps = np.linspace(-limit, limit, n_steps)
        Z = np.zeros((n_steps if plane else len(dims), n_steps, len(kl)))
        if plane:
            Z[:, :, dims] = np.stack(np.meshgrid(steps, steps), axis=-1)
        else:
            Z[np.arange(len(dims)), :, dims] = steps
        rows = np.vstack([np.zeros(len(kl)), Z.reshape(-1, len(kl))])
        mean, *decoded = model.fold(vae.inverse_transform(rows * vae.latent_scale_))
        return cls(
            np.reshape(decoded, Z.shape[:2] + mean.shape),
            steps,
            axis_labels=[f"latent {k}" for k in dims],
            mean=None if plane else mean,
            **model.axis(kwargs),
        ).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the mean signal and, below it, the differences that each latent makes.

        Channels are columns. Without a mean, draw the plane.
        """
        if self.mean is None:
            self._plot_plane(ax, kwargs)
            return self
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

    def _plot_plane(self, ax, kwargs):
        from matplotlib.collections import LineCollection

        self.axes_ = shared.make_axes(ax, 1, 1, (7.0, 7.0))
        signals = self.decoded[:, :, 0]  # (i, j, t)
        cell = CELL * (self.steps[1] - self.steps[0])
        time = self.positions(signals.shape[2])
        time = (time - time[0]) / ((time[-1] - time[0]) or 1)  # from 0 to 1
        low, high = signals.min(), signals.max()
        heights = (2 * signals - low - high) / max(high - low, 1e-12)
        x = self.steps[:, None] + cell * (2 * time - 1)  # (j, t)
        y = self.steps[:, None, None] + cell * heights  # (i, j, t)
        lines = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, len(time), 2)
        style = shared.line_style(kwargs, color=shared.MODEL_COLOR)
        self.ax_.add_collection(LineCollection(lines, **style))
        self.ax_.autoscale_view()
        self.ax_.set_aspect("equal")
        labels = [f"{label} (prior sd)" for label in self.axis_labels]
        self.ax_.set(xlabel=labels[0], ylabel=labels[1])
