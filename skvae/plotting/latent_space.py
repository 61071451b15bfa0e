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
# Of classes: each colour comes again with another marker.
MARKERS = "os^DvP<X>p" + "P<X>pos^Dv"
MAX_TICKS = 20  # names that a colour bar, or an axis, has room for


@dataclass(repr=False, eq=False)
class LatentSpaceDisplay(shared.Display):
    """Latents of signals in the plane, by class.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2) or (n_samples, 1)
        One dimension is drawn as a row for each class.
    y : array-like of shape (n_samples,), optional
        As for `from_estimator`.
    std : ndarray of the shape of `points`, optional
        Standard deviations of the posterior, drawn as ellipses.
    axis_labels : sequence of str
        One for each column of `points`.
    other : ndarray of shape (n_samples, 2), optional
        Another embedding of the same samples, drawn beside them.
    other_name : str, optional
        Title of `other`.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skvae import ConvVAETransformer
    >>> from skvae.datasets import load_watch
    >>> from skvae.plotting import LatentSpaceDisplay
    >>> X, y = load_watch(channels="ax", return_X_y=True)
    >>> vae = ConvVAETransformer(2, max_epochs=1).fit(X)
    >>> LatentSpaceDisplay.from_estimator(vae, X, y)
    <...>
    >>> plt.show()
    """

    points: np.ndarray
    _: KW_ONLY
    y: np.ndarray | None = None
    std: np.ndarray | None = None
    axis_labels: tuple = ("latent 0", "latent 1")
    other: np.ndarray | None = None
    other_name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        method=None,
        uncertainty=False,
        compare=None,
        random_state=None,
        **kwargs,
    ):
        """Encode signals and draw their latents.

        Parameters
        ----------
        estimator : fitted ConvVAETransformer, or Pipeline with one
        X : array-like, as for `estimator`
        y : array-like of shape (n_samples,), optional
            Classes, or numbers to colour by.
        method : {None, "pca", "tsne"}
            How more than two latents become two. None: as the signals do, if `compare`
            is given and `uncertainty` is not. Else the two most active latents are
            taken, of the largest `kl_per_dim_`. t-SNE takes 1000 signals at random from
            more, and the label says so.
        uncertainty : bool
            Draw the standard deviations of the posterior as ellipses. Needs
            ``method=None``.
        compare : {None, "pca", "tsne"}
            Draw this embedding of the signals beside the latents. They are scaled as
            the estimator scales them, and `impute` fills their gaps.
        random_state : int, RandomState instance or None
            Of t-SNE, and of the signals it takes.
        **kwargs : as for `plot`
        """
        if uncertainty and method is not None:
            raise ValueError(
                f"uncertainty=True with method={method!r}: the ellipses are those of "
                "latent dimensions. Use method=None."
            )
        model = shared.Model(estimator)
        X = model.read(X)
        check_consistent_length(X, y)
        random_state = check_random_state(random_state)
        X, y, note = _at_most(MAX_TSNE, X, y, random_state, (method, compare))
        mean, std = model.vae.posterior(X)
        other = other_name = None
        if compare is not None:
            filled = model.fold(model.vae.impute(X)) / model.vae.scaler_.scale_
            other = _embed(filled.reshape(len(mean), -1), compare, random_state)
            other_name = f"{EMBEDDINGS[compare]} of the signals"
            if np.isnan(X).any():
                other_name += ",\ngaps filled"
        if not uncertainty:
            method = method or compare
        kl = model.vae.kl_per_dim_
        names = [f"latent {k} (KL {kl[k]:.1f} nats)" for k in range(len(kl))]
        points, axis_labels, dims = _to_plane(mean, kl, names, method, random_state)
        axis_labels[0] += note
        return cls(
            points,
            y=y,
            std=std[:, dims] if uncertainty else None,
            axis_labels=axis_labels,
            other=other,
            other_name=other_name,
        ).plot(**kwargs)

    @classmethod
    def from_latents(cls, Z, y=None, *, method=None, random_state=None, **kwargs):
        """Draw latents.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
        y, method, random_state : as for `from_estimator`
            ``method=None`` takes the two columns of the largest variance.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        check_consistent_length(Z, y)
        random_state = check_random_state(random_state)
        Z, y, note = _at_most(MAX_TSNE, np.asarray(Z), y, random_state, (method,))
        names = [f"latent {k}" for k in range(Z.shape[1])]
        spread = Z.var(axis=0)
        points, axis_labels, _ = _to_plane(Z, spread, names, method, random_state)
        axis_labels[0] += note
        return cls(points, y=y, axis_labels=axis_labels).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the latents, beside the other embedding if there is one."""
        classes = _Classes(self.y, len(self.points))
        n_panels = 1 if self.other is None else 2
        is_row = self.points.shape[1] == 1
        # A row for each class names it already.
        has_key = len(classes.names) > 1 and not (is_row and n_panels == 1)
        width = 5.0 + (classes.name_width if has_key or is_row else 0) / n_panels
        self.axes_ = shared.make_axes(ax, 1, n_panels, (width, 4.5))
        points, std = self.points, self.std
        if is_row:
            jitter = check_random_state(0).uniform(-0.3, 0.3, len(points))
            points = np.column_stack([points, classes.codes + jitter])
            std = None if std is None else np.pad(std, [(0, 0), (0, 1)])
            self.ax_.set_yticks(classes.ticks, classes.tick_names)
            self.ax_.invert_yaxis()
        else:
            self.ax_.set_ylabel(self.axis_labels[1])
        self.ax_.set_xlabel(self.axis_labels[0])
        classes.scatter(self.ax_, points, std, kwargs)
        if self.other is not None:
            right = self.axes_[0, 1]
            classes.scatter(right, self.other, None, kwargs)
            right.set(xticks=[], yticks=[])
            shared.set_title(right, self.other_name)
            shared.set_title(self.ax_, "latents")
        if has_key:
            classes.add_key(self.axes_, ax)
        return self


