"""Signals decoded along latent axes, or over the plane of two."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from skvae.plotting import shared

PRIOR_UNIT = "prior sd"


@dataclass(repr=False, eq=False)
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
    timepoints : ndarray of shape (n_timepoints,), optional
        Positions of the time steps on the axis, which rise or fall; else 0, 1, 2, ...
    xlabel : str, optional
        Label of that axis; None: "time step", or with `timepoints` nothing.
    """

    decoded: np.ndarray
    steps: np.ndarray
    _: KW_ONLY
    axis_labels: list
    plane: bool = False
    channel_names: list | None = None
    timepoints: np.ndarray | None = None
    xlabel: str | None = None

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
        xlabel=None,
        **kwargs,
    ):
        """Decode latents along the most active axes and draw the signals.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        n_dims : int
            Axes at most; inactive ones are left out, and of several channels those that
            have no room in a given axes.
        n_steps : int
            Signals along an axis, at least 2.
        limit : float
            How far to go both ways, in standard deviations of the prior.
        plane : bool or "auto"
            Decode over the plane of the two most active axes; "auto": with two latents.
        channel_names : sequence of str, optional
        xlabel : str, optional
            Label of the axis of time steps, as "wavelength (nm)" where the columns of
            the fitted X were numbers, which the axis then shows.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        check_is_fitted(estimator)
        n_dims = int(check_scalar(n_dims, "n_dims", Integral, min_val=1))
        n_steps = int(check_scalar(n_steps, "n_steps", Integral, min_val=2))
        kl = estimator.kl_per_dim_
        if plane == "auto":
            plane = len(kl) == 2
        elif plane and len(kl) < 2:
            raise ValueError(
                "plane=True, but the estimator has latent_dim=1, and a plane has two "
                "axes. Use plane=False."
            )
        n_dims = 2 if plane else min(n_dims, max(1, estimator.n_active_dims_))
        dims = np.argsort(-kl)[:n_dims]
        if plane:  # as in a LatentSpaceDisplay
            dims = np.sort(dims)
        steps = np.linspace(-limit, limit, n_steps)
        Z = np.zeros((n_steps if plane else n_dims, n_steps, len(kl)))
        if plane:
            Z[:, :, dims] = np.stack(np.meshgrid(steps, steps), axis=-1)
        else:
            Z[np.arange(n_dims), :, dims] = steps
        Z_rows = (Z * estimator.latent_scale_).reshape(-1, len(kl))
        decoded = shared.fold(estimator, estimator.inverse_transform(Z_rows))
        return cls(
            decoded.reshape(*Z.shape[:2], *decoded.shape[1:]),
            steps,
            axis_labels=[f"latent {k}" for k in dims],
            plane=plane,
            channel_names=shared.known_names(estimator, channel_names),
            timepoints=shared.known_timepoints(estimator),
            xlabel=xlabel,
        ).plot(**kwargs)

    def plot(self, ax=None, *, cmap="viridis", **kwargs):
        """Draw the signals; `cmap` (str or Colormap) is of the position on an axis."""
        if self.plane:
            self._plot_plane(ax, kwargs)
        else:
            self._plot_axes(ax, cmap, kwargs)
        return self

    def _plot_axes(self, ax, cmap, kwargs):
        plt = shared.pyplot()
        n_dims, _, n_channels, _ = self.decoded.shape
        # One channel leaves room to wrap; several are rows under the same axis.
        if n_channels == 1:
            n_rows = -(-n_dims // shared.n_that_fit(ax, 4))
        else:
            n_rows, n_dims = 1, shared.n_that_fit(ax, n_dims)
        n_columns = -(-n_dims // n_rows)
        sharey = True if n_channels == 1 else "row"
        self.axes_ = shared.make_axes(ax, n_rows * n_channels, n_columns, sharey=sharey)
        norm = plt.Normalize(self.steps[0], self.steps[-1])
        colors = plt.get_cmap(cmap)(norm(self.steps))
        groups = self.axes_.reshape(n_rows, n_channels, n_columns).swapaxes(1, 2)
        for k, panels in enumerate(groups.reshape(-1, n_channels)[:n_dims]):
            shared.set_title(panels[0], self.axis_labels[k])
            for x, color in zip(self.decoded[k], colors, strict=True):
                shared.draw_signal(panels, x, kwargs, color, self.timepoints)
        names = self.channel_names, self.timepoints, self.xlabel
        shared.label_signals(self.axes_, n_channels, *names)
        shared.add_colorbar(
            shared.drop_unused(self.axes_),
            ax,
            plt.cm.ScalarMappable(norm, cmap),
            label=f"latent ({PRIOR_UNIT})",
        )

    def _plot_plane(self, ax, kwargs):
        from matplotlib.collections import LineCollection

        n_channels, n_timepoints = self.decoded.shape[2:]
        n_columns = min(n_channels, shared.n_that_fit(ax, 3))
        n_rows = -(-n_channels // n_columns)
        self.axes_ = shared.make_axes(ax, n_rows, n_columns, (4.5, 4.5), sharey=True)
        names = shared.name_channels(self.channel_names, n_channels)
        cell = 0.43 * (self.steps[1] - self.steps[0])  # half the width, less a gap
        time = shared.positions(self.timepoints, n_timepoints)
        time = (time - time[0]) / ((time[-1] - time[0]) or 1)  # from 0 to 1
        x = self.steps[:, None] + cell * (2 * time - 1)  # (j, t)
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
                shared.set_title(panel, names[channel])
        space = "\n" if shared.is_divided(ax, self.axes_.size) else " "
        labels = [f"{label}{space}({PRIOR_UNIT})" for label in self.axis_labels]
        shared.label_below(self.axes_, labels[0])
        for panel in self.axes_[:, 0]:
            panel.set_ylabel(labels[1])
