"""Signals decoded along latent axes, or over the plane of two."""

import numpy as np

from skvae.plotting import shared

PRIOR_UNIT = "prior sd"


class LatentTraversalDisplay(shared.Display):
    """Signals decoded along latent axes, or over the plane of two.

    Parameters
    ----------
    decoded : ndarray of shape (n_dims, n_steps, n_channels, n_timepoints) or \
            (n_steps, n_steps, n_channels, n_timepoints)
        Along each axis, the others at 0; or over the plane, ``decoded[i, j]`` at
        ``(steps[j], steps[i])``.
    steps : ndarray of shape (n_steps,)
        Positions on an axis, in standard deviations of the prior.
    axis_labels : sequence of str
        Names of the axes: n_dims, or the two of the plane.
    plane : bool
        Which of both.
    channel_names : sequence of str, optional
    """

    def __init__(self, decoded, steps, *, axis_labels, plane=False, channel_names=None):
        self.decoded = decoded
        self.steps = steps
        self.axis_labels = axis_labels
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
        """
        shared.check_matplotlib()
        kl = estimator.kl_per_dim_
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
        Z *= estimator.latent_scale_
        Z_rows = Z.reshape(-1, len(kl))
        decoded = shared.fold(estimator, estimator.inverse_transform(Z_rows))
        return cls(
            decoded.reshape(*Z.shape[:2], *decoded.shape[1:]),
            steps,
            axis_labels=[f"latent {k}" for k in dims],
            plane=plane,
            channel_names=channel_names,
        ).plot(ax, **kwargs)

    def plot(self, ax=None, *, cmap="viridis", **kwargs):
        """Draw the signals.

        Parameters
        ----------
        ax : Axes or array of Axes, optional
        cmap : str or Colormap
            Of the position along an axis.
        **kwargs : as for `Axes.plot`
        """
        if self.plane:
            self._plot_plane(ax, kwargs)
        else:
            self._plot_axes(ax, cmap, kwargs)
        return self

    def _plot_axes(self, ax, cmap, kwargs):
        import matplotlib.pyplot as plt

        n_dims, _, n_channels, _ = self.decoded.shape
        # One channel leaves room to wrap; several are rows under the same axis.
        n_rows = -(-n_dims // 4) if n_channels == 1 else 1
        n_columns = -(-n_dims // n_rows)
        sharey = True if n_channels == 1 else "row"
        self.axes_ = shared.make_axes(ax, n_rows * n_channels, n_columns, sharey=sharey)
        norm = plt.Normalize(self.steps[0], self.steps[-1])
        colors = plt.get_cmap(cmap)(norm(self.steps))
        for k in range(n_dims):
            row, column = divmod(k, n_columns)
            panels = self.axes_[row * n_channels :, column][:n_channels]
            panels[0].set_title(self.axis_labels[k], fontsize="medium")
            for x, color in zip(self.decoded[k], colors, strict=True):
                shared.draw_signal(panels, x, kwargs, color)
        shared.label_signals(self.axes_, n_channels, self.channel_names)
        self.figure_.colorbar(
            plt.cm.ScalarMappable(norm, cmap),
            ax=shared.drop_unused(self.axes_),
            label=f"latent ({PRIOR_UNIT})",
        )

    def _plot_plane(self, ax, kwargs):
        from matplotlib.collections import LineCollection

        n_channels, n_timepoints = self.decoded.shape[2:]
        n_columns = min(n_channels, 3)
        n_rows = -(-n_channels // n_columns)
        self.axes_ = shared.make_axes(ax, n_rows, n_columns, (4.5, 4.5), sharey=True)
        names = shared.name_channels(self.channel_names, n_channels)
        cell = 0.43 * (self.steps[1] - self.steps[0])  # half the width, less a gap
        x = self.steps[:, None] + cell * np.linspace(-1, 1, n_timepoints)  # (j, t)
        for channel, panel in enumerate(self.axes_.flat[:n_channels]):
            signals = self.decoded[:, :, channel]  # (i, j, t)
            low, high = signals.min(), signals.max()
            heights = (2 * signals - low - high) / max(high - low, 1e-12)
            y = self.steps[:, None, None] + cell * heights
            lines = np.stack(np.broadcast_arrays(x, y), axis=-1)  # (i, j, t, 2)
            style = shared.line_style(kwargs, color=shared.MODEL_COLOR)
            lines = LineCollection(lines.reshape(-1, n_timepoints, 2), **style)
            panel.add_collection(lines)
            panel.autoscale_view()
            panel.set_aspect("equal")
            if n_channels > 1:
                panel.set_title(names[channel], fontsize="medium")
        shared.drop_unused(self.axes_)
        for panel in self.axes_[-1]:
            panel.set_xlabel(f"{self.axis_labels[0]} ({PRIOR_UNIT})")
        for panel in self.axes_[:, 0]:
            panel.set_ylabel(f"{self.axis_labels[1]} ({PRIOR_UNIT})")
