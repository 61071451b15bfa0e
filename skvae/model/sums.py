"""Signals as rows of numbers or, of many, as sums of their products, which add up."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, qr
from scipy.linalg.blas import dger
from sklearn.utils import gen_batches, murmurhash3_32

from skvae.processes import from_all, rank, shared_errors, sum_over_processes

# Values that are kept as rows; of more, sums of products are taken, if a signal has
# few enough, or else a random part of the signals.
MAX_VALUES = 2**23
MAX_WIDTH = 2048
# Signals whose products are added up at a time.
N_ADDED = 4096
N_FOLDS = 5


class Rows(NamedTuple):
    """Signals of one fold, with a label or without, of all processes.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, 1 + n_values)
        A constant 1 and what is known of a signal; or any rows with the same sums of
        products, as `Sums.rows` gives.
    fold : int
    is_labelled : bool
    """

    values: np.ndarray
    fold: int
    is_labelled: bool


def merge(blocks, others):
    """`Rows` with the sums of both lists, no more than there are columns of each kind.

    The triangular factor of rows has their sums of products.
    """
    merged = {}
    for values, *kind in (*blocks, *others):
        merged.setdefault(tuple(kind), []).append(values)
    for kind, parts in merged.items():
        values = np.concatenate(parts)
        if len(values) > values.shape[1]:
            [values] = qr(values, mode="r", overwrite_a=True, check_finite=False)
            values = values[: values.shape[1]]
        merged[kind] = values
    return [Rows(values, *kind) for kind, values in merged.items()]


class Sums:
    """Count, mean and products of what is centred, of rows (n, d), in float64.

    Sums of parts of the rows, added, are those of all.

    References
    ----------
    Chan, Golub & LeVeque (1983), https://doi.org/10.1080/00031305.1983.10483115
    """

    def __init__(self, n, mean, products):
        self.n = n
        self.mean = mean
        self.products = products  # (d, d)

    @classmethod
    def of(cls, values):
        """Of rows (n, d), which are centred in place."""
        mean = values.mean(axis=0)
        values -= mean
        return cls(float(len(values)), mean, values.T @ values)

    @classmethod
    def empty(cls, width):
        return cls(0.0, np.zeros(width), np.zeros((width, width)))

    def __iadd__(self, other):
        n = self.n + other.n
        if n:
            share = other.n / n
            between = other.mean - self.mean
            self.products += other.products
            # The outer product, added in place: np.outer takes as long as the rest.
            dger(self.n * share, between, between, a=self.products.T, overwrite_a=True)
            self.mean = self.mean + share * between
            self.n = n
        return self

    def over_processes(self):
        """The sum of those of all processes."""
        sums = sum_over_processes(self.n * np.append(1.0, self.mean))
        n, mean = sums[0], sums[1:] / max(sums[0], 1.0)
        between = self.mean - mean
        products = self.products + self.n * np.outer(between, between)
        return Sums(n, mean, sum_over_processes(products))

    def rows(self):
        """Rows (1 + d, 1 + d) with the same sums, of a constant 1 and these values."""
        scale = np.sqrt(np.maximum(self.products.diagonal(), 0.0))
        inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1.0), 0.0)
        correlations = self.products * np.outer(inverse, inverse)
        squares, vectors = eigh(correlations, check_finite=False)
        rows = np.zeros((1 + len(scale), 1 + len(scale)))
        rows[0, 0] = np.sqrt(self.n)
        rows[0, 1:] = rows[0, 0] * self.mean
        rows[1:, 1:] = np.sqrt(np.maximum(squares, 0.0))[:, None] * vectors.T * scale
        return rows


def gather(read, width, is_labelled, seed):
    """Read signals once, into `Rows` of random folds, the same for any processes.

    Parameters
    ----------
    read : callable
        Indices, an ndarray of int, to values there, ndarray of shape (b, width) as in
        `Rows`.
    width : int
    is_labelled : ndarray of bool, shape (n_samples,)
        Of the signals of this process, and so is what it reads.
    seed : int

    Returns
    -------
    list of Rows
    """
    counts = from_all(len(is_labelled))
    n_before, n_all = sum(counts[: rank()]), sum(counts)
    own = slice(n_before, n_before + len(is_labelled))
    if width <= MAX_WIDTH and n_all * width > MAX_VALUES:
        # In turns, begun anew each time: a permutation of a billion does not fit.
        turns, place = np.divmod(np.arange(own.start, own.stop), N_FOLDS)
        turns = murmurhash3_32(turns.astype(np.int32), seed, positive=True)
        return gather_sums(read, width, is_labelled, (place + turns) % N_FOLDS)
    order = np.random.RandomState(seed).permutation(n_all)
    if width > MAX_WIDTH:
        order = order[: max(2 * N_FOLDS, MAX_VALUES // width)]
    n_folds = max(1, min(N_FOLDS, len(order)))
    folds = np.full(n_all, -1)
    for fold, part in enumerate(np.array_split(order, n_folds)):
        folds[part] = fold
    blocks = []
    for fold in range(n_folds):
        for labelled in (False, True):
            index = np.flatnonzero((folds[own] == fold) & (is_labelled == labelled))
            with shared_errors():
                values = read(index)
            values = np.concatenate(from_all(values))
            if len(values):
                blocks.append(Rows(values, fold, labelled))
    return blocks


def gather_sums(read, width, is_labelled, folds):
    """`Rows` with the sums of all signals, which are read in their order."""
    kinds = 2 * folds + is_labelled
    found = sorted(set().union(*from_all(np.unique(kinds).tolist())))
    sums = {kind: Sums.empty(width - 1) for kind in found}
    with shared_errors():
        for rows in gen_batches(len(kinds), N_ADDED):
            values = read(np.arange(rows.start, rows.stop))[:, 1:]
            for kind in np.unique(kinds[rows]):
                sums[kind] += Sums.of(values[kinds[rows] == kind])
    return [
        Rows(part.over_processes().rows(), int(kind // 2), bool(kind % 2))
        for kind, part in sums.items()
    ]
