"""What training signals cannot tell, measured on signals held back from training.

How large the decoder's noise is, and how far to trust what training added to
probabilistic PCA: a network that reconstructs its few training signals well is sure of
itself, and wrong, on others.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from skorch.utils import to_tensor

from skvae.losses import MIN_DISTORTION
from skvae.training import Batches, forked_random_state

# Shares of the way from probabilistic PCA to the trained network that are compared.
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Shifts in training that are compared, as shares of the length of the signals.
SHIFTS = (0.0, 0.01, 0.02)
N_FOLDS = 5
# Passes over the held-back signals, each with other draws from q(z|x).
N_PASSES = 8
BATCH_SIZE = 256


def start_linear_path(module, signals, seed, held_out_noise=None, shift=0):
    """Start the linear maps of the module at PCA of the scaled signals (n, c, t).

    With a shift, in time steps, it is PCA of the signals and of shifted copies of them.
    Returns the noise variance, float, that they start with: `held_out_noise`, or by
    default that of scikit-learn's PCA.
    """
    rows = flatten(shifted_copies(signals, shift)).astype(np.float64)
    pca = fit_pca(rows, module.latent_dim, seed)
    # Without residual, any noise below the smallest eigenvalue gives the same density.
    floor = max(1e-6 * rows.var(axis=0).mean(), MIN_DISTORTION["gaussian"])
    own_noise = max(pca.noise_variance_, floor)
    noise = own_noise if held_out_noise is None else max(held_out_noise, floor)
    module.start_linear_path(
        torch.from_numpy(pca.mean_),
        torch.from_numpy(pca.components_),
        torch.from_numpy(pca.explained_variance_),
        min(noise, own_noise),
        noise,
    )
    return noise


def choose_shift(signals, latent_dim, seed, may_shift=True):
    """How far to shift signals (n, c, t) in training, and PCA's noise variance then.

    By K-fold cross-validation of probabilistic PCA, fitted on shifted copies as well:
    where signals are not aligned in time they make it better, elsewhere worse.

    Returns
    -------
    shift : int
        Time steps either way.
    noise : float
        Squared residuals of held-back signals over the dimensions that PCA leaves.
    """
    shares = SHIFTS if may_shift else (0.0,)
    shifts = {round(share * signals.shape[2]) for share in shares}
    shift = 0
    if len(shifts) > 1:  # compared in single precision, in half the time
        found = {m: cross_validate(signals, latent_dim, seed, m)[0] for m in shifts}
        shift = max(sorted(found), key=found.get)
    signals = signals.astype(np.float64)
    return shift, cross_validate(signals, latent_dim, seed, shift)[1]


def cross_validate(signals, latent_dim, seed, shift):
    """Log-likelihood in nats, and noise variance, of signals PCA was not fitted on."""
    n_left = max(1, signals[0].size - latent_dim)
    residuals, scores, variances = [], [], []
    folds = KFold(min(N_FOLDS, len(signals)), shuffle=True, random_state=seed)
    for train, test in folds.split(signals):
        rows = flatten(signals[test])
        pca = fit_pca(flatten(shifted_copies(signals[train], shift)), latent_dim, seed)
        z = pca.transform(rows)
        residuals.append(np.square(rows - pca.inverse_transform(z)).sum(axis=1))
        scores.append(z)
        variances.append(pca.explained_variance_)
    noise = np.concatenate(residuals).mean(dtype=np.float64) / n_left
    noise = max(float(noise), MIN_DISTORTION["gaussian"])
    log_likelihood = 0.0
    for z, variance in zip(scores, variances, strict=True):
        variance = np.maximum(variance, noise)
        terms = np.log(variance) + np.square(z) / variance
        log_likelihood -= 0.5 * terms.sum(dtype=np.float64)
    return log_likelihood - 0.5 * len(signals) * n_left * np.log(noise), noise


def shifted_copies(signals, shift):
    """Signals (n, c, t) and copies shifted by all and half of `shift` either way."""
    if not shift:
        return signals
    time = np.arange(signals.shape[2])
    steps = sorted({0, shift, -shift, shift // 2, -(shift // 2)})
    copies = [signals[..., np.clip(time - step, 0, time[-1])] for step in steps]
    return np.concatenate(copies)


def fit_pca(rows, latent_dim, seed):
    """scikit-learn's PCA, of as many components as there are latents and data for."""
    with np.errstate(invalid="ignore"):  # shares of a variance of 0, not used here
        return PCA(min(latent_dim, *rows.shape), random_state=seed).fit(rows)


def flatten(signals):
    return signals.reshape(len(signals), -1)


def choose_trust(net, start, dataset, seed):
    """Blend the net between its start and its end as suits signals held back best.

    Parameters
    ----------
    net : VAENet, trained
    start : list of Tensor, or None
        The net's `blended_parameters` before training; None: nothing to blend with.
    dataset : SignalDataset
        The signals held back.
    seed : int

    Returns
    -------
    trust : float
        The share in `TRUSTS` at which the loss is lowest, with labels 1: the trained
        net.
    distortion, excess : float
        Mean distortion at that share, and its ratio to that at the start.
    """
    trusts = (1.0,)
    if start:
        trusts = TRUSTS if dataset.y is None else (0.0, 1.0)
    n_values = dataset.X[0].size
    end = [p.detach().clone() for p in net.module_.blended_parameters()]
    terms = []
    for trust in trusts:
        if start:
            net.module_.blend(start, end, trust)
        terms.append(evaluate(net, dataset, seed))
    losses = [float(net.criterion_.loss(term, n_values)) for term in terms]
    # Few labels that are held back do not tell what the latents are worth to a
    # classifier, and probabilistic PCA knows nothing of classes.
    best = int(np.argmin(losses)) if dataset.y is None else len(trusts) - 1
    if start:
        net.module_.blend(start, end, 1.0)
    at_start = max(float(terms[0][0]), MIN_DISTORTION["gaussian"])
    distortion = float(terms[best][0])
    return trusts[best], distortion, distortion / at_start


@torch.no_grad()
def evaluate(net, dataset, seed):
    """Means of the terms of the loss over a dataset, dropout off, the same draws."""
    total = 0.0
    net.module_.eval()
    with forked_random_state(seed, net.device):
        for _ in range(N_PASSES):
            for x, y in Batches(dataset, BATCH_SIZE):
                x, y = to_tensor((x, y), net.device)
                total = total + len(x) * net.criterion_(net.module_(x), x, y)
    return total.cpu() / (N_PASSES * len(dataset))
