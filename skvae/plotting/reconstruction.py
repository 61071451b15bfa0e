"""Signals and their reconstructions, side by side or one by one in a window."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils import check_random_state

from skvae.plotting import shared

ERROR_UNITS = {"standard": " sd", "minmax": " of range", None: ""}
ORDERS = {"worst": "worst first", "best": "best first", "random": "at random"}


@dataclass(repr=False, eq=False)
class ReconstructionDisplay(shared.SignalDisplay):
    """Signals and their reconstructions, in the order of display."""

    signals: np.ndarray  # (n_samples, n_channels, n_timepoints), NaN in gaps
    reconstructions: np.ndarray  # of the same shape, without gaps
    _: KW_ONLY
    errors: np.ndarray  # (n_samples,), root mean square
    indices: np.ndarray  # (n_samples,), positions of the signals in X
    noise_std: np.ndarray | None = None  # (n_channels,), noise of the decoder
    names: list | None = None  # (n_samples,), of the signals; by default `indices`
    error_unit: str = ""
    order: str | None = None  # "worst", "best" or "random"

    @classmethod
    def from_estimator(
        cls, estimator, X, *, samples="worst", random_state=None, **kwargs
    ):
        """Reconstruct signals and draw the first few.

        Parameters
        ----------
        estimator, X, **kwargs : see `skvae.plotting`
        samples : {"worst", "best", "random"} or array-like of int or bool
            Order of the signals: the largest or the smallest reconstruction error
            first, or random. An array selects signals by position or by mask. Errors
            are computed over measured values, in scaled units.
        random_state : int, RandomState instance or None
            Seed of ``samples="random"``.
        """
        model = shared.Model(estimator)
        vae = model.vae
        signals = model.read(X)
        reconstructions = model.fold(vae.reconstruct(signals))
        scale = vae.scaler_.scale_
        squared_errors = ((signals - reconstructions) / scale) ** 2
        errors = np.sqrt(np.nanmean(squared_errors, axis=(1, 2)))
        indices = _select(errors, samples, random_state)
        noise_std = None
        likelihood = vae.net_.criterion_.likelihood  # as fitted
        if not likelihood.is_unit_range:  # its noise differs from value to value
            noise_std = scale[:, 0] * likelihood.std(vae.reconstruction_weight_, None)
        return cls(
            signals[indices],
            reconstructions[indices],
            errors=errors[indices],
            indices=indices,
            noise_std=noise_std,
            names=[to_text(name) for name in X.index[indices]]
            if hasattr(X, "iloc")
            else None,
            error_unit=ERROR_UNITS[vae.scaler_.kind],
            order=samples if isinstance(samples, str) else None,
            **model.axis(kwargs, X),
        ).plot(**kwargs)

    def plot(self, ax=None, *, n_samples=4, **kwargs):
        """Draw the first `n_samples` signals, a column each; channels are rows."""
        n_samples = min(n_samples, len(self.signals))
        shape = self.signals.shape[1], n_samples
        self.axes_ = shared.make_axes(ax, *shape, sharex=True, sharey="row")
        for i, panels in enumerate(self.axes_.T):
            self._draw(panels, i, kwargs)
            title = self._error(i)
            if self.order is not None:
                title = f"{self._place(i)}\n{title}"
            shared.set_title(panels[0], title)
        self._add_labels(ax)
        return self

    def browse(self, start=0, **kwargs):
        """Open a window in which the arrow keys step through the signals.

        It shows the signal at position `start` first. Keywords are those of `plot`.
        """
        n_samples, n_channels, _ = self.signals.shape
        self.axes_ = shared.make_axes(None, n_channels, 1, (8.0, 2.2), sharex=True)
        self.position_ = int(start) % n_samples

        def draw(event=None):
            step = {"left": -1, "right": 1}.get(event and event.key, 0)
            self.position_ = i = (self.position_ + step) % n_samples
            for panel in self.axes_[:, 0]:  # quicker than to clear it
                for artist in (*panel.lines, *panel.collections):
                    artist.remove()
                panel.relim()
            self._draw(self.axes_[:, 0], i, kwargs)
            shared.set_title(self.ax_, f"← {self._place(i)} →\n{self._error(i)}")
            self.figure_.canvas.draw_idle()

        draw()
        self._add_labels(None)
        # matplotlib's arrow keys go through the history of zooms, which would bring
        # back the limits of another signal.
        canvas = self.figure_.canvas
        canvas.mpl_disconnect(canvas.manager.key_press_handler_id)
        canvas.mpl_connect("key_press_event", draw)
        shared.pyplot().show()
        return self

    def _draw(self, panels, i, kwargs):
        x, x_hat = self.signals[i], self.reconstructions[i]
        self.draw_signal(panels, x, kwargs, shared.SIGNAL_COLOR)
        self.draw_signal(panels, x_hat, kwargs, shared.MODEL_COLOR)
        if self.noise_std is not None:
            style = {"color": shared.MODEL_COLOR, "alpha": 0.15, "lw": 0}
            time = self.positions(x.shape[1])
            for panel, mean, std in zip(panels, x_hat, self.noise_std, strict=True):
                panel.fill_between(time, mean - 2 * std, mean + 2 * std, **style)

    def _error(self, i):
        names = self.indices if self.names is None else self.names
        return f"signal {names[i]}, RMSE {self.errors[i]:.3g}{self.error_unit}"

    def _place(self, i):
        return f"{ORDERS.get(self.order, 'as given')}, {i + 1} of {len(self.signals)}"

    def _add_labels(self, ax):
        self.label_axes(self.name_channels(len(self.axes_)))
        handles = [*self.ax_.lines, *self.ax_.collections]
        labels = ["signal", "reconstruction", "± 2 sd of the noise"]
        shared.add_legend(self.axes_, ax, handles, labels, ncols=3)


def to_text(name):
    """The name of a row of a DataFrame in one line."""
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _select(errors, samples, random_state):
    """Positions of the signals that `samples` asks for, in its order."""
    if isinstance(samples, str):
        if samples not in ORDERS:
            raise ValueError(
                f"samples={samples!r}. Expected one of {list(ORDERS)}, or positions."
            )
        if samples == "random":
            return check_random_state(random_state).permutation(len(errors))
        order = np.argsort(errors, kind="stable")
        return order[::-1] if samples == "worst" else order
    try:
        indices = np.arange(len(errors))[np.asarray(samples)].ravel()
    except IndexError as error:
        raise ValueError(
            f"samples: {error}. Expected positions of {len(errors)} signals, or a mask."
        ) from error
    if not len(indices):
        raise ValueError("samples selects no signals. Select one or more.")
    return indices
