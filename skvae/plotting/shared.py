"""What displays share: colours, axes, legends, and the names and shapes of signals."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.validation import check_signals

# Of classes, told apart with any kind of colour vision: Petroff (2021),
# https://arxiv.org/abs/2107.02270.
COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = "os^DvP<X>*"
# Of signals, and of what the model makes of them.
SIGNAL_COLOR, MODEL_COLOR = "#555555", "#bd1f01"

PANEL_SIZE = (2.8, 2.2)  # of one channel's signals, in inches
FIGURE_SIZES = (5, 3), (18, 10)  # from, to what a screen can show


class Display:
    """What `plot` of all displays takes, and what it leaves in the display it returns.

    Parameters
    ----------
    ax : Axes or array of Axes, optional
        Where to draw: as many axes as there are panels, or one that they divide; None
        makes a figure.
    **kwargs
        matplotlib's, of `Axes.plot` or, for points, `Axes.scatter`. `from_estimator`
        passes those that it does not know, and `ax`, on to `plot`.

    Attributes
    ----------
    axes_ : ndarray of Axes, shape (n_rows, n_columns)
    ax_, figure_ : Axes, Figure
        The first of `axes_`, and what it is in.
    """

    @property
    def ax_(self):
        return self.axes_[0, 0]

    @property
    def figure_(self):
        return self.ax_.figure


def pyplot():
    """matplotlib's; called before any work is done, to say what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib. Install it with `pip install skvae[plot]`."
        ) from error
    return plt


def make_axes(ax, n_rows, n_columns, size=PANEL_SIZE, *, sharex=True, sharey="row"):
    """Axes (n_rows, n_columns): of a new figure, as given, or inside a given one."""
    plt = pyplot()
    share = {"sharex": sharex, "sharey": sharey}
    if ax is None:
        figsize = np.clip(np.multiply(size, (n_columns, n_rows)), *FIGURE_SIZES)
        style = {"figsize": figsize, "layout": "constrained", **share}
        return plt.subplots(n_rows, n_columns, squeeze=False, **style)[1]
    axes = np.asarray(ax, dtype=object)
    if axes.size == 1 < n_rows * n_columns:
        (bounds,) = axes.ravel()
        bounds.set_axis_off()
        gap = None if sharey else 0.6  # for tick labels
        grid = bounds.get_subplotspec().subgridspec(n_rows, n_columns, wspace=gap)
        axes = grid.subplots(squeeze=False, **share)
    elif axes.size != n_rows * n_columns:
        raise ValueError(
            f"ax has {axes.size} axes, but {n_rows} x {n_columns} panels are drawn. "
            "Pass as many, or one to divide."
        )
    return axes.reshape(n_rows, n_columns)


def add_legend(axes, ax, handles, labels, loc="lower center", **kwargs):
    """A legend beside the panels of a new figure, or within the last of given ones."""
    labels = labels[: len(handles)]
    if ax is None:
        style = {"loc": f"outside {loc}", "frameon": False} | kwargs
        axes[0, 0].figure.legend(handles, labels, **style)
    else:
        # Small: it is to stay off the next panel.
        style = {"ncols": 1, "fontsize": "x-small", "handlelength": 1, "loc": "best"}
        style = kwargs | style
        # Out of the layout: small panels would collapse to make room for it.
        axes[0, -1].legend(handles, labels, **style).set_in_layout(False)


def line_style(kwargs, **defaults):
    """Keywords of `Axes.plot`, by any of their names, over the defaults."""
    from matplotlib import cbook, lines

    style = {"linewidth": 1.0} | defaults
    return style | cbook.normalize_kwargs(kwargs, lines.Line2D)


def draw_signal(panels, x, kwargs, color):
    """Draw the channels of x (c, t), each in its panel, with their gaps."""
    for panel, channel in zip(panels, x, strict=True):
        style = line_style(kwargs, color=color)
        points = isolated(channel)
        if len(points):
            # No line is drawn of them. If there are none, no marker comes up at all:
            # lines without one are drawn faster.
            own = {"marker": ".", "markevery": points}
            style = style if "marker" in style else own | style
        panel.plot(channel, **style)
        panel.margins(x=0)


def isolated(channel):
    """Time steps that were measured, but not the one before nor the one after."""
    measured = np.pad(~np.isnan(channel), 1)
    return np.flatnonzero(measured[1:-1] & ~measured[:-2] & ~measured[2:])


def label_signals(axes, n_channels, channel_names):
    """Label panels of signals: channels left, repeating down the rows; time below."""
    if n_channels > 1 or channel_names is not None:
        names = name_channels(channel_names, n_channels)
        for i, panel in enumerate(axes[:, 0]):
            # Level: many channels leave no height for a name.
            panel.set_ylabel(names[i % n_channels], rotation=0, ha="right", va="center")
    label_below(axes, "time step")


def label_below(axes, label):
    """Label the lowest panel of each column; those left empty are removed."""
    for column in axes.T:
        panel = drop_unused(column)[-1]
        panel.set_xlabel(label)
        panel.tick_params(labelbottom=True)


def drop_unused(axes):
    """Those of the axes that hold something; the others are removed."""
    for panel in axes.flat:
        if panel.figure and not panel.has_data():
            panel.remove()
    return [panel for panel in axes.flat if panel.figure]


def name_channels(names, n_channels):
    return [f"channel {k}" for k in range(n_channels)] if names is None else names


def read(estimator, X):
    """X as the estimator reads it: an array (n, c, t), NaN in its gaps.

    Its methods take that array, whatever the layout and the container of X.
    """
    check_is_fitted(estimator)
    return check_signals(estimator, X, reset=False)


def fold(estimator, X):
    """What the estimator made, in its layout, as an array (n, c, t)."""
    shape = estimator.n_channels_in_, estimator.n_timepoints_in_
    return np.asarray(X).reshape(len(X), *shape)
