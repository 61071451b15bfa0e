"""What displays share: the autoencoder of a pipeline, axes, colours and legends."""

import re
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.inputs.columns import layout
from skvae.inputs.signals import check_signals
from skvae.transformer import ConvVAETransformer

# Of classes, distinct for any kind of colour vision: Petroff (2021),
# https://arxiv.org/abs/2107.02270.
COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
# Of signals, and of what the model makes of them.
SIGNAL_COLOR, MODEL_COLOR = "#555555", "#bd1f01"

PANEL_SIZE = (2.8, 2.2)  # of one channel's signals, in inches
FIGURE_SIZES = (5, 3), (18, 10)  # smallest, and largest that a screen can show


class Display:
    """Base of all displays.

    `from_estimator` takes a fitted `ConvVAETransformer`, or a fitted `Pipeline` that
    contains one. The steps before it transform X, the steps behind it are not used.
    Other keywords than its own are passed on to `plot`.

    Parameters of `plot`
    --------------------
    ax : Axes or array of Axes, optional
        As many axes as there are panels. None makes a figure.
    **kwargs
        Keywords of matplotlib's `Axes.plot` or, for points, `Axes.scatter`.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_rows, n_columns)
    ax_, figure_ : Axes, Figure
        The first of `axes_`, and its figure.
    """

    @property
    def ax_(self):
        return self.axes_[0, 0]

    @property
    def figure_(self):
        return self.ax_.figure.figure  # not a subfigure


@dataclass(repr=False, eq=False)
class SignalDisplay(Display):
    """Base of displays of signals.

    Parameters
    ----------
    channel_names : sequence of str, optional
        By default names of columns, or numbers.
    timepoints : ndarray of shape (n_timepoints,), optional
        Positions of the time steps on the axis. They rise or fall. `from_estimator`
        reads them from names of columns that are numbers or times, such as wavelengths:
        those of the fitted X, or of the output of the steps before. scikit-learn's
        steps keep names only if they are strings: ``X.rename(columns=str)``.
    xlabel : str, optional
        Label of that axis, such as ``"wavelength (nm)"``. By default "time step", or
        nothing with `timepoints`.
    """

    _: KW_ONLY
    channel_names: list | None = None
    timepoints: np.ndarray | None = None
    xlabel: str | None = None

    def positions(self, n_timepoints):
        return np.arange(n_timepoints) if self.timepoints is None else self.timepoints

    def draw_signal(self, panels, x, kwargs, color):
        """Draw the channels of x (c, t), each in its panel, with their gaps."""
        time = self.positions(x.shape[1])
        for panel, channel in zip(panels, x, strict=True):
            style = line_style(kwargs, color=color)
            alone = isolated(channel)
            if len(alone) and "marker" not in style:  # a line does not show them
                style |= {"marker": ".", "markevery": alone}
            panel.plot(time, channel, **style)
            panel.margins(x=0)
            panel.xaxis.set_inverted(time[-1] < time[0])  # as of wavenumbers that fall

    def name_channels(self, n_channels):
        names = self.channel_names
        if names is None:
            return [f"channel {k}" for k in range(n_channels)]
        if len(names) != n_channels:
            raise ValueError(
                f"channel_names has {len(names)} names, but the signals have "
                f"{n_channels} channels. Pass one for each."
            )
        return names

    def label_signals(self):
        """Label the rows by their channels, and the time axis below."""
        if len(self.axes_) > 1 or self.channel_names is not None:
            names = self.name_channels(len(self.axes_))
            label_rows(self.axes_[:, 0], names)
        self.label_time()

    def label_time(self):
        default = "time step" if self.timepoints is None else ""
        for panel in self.axes_[-1]:
            panel.set_xlabel(default if self.xlabel is None else self.xlabel)


