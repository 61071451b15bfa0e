"""Parts that displays share: the autoencoder of a pipeline, axes, colours, legends."""

import re
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.inputs.columns import layout
from skvae.inputs.signals import check_signals
from skvae.transformer import ConvVAETransformer

# Colours of classes, distinct for any kind of colour vision: Petroff (2021),
# https://arxiv.org/abs/2107.02270.
COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
SIGNAL_COLOR, MODEL_COLOR = "#555555", "#bd1f01"  # signals, and what the model makes

FIGURE_SIZES = (5, 3), (18, 10)  # inches, smallest and largest


class Display:
    """Base of displays, whose `plot` sets `axes_`, an array (n_rows, n_columns)."""

    @property
    def ax_(self):
        return self.axes_[0, 0]

    @property
    def figure_(self):
        return self.ax_.figure.figure  # not a subfigure


@dataclass(repr=False, eq=False)
class SignalDisplay(Display):
    """Base of displays of signals."""

    _: KW_ONLY
    channel_names: list | None = None  # by default numbers
    timepoints: np.ndarray | None = None  # (n_timepoints,), rising or falling
    xlabel: str | None = None  # by default "time step", or nothing with `timepoints`

    def positions(self, n_timepoints):
        return np.arange(n_timepoints) if self.timepoints is None else self.timepoints

    def draw_signal(self, panels, x, kwargs, color):
        """Draw x (c, t) with its gaps, one channel in each panel."""
        time = self.positions(x.shape[1])
        for panel, channel in zip(panels, x, strict=True):
            style = line_style(kwargs, color=color)
            measured = np.pad(~np.isnan(channel), 1)
            alone = np.flatnonzero(measured[1:-1] & ~measured[:-2] & ~measured[2:])
            if len(alone) and "marker" not in style:  # a line does not show them
                style |= {"marker": ".", "markevery": alone}
            panel.plot(time, channel, **style)
            panel.margins(x=0)
            panel.xaxis.set_inverted(time[-1] < time[0])  # such as falling wavenumbers

    def name_channels(self, n_channels):
        names = self.channel_names
        if names is None:
            return [f"channel {k}" if n_channels > 1 else "" for k in range(n_channels)]
        if len(names) != n_channels:
            raise ValueError(
                f"channel_names has {len(names)} names, but the signals have "
                f"{n_channels} channels. Pass one name for each channel."
            )
        return names

    def label_axes(self, row_names):
        for panel, name in zip(self.axes_[:, 0], row_names, strict=True):
            # Horizontal, because many rows leave no height for a name.
            panel.set_ylabel(name, rotation=0, ha="right", va="center")
        self.ax_.figure.align_ylabels(self.axes_[:, 0])
        default = "time step" if self.timepoints is None else ""
        for panel in self.axes_[-1]:
            panel.set_xlabel(default if self.xlabel is None else self.xlabel)


class Model:
    """The autoencoder of `estimator`, and the steps of a pipeline before it."""

    def __init__(self, estimator):
        pyplot()
        steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
        is_vae = [isinstance(step, ConvVAETransformer) for step in steps]
        if not any(is_vae):
            raise TypeError(
                f"estimator is a {type(estimator).__name__} without a "
                "ConvVAETransformer. Pass a fitted ConvVAETransformer, a Pipeline that "
                "has one among its steps, or the best_estimator_ of a search."
            )
        k = is_vae.index(True)
        self.before, self.vae = estimator[:k] if k else None, steps[k]
        check_is_fitted(self.vae)

    def read(self, X):
        """Signals (n, c, t) as the autoencoder reads them, NaN in gaps."""
        if self.before is not None:
            X = self.before.transform(X)
        return check_signals(self.vae, X, reset=False)

    def fold(self, X):
        """Output of the autoencoder as an array (n, c, t)."""
        shape = self.vae.n_channels_in_, self.vae.n_timepoints_in_
        return np.asarray(X).reshape(len(X), *shape)

    def axis(self, kwargs, X=None):
        """Fields of a `SignalDisplay`: popped from `kwargs`, or else from the fit."""
        vae, n_channels = self.vae, self.vae.n_channels_in_
        names = getattr(vae, "channel_names_in_", None)
        timepoints = getattr(vae, "timepoints_in_", None)
        columns = getattr(vae, "feature_names_in_", None)
        if columns is None and self.before is not None:
            # A step may give no names, or X may have other columns than its fit had.
            with suppress(AttributeError, ValueError):
                columns = self.before.get_feature_names_out(getattr(X, "columns", None))
        if columns is not None and len(columns) == n_channels * vae.n_timepoints_in_:
            if timepoints is None:
                timepoints = layout(columns, n_channels).positions
            names = names or _common_stems(columns, n_channels)
        if timepoints is not None:
            steps = np.diff(timepoints)
            is_ordered = (steps > 0).all() or (steps < 0).all()
            if not is_ordered or np.array_equal(timepoints, range(len(timepoints))):
                timepoints = None
        known = {"channel_names": names, "timepoints": timepoints, "xlabel": None}
        given = {name: kwargs.pop(name, None) for name in known}
        return known | {k: value for k, value in given.items() if value is not None}


def _common_stems(columns, n_channels):
    """Names of channels, from columns such as ax_0, ax_1, ay_0, ay_1; or None."""
    stems = [re.sub(r"[_\-. ]*[\d.]*$", "", str(name)) for name in columns]
    stems = np.reshape(stems, (n_channels, -1))
    names = stems[:, 0].tolist()
    is_named = (stems == stems[:, :1]).all() and all(names)
    return names if is_named and 1 < n_channels == len(set(names)) else None


def pyplot():
    """matplotlib.pyplot, or an ImportError that says what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install it with `pip install skvae[plot]`."
        ) from error
    return plt


def make_axes(ax, n_rows, n_columns, size=(2.8, 2.2), **share):
    """Axes (n_rows, n_columns) of `ax`, or of a new figure with panels of a size."""
    if ax is None:
        figsize = np.clip(np.multiply(size, (n_columns, n_rows)), *FIGURE_SIZES)
        style = {"figsize": figsize, "layout": "constrained", **share}
        return pyplot().subplots(n_rows, n_columns, squeeze=False, **style)[1]
    axes = np.asarray(ax, dtype=object)
    if axes.size != n_rows * n_columns:
        raise ValueError(
            f"ax has {axes.size} axes, but {n_rows} x {n_columns} panels are drawn. "
            f"Pass the axes of plt.subplots({n_rows}, {n_columns}), or no ax."
        )
    return axes.reshape(n_rows, n_columns)


def set_title(panel, title):
    """Set a title of the size of the axis labels."""
    panel.set_title(title, fontsize=panel.xaxis.label.get_size())


def add_legend(axes, ax, handles, labels, loc="lower center", **kwargs):
    """Add a legend beside the panels, or inside the top right one if `ax` is given."""
    labels = labels[: len(handles)]
    if ax is None:
        style = {"loc": f"outside {loc}", "frameon": False} | kwargs
        axes[0, 0].figure.legend(handles, labels, **style)
        return
    style = {"fontsize": "x-small", "title_fontsize": "x-small", "ncols": 1}
    legend = axes[0, -1].legend(handles, labels, **kwargs | style)
    legend.set_in_layout(False)  # small panels would collapse to make room for it


def line_style(kwargs, **defaults):
    """Keywords of `Axes.plot`, by any of their names, over the defaults."""
    from matplotlib import cbook, lines

    style = {"linewidth": 1.0} | defaults
    return style | cbook.normalize_kwargs(kwargs, lines.Line2D)
