"""Terms of the objective over training."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from skvae.plotting import shared

TERMS = {"loss": "loss", "reconstruction": "reconstruction", "kl": "KL"}


@dataclass(repr=False, eq=False)
class TrainingCurveDisplay(shared.Display):
    """Terms of the objective over training, a panel each.

    Parameters
    ----------
    history : dict of ndarray of shape (n_epochs,)
        As `history_`, in nats per sample.
    best_epoch : int, optional
        Marked, counted from 1, if signals were held back.
    pca_loss : float, optional
        -log p(x) by probabilistic PCA, to compare the loss with.
    """

    history: dict
    _: KW_ONLY
    best_epoch: int | None = None
    pca_loss: float | None = None

    @classmethod
    def from_estimator(cls, estimator, X=None, **kwargs):
        """Draw the history of an estimator.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `fit`, optional
            The signals it was fitted on: the loss that PCA with as many components has
            on them is drawn too, gaps filled by `impute`. It compares with a Gaussian
            likelihood, ``beta=1`` and no labels.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        check_is_fitted(estimator)
        pca_loss = None
        if X is not None:
            signals = shared.fold(
                estimator, estimator.impute(shared.read(estimator, X))
            )
            rows = estimator.scaler_.transform(signals).reshape(len(signals), -1)
            n_components = min(len(estimator.kl_per_dim_), *rows.shape)
            pca_loss = -PCA(n_components).fit(rows).score(rows)
        history, best_epoch = estimator.history_, estimator.best_epoch_
        display = cls(history, best_epoch=best_epoch, pca_loss=pca_loss)
        return display.plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the terms, those of held-back signals beside those of training."""
        if "train_loss" not in self.history:
            raise ValueError(
                "The history has no epochs, nothing was trained. Use max_epochs > 0."
            )
        terms = dict(TERMS)
        if np.any(self.history.get("train_label", 0)):
            terms["label"] = "label"
        self.axes_ = shared.make_axes(ax, 1, len(terms), (3.2, 3.0), sharey=False)
        parts = {"train": "-"}
        if "valid_loss" in self.history:
            parts["valid"] = "--"
        for panel, (term, title) in zip(self.axes_[0], terms.items(), strict=True):
            for part, linestyle in parts.items():
                values = self.history[f"{part}_{term}"]
                defaults = {"color": shared.MODEL_COLOR, "linestyle": linestyle}
                style = shared.line_style(kwargs, **defaults)
                panel.plot(np.arange(1, len(values) + 1), values, **style)
            if "valid" in parts and self.best_epoch is not None:
                panel.axvline(self.best_epoch, color=shared.SIGNAL_COLOR, lw=1, ls=":")
            if term == "loss" and self.pca_loss is not None:
                panel.axhline(self.pca_loss, color=shared.SIGNAL_COLOR, lw=1)
            panel.set_title(title, fontsize="medium")
            panel.set_xlabel("epoch")
            panel.locator_params("x", integer=True, steps=[1, 2, 5, 10])
        self.ax_.set_ylabel("nats per sample")
        labels = ["training"]
        if "valid" in parts:
            labels += ["held back", f"best epoch, {self.best_epoch}"]
        if self.pca_loss is not None:
            labels.append("PCA")
        shared.add_legend(self.axes_, ax, self.ax_.lines, labels, ncols=4)
        return self
