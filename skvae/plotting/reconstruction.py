"""Signals against their reconstructions, side by side or one by one in a window."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils import check_random_state

from skvae.plotting import shared

ERROR_UNITS = {"standard": " sd", "minmax": " of range", None: ""}
ORDERS = {
    None: "as given",
    "worst": "worst first",
    "best": "best first",
    "random": "at random",
}


@dataclass(repr=False, eq=False)
class ReconstructionDisplay(shared.Display):
    """Signals against their reconstructions, in the order of display.

    Parameters
    ----------
    signals, reconstructions : ndarray of shape (n_samples, n_channels, n_timepoints)
        NaN in `signals` is a gap in what is drawn; reconstructions go through it.
    noise_std : ndarray of shape (n_channels,), optional
        Standard deviation of the decoder's noise, in the units of the signals.
    errors : ndarray of shape (n_samples,), optional
        Root mean square error of each sample, over what was measured of it.
    error_unit : str
        What follows an error in a title.
    indices : ndarray of shape (n_samples,), optional
        The numbers of the samples.
    order : {"worst", "best", "random"}, optional
        How they are sorted, which the titles say.
    channel_names : sequence of str, optional
    timepoints : ndarray of shape (n_timepoints,), optional
        Positions of the time steps on the axis, which rise or fall; else 0, 1, 2, ...
    xlabel : str, optional
        Label of that axis; None: "time step", or with `timepoints` nothing.
    """

    signals: np.ndarray
    reconstructions: np.ndarray
    _: KW_ONLY
    noise_std: np.ndarray | None = None
    errors: np.ndarray | None = None
    error_unit: str = ""
    indices: np.ndarray | None = None
    order: str | None = None
    channel_names: list | None = None
    timepoints: np.ndarray | None = None
    xlabel: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        samples="worst",
        channel_names=None,
        xlabel=None,
        random_state=None,
        **kwargs,
    ):
        """Reconstruct signals and draw some of them.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `transform`
        samples : {"worst", "best", "random"} or array-like of int or bool
            Which signals come first, by their reconstruction error in scaled units
            over what was measured, or which to take: their numbers, or a mask.
        channel_names : sequence of str, optional
        xlabel : str, optional
            Label of the axis of time steps, as "wavelength (nm)" where the columns of
            the fitted X were numbers, which the axis then shows.
        random_state : int, RandomState instance or None
            Of ``samples="random"``.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        signals = shared.read(estimator, X)
        reconstructions = shared.fold(estimator, estimator.reconstruct(signals))
        scale = estimator.scaler_.scale_
        squared_errors = ((signals - reconstructions) / scale) ** 2
        errors = np.sqrt(np.nanmean(squared_errors, axis=(1, 2)))
        indices = _sort(errors, samples, random_state)
        noise_std = None
        likelihood = estimator.net_.criterion_.likelihood  # as fitted
        if not likelihood.is_unit_range:  # whose noise is another at each value
            std = likelihood.std(estimator.reconstruction_weight_, None)
            noise_std = scale[:, 0] * std
        return cls(
            signals[indices],
            reconstructions[indices],
            noise_std=noise_std,
            errors=errors[indices],
            error_unit=ERROR_UNITS[estimator.scaler_.kind],
            indices=indices,
            order=samples if isinstance(samples, str) else None,
            channel_names=shared.known_names(estimator, channel_names),
            timepoints=shared.known_timepoints(estimator),
            xlabel=xlabel,
        ).plot(**kwargs)

    def plot(self, ax=None, *, n_samples=None, **kwargs):
        """Draw the first `n_samples` samples, a column each; channels are rows.

        None are four, or as many of these as have room in a given axes.
        """
        n_channels = self.signals.shape[1]
        n_samples = n_samples or shared.n_that_fit(ax, 4)
        n_samples = min(n_samples, len(self.signals))
        self.axes_ = shared.make_axes(ax, n_channels, n_samples)
        for i, column in enumerate(self.axes_.T):
            self._draw(column, i, kwargs)
            shared.set_title(column[0], self._title(i))
        self._label(ax)
        return self

    def browse(self, start=0, **kwargs):
        """Open a window in which left and right arrow keys step through samples.

        It shows that of number `start` first; keywords are as for `plot`.
        """
        n_samples, n_channels, _ = self.signals.shape
        self.axes_ = shared.make_axes(None, n_channels, 1, (8.0, 2.2))
        self.position_ = int(start) % n_samples

        def draw():
            for ax in self.axes_[:, 0]:  # quicker than to clear it
                for artist in (*ax.lines, *ax.collections):
                    artist.remove()
                ax.relim()
            self._draw(self.axes_[:, 0], self.position_, kwargs)
            title = self._title(self.position_, arrows=True)
            shared.set_title(self.ax_, title)
            self.figure_.canvas.draw_idle()

        def on_key(event):
            step = {"left": -1, "right": 1}.get(event.key, 0)
            if step:
                self.position_ = (self.position_ + step) % n_samples
                draw()

        draw()
        self._label(None)
        # matplotlib's own meaning of the arrows, back and forward in the history of
        # zooms, would bring back the limits of another signal.
        canvas = self.figure_.canvas
        canvas.mpl_disconnect(canvas.manager.key_press_handler_id)
        canvas.mpl_connect("key_press_event", on_key)
        shared.pyplot().show()
        return self

    def _draw(self, axes, i, kwargs):
        x, x_hat = self.signals[i], self.reconstructions[i]
        colors = shared.SIGNAL_COLOR, shared.MODEL_COLOR
        for signal, color in zip((x, x_hat), colors, strict=True):
            shared.draw_signal(axes, signal, kwargs, color, self.timepoints)
        if self.noise_std is not None:
            style = {"color": shared.MODEL_COLOR, "alpha": 0.15, "lw": 0}
            time = shared.positions(self.timepoints, x.shape[1])
            half = 2 * self.noise_std[:, None]
            for ax, low, high in zip(axes, x_hat - half, x_hat + half, strict=True):
                ax.fill_between(time, low, high, **style)

    def _title(self, i, arrows=False):
        """Number and error of a sample, below its place if they are sorted."""
        name = f"signal {i if self.indices is None else self.indices[i]}"
        if self.errors is not None:
            name += f", RMSE {self.errors[i]:.3g}{self.error_unit}"
        place = f"{ORDERS[self.order]}, {i + 1} of {len(self.signals)}"
        if arrows:
            return f"← {place} →\n{name}"
        return name if self.order is None else f"{place}\n{name}"

    def _label(self, ax):
        names = self.channel_names, self.timepoints, self.xlabel
        shared.label_signals(self.axes_, self.signals.shape[1], *names)
        handles = [*self.ax_.lines, *self.ax_.collections]
        labels = ["signal", "reconstruction", "± 2 sd of the noise"]
        shared.add_legend(self.axes_, ax, handles, labels, ncols=3)


def _sort(errors, samples, random_state):
    """Indices of the samples in the order that `samples` names."""
    n = len(errors)
    if not isinstance(samples, str):
        try:
            indices = np.atleast_1d(np.arange(n)[np.asarray(samples)])
        except IndexError as error:
            raise ValueError(
                f"samples: {error}. Expected numbers of the {n} signals, or a mask of "
                "as many booleans."
            ) from error
        if indices.ndim > 1 or not len(indices):
            raise ValueError(
                f"samples takes signals in the shape {indices.shape}. Expected one "
                "dimension, and at least one signal."
            )
        return indices
    if samples not in ORDERS:
        raise ValueError(
            f"samples={samples!r}, expected 'worst', 'best', 'random' or indices."
        )
    if samples == "random":
        return check_random_state(random_state).permutation(n)
    order = np.argsort(errors, kind="stable")
    return order[::-1] if samples == "worst" else order
