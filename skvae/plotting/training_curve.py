"""Terms of the objective over training."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from scipy.ndimage import median_filter

from skvae.plotting import shared
from skvae.transformer import ConvVAETransformer

PARTS = {"train": ("training", "-"), "valid": ("held back", "--")}
MANY_EPOCHS = 40
LEAST_MARGIN = 1e-3  # of the limits, relative to the values


@dataclass(repr=False, eq=False)
class TrainingCurveDisplay(shared.Display):
    """Terms of the objective over training, one panel each."""

    history: dict  # of ndarray of shape (n_epochs,), as `history_`
    _: KW_ONLY
    best_epoch: int | None = None  # from 1, drawn if signals were held back
    pca_level: float | None = None  # reconstruction + KL of PCA

    @classmethod
    def from_estimator(cls, estimator, X=None, **kwargs):
        """Draw the history of an estimator, beside the level of PCA.

        Parameters
        ----------
        estimator, **kwargs : see `skvae.plotting`
        X : array-like, optional
            Training signals. Probabilistic PCA with `latent_dim` components is fitted
            to them. The first panel then shows reconstruction + KL of both models
            instead of the loss. The loss is the same sum with ``beta=1`` and without
            labels.
        """
        model = shared.Model(estimator)
        vae = model.vae
        if X is not None and vae.net_.criterion_.likelihood.is_unit_range:
            raise ValueError(
                "X was given, but the likelihood of zeros and ones is not comparable "
                "with the density of PCA. Leave X out."
            )
        level = None if X is None else _pca_level(model, X)
        display = cls(vae.history_, best_epoch=vae.best_epoch_, pca_level=level)
        return display.plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the terms, those of training beside those of held-back signals.

        From 40 epochs on, a running median lies over the values, and the limits of the
        axes ignore the first tenth of the epochs.
        """
        if "train_loss" not in self.history:
            raise ValueError(
                "The history has no epochs: nothing was trained. Use max_epochs > 0."
            )
        first = "loss" if self.pca_level is None else "reconstruction + kl"
        terms = [first, "reconstruction", "kl"]
        if np.any(self.history.get("train_label", 0)):
            terms.append("label")
        self.axes_ = shared.make_axes(ax, 1, len(terms), (3.2, 3.0), sharex=True)
        lines = {}
        for panel, term in zip(self.axes_[0], terms, strict=True):
            lines = self._draw(panel, term.split(" + "), kwargs) | lines
            shared.set_title(panel, term.replace("kl", "KL"))
            panel.set_xlabel("epoch")
            panel.locator_params("x", integer=True, steps=[1, 2, 5, 10])
        self.ax_.set_ylabel("nats per sample")
        handles = list(lines.values())
        shared.add_legend(self.axes_, ax, handles, list(lines), ncols=len(lines))
        return self

    def _draw(self, panel, terms, kwargs):
        """Draw a sum of terms; return lines by their names."""
        lines, shown = {}, []
        for part, (name, linestyle) in PARTS.items():
            if f"{part}_loss" not in self.history:
                continue
            values = sum(self.history[f"{part}_{term}"] for term in terms)
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
        if self.pca_level is not None and len(terms) > 1:
            style = {"color": shared.SIGNAL_COLOR, "lw": 1}
            lines["PCA"] = panel.axhline(self.pca_level, **style)
            shown.append([self.pca_level])
        shown = np.concatenate(shown)
        margin = max(0.05 * np.ptp(shown), LEAST_MARGIN * np.abs(shown).max())
        panel.set_ylim(shown.min() - margin, shown.max() + margin)
        return lines


def _pca_level(model, X):
    """Reconstruction + KL of PCA of X, in the scaled units of the autoencoder."""
    vae, X = model.vae, model.read(X)
    params = {"feature_weight": 0.0, "max_epochs": 0, "random_state": 0}
    pca = ConvVAETransformer(len(vae.kl_per_dim_), scale=vae.scaler_.kind, **params)
    log_det = vae.scaler_.log_det((~np.isnan(X)).sum(axis=2))
    return float(log_det.mean() - pca.fit(X).score(X))