class Model:
    """The autoencoder of `estimator`, and the steps of a pipeline before it."""

    def __init__(self, estimator):
        pyplot()
        self.before, self.vae = split(estimator)
        check_is_fitted(self.vae)

    def read(self, X):
        """X as the autoencoder reads it: an array (n, c, t), NaN in its gaps."""
        if self.before is not None:
            X = self.before.transform(X)
        return check_signals(self.vae, X, reset=False)

    def fold(self, X):
        """Output of the autoencoder, in its layout, as an array (n, c, t)."""
        shape = self.vae.n_channels_in_, self.vae.n_timepoints_in_
        return np.asarray(X).reshape(len(X), *shape)

    def axis(self, channel_names, xlabel, X=None):
        """Keywords of a `SignalDisplay`."""
        columns = self._columns(X)
        if channel_names is None:
            channel_names = self._channel_names(columns)
        timepoints = getattr(self.vae, "timepoints_in_", None)
        if timepoints is None and columns is not None:
            timepoints = layout(columns, self.vae.n_channels_in_).positions
        if timepoints is not None:
            steps = np.diff(timepoints)
            is_ordered = (steps > 0).all() or (steps < 0).all()
            if not is_ordered or np.array_equal(timepoints, range(len(timepoints))):
                timepoints = None
        names = {"channel_names": channel_names, "timepoints": timepoints}
        return {"xlabel": xlabel} | names

    def _columns(self, X):
        """Names of the columns that the autoencoder was fitted on, or None."""
        columns = getattr(self.vae, "feature_names_in_", None)
        if columns is None and self.before is not None:
            # A step may have no names, and those of X need not be those of its fit.
            with suppress(AttributeError, ValueError):
                given = getattr(X, "columns", None)
                columns = self.before.get_feature_names_out(given)
        n_columns = self.vae.n_channels_in_ * self.vae.n_timepoints_in_
        return columns if columns is not None and len(columns) == n_columns else None

    def _channel_names(self, columns):
        """Names of channels, also from columns such as ax_0, ax_1, ay_0, ay_1."""
        names = getattr(self.vae, "channel_names_in_", None)
        n_channels = self.vae.n_channels_in_
        if names is not None or columns is None or n_channels == 1:
            return names
        stems = [re.sub(r"[_\-. ]*[\d.]*$", "", str(name)) for name in columns]
        channels = np.reshape(stems, (n_channels, -1))
        names = channels[:, 0].tolist()
        is_named = (channels == channels[:, :1]).all() and all(names)
        return names if is_named and len(set(names)) == n_channels else None


def split(estimator):
    """The steps of a pipeline before the autoencoder, or None, and the autoencoder."""
    if isinstance(estimator, ConvVAETransformer):
        return None, estimator
    for k, (_, step) in enumerate(getattr(estimator, "steps", ())):
        if isinstance(step, ConvVAETransformer):
            return estimator[:k] if k else None, step
    raise TypeError(
        f"estimator is a {type(estimator).__name__} without a ConvVAETransformer. Pass "
        "a fitted ConvVAETransformer, a Pipeline that has one among its steps, or the "
        "best_estimator_ of a search."
    )


def pyplot():
    """matplotlib's; called before any work is done, to say what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install it with `pip install skvae[plot]`."
        ) from error
    return plt


def make_axes(ax, n_rows, n_columns, size=PANEL_SIZE, **share):
    """Axes (n_rows, n_columns), of a new figure or as given."""
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
    """A title as large as the labels of the axes."""
    panel.set_title(title, fontsize=panel.xaxis.label.get_size())


def label_rows(panels, names):
    for panel, name in zip(panels, names, strict=True):
        # Level: many rows leave no height for a name.
        panel.set_ylabel(name, rotation=0, ha="right", va="center")
    panels[0].figure.align_ylabels(panels)


def add_legend(axes, ax, handles, labels, loc="lower center", **kwargs):
    """A legend outside the panels of a new figure, or at the last of given ones."""
    labels = labels[: len(handles)]
    if ax is None:
        style = {"loc": f"outside {loc}", "frameon": False} | kwargs
        axes[0, 0].figure.legend(handles, labels, **style)
        return
    panel = axes[0, -1]
    style = {"fontsize": "x-small", "handlelength": 1.2, "labelspacing": 0.3}
    style = kwargs | style | {"ncols": 1}
    if loc == "right upper" and panel.figure.get_layout_engine():
        style |= {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
        panel.legend(handles, labels, **style)
    else:  # within it, out of the layout: panels would collapse to make room
        panel.legend(handles, labels, **style).set_in_layout(False)


def line_style(kwargs, **defaults):
    """Keywords of `Axes.plot`, by any of their names, over the defaults."""
    from matplotlib import cbook, lines

    style = {"linewidth": 1.0} | defaults
    return style | cbook.normalize_kwargs(kwargs, lines.Line2D)


def isolated(channel):
    """Time steps that were measured, but not the one before nor the one after."""
    measured = np.pad(~np.isnan(channel), 1)
    return np.flatnonzero(measured[1:-1] & ~measured[:-2] & ~measured[2:])