class _Classes:
    """Names of classes, what stands for them in a picture, and its key."""

    def __init__(self, y, n_samples):
        y = np.full(n_samples, "") if y is None else np.asarray(y)
        if y.dtype == object:  # names, some of which may be missing
            missing = [name is None or is_na(name) or name != name for name in y]
            y = np.where(missing, "unlabelled", y).astype(str)
        self.names, self.codes = np.unique(y, return_inverse=True)
        is_number = y.dtype.kind in "iuf"
        is_decimal = is_number and (self.names % 1 != 0).any()
        n_styles = len(shared.COLORS if is_number else MARKERS)
        self.few = len(self.names) <= n_styles and not is_decimal
        self.values = y if is_number and not self.few else self.codes
        step = -(-len(self.names) // MAX_TICKS)
        self.ticks = range(0, len(self.names), step)
        self.tick_names = [str(name) for name in self.names[::step]]
        self.name_width = 0.6 + 0.08 * max(map(len, self.tick_names))  # inches

    def scatter(self, ax, points, std, kwargs):
        """Draw points (n, 2), with ellipses of the half axes `std` (n, 2)."""
        from matplotlib.collections import EllipseCollection

        style = {"s": 20, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.3}
        style |= kwargs
        if self.few:
            colors = np.resize(shared.COLORS, len(self.names))
            for code, color in enumerate(colors):
                own = {"facecolors": color, "marker": MARKERS[code]}
                ax.scatter(*points[self.codes == code].T, **own | style)
            colors = colors[self.codes]
        else:
            dots = ax.scatter(*points.T, c=self.values, **style)
            colors = dots.to_rgba(self.values)
        if std is not None:
            place = {"units": "xy", "offsets": points, "offset_transform": ax.transData}
            style = {"facecolors": colors, "alpha": 0.25, "zorder": 0}
            ax.add_collection(EllipseCollection(*2 * std.T, 0, **place, **style))

    def add_key(self, axes, ax):
        """A legend, or a colour bar of numbers and of more classes than styles."""
        panel = axes[0, -1]
        dots = panel.collections
        if self.few:
            style = {"loc": "right upper", "markerscale": 1.5}
            handles = dots[: len(self.names)]
            shared.add_legend(axes, ax, handles, self.tick_names, **style)
            return
        bar = panel.figure.colorbar(dots[0], ax=panel, pad=0.02)
        bar.solids.set_alpha(1)
        if self.values is self.codes:
            bar.set_ticks(self.ticks, labels=self.tick_names)
            bar.ax.invert_yaxis()


def _to_plane(Z, activity, names, method, random_state):
    """Two columns of Z or made of Z, their labels, and their numbers in Z if any."""
    if method is None or Z.shape[1] <= 2:
        dims = np.sort(np.argsort(-activity)[:2])  # the same axes in each picture
        return Z[:, dims], [names[k] for k in dims], dims
    points = _embed(Z, method, random_state)
    return points, [f"{EMBEDDINGS[method]} {k} of the latents" for k in (1, 2)], None


def _at_most(n_max, X, y, random_state, methods):
    """At most so many rows of X and y, at random, for t-SNE, and a note of it."""
    if len(X) <= n_max or "tsne" not in methods:
        return X, y, ""
    rows = np.sort(random_state.permutation(len(X))[:n_max])
    y = None if y is None else np.asarray(y)[rows]
    return X[rows], y, f"\n({n_max} of {len(X)} signals)"


def _embed(rows, method, random_state):
    """PCA or t-SNE of rows (n, m) in two dimensions."""
    if method not in EMBEDDINGS:
        raise ValueError(f"{method!r} is no embedding. Use one of {list(EMBEDDINGS)}.")
    if method == "pca":
        return PCA(2, random_state=random_state).fit_transform(rows)
    # t-SNE asks for more samples than its perplexity.
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, random_state=random_state)
    # Its threads wait for each other at every step: many times as long on a busy CPU.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(rows)
