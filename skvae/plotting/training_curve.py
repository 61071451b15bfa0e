"""Terms of the objective over training."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np
from scipy.ndimage import median_filter
from sklearn.utils.validation import check_is_fitted

from skvae.plotting import shared
from skvae.transformer import ConvVAETransformer

TERMS = {"reconstruction": "reconstruction", "kl": "KL"}
PARTS = {"train": ("training", "-"), "valid": ("held back", "--")}
LEVELS = {
    "pca": ("PCA", shared.SIGNAL_COLOR, "-"),
    "pca_test": ("PCA, test", shared.SIGNAL_COLOR, "-."),
    "fitted_test": ("fitted, test", shared.MODEL_COLOR, "-."),
}
# As many epochs as are drawn lightly, under their running median, and without the first
# of them in the limits.
MANY_EPOCHS = 40
LEAST_MARGIN = 1e-3  # beyond values, relative to them


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
        Reconstruction + KL of ``"pca"`` and of the fitted model, of training signals
        and of others, as ``"pca_test"`` and ``"fitted_test"``. They are drawn across
        reconstruction + KL, which then takes the place of the loss: these are the same
        with ``beta=1`` and without labels.
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
        estimator : fitted ConvVAETransformer
        X : array-like, optional
            The signals it was fitted on. Probabilistic PCA of as many components is
            fitted on them too, and its level drawn: training beats it below.
        X_test : array-like, optional
            Other signals, needs `X`: the levels of PCA and of the fitted estimator on
            them. What is gained on `X` alone is learnt by heart.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        check_is_fitted(estimator)
        if X is None and X_test is not None:
            raise ValueError("X_test without X, which PCA is fitted on. Pass both.")
        if X is not None and estimator.net_.criterion_.likelihood.is_unit_range:
            raise ValueError(
                "X, but the likelihood is of zeros and ones, which no density compares "
                "with, as that of PCA. Leave X out."
            )
        levels = {} if X is None else _levels(estimator, X, X_test)
        best_epoch = estimator.best_epoch_
        return cls(estimator.history_, best_epoch=best_epoch, levels=levels).plot(
            **kwargs
        )

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
        terms = first | TERMS
        if np.any(self.history.get("train_label", 0)):
            terms["label"] = "label"
        self.axes_ = shared.make_axes(ax, 1, len(terms), (3.2, 3.0), sharey=False)
        lines = {}
        for panel, (term, title) in zip(self.axes_[0], terms.items(), strict=True):
            lines = self._draw(panel, term, kwargs) | lines
            shared.set_title(panel, title)
            panel.set_xlabel("epoch")
            panel.locator_params("x", integer=True, steps=[1, 2, 5, 10])
        self.ax_.set_ylabel("nats per sample")
        ncols = 3 if shared.is_divided(ax, len(terms)) else len(lines)
        shared.add_legend(self.axes_, ax, [*lines.values()], [*lines], ncols=ncols)
        return self

    def _draw(self, panel, term, kwargs):
        """Draw a term and what to compare it with: lines by what they are."""
        lines, tails = {}, []
        for part, (name, linestyle) in PARTS.items():
            if f"{part}_loss" not in self.history:
                continue
            values = self._values(part, term)
            style = {"color": shared.MODEL_COLOR, "linestyle": linestyle}
            style = shared.line_style(kwargs, **style)
            epochs = np.arange(1, len(values) + 1)
            if len(values) >= MANY_EPOCHS:
                panel.plot(epochs, values, **style | {"alpha": 0.3, "linestyle": "-"})
                smooth = median_filter(values, len(values) // 10, mode="nearest")
                (lines[name],) = panel.plot(epochs, smooth, **style)
                tails.append(values[len(values) // 10 :])
            else:
                (lines[name],) = panel.plot(epochs, values, **style)
        if "held back" in lines and self.best_epoch is not None:
            style = {"color": shared.SIGNAL_COLOR, "lw": 1, "ls": ":"}
            name = f"best epoch, {self.best_epoch}"
            lines[name] = panel.axvline(self.best_epoch, **style)
        if term == "bound":
            for level, value in self.levels.items():
                name, color, linestyle = LEVELS[level]
                style = {"color": color, "lw": 1, "ls": linestyle}
                lines[name] = panel.axhline(value, **style)
            tails = tails and [*tails, [*self.levels.values()]]
        if tails:
            tails = np.concatenate(tails)
            margin = 0.05 * np.ptp(tails)
            margin = max(margin, LEAST_MARGIN * np.abs(tails).max())  # of a constant
            panel.set_ylim(tails.min() - margin, tails.max() + margin)
        return lines

    def _values(self, part, term):
        if term != "bound":
            return self.history[f"{part}_{term}"]
        return self.history[f"{part}_reconstruction"] + self.history[f"{part}_kl"]


def _levels(estimator, X, X_test):
    """Levels of PCA and, if there are other signals, of the estimator."""
    X = shared.read(estimator, X)
    kind, latent_dim = estimator.scaler_.kind, len(estimator.kl_per_dim_)
    params = {"feature_weight": 0.0, "scale": kind, "max_epochs": 0, "random_state": 0}
    pca = ConvVAETransformer(latent_dim, **params).fit(X)
    levels = {"pca": _level(estimator, pca, X)}
    if X_test is not None:
        X_test = shared.read(estimator, X_test)
        levels["pca_test"] = _level(estimator, pca, X_test)
        levels["fitted_test"] = _level(estimator, estimator, X_test)
    return levels


def _level(estimator, model, X):
    """Reconstruction + KL of a model, in the scaled units of the estimator."""
    log_det = estimator.scaler_.log_det((~np.isnan(X)).sum(axis=2))
    return float(log_det.mean() - model.score(X))
