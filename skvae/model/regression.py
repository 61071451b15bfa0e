"""Ridge regression of a target on the signal and its features, judged by what it left.

Many columns predict any number of their own rows. So the weights of the two views and
the penalty are those of the smallest error of signals that were left out: one by one
where `Rows` are signals, fold by fold where they are sums.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, solve

from skvae.model.moments import MAX_EXACT, centre, thin_svd

# Weights of the signal and of its features, both standardised; the first where none
# predicts some of many signals.
MIXES = ((1.0, 1.0), (1.0, 0.0), (1.0, 0.3), (0.3, 1.0), (0.0, 1.0))
# Penalties, in units of the weighted views' sum of squares; the first leaves the mean.
PENALTIES = np.append(np.inf, np.logspace(2, -9, 23))

# In place of 0 in a division.
TINY = 1e-100


class Choice(NamedTuple):
    """How each column of the target is predicted, and how far that is trusted.

    Attributes
    ----------
    options : ndarray of shape (n_targets, 3)
        Weights of the signal and of its features, and the penalty, in units of the sum
        of squares of both.
    trust : ndarray of shape (n_targets,)
        From 0, where signals left out are not predicted, to 1.
    """

    options: np.ndarray
    trust: np.ndarray


def choose(blocks, views, scale):
    """The best `Choice` for each number to predict, or for all classes together.

    Parameters
    ----------
    blocks : list of Rows
    views : Views
    scale : ndarray of shape (n_inputs,)
        Factors of the signal and its features that standardise them.
    """
    n_targets = len(blocks[0].known)
    choice = Choice(np.tile([1.0, 1.0, np.inf], (n_targets, 1)), np.zeros(n_targets))
    for columns, group in groups(blocks):
        values = [block.values for block in group]
        rows = split(centre(values)[0], scale, columns)
        folds = np.repeat([block.fold for block in group], [len(v) for v in values])
        if all((v[:, 0] == 1).all() for v in values):
            if len(folds) == 1:
                continue
            left_out = partial(leave_one_out, *rows)
            # Of many signals the mixes are compared on some.
            step = math.ceil(len(folds) / MAX_EXACT)
            of_some = partial(leave_one_out, *(part[::step] for part in rows))
        else:
            found = np.unique(folds)
            if len(found) == 1:
                continue
            grams = np.stack([gram(*rows, folds == fold) for fold in found])
            left_out = partial(leave_folds_out, grams)
            of_some = partial(leave_folds_out, grams, n_left=1)
        options, *_ = search(of_some, MIXES, views)
        mixes = np.unique(options[:, :2], axis=0)
        options, errors, plain = search(left_out, mixes, views)
        choice.options[columns] = options
        choice.trust[columns] = trust_in(errors, plain, views.classes)
    return choice


def groups(blocks):
    """Yield columns of the target that are known of the same signals, and their blocks.

    Columns that are known of none are left out.
    """
    known = np.array([block.known for block in blocks]).T  # (n_targets, n_blocks)
    for pattern in np.unique(known, axis=0):
        if pattern.any():
            columns = np.flatnonzero((known == pattern).all(axis=1))
            yield columns, [blocks[i] for i in np.flatnonzero(pattern)]


def split(rows, scale, columns):
    """Scaled signal and features, and some columns of the target, of centred rows."""
    return rows[:, : len(scale)] * scale, rows[:, len(scale) + columns]


def gram(inputs, y, is_used):
    """Sums of products of inputs and targets, of some rows."""
    rows = np.hstack([inputs[is_used], y[is_used]])
    return rows.T @ rows


def search(left_out, mixes, views):
    """The best options (t, 3) by what they leave, their squared errors, and the mean's.

    `left_out` of a column of weights yields each penalty and squared errors (n, t).
    """
    plain = best = options = None
    for mix in mixes:
        weights = np.repeat(mix, (views.n_values, views.n_features))
        for penalty, errors in left_out(weights):
            if best is None:
                plain, best = errors, errors.copy()
                options = np.tile([*mix, penalty], (errors.shape[1], 1))
            less = best.sum(axis=0) - errors.sum(axis=0)
            better = np.broadcast_to(
                less.sum() > 0 if views.classes else less > 0, less.shape
            )
            best[:, better] = errors[:, better]
            options[better] = *mix, penalty
    return options, best, plain


def leave_one_out(inputs, y, weights):
    """Yield each penalty, and squared errors (n, t) of signals that were left out.

    Exact: of a linear fit they are what is left of each signal, divided by one less its
    weight in its own prediction.
    """
    u, s, _ = thin_svd((inputs - inputs.mean(axis=0)) * weights)
    y = y - y.mean(axis=0)
    projected, own = u.T @ y, np.square(u)
    total = max(s @ s, TINY)
    for penalty in PENALTIES:
        kept = s**2 / (s**2 + penalty * total)
        left = y - u @ (kept[:, None] * projected)
        others = 1 - 1 / len(y) - own @ kept
        yield penalty, np.square(left / np.maximum(others, TINY)[:, None])


def leave_folds_out(grams, weights, n_left=None):
    """Each penalty, and sums of squared errors (n_left, t) of folds that were left out.

    Parameters
    ----------
    grams : ndarray of shape (n_folds, n_inputs + n_targets, n_inputs + n_targets)
        Sums of products of each fold's rows, less the mean of all.
    weights : ndarray of shape (n_inputs,)
    n_left : int, optional
        Folds to be left out, by default all.
    """
    n = len(weights)
    errors = []
    for fold in grams[:n_left]:
        others = grams.sum(axis=0) - fold
        xx, xy = others[:n, :n] * np.outer(weights, weights), others[:n, n:]
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


def trust_in(errors, plain, classes):
    """Trust (t,) in predictions, by their squared errors (n, t) and those of the mean.

    With t the gain over its standard error, 1 - 1 / t^2 of the squared gain is no
    chance, and nothing is trusted below t = 1. Of numbers it is that times R2. Classes
    are told apart by latents that know little of them, so theirs is that alone.
    """
    gains = plain - errors
    if classes:
        gains = np.repeat(gains.sum(axis=1, keepdims=True), gains.shape[1], axis=1)
    gain, n_units = gains.sum(axis=0), len(gains)
    if n_units < 2:
        return np.zeros(len(gain))
    chance = n_units * gains.var(axis=0, ddof=1)
    share = 1 - chance / np.maximum(np.square(gain), TINY)
    if not classes:
        share *= gain / np.maximum(plain.sum(axis=0), TINY)
    return np.sqrt(np.where(gain > 0, share, 0.0).clip(0, 1))


def coefficients(blocks, views, scale, choice):
    """Slopes (n_inputs, n_targets) of what is predicted; 0 where it is not trusted."""
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
