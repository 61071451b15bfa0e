"""Terms of the objective over training."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np
from scipy.ndimage import median_filter

from skvae.plotting import shared
from skvae.transformer import ConvVAETransformer

PARTS = {"train": ("training", "-"), "valid": ("held back", "--")}
LEVELS = {
    "pca": ("PCA", shared.SIGNAL_COLOR, "-"),
    "pca_test": ("PCA, test", shared.SIGNAL_COLOR, "-."),
    "fitted_test": ("fitted, test", shared.MODEL_COLOR, "-."),
}
MANY_EPOCHS = 40
LEAST_MARGIN = 1e-3  # of the limits, relative to the values


@dataclass(repr=False, eq=False)
class TrainingCurveDisplay(shared.Display):
    """Terms of the objective over training, a panel each.

    Parameters
    ----------
    history : dict of ndarray of shape (n_epochs,)
        As `history_`, in nats per sample.
    best_epoch : int, optional
        Marked, counted from 1, if signals were held back.
    levels : dict of float
        Reconstruction + KL of probabilistic PCA on training signals, ``"pca"``, and of
        both models on other signals, ``"pca_test"`` and ``"fitted_test"``. They are
        drawn in a panel of reconstruction + KL, which takes the place of the loss.
        With ``beta=1`` and without labels both are the same.
    """

    history: dict
    _: KW_ONLY
    best_epoch: int | None = None
    levels: dict = field(default_factory=dict)

    @classmethod
    def from_estimator(cls, estimator, X=None, *, X_test=None, **kwargs):
        """Draw the history of an estimator, and what PCA reaches.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer, or Pipeline with one
        X : array-like, optional
            The signals it was fitted on. Probabilistic PCA of as many components is
            fitted on them too. Its level is drawn: training is better below it.
        X_test : array-like, optional
            Other signals, needs `X`. The levels of PCA and of the fitted estimator on
            them are drawn. What is gained on `X` alone is overfitting.
        **kwargs : as for `plot`
        """
        model = shared.Model(estimator)
        vae = model.vae
        if X is None and X_test is not None:
            raise ValueError("X_test without X, which PCA is fitted on. Pass both.")
        if X is not None and vae.net_.criterion_.likelihood.is_unit_range:
            raise ValueError(
                "X, but the likelihood is of zeros and ones, which no density compares "
                "with, as that of PCA. Leave X out."
            )
        levels = {} if X is None else _levels(model, X, X_test)
        display = cls(vae.history_, best_epoch=vae.best_epoch_, levels=levels)
        return display.plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the terms, those of held-back signals beside those of training.

        Of 40 epochs or more the running median is drawn over the values, and the axes
        leave out what is beyond the values of all but the first tenth.
        """
        if "train_loss" not in self.history:
            raise ValueError(
                "The history has no epochs, nothing was trained. Use max_epochs > 0."
            )
        first = {"bound": "reconstruction + KL"} if self.levels else {"loss": "loss"}
        terms = first | {"reconstruction": "reconstruction", "kl": "KL"}
        if np.any(self.history.get("train_label", 0)):
            terms["label"] = "label"
        self.axes_ = shared.make_axes(ax, 1, len(terms), (3.2, 3.0), sharex=True)
        lines = {}
        for panel, (term, title) in zip(self.axes_[0], terms.items(), strict=True):
            lines = self._draw(panel, term, kwargs) | lines
            shared.set_title(panel, title)
            panel.set_xlabel("epoch")
            panel.locator_params("x", integer=True, steps=[1, 2, 5, 10])
        self.ax_.set_ylabel("nats per sample")
        names = list(lines)
        shared.add_legend(self.axes_, ax, [*lines.values()], names, ncols=len(lines))
        return self

    def _draw(self, panel, term, kwargs):
        """Draw a term and what to compare it with: lines by their names."""
        lines, shown = {}, []
        for part, (name, linestyle) in PARTS.items():
            if f"{part}_loss" not in self.history:
                continue
            values = self._values(part, term)
            style = {"color": shared.MODEL_COLOR, "linestyle": linestyle}
            style = shared.line_style(kwargs, **style)
            epochs = np.arange(1, len(values) + 1)
            shown.append(values)
            if len(values) >= MANY_EPOCHS:
                panel.plot(epochs, values, **style | {"alpha": 0.3, "linestyle": "-"})
                shown[-1] = values[len(values) // 10 :]
                values = median_filter(values, len(values) // 10, mode="nearest")
            (lines[name],) = panel.plot(epochs, values, **style)
        if "held back" in lines and self.best_epoch is not None:
            style = {"color": shared.SIGNAL_COLOR, "lw": 1, "ls": ":"}
            name = f"best epoch, {self.best_epoch}"
            lines[name] = panel.axvline(self.best_epoch, **style)
        for level, value in self.levels.items() if term == "bound" else ():
            name, color, linestyle = LEVELS[level]
            lines[name] = panel.axhline(value, color=color, lw=1, ls=linestyle)
            shown.append([value])
        shown = np.concatenate(shown)
        margin = 0.05 * np.ptp(shown)
        margin = max(margin, LEAST_MARGIN * np.abs(shown).max())
        panel.set_ylim(shown.min() - margin, shown.max() + margin)
        return lines

    def _values(self, part, term):
        if term != "bound":
            return self.history[f"{part}_{term}"]
        return self.history[f"{part}_reconstruction"] + self.history[f"{part}_kl"]


def _levels(model, X, X_test):
    """Levels of PCA and, if there are other signals, of the estimator."""
    vae, X = model.vae, model.read(X)
    params = {"feature_weight": 0.0, "max_epochs": 0, "random_state": 0}
    pca = ConvVAETransformer(len(vae.kl_per_dim_), scale=vae.scaler_.kind, **params)
    levels = {"pca": _level(vae, pca.fit(X), X)}
    if X_test is not None:
        X_test = model.read(X_test)
        levels["pca_test"] = _level(vae, pca, X_test)
        levels["fitted_test"] = _level(vae, vae, X_test)
    return levels


def _level(vae, model, X):
    """Reconstruction + KL of a model, in the scaled units of the autoencoder."""
    log_det = vae.scaler_.log_det((~np.isnan(X)).sum(axis=2))
    return float(log_det.mean() - model.score(X))
