"""Ridge regression of a target on the signal and its features.

With more columns than rows a regression fits its own rows exactly. So the error in
left-out signals chooses the penalty and the weights of both views. Signals are left out
one by one where `Rows` are signals, and fold by fold where they are sums.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, solve

from skvae.model.moments import MAX_EXACT, centre, thin_svd

# Weights of signal and features, both standardised. The first stays if none predicts.
MIXES = ((1.0, 1.0), (1.0, 0.0), (1.0, 0.3), (0.3, 1.0), (0.0, 1.0))
# Penalties as shares of the views' sum of squares. The infinite one predicts the mean.
PENALTIES = np.append(np.inf, np.logspace(2, -9, 23))
TINY = 1e-100  # keeps divisors above 0


class Choice(NamedTuple):
    """Options of the regression of each target, and the trust in its predictions."""

    options: np.ndarray  # (n_targets, 3): weights of signal and features, penalty
    trust: np.ndarray  # (n_targets,), from 0 to 1, 0 where no prediction is better


def choose(blocks, views, scale):
    """Best `Choice` for a list of `Rows`: for each number, or for all classes."""
    n_targets = len(blocks[0].known)
    choice = Choice(np.tile([1.0, 1.0, np.inf], (n_targets, 1)), np.zeros(n_targets))
    for columns, group in groups(blocks):
        values = [block.values for block in group]
        rows = split(centre(values)[0], scale, columns)
        folds = np.repeat([block.fold for block in group], [len(v) for v in values])
        are_signals = all((v[:, 0] == 1).all() for v in values)
        parts = np.arange(len(folds)) if are_signals else np.unique(folds)
        if len(parts) == 1:
            continue
        # A part of many signals, or one fold, is enough to compare the mixes.
        if are_signals:
            left_out = partial(leave_one_out, *rows)
            step = math.ceil(len(folds) / MAX_EXACT)
            of_part = partial(leave_one_out, *(part[::step] for part in rows))
        else:
            grams = np.stack([gram(*rows, folds == fold) for fold in parts])
            left_out = partial(leave_folds_out, grams)
            of_part = partial(leave_folds_out, grams, n_left_out=1)
        options, *_ = search(of_part, MIXES, views)
        mixes = np.unique(options[:, :2], axis=0)
        options, errors, errors_of_mean = search(left_out, mixes, views)
        choice.options[columns] = options
        choice.trust[columns] = trust_in(errors, errors_of_mean, views.classes)
    return choice


def groups(blocks):
    """Yield target columns that the same blocks know, and these blocks."""
    known = np.array([block.known for block in blocks]).T  # (n_targets, n_blocks)
    for pattern in np.unique(known, axis=0):
        if pattern.any():
            columns = np.flatnonzero((known == pattern).all(axis=1))
            yield columns, [blocks[i] for i in np.flatnonzero(pattern)]


def split(rows, scale, columns):
    """Scaled inputs, and some columns of the target, of centred rows."""
    return rows[:, : len(scale)] * scale, rows[:, len(scale) + columns]


def gram(inputs, y, is_used):
    """Sums of products of inputs and targets over the used rows."""
    rows = np.hstack([inputs[is_used], y[is_used]])
    return rows.T @ rows


def search(left_out, mixes, views):
    """Best options (t, 3), and squared errors (n, t) of these and of the mean."""
    best = None
    for mix in mixes:
        weights = np.repeat(mix, (views.n_values, views.n_features))
        for penalty, errors in left_out(weights):
            if best is None:
                errors_of_mean, best = errors, errors.copy()
                options = np.tile([*mix, penalty], (errors.shape[1], 1))
            gain = best.sum(axis=0) - errors.sum(axis=0)
            if views.classes:
                gain[:] = gain.sum()
            is_better = gain > 0
            best[:, is_better] = errors[:, is_better]
            options[is_better] = *mix, penalty
    return options, best, errors_of_mean


def leave_one_out(inputs, y, weights):
    """Yield each penalty with the exact squared errors (n, t) of left-out signals.

    The error is the residual divided by 1 - h, where h is the weight of a signal in its
    own prediction.
    """
    u, s, _ = thin_svd((inputs - inputs.mean(axis=0)) * weights)
    y = y - y.mean(axis=0)
    projected, own = u.T @ y, np.square(u)
    total = max(s @ s, TINY)
    for penalty in PENALTIES:
        shrinkage = s**2 / (s**2 + penalty * total)
        residuals = y - u @ (shrinkage[:, None] * projected)
        of_others = np.maximum(1 - 1 / len(y) - own @ shrinkage, TINY)
        yield penalty, np.square(residuals / of_others[:, None])


def leave_folds_out(grams, weights, n_left_out=None):
    """Yield each penalty with the sums of squared errors (n_left_out, t) of folds."""
    n = len(weights)
    errors = []
    for fold in grams[:n_left_out]:
        rest = grams.sum(axis=0) - fold
        xx, xy = rest[:n, :n] * np.outer(weights, weights), rest[:n, n:]
        squares, vectors = eigh(xx, check_finite=False)
        squares = squares.clip(0)
        total = max(squares.sum(), TINY)
        vectors *= weights[:, None]
        projected = vectors.T @ xy
        errors.append([])
        for penalty in PENALTIES:
            slopes = vectors @ (projected / (squares + penalty * total)[:, None])
            explained = slopes * (2 * fold[:n, n:] - fold[:n, :n] @ slopes)
            errors[-1].append(fold[n:, n:].diagonal() - explained.sum(axis=0))
    return zip(PENALTIES, np.swapaxes(errors, 0, 1), strict=True)


def trust_in(errors, errors_of_mean, classes):
    """Trust (t,) in predictions, from their squared errors (n, t) and the mean's.

    Let t be the gain over its standard error: then 1 / t^2 of the squared gain is
    chance, and nothing is trusted below t = 1. For numbers, R2 is a second factor.
    Classes need none, because latents that predict them badly still separate them.
    """
    gains = errors_of_mean - errors
    if classes:
        gains = gains.sum(axis=1, keepdims=True) + np.zeros(gains.shape[1])
    gain, n_units = gains.sum(axis=0), len(gains)
    if n_units < 2:
        return np.zeros(len(gain))
    chance = n_units * gains.var(axis=0, ddof=1)
    share = 1 - chance / np.maximum(np.square(gain), TINY)
    if not classes:
        share *= gain / np.maximum(errors_of_mean.sum(axis=0), TINY)
    return np.sqrt(np.where(gain > 0, share, 0.0).clip(0, 1))


def coefficients(blocks, views, scale, choice):
    """Slopes (n_inputs, n_targets) of the predictions, 0 without trust."""
    slopes = np.zeros((len(scale), len(choice.trust)))
    for columns, group in groups(blocks):
        rows, *_ = centre([block.values for block in group])
        for option in np.unique(choice.options[columns], axis=0):
            is_same = (choice.options[columns] == option).all(axis=1)
            same = columns[is_same & (choice.trust[columns] > 0)]
            if len(same):
                weights = np.repeat(option[:2], (views.n_values, views.n_features))
                weights *= scale
                slopes[:, same] = weights[:, None] * ridge(
                    *split(rows, weights, same), option[2]
                )
    return slopes


def ridge(inputs, y, penalty):
    """Slopes (d, t) by the smaller Gram matrix; penalty as a share of its trace."""
    is_wide = inputs.shape[0] < inputs.shape[1]
    products = inputs @ inputs.T if is_wide else inputs.T @ inputs
    total = np.trace(products)
    if total == 0:
        return np.zeros((inputs.shape[1], y.shape[1]))
    products[np.diag_indices_from(products)] += penalty * total
    if is_wide:
        return inputs.T @ solve(products, y, assume_a="pos")
    return solve(products, inputs.T @ y, assume_a="pos")
