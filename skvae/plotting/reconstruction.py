"""Signals against their reconstructions, side by side or one by one in a window."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils import check_random_state

from skvae.plotting import shared

ERROR_UNITS = {"standard": " sd", "minmax": " of range", None: ""}
ORDERS = {"worst": "worst first", "best": "best first", "random": "at random"}


@dataclass(repr=False, eq=False)
class ReconstructionDisplay(shared.SignalDisplay):
    """Signals against their reconstructions, in the order of display."""

    signals: np.ndarray  # (n_samples, n_channels, n_timepoints), NaN in gaps
    reconstructions: np.ndarray  # of the same shape, without gaps
    _: KW_ONLY
    noise_std: np.ndarray | None = None  # (n_channels,), of the decoder
    errors: np.ndarray | None = None  # (n_samples,), root mean square
    error_unit: str = ""
    indices: np.ndarray | None = None  # (n_samples,), of the samples in X
    order: str | None = None  # "worst", "best" or "random"

    @classmethod
    def from_estimator(
        cls, estimator, X, *, samples="worst", random_state=None, **kwargs
    ):
        """Reconstruct signals and draw some of them.

        Parameters
        ----------
        estimator, X, **kwargs : see `skvae.plotting`
        samples : {"worst", "best", "random"} or array-like of int or bool
            Signals to draw: those of the largest or the smallest reconstruction error,
            in scaled units over measured values, random ones, or those given by their
            numbers or by a mask.
        random_state : int, RandomState instance or None
            Of ``samples="random"``.
        """
        model = shared.Model(estimator)
        vae = model.vae
        signals = model.read(X)
        reconstructions = model.fold(vae.reconstruct(signals))
        scale = vae.scaler_.scale_
        squared_errors = ((signals - reconstructions) / scale) ** 2
        errors = np.sqrt(np.nanmean(squared_errors, axis=(1, 2)))
        indices = _sort(errors, samples, random_state)
        noise_std = None
        likelihood = vae.net_.criterion_.likelihood  # as fitted
        if not likelihood.is_unit_range:  # its noise differs from value to value
            noise_std = scale[:, 0] * likelihood.std(vae.reconstruction_weight_, None)
        return cls(
            signals[indices],
            reconstructions[indices],
            noise_std=noise_std,
            errors=errors[indices],
            error_unit=ERROR_UNITS[vae.scaler_.kind],
            indices=indices,
            order=samples if isinstance(samples, str) else None,
            **model.axis(kwargs, X),
        ).plot(**kwargs)

    def plot(self, ax=None, *, n_samples=4, **kwargs):
        """Draw the first `n_samples` samples, a column each; channels are rows."""
        n_samples = min(n_samples, len(self.signals))
        shape = self.signals.shape[1], n_samples
        self.axes_ = shared.make_axes(ax, *shape, sharex=True, sharey="row")
        for i, column in enumerate(self.axes_.T):
            self._draw(column, i, kwargs)
            shared.set_title(column[0], self._title(i))
        self._add_labels(ax)
        return self

    def browse(self, start=0, **kwargs):
        """Open a window in which left and right arrow keys step through samples.

        It shows the one at position `start` first; keywords are as for `plot`.
        """
        n_samples, n_channels, _ = self.signals.shape
        self.axes_ = shared.make_axes(None, n_channels, 1, (8.0, 2.2), sharex=True)
        self.position_ = int(start) % n_samples

        def draw():
            for ax in self.axes_[:, 0]:  # quicker than to clear it
                for artist in (*ax.lines, *ax.collections):
                    artist.remove()
                ax.relim()
            self._draw(self.axes_[:, 0], self.position_, kwargs)
            shared.set_title(self.ax_, self._title(self.position_, arrows=True))
            self.figure_.canvas.draw_idle()

        def on_key(event):
            step = {"left": -1, "right": 1}.get(event.key, 0)
            if step:
                self.position_ = (self.position_ + step) % n_samples
                draw()

        draw()
        self._add_labels(None)
        # matplotlib's own meaning of the arrows, back and forward in the history of
        # zooms, would bring back the limits of another signal.
        canvas = self.figure_.canvas
        canvas.mpl_disconnect(canvas.manager.key_press_handler_id)
        canvas.mpl_connect("key_press_event", on_key)
        shared.pyplot().show()
        return self

    def _draw(self, axes, i, kwargs):
        x, x_hat = self.signals[i], self.reconstructions[i]
        self.draw_signal(axes, x, kwargs, shared.SIGNAL_COLOR)
        self.draw_signal(axes, x_hat, kwargs, shared.MODEL_COLOR)
        if self.noise_std is not None:
            style = {"color": shared.MODEL_COLOR, "alpha": 0.15, "lw": 0}
            time = self.positions(x.shape[1])
            half = 2 * self.noise_std[:, None]
            for ax, low, high in zip(axes, x_hat - half, x_hat + half, strict=True):
                ax.fill_between(time, low, high, **style)

    def _title(self, i, arrows=False):
        """Number and error of a sample, below its place in the order."""
        name = f"signal {i if self.indices is None else self.indices[i]}"
        if self.errors is not None:
            name += f", RMSE {self.errors[i]:.3g}{self.error_unit}"
        order = ORDERS.get(self.order, "as given")
        place = f"{order}, {i + 1} of {len(self.signals)}"
        if arrows:
            return f"← {place} →\n{name}"
        return name if self.order is None else f"{place}\n{name}"

    def _add_labels(self, ax):
        shared.label_rows(self.axes_, self.name_channels(len(self.axes_)))
        self.label_time()
        handles = [*self.ax_.lines, *self.ax_.collections]
        labels = ["signal", "reconstruction", "± 2 sd of the noise"]
        shared.add_legend(self.axes_, ax, handles, labels, ncols=3)


def _sort(errors, samples, random_state):
    """Indices of the samples in the order that `samples` names."""
    if isinstance(samples, str):
        if samples not in ORDERS:
            raise ValueError(
                f"samples={samples!r}. Expected one of {list(ORDERS)}, or indices."
            )
        if samples == "random":
            return check_random_state(random_state).permutation(len(errors))
        order = np.argsort(errors, kind="stable")
        return order[::-1] if samples == "worst" else order
    samples = np.asarray(samples)
    try:
        indices = np.atleast_1d(np.arange(len(errors))[samples])
    except IndexError:
        indices = np.empty(0)
    if indices.ndim > 1 or not len(indices):
        raise ValueError(
            f"samples are {samples.dtype} of shape {samples.shape}. Expected numbers "
            f"of some of the {len(errors)} signals, or a mask of as many booleans."
        )
    return indices
