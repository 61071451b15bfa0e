"""Latents of signals in the plane, by class."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_consistent_length, check_random_state
from threadpoolctl import threadpool_limits

from skvae.inputs.containers import is_na
from skvae.plotting import shared

EMBEDDINGS = {"pca": "PCA", "tsne": "t-SNE"}
MAX_TSNE = 1000  # signals: about 5 s
# Markers of classes: a colour that is used again has another marker.
MARKERS = "os^DvP<X>p" + "P<X>pos^Dv"
MAX_TICKS = 20  # names on a colour bar or an axis


@dataclass(repr=False, eq=False)
class LatentSpaceDisplay(shared.Display):
    """Latents of signals in the plane, by class."""

    points: np.ndarray  # (n_samples, 2), or (n_samples, 1): a row for each class
    _: KW_ONLY
    y: np.ndarray | None = None  # (n_samples,)
    axis_labels: tuple = ("latent 0", "latent 1")
    other: np.ndarray | None = None  # (n_samples, 2), drawn beside the latents
    other_name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        method=None,
        compare=None,
        random_state=None,
        **kwargs,
    ):
        """Encode signals and draw their latents.

        Parameters
        ----------
        estimator, X, **kwargs : see `skvae.plotting`
        y : array-like of shape (n_samples,), optional
            Classes, or numbers to colour by.
        method : {None, "pca", "tsne"}
            Embedding of more than two latents. None takes the method of `compare`.
            Without `compare`, None takes the two most active latents, which have the
            largest `kl_per_dim_`. t-SNE takes at most 1000 signals, drawn at random,
            and the axis label says so.
        compare : {None, "pca", "tsne"}
            Embedding of the signals, drawn beside the latents. The signals are scaled
            as the estimator scales them, and `impute` fills their gaps.
        random_state : int, RandomState instance or None
            Seed of t-SNE and of the choice of its signals.
        """
        model = shared.Model(estimator)
        vae, X = model.vae, model.read(X)
        check_consistent_length(X, y)
        if np.ndim(y) > 1:
            raise ValueError(
                f"y has shape {np.shape(y)}. Expected (n_samples,): pass one column."
            )
        rng = check_random_state(random_state)
        note = ""
        if "tsne" in (method, compare) and len(X) > MAX_TSNE:
            note = f"\n({MAX_TSNE} of {len(X)} signals)"
            rows = np.sort(rng.permutation(len(X))[:MAX_TSNE])
            X, y = X[rows], None if y is None else np.asarray(y)[rows]
        Z = np.asarray(vae.transform(X))
        other = other_name = None
        if compare is not None:
            filled = model.fold(vae.impute(X)) / vae.scaler_.scale_
            other = _embed(filled.reshape(len(Z), -1), compare, rng)
            gaps = ",\ngaps filled" if np.isnan(X).any() else ""
            other_name = f"{EMBEDDINGS[compare]} of the signals{gaps}"
        method = method or compare
        if method is None or Z.shape[1] <= 2:
            kl = vae.kl_per_dim_
            dims = np.sort(np.argsort(-kl)[:2])  # the same axes in each picture
            labels = [f"latent {k} (KL {kl[k]:.1f} nats)" for k in dims]
            points = Z[:, dims]
        else:
            points = _embed(Z, method, rng)
            labels = [f"{EMBEDDINGS[method]} {k} of the latents" for k in (1, 2)]
        labels[0] += note
        beside = {"other": other, "other_name": other_name}
        return cls(points, y=y, axis_labels=labels, **beside).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the latents, beside the other embedding if there is one."""
        classes = _Classes(self.y, len(self.points))
        n_panels = 1 if self.other is None else 2
        is_row = self.points.shape[1] == 1
        # A row for each class names it already.
        has_key = len(classes.names) > 1 and not (is_row and n_panels == 1)
        width = 5.0 + (classes.width if has_key or is_row else 0) / n_panels
        self.axes_ = shared.make_axes(ax, 1, n_panels, (width, 4.5))
        points = self.points
        if is_row:
            jitter = check_random_state(0).uniform(-0.3, 0.3, len(points))
            points = np.column_stack([points, classes.codes + jitter])
            self.ax_.set_yticks(classes.ticks, classes.tick_names)
            self.ax_.invert_yaxis()
        else:
            self.ax_.set_ylabel(self.axis_labels[1])
        self.ax_.set_xlabel(self.axis_labels[0])
        classes.scatter(self.ax_, points, kwargs)
        if self.other is not None:
            right = self.axes_[0, 1]
            classes.scatter(right, self.other, kwargs)
            right.set(xticks=[], yticks=[])
            shared.set_title(right, self.other_name)
            shared.set_title(self.ax_, "latents")
        if has_key:
            classes.add_key(self.axes_, ax)
        return self


class _Classes:
    """Names of classes, their colours and markers, and the key to them."""

    def __init__(self, y, n_samples):
        y = np.full(n_samples, "") if y is None else np.asarray(y)
        if y.dtype == object:
            missing = [name is None or is_na(name) or name != name for name in y]
            y = np.where(missing, "unlabelled", y).astype(str)
        self.names, self.codes = np.unique(y, return_inverse=True)
        is_number = y.dtype.kind in "iuf"
        n_styles = len(shared.COLORS if is_number else MARKERS)
        is_decimal = is_number and (self.names % 1).any()
        self.few = len(self.names) <= n_styles and not is_decimal
        self.values = y if is_number and not self.few else self.codes
        self.ticks = range(0, len(self.names), -(-len(self.names) // MAX_TICKS))
        self.tick_names = [str(self.names[k]) for k in self.ticks]
        self.width = 0.6 + 0.08 * max(map(len, self.tick_names))  # inches

    def scatter(self, ax, points, kwargs):
        style = {"s": 20, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.3}
        style |= kwargs
        if not self.few:
            ax.scatter(*points.T, c=self.values, **style)
            return
        for code, color in enumerate(np.resize(shared.COLORS, len(self.names))):
            own = {"facecolors": color, "marker": MARKERS[code]}
            ax.scatter(*points[self.codes == code].T, **own | style)

    def add_key(self, axes, ax):
        """Add a legend, or a colour bar of numbers or of many classes."""
        panel = axes[0, -1]
        if self.few:
            style = {"loc": "right upper", "markerscale": 1.5}
            shared.add_legend(axes, ax, panel.collections, self.tick_names, **style)
            return
        bar = panel.figure.colorbar(panel.collections[0], ax=panel, pad=0.02)
        bar.solids.set_alpha(1)
        if self.values is self.codes:
            bar.set_ticks(self.ticks, labels=self.tick_names)
            bar.ax.invert_yaxis()


def _embed(rows, method, rng):
    """PCA or t-SNE of rows (n, m), in two dimensions."""
    if method not in EMBEDDINGS:
        raise ValueError(f"{method!r} is no embedding. Use one of {list(EMBEDDINGS)}.")
    if method == "pca":
        return PCA(2, random_state=rng).fit_transform(rows)
    # t-SNE needs more samples than its perplexity.
    tsne = TSNE(2, perplexity=min(30.0, (len(rows) - 1) / 3), random_state=rng)
    # Its threads wait for each other at every step, and take far longer on a busy CPU.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(rows)
