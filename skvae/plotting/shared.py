"""What displays share: colours, axes, legends, and the names and shapes of signals."""

import re

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.inputs.signals import check_signals

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
MIN_WIDTH = 1.1  # of a panel in a divided axes, in inches
SMALL = "x-small"  # text there


class Display:
    """What `plot` of all displays takes, and what it leaves in the display it returns.

    Parameters
    ----------
    ax : Axes or array of Axes, optional
        Where to draw: as many axes as there are panels, or one that is replaced by
        them, in small text, best in a figure of ``layout="constrained"``; None makes a
        figure.
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
        return self.ax_.figure.figure  # not a part of one


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
    """Axes (n_rows, n_columns): of a new figure, as given, or in the place of one."""
    plt = pyplot()
    share = {"sharex": sharex, "sharey": sharey}
    if ax is None:
        figsize = np.clip(np.multiply(size, (n_columns, n_rows)), *FIGURE_SIZES)
        style = {"figsize": figsize, "layout": "constrained", **share}
        return plt.subplots(n_rows, n_columns, squeeze=False, **style)[1]
    axes = np.asarray(ax, dtype=object)
    if is_divided(ax, n_rows * n_columns):
        axes = divide(axes.item(), n_rows, n_columns, share)
    elif axes.size != n_rows * n_columns:
        raise ValueError(
            f"ax has {axes.size} axes, but {n_rows} x {n_columns} panels are drawn. "
            "Pass as many, or one to divide."
        )
    return axes.reshape(n_rows, n_columns)


def is_divided(ax, n_panels):
    """Whether so many panels take the place of one given axes."""
    return ax is not None and np.size(ax) == 1 < n_panels


def divide(ax, n_rows, n_columns, share):
    """Panels with small text in the place of an axes, in a part of its figure.

    A part of its own keeps what is beside the panels, as a legend, off what is beside
    `ax`.
    """
    spec = ax.get_subplotspec()
    if spec is None:
        raise ValueError(
            f"ax is to hold {n_rows} x {n_columns} panels, but it is in no grid that "
            "tells its place. Make it with plt.subplots or figure.add_subplot, or pass "
            "as many axes."
        )
    figure = ax.figure.add_subfigure(spec)
    ax.remove()
    room = {}
    if figure.get_layout_engine() is None:  # for a legend, and tick labels
        room = {"left": 0.2, "right": 0.88, "bottom": 0.38}
        room["wspace"] = 0.4 if share["sharey"] else 0.9
    axes = figure.subplots(n_rows, n_columns, squeeze=False, gridspec_kw=room, **share)
    for panel in axes.flat:
        panel.tick_params(labelsize=SMALL)
        if n_rows > 3:  # two numbers on an axis, as far apart as may be
            panel.locator_params("y", steps=[1, 1.5, 2, 3, 4, 5, 6, 8, 10])
        for axis in (panel.xaxis, panel.yaxis):
            axis.label.set_size(SMALL)
    return axes


def n_that_fit(ax, n_panels):
    """How many of the panels have room side by side: all, but in a given axes."""
    if ax is None or np.size(ax) > 1:
        return n_panels
    ax = np.asarray(ax, dtype=object).item()
    width = ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi
    return max(1, min(n_panels, int(width / MIN_WIDTH)))


def set_title(panel, title):
    """A title as large as the labels of the axes."""
    panel.set_title(title, fontsize=panel.xaxis.label.get_size())


def add_legend(axes, ax, handles, labels, loc="lower center", **kwargs):
    """A legend beside the panels, or within the last of those that were given."""
    labels = labels[: len(handles)]
    if ax is None:
        style = {"loc": f"outside {loc}", "frameon": False} | kwargs
        axes[0, 0].figure.legend(handles, labels, **style)
        return
    close = {"handlelength": 1.2, "labelspacing": 0.3, "columnspacing": 1.2}
    style = kwargs | close | {"fontsize": SMALL}
    if is_divided(ax, axes.size):
        style |= {"loc": "outside lower center", "frameon": False}
        axes[0, 0].figure.legend(handles, labels, **style)
    else:
        # Out of the layout: small panels would collapse to make room for it.
        legend = axes[0, -1].legend(handles, labels, **style | {"ncols": 1})
        legend.set_in_layout(False)


def add_colorbar(axes, ax, mappable, **kwargs):
    """A colour bar beside the axes, its text small where they were given."""
    bar = axes[0].figure.colorbar(mappable, ax=axes, pad=0.02, **kwargs)
    if ax is not None:
        bar.ax.tick_params(labelsize=SMALL)
        bar.ax.yaxis.label.set_size(SMALL)
    return bar


def line_style(kwargs, **defaults):
    """Keywords of `Axes.plot`, by any of their names, over the defaults."""
    from matplotlib import cbook, lines

    style = {"linewidth": 1.0} | defaults
    return style | cbook.normalize_kwargs(kwargs, lines.Line2D)


def draw_signal(panels, x, kwargs, color, timepoints=None):
    """Draw the channels of x (c, t), each in its panel, with their gaps."""
    time = positions(timepoints, x.shape[1])
    for panel, channel in zip(panels, x, strict=True):
        style = line_style(kwargs, color=color)
        points = isolated(channel)
        if len(points):
            # No line is drawn of them. If there are none, no marker comes up at all:
            # lines without one are drawn faster.
            own = {"marker": ".", "markevery": points}
            style = style if "marker" in style else own | style
        panel.plot(time, channel, **style)
        panel.margins(x=0)
        panel.xaxis.set_inverted(time[-1] < time[0])  # as of wavenumbers that fall


def positions(timepoints, n_timepoints):
    """Where time steps are drawn: at `timepoints`, or by their numbers."""
    return np.arange(n_timepoints) if timepoints is None else timepoints


def isolated(channel):
    """Time steps that were measured, but not the one before nor the one after."""
    measured = np.pad(~np.isnan(channel), 1)
    return np.flatnonzero(measured[1:-1] & ~measured[:-2] & ~measured[2:])


def label_signals(axes, n_channels, channel_names, timepoints, xlabel):
    """Label panels of signals: channels left, repeating down the rows; time below."""
    if n_channels > 1 or channel_names is not None:
        names = name_channels(channel_names, n_channels)
        for i, panel in enumerate(axes[:, 0]):
            # Level: many channels leave no height for a name.
            panel.set_ylabel(names[i % n_channels], rotation=0, ha="right", va="center")
        axes[0, 0].figure.align_ylabels(axes[:, 0])
    if xlabel is None:
        xlabel = "time step" if timepoints is None else ""
    label_below(axes, xlabel)


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
    """The names, as many as channels, or numbers."""
    if names is None:
        return [f"channel {k}" for k in range(n_channels)]
    if len(names) != n_channels:
        raise ValueError(
            f"channel_names has {len(names)} names, but the signals have {n_channels} "
            "channels. Pass one for each."
        )
    return names


def known_names(estimator, names=None):
    """Names of channels: those given, or of columns such as ax_0, ax_1, ay_0, ay_1."""
    if names is None:
        names = getattr(estimator, "channel_names_in_", None)
    columns = getattr(estimator, "feature_names_in_", None)
    if names is not None or columns is None or estimator.n_channels_in_ == 1:
        return names
    stems = [re.sub(r"[_\-. ]*[\d.]*$", "", name) for name in columns]
    channels = np.reshape(stems, (estimator.n_channels_in_, -1))
    is_named = (channels == channels[:, :1]).all() and all(channels[:, 0])
    if is_named and len({*channels[:, 0]}) == len(channels):
        return channels[:, 0].tolist()
    return None


def known_timepoints(estimator):
    """Positions of time steps, of columns of the fitted X that say more than numbers.

    None where there are none, or where they neither rise nor fall throughout.
    """
    timepoints = getattr(estimator, "timepoints_in_", None)
    if timepoints is None or np.array_equal(timepoints, np.arange(len(timepoints))):
        return None
    steps = np.diff(timepoints)
    return timepoints if (steps > 0).all() or (steps < 0).all() else None


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
