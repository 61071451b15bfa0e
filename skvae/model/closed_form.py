"""The closed form that training starts from: principal components of several views.

The views are the signal itself, its features, and the target that both predict. All
results depend on sums of products only, so that a few rows may stand for many signals,
see `skvae.model.moments`.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.utils.extmath import randomized_svd, svd_flip

from skvae.model.likelihoods import MIN_SQUARED_ERROR
from skvae.model.moments import MAX_EXACT, MIN_VARIANCE, centre, thin_svd
from skvae.model.regression import Choice, choose, coefficients

MIN_FEATURE_STD = 1e-5  # below it a feature, a share of time steps, is constant
MIN_NOISE = 1e-6  # least noise variance, as a share of the signals' variance


class Views(NamedTuple):
    """Numbers of columns, and weights, of the views in `Rows`."""

    n_values: int  # of the signal, after a column of ones
    n_features: int  # after the signal; the last columns are the target
    feature_weight: float
    label_weight: float
    classes: bool = False  # whether the target's columns are indicators of classes


class Components(NamedTuple):
    """Principal components of the views, and the signals that they explain.

    The scores, ``directions @ ([x, features] - mean)``, are uncorrelated and have
    variance 1.
    """

    mean: np.ndarray  # (n_values + n_features,)
    directions: np.ndarray  # (n_components, n_values + n_features)
    std: np.ndarray  # (n_components,), of the weighted views, in units of the signal
    elsewhere: np.ndarray  # (n_components,), share of variance in the other views
    loadings: np.ndarray  # (n_values, n_components), regression of x on the scores
    variance: float  # sum over the values of the signal
    n_samples: float
    choice: Choice | None  # options of the regression of the target

    def noise(self, n_latents):
        """Mean variance of a value that the first components leave, as in PCA."""
        explained = np.square(self.loadings[:, :n_latents]).sum()
        rank = min(len(self.loadings), round(self.n_samples))
        noise = (self.variance - explained) / max(1, rank - n_latents)
        return max(noise, self.noise_floor)

    @property
    def noise_floor(self):
        """Least noise variance, with which densities stay finite."""
        return max(MIN_NOISE * self.variance / len(self.loadings), MIN_SQUARED_ERROR)

    def scores(self, rows):
        """Scores (n, n_components) of the values of `Rows`."""
        inputs = rows[:, 1 : 1 + len(self.mean)] - rows[:, :1] * self.mean
        return inputs @ self.directions.T

    def residuals(self, rows, n_latents):
        """Part (n, n_values) of signals that the first components do not explain."""
        n_values = len(self.loadings)
        x = rows[:, 1 : 1 + n_values] - rows[:, :1] * self.mean[:n_values]
        return x - self.scores(rows)[:, :n_latents] @ self.loadings[:, :n_latents].T

    def aligned(self, n_latents, rows, directions):
        """The components in the order, and with the signs, of earlier `directions`.

        Scores of `rows` that correlate most get the same place. The first `n_latents`
        components stay the first.
        """
        scores = self._replace(directions=directions).scores(rows)
        scores /= np.linalg.norm(scores, axis=0).clip(min=1e-300)
        products = self.scores(rows).T @ scores
        n_components = len(self.std)
        order, signs = np.arange(n_components), np.ones(n_components)
        for part in (slice(0, n_latents), slice(n_latents, n_components)):
            places, own = linear_sum_assignment(-np.abs(products[part, part].T))
            order[part][: len(own)] = own + part.start
            is_negative = products[part, part][own, places] < 0
            signs[part][: len(own)] = np.where(is_negative, -1, 1)
        return self._replace(
            directions=signs[:, None] * self.directions[order],
            std=self.std[order],
            elsewhere=self.elsewhere[order],
            loadings=signs * self.loadings[:, order],
        )


class LinearStart(NamedTuple):
    """Linear maps and variances of a `ConvVAE` before training."""

    components: torch.Tensor  # (n_components, n_inputs)
    offset: torch.Tensor  # (n_components,)
    shrinkage: torch.Tensor  # (latent_dim,), of the latent mean
    variances: torch.Tensor  # (latent_dim,), of the posterior
    loadings: torch.Tensor  # (n_values, latent_dim), of the decoder
    mean: torch.Tensor  # (n_values,), of the decoder


def fit_components(blocks, views, n_components, seed, choice=None):
    """`Components` of a list of `Rows`; by default with the best `choice`."""
    rows, mean, n_samples = centre([block.values for block in blocks])
    n_values, n_inputs = views.n_values, views.n_values + views.n_features
    inputs = rows[:, :n_inputs]
    x, features = np.split(inputs, [n_values], axis=1)
    dof = max(n_samples - 1, 1.0)

    # Each view is divided by the root of its total variance, then weighted.
    variance = np.square(x).sum() / dof
    is_constant = variance <= MIN_VARIANCE * np.square(mean[:n_values]).sum()
    of_x = np.full(n_values, 0.0 if is_constant else 1 / np.sqrt(variance))
    std = np.sqrt(np.square(features).sum(axis=0) / dof)
    is_used = std > MIN_FEATURE_STD
    of_features = np.divide(1.0, std, out=np.zeros_like(std), where=is_used)
    root = np.sqrt(max(1, is_used.sum()))
    weights = np.append(of_x, of_features * (views.feature_weight / root))
    view = inputs * weights
    slopes = np.zeros((n_inputs, 0))
    if views.label_weight:
        scale = np.append(of_x, of_features / root)
        choice = choice or choose(blocks, views, scale)
        slopes = coefficients(blocks, views, scale, choice)  # (n_inputs, n_targets)
        total = np.square(inputs @ slopes).sum() / dof
        slopes *= choice.trust * (views.label_weight / np.sqrt(total) if total else 0.0)
        view = np.hstack([view, inputs @ slopes])

    n_components = min(n_components, round(dof))
    vectors, squares = principal_components(view, n_components, seed)
    std = np.sqrt(squares / dof)
    scores = view @ vectors.T / std
    directions = vectors[:, :n_inputs] * weights + vectors[:, n_inputs:] @ slopes.T
    in_signal = np.square(vectors[:, :n_values]).sum(axis=1)
    return Components(
        mean=mean[:n_inputs],
        directions=directions / std[:, None],
        std=np.sqrt(squares / dof * variance),
        elsewhere=np.clip(1 - in_signal, 0.0, 1.0),
        loadings=x.T @ scores / dof,
        variance=variance,
        n_samples=n_samples,
        choice=choice,
    )


def held_out_noise(blocks, views, n_latents, seed, choice=None):
    """Noise variance of a value in folds that the components were not fitted on."""
    squared_errors = n_samples = 0.0
    for fold in sorted({block.fold for block in blocks}):
        others = [block for block in blocks if block.fold != fold]
        fitted = fit_components(others, views, n_latents, seed, choice)
        for values in (block.values for block in blocks if block.fold == fold):
            squared_errors += np.square(fitted.residuals(values, n_latents)).sum()
            n_samples += np.square(values[:, 0]).sum()
    return squared_errors / n_samples / max(1, views.n_values - n_latents)


def linear_start(fitted, latent_dim, n_components, noise, own_noise, beta=1.0):
    """`LinearStart` of `Components`, for a noise variance of the decoder.

    Component k explains the variance g2 = ||loadings_k||^2. The latent mean is the
    component, and the decoder has its loadings, both times
    ``sqrt(1 - beta * own_noise / g2)``. In probabilistic PCA g2 is an eigenvalue
    (Tipping and Bishop 1999, https://doi.org/10.1111/1467-9868.00196; with beta: Lucas
    et al. 2019, https://arxiv.org/abs/1911.02469). A component that lies in other views
    explains less of the signal, and is shrunk less.
    """
    n_latents = min(latent_dim, len(fitted.std))
    loadings = fitted.loadings[:, :n_latents]
    explained = np.maximum(np.square(loadings).sum(axis=0), 1e-300)
    most = 1 - 0.5 * fitted.elsewhere[:n_latents]
    noise_share = beta * np.clip(own_noise / explained, 0, most)
    shrinkage = np.sqrt(np.clip(1 - noise_share, 0, 1))
    gains = shrinkage * np.sqrt(explained)

    # Latents beyond the rank of the data stay at the prior.
    more = (0, n_components - len(fitted.std)), (0, latent_dim - n_latents)
    variances = posterior_variance(beta * noise, gains)
    start = LinearStart(
        components=np.pad(fitted.directions, (more[0], (0, 0))),
        offset=np.pad(-fitted.directions @ fitted.mean, more[0]),
        shrinkage=np.pad(shrinkage, more[1]),
        variances=np.pad(variances, more[1], constant_values=1),
        loadings=np.pad(loadings * shrinkage, ((0, 0), more[1])),
        mean=fitted.mean[: len(loadings)],
    )
    return LinearStart(*map(torch.from_numpy, start))


def posterior_variance(noise, slopes):
    """Best variance (latent_dim,) of q(z|x), for a noise times beta and slopes."""
    return noise / (noise + np.square(slopes))


def principal_components(rows, n_components, seed):
    """Right singular vectors (k, d) of rows (n, d), and squared values (k,)."""
    if min(rows.shape) <= MAX_EXACT or n_components > min(rows.shape) // 4:
        u, s, vt = thin_svd(rows, n_components)
    else:
        u, s, vt = randomized_svd(rows, n_components, random_state=seed)
    is_real = s**2 > MIN_VARIANCE * (s[:1] ** 2).sum()
    if is_real.any():
        _, vt = svd_flip(u, vt, u_based_decision=False)
    return vt[is_real], s[is_real] ** 2
