"""The closed form that training starts from: principal components of several views.

A view is a description of each signal: the signal itself, its features, and what they
predict of a target. Everything here depends on signals through sums of products only,
so many signals may stand as few rows of the same sums, see `skvae.model.moments`.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.utils.extmath import randomized_svd, svd_flip

from skvae.model.likelihoods import MIN_SQUARED_ERROR
from skvae.model.moments import MAX_EXACT, MIN_VARIANCE, centre, thin_svd
from skvae.model.regression import Choice, choose, coefficients

# Standard deviation below which a feature, a share of time steps, is constant.
MIN_FEATURE_STD = 1e-5
# Smallest noise variance, of the signals' mean variance.
MIN_NOISE = 1e-6


class Views(NamedTuple):
    """How the columns of `Rows` are weighted: 1, the signal, its features, the target.

    Attributes
    ----------
    n_values, n_features : int
        Columns of the signal and of its features; the rest are the target's.
    feature_weight, label_weight : float
    classes : bool
        Whether the target's columns are indicators of classes, rather than numbers.
    """

    n_values: int
    n_features: int
    feature_weight: float
    label_weight: float
    classes: bool = False


class Components(NamedTuple):
    """Principal components of the views, and how signals follow from them.

    Attributes
    ----------
    mean : ndarray of shape (n_values + n_features,)
    directions : ndarray of shape (n_components, n_values + n_features)
        ``directions @ ([x, features] - mean)`` has variance 1, uncorrelated.
    std : ndarray of shape (n_components,)
        Standard deviation of each component's share in the views, in scaled units of
        the signal.
    elsewhere : ndarray of shape (n_components,)
        Share of a component's variance that is in other views than the signal.
    loadings : ndarray of shape (n_values, n_components)
        Least squares of the signal on the components.
    variance : float
        Total variance of the signal, over its values.
    n_samples : float
    choice : Choice or None
        How the target is predicted.
    """

    mean: np.ndarray
    directions: np.ndarray
    std: np.ndarray
    elsewhere: np.ndarray
    loadings: np.ndarray
    variance: float
    n_samples: float
    choice: Choice | None

    def noise(self, n_latents):
        """Variance of a value that the first components leave, as in PCA."""
        n_values = len(self.loadings)
        left = self.variance - np.square(self.loadings[:, :n_latents]).sum()
        n_left = max(1, min(n_values, round(self.n_samples)) - n_latents)
        return max(left / n_left, self.noise_floor)

    def residuals(self, rows, n_latents):
        """What the first components leave of the signal, (n, n_values), of `Rows`."""
        n_values = len(self.loadings)
        x = rows[:, 1 : 1 + n_values] - rows[:, :1] * self.mean[:n_values]
        return x - self.scores(rows)[:, :n_latents] @ self.loadings[:, :n_latents].T

    def aligned(self, n_latents, rows, before):
        """The components in the order and with the signs of those of before.

        Each takes the place of the one that it correlates with most: the first
        `n_latents` among themselves, and the others.

        Parameters
        ----------
        n_latents : int
        rows : ndarray
            As of `Rows`, over which they are correlated.
        before : ndarray of shape (n_components, n_values + n_features)
            The directions of before.
        """
        scores = unit_columns(self._replace(directions=before).scores(rows))
        products = self.scores(rows).T @ scores
        n_found = len(self.std)
        order, signs = np.arange(n_found), np.ones(n_found)
        for part in (slice(0, n_latents), slice(n_latents, n_found)):
            own, places = linear_sum_assignment(-np.abs(products[part, part]))
            found = products[part, part][own, places]
            by_place = np.argsort(places)
            order[part][: len(own)] = own[by_place] + part.start
            signs[part][: len(own)] = np.where(found < 0, -1, 1)[by_place]
        return self._replace(
            directions=signs[:, None] * self.directions[order],
            std=self.std[order],
            elsewhere=self.elsewhere[order],
            loadings=signs * self.loadings[:, order],
        )

    def scores(self, rows):
        """Scores of `Rows`, (n, n_components)."""
        inputs = rows[:, 1 : 1 + len(self.mean)] - rows[:, :1] * self.mean
        return inputs @ self.directions.T

    @property
    def noise_floor(self):
        """Smallest noise variance, with which densities stay finite."""
        return max(MIN_NOISE * self.variance / len(self.loadings), MIN_SQUARED_ERROR)


class LinearStart(NamedTuple):
    """Linear maps and variances of a `ConvVAE` before training, all Tensors.

    Attributes
    ----------
    components, offset : shapes (n_components, n_inputs) and (n_components,)
    shrinkage, variances : shape (latent_dim,)
        Of the latent mean, and of the posterior.
    loadings, mean : shapes (n_values, latent_dim) and (n_values,)
        Of the decoder.
    """

    components: torch.Tensor
    offset: torch.Tensor
    shrinkage: torch.Tensor
    variances: torch.Tensor
    loadings: torch.Tensor
    mean: torch.Tensor


def fit_components(blocks, views, n_components, seed, choice=None):
    """`Components` of the signals in a list of `Rows`.

    The target is predicted by `choice`, or by the best there is.
    """
    rows, mean, n_samples = centre([block.values for block in blocks])
    n_inputs = views.n_values + views.n_features
    x, features = rows[:, : views.n_values], rows[:, views.n_values : n_inputs]
    dof = max(n_samples - 1, 1.0)

    variance = np.square(x).sum() / dof
    is_constant = variance <= MIN_VARIANCE * np.square(mean[: views.n_values]).sum()
    signal_scale = 0.0 if is_constant else 1 / np.sqrt(variance)
    std = np.sqrt(np.square(features).sum(axis=0) / dof)
    is_used = std > MIN_FEATURE_STD
    inverse_std = np.where(is_used, 1 / np.where(is_used, std, 1.0), 0.0)
    root = np.sqrt(max(1, is_used.sum()))
    scale, weights = np.full((2, n_inputs), signal_scale)
    scale[views.n_values :] = inverse_std / root
    weights[views.n_values :] = inverse_std * (views.feature_weight / root)
    weighted = rows[:, :n_inputs] * weights
    if views.label_weight:
        if choice is None:
            choice = choose(blocks, views, scale)
        slopes = coefficients(blocks, views, scale, choice)  # (n_inputs, n_targets)
        total = np.square(rows[:, :n_inputs] @ slopes).sum() / dof
        target_scale = views.label_weight / np.sqrt(total) if total > 0 else 0.0
        slopes *= choice.trust * target_scale
        weighted = np.hstack([weighted, rows[:, :n_inputs] @ slopes])

    vectors, variances = principal_components(
        weighted, min(n_components, round(dof)), seed
    )
    variances = variances / dof
    scores = weighted @ vectors.T / np.sqrt(variances)

    # In terms of signal and features.
    directions = vectors[:, :n_inputs] * weights
    if views.label_weight:
        directions += vectors[:, n_inputs:] @ slopes.T
    in_signal = np.square(vectors[:, : views.n_values]).sum(axis=1)
    return Components(
        mean=mean[:n_inputs],
        directions=directions / np.sqrt(variances)[:, None],
        std=np.sqrt(variances * variance),
        elsewhere=np.clip(1 - in_signal, 0.0, 1.0),
        loadings=x.T @ scores / dof,
        variance=variance,
        n_samples=n_samples,
        choice=choice,
    )


def held_out_noise(blocks, views, n_latents, seed, choice=None):
    """Variance of a value of signals that the components were not fitted on.

    By K-fold cross-validation of `fit_components`, over the folds of the blocks; the
    squared errors are divided by the values that the components leave.
    """
    squared_errors = n_samples = 0.0
    for fold in sorted({block.fold for block in blocks}):
        kept = [block for block in blocks if block.fold != fold]
        fitted = fit_components(kept, views, n_latents, seed, choice)
        for block in blocks:
            if block.fold == fold:
                squared_errors += np.square(
                    fitted.residuals(block.values, n_latents)
                ).sum()
                n_samples += np.square(block.values[:, 0]).sum()
    n_left = max(1, views.n_values - n_latents)
    return squared_errors / n_samples / n_left


def linear_start(fitted, latent_dim, n_components, noise, own_noise, beta=1.0):
    """The `LinearStart` of `Components`, with the decoder's noise variance.

    With s2 the noise variance that the components leave, `own_noise`, and
    g2 = ||loadings_k||^2 the variance that component k explains, the latent mean is
    the component times ``sqrt(1 - beta * s2 / g2)`` and the decoder its loadings times
    the same, as in probabilistic PCA, where g2 is an eigenvalue (Tipping and Bishop
    1999, https://doi.org/10.1111/1467-9868.00196; with beta: Lucas et al. 2019,
    https://arxiv.org/abs/1911.02469). The posterior variance is that of
    `posterior_variance`. A component of other views than the signal may explain little
    of it: it is shrunk less, the more of it is elsewhere.
    """
    n_found = min(latent_dim, len(fitted.std))
    loadings = fitted.loadings[:, :n_found]
    explained = np.maximum(np.square(loadings).sum(axis=0), 1e-300)
    most = 1 - 0.5 * fitted.elsewhere[:n_found]
    left = beta * np.clip(own_noise / explained, 0, most)
    shrinkage = np.sqrt(np.clip(1 - left, 0, 1))
    gains = shrinkage * np.sqrt(explained)

    # Latents and components that there is no data for stay at the prior.
    start = LinearStart(
        components=np.zeros((n_components, fitted.directions.shape[1])),
        offset=np.zeros(n_components),
        shrinkage=np.zeros(latent_dim),
        variances=np.ones(latent_dim),
        loadings=np.zeros((len(loadings), latent_dim)),
        mean=fitted.mean[: len(loadings)],
    )
    start.components[: len(fitted.std)] = fitted.directions
    start.offset[: len(fitted.std)] = -fitted.directions @ fitted.mean
    start.shrinkage[:n_found] = shrinkage
    start.variances[:n_found] = posterior_variance(beta * noise, gains)
    start.loadings[:, :n_found] = loadings * shrinkage
    return LinearStart(*map(torch.from_numpy, start))


def posterior_variance(noise, slopes):
    """Variance of q(z_k|x) at which the bound is largest.

    Parameters
    ----------
    noise : float
        Variance of p(x|z), times beta.
    slopes : ndarray of shape (latent_dim,)
        Root mean square norm of d decode / d z_k.
    """
    return noise / (noise + np.square(slopes))


def unit_columns(values):
    """Columns divided by their norm."""
    return values / np.linalg.norm(values, axis=0).clip(min=1e-300)


def principal_components(rows, n_components, seed):
    """Directions (k, d) of the largest sums of squares of rows (n, d), and these (k,).

    At most `n_components`, fewer where the rest is rounding.
    """
    if min(rows.shape) <= MAX_EXACT or n_components > min(rows.shape) // 4:
        u, s, vt = thin_svd(rows, n_components)
    else:
        u, s, vt = randomized_svd(rows, n_components, random_state=seed)
    is_real = s**2 > MIN_VARIANCE * (s[:1] ** 2).sum()
    if is_real.any():
        _, vt = svd_flip(u, vt, u_based_decision=False)
    return vt[is_real], s[is_real] ** 2
