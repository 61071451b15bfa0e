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
# As many class names as a colour bar, or an axis, has room for.
MAX_TICK_LABELS = 20
MAX_TSNE = 1000  # signals: about 5 s


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
        What `other` is.

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
        estimator : fitted ConvVAETransformer
        X : array-like, as for its `transform`
        y : array-like of shape (n_samples,), optional
            Classes, numbers or strings; or any number to colour by.
        method : {None, "pca", "tsne"}
            How more than two latents become two. None: as the signals do, if
            `compare` says so and no ellipses are asked for; else the two most active
            are taken, of the largest `kl_per_dim_`. t-SNE takes at most 1000 signals,
            at random, and the label says so; for more pass your own to `from_latents`.
        uncertainty : bool
            Draw the standard deviations of the posterior as ellipses; needs
            ``method=None``.
        compare : {None, "pca", "tsne"}
            Draw this embedding of the signals themselves, scaled as the estimator
            scales them and their gaps filled by its `impute`, beside the latents.
        random_state : int, RandomState instance or None
            Of t-SNE, and of the signals it takes.
        **kwargs : as for `plot`
        """
        if uncertainty and method is not None:
            raise ValueError(
                f"uncertainty=True with method={method!r}: the ellipses are those of "
                "latent dimensions. Use method=None."
            )
        shared.pyplot()
        X = shared.read(estimator, X)
        check_consistent_length(X, y)
        random_state = check_random_state(random_state)
        few = ""
        if "tsne" in (method, compare):
            X, y, few = _at_most(MAX_TSNE, X, y, random_state)
        mean, std = estimator.posterior(X)
        if not uncertainty:
            method = method or compare
        other = other_name = None
        if compare is not None:
            filled = shared.fold(estimator, estimator.impute(X))
            signals = filled / estimator.scaler_.scale_
            other = _embed(signals.reshape(len(mean), -1), compare, random_state)
            other_name = f"{EMBEDDINGS[compare]} of the signals"
            if np.isnan(X).any():
                other_name += ",\ngaps filled"
        kl = estimator.kl_per_dim_
        names = [f"latent {k} (KL {kl[k]:.1f} nats)" for k in range(len(kl))]
        points, axis_labels, dims = _to_plane(mean, kl, names, method, random_state)
        axis_labels[0] += few
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
        """Draw latents, for example those of a pipeline.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
        y, method, random_state : as for `from_estimator`
            ``method=None`` takes the two columns of the largest variance.
        **kwargs : as for `plot`
        """
        shared.pyplot()
        check_consistent_length(Z, y)
        Z = np.asarray(Z)
        random_state = check_random_state(random_state)
        few = ""
        if method == "tsne":
            Z, y, few = _at_most(MAX_TSNE, Z, y, random_state)
        names = [f"latent {k}" for k in range(Z.shape[1])]
        spread = Z.var(axis=0)
        points, axis_labels, _ = _to_plane(Z, spread, names, method, random_state)
        axis_labels[0] += few
        return cls(points, y=y, axis_labels=axis_labels).plot(**kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the latents, beside the other embedding if there is one."""
        colors = _ClassColors(self.y, len(self.points))
        n_panels = 1 if self.other is None else 2
        # One dimension has its classes on the axis already.
        is_row = self.points.shape[1] == 1
        has_key = len(colors.names) > 1 and not (is_row and n_panels == 1)
        size = (5.0 + has_key * 2.0 / n_panels, 4.5)
        self.axes_ = shared.make_axes(ax, 1, n_panels, size, sharex=False, sharey=False)
        points, std = self.points, self.std
        if is_row:
            jitter = check_random_state(0).uniform(-0.3, 0.3, len(points))
            points = np.column_stack([points, colors.codes + jitter])
            std = None if std is None else np.pad(std, [(0, 0), (0, 1)])
            self.ax_.set_yticks(colors.ticks, colors.tick_names)
            self.ax_.invert_yaxis()
        else:
            self.ax_.set_ylabel(self.axis_labels[1])
        self.ax_.set_xlabel(self.axis_labels[0])
        _scatter(self.ax_, points, colors, std, kwargs)
        if self.other is not None:
            right = self.axes_[0, 1]
            _scatter(right, self.other, colors, None, kwargs)
            right.set(xticks=[], yticks=[])
            shared.set_title(right, self.other_name)
            shared.set_title(self.ax_, "latents")
        if has_key:
            self._add_key(colors, ax)
        return self

    def _add_key(self, colors, ax):
        """A legend of few classes, else a colour bar."""
        dots = self.axes_[0, -1].collections
        if colors.few:
            dots = dots[: len(colors.names)]
            style = {"loc": "right upper", "markerscale": 1.5}
            if shared.is_divided(ax, self.axes_.size):
                style["ncols"] = 2
            shared.add_legend(self.axes_, ax, dots, colors.tick_names, **style)
            return
        bar = shared.add_colorbar(self.axes_[0, -1:], ax, dots[0])
        bar.solids.set_alpha(1)
        if colors.values is colors.codes:
            bar.set_ticks(colors.ticks, labels=colors.tick_names)
            bar.ax.invert_yaxis()


class _ClassColors:
    """Numbers of the classes, and the values that stand for them in a colour bar."""

    def __init__(self, y, n_samples):
        y = np.full(n_samples, "") if y is None else np.asarray(y)
        if y.dtype == object:  # names, some of which may be missing
            missing = [name is None or is_na(name) or name != name for name in y]
            y = np.where(missing, "unlabelled", y).astype(str)
        self.names, self.codes = np.unique(y, return_inverse=True)
        is_number = self.names.dtype.kind in "iuf"
        is_decimal = is_number and (self.names % 1 != 0).any()
        self.few = len(self.names) <= len(shared.COLORS) and not is_decimal
        self.values = y if is_number and not self.few else self.codes
        step = -(-len(self.names) // MAX_TICK_LABELS)
        self.ticks = range(0, len(self.names), step)
        self.tick_names = [str(name) for name in self.names[::step]]


def _scatter(ax, points, colors, std, kwargs):
    """Draw points (n, 2) by class, with ellipses of the half axes `std` (n, 2)."""
    from matplotlib.collections import EllipseCollection

    style = {"s": 16, "alpha": 0.8, "edgecolors": "white", "linewidths": 0.3} | kwargs
    if colors.few:
        for code in range(len(colors.names)):
            own = {"facecolors": shared.COLORS[code], "marker": shared.MARKERS[code]}
            ax.scatter(*points[colors.codes == code].T, **own | style)
        face_colors = np.array(shared.COLORS)[colors.codes]
    else:
        dots = ax.scatter(*points.T, c=colors.values, **style)
        face_colors = dots.to_rgba(colors.values)
    if std is not None:
        place = {"units": "xy", "offsets": points, "offset_transform": ax.transData}
        style = {"facecolors": face_colors, "alpha": 0.25, "zorder": 0}
        ax.add_collection(EllipseCollection(*2 * std.T, 0, **place, **style))


def _to_plane(Z, activity, names, method, random_state):
    """Two columns of Z or made of Z, their labels, and their numbers in Z if any."""
    if method is None or Z.shape[1] <= 2:
        dims = np.sort(np.argsort(-activity)[:2])  # the same axes in each picture
        return Z[:, dims], [names[k] for k in dims], dims
    points = _embed(Z, method, random_state)
    return points, [f"{EMBEDDINGS[method]} {k} of the latents" for k in (1, 2)], None


def _at_most(n_max, X, y, random_state):
    """At most so many rows of X and y, at random, and a note of it."""
    if len(X) <= n_max:
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
