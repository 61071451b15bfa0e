"""Ridge regression of a target on the signal and its features.

Many columns predict any number of their own rows. So the weights of the two views and
the penalty are chosen by the error in signals that were left out: one by one where
`Rows` are signals, fold by fold where they are sums.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, solve

from skvae.model.moments import MAX_EXACT, centre, thin_svd

# Weights of the signal and of its features, both standardised; the first where none
# predicts a part of many signals.
MIXES = ((1.0, 1.0), (1.0, 0.0), (1.0, 0.3), (0.3, 1.0), (0.0, 1.0))
# Penalties, in units of the views' sum of squares; the first predicts the mean.
PENALTIES = np.append(np.inf, np.logspace(2, -9, 23))
TINY = 1e-100  # in place of 0 in a division


class Choice(NamedTuple):
    """How each column of the target is predicted, and how far that is trusted."""

    options: np.ndarray  # (n_targets, 3): weights of signal and features, the penalty
    trust: np.ndarray  # (n_targets,), 0 where left-out signals are not predicted, to 1


def choose(blocks, views, scale):
    """The best `Choice` for each number to predict, or for all classes together.

    `blocks` are a list of `Rows`, and `scale` (n_inputs,) standardises `views`.
    """
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
        # The mixes are compared on a part of many signals, or on one fold.
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
    """Yield columns of the target that are known of the same signals, and their blocks.

    Columns that are known of no signal are left out.
    """
    known = np.array([block.known for block in blocks]).T  # (n_targets, n_blocks)
    for pattern in np.unique(known, axis=0):
        if pattern.any():
            columns = np.flatnonzero((known == pattern).all(axis=1))
            yield columns, [blocks[i] for i in np.flatnonzero(pattern)]


def split(rows, scale, columns):
    """Scaled signal and features of centred rows, and these columns of the target."""
    return rows[:, : len(scale)] * scale, rows[:, len(scale) + columns]


def gram(inputs, y, is_used):
    """Sums of products of inputs and targets, of the rows that are used."""
    rows = np.hstack([inputs[is_used], y[is_used]])
    return rows.T @ rows


def search(left_out, mixes, views):
    """The best options (t, 3), their squared errors, and those of the mean, (n, t).

    `left_out`, given the weight of each column, yields penalties and squared errors.
    """
    best = None
    for mix in mixes:
        weights = np.repeat(mix, (views.n_values, views.n_features))
        for penalty, errors in left_out(weights):
            if best is None:
                errors_of_mean, best = errors, errors.copy()
                options = np.tile([*mix, penalty], (errors.shape[1], 1))
            gain = best.sum(axis=0) - errors.sum(axis=0)
            is_better = np.broadcast_to(
                gain.sum() > 0 if views.classes else gain > 0, gain.shape
            )
            best[:, is_better] = errors[:, is_better]
            options[is_better] = *mix, penalty
    return options, best, errors_of_mean


def leave_one_out(inputs, y, weights):
    """Yield each penalty, and squared errors (n, t) of signals that were left out.

    They are exact: the residual of each signal, divided by one less the weight of the
    signal in its own prediction.
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
    """Each penalty, and sums of squared errors (n_left_out, t) of left-out folds.

    `grams` (n_folds, n_inputs + t, n_inputs + t) are the sums of products of each
    fold's rows, less the mean of all. By default all folds are left out in turn.
    """
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
    """Trust (t,) in predictions, by their squared errors (n, t) and those of the mean.

    With t the gain over its standard error, 1 - 1 / t^2 of the squared gain is no
    chance, and nothing is trusted below t = 1. For numbers that share is multiplied by
    R2, but not for classes: latents that predict them badly still separate them.
    """
    gains = errors_of_mean - errors
    if classes:
        gains = np.repeat(gains.sum(axis=1, keepdims=True), gains.shape[1], axis=1)
    gain, n_units = gains.sum(axis=0), len(gains)
    if n_units < 2:
        return np.zeros(len(gain))
    chance = n_units * gains.var(axis=0, ddof=1)
    share = 1 - chance / np.maximum(np.square(gain), TINY)
    if not classes:
        share *= gain / np.maximum(errors_of_mean.sum(axis=0), TINY)
    return np.sqrt(np.where(gain > 0, share, 0.0).clip(0, 1))


def coefficients(blocks, views, scale, choice):
    """Slopes (n_inputs, n_targets) of the predictions; 0 where not trusted."""
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
    """Slopes (d, t), by the smaller Gram matrix; the penalty in units of its trace."""
    is_wide = inputs.shape[0] < inputs.shape[1]
    products = inputs @ inputs.T if is_wide else inputs.T @ inputs
    total = np.trace(products)
    if total == 0:
        return np.zeros((inputs.shape[1], y.shape[1]))
    products[np.diag_indices_from(products)] += penalty * total
    if is_wide:
        return inputs.T @ solve(products, y, assume_a="pos")
    return solve(products, inputs.T @ y, assume_a="pos")
