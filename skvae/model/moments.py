"""Signals as rows of numbers, or as sums of products where there are many."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, qr
from scipy.linalg.blas import dger, dsyr
from scipy.linalg.lapack import dpstrf
from sklearn.utils import gen_batches, murmurhash3_32

from skvae.distributed import from_all, rank, shared_errors, sum_over_processes

# More values than the first number are kept as sums of products, or as a random part if
# a signal has more columns than the second number.
MAX_VALUES, MAX_WIDTH = 2**23, 2**11
MAX_PATTERNS = 4  # combinations of known targets that have sums of their own
N_ADDED = 4096  # signals whose products are added up at a time
N_FOLDS = 5
# Variance that is rounding, relative to the largest component's, or to the mean square.
MIN_VARIANCE = 1e-12
MAX_EXACT = 600  # rows or columns up to which decompositions are exact


class Rows(NamedTuple):
    """Signals of all processes in one fold, with the same known targets."""

    # Float64 rows of 1, signal, features and target; or rows with the same sums of
    # products. An unknown target is 0.
    values: np.ndarray  # (n_rows, n_columns)
    fold: int
    known: tuple  # a bool for each target, the last columns


def merge(blocks, others):
    """`Rows` with the sums of products of both lists, at most one row a column."""
    merged = {}
    for values, *kind in (*blocks, *others):
        merged.setdefault(tuple(kind), []).append(values)
    for kind, parts in merged.items():
        values = np.concatenate(parts)
        width = values.shape[1]
        limit = max(64, MAX_VALUES // (width * N_FOLDS))
        if width > MAX_WIDTH and len(values) > limit:  # a random part stands for all
            kept = np.random.RandomState(len(values)).permutation(len(values))[:limit]
            values = values[kept] * np.sqrt(len(values) / limit)
        elif len(values) > width:
            [values] = qr(values, mode="r", overwrite_a=True, check_finite=False)
            values = values[:width]
        merged[kind] = values
    return [Rows(values, *kind) for kind, values in merged.items()]


class Sums:
    """Count, mean and products of centred rows (n, d), in float64.

    See Chan, Golub and LeVeque (1983), https://doi.org/10.1080/00031305.1983.10483115.
    """

    def __init__(self, width):
        self.n = 0.0
        self.mean = np.zeros(width)
        self.products = np.zeros((width, width))  # its upper triangle counts

    def add(self, values):
        values = values.astype(np.float64)
        mean = values.mean(axis=0)
        values -= mean
        between = mean - self.mean
        n = self.n + len(values)
        share = len(values) / n
        self.products += values.T @ values  # NumPy lets other threads run, SciPy not
        dsyr(self.n * share, between, a=self.products.T, overwrite_a=True, lower=True)
        self.mean = self.mean + share * between
        self.n = n
        return self

    def over_processes(self):
        """`Sums` of the rows of all processes."""
        total = Sums(len(self.mean))
        sums = sum_over_processes(self.n * np.append(1.0, self.mean))
        total.n, total.mean = sums[0], sums[1:] / max(sums[0], 1.0)
        between = self.mean - total.mean
        products = self.products + self.n * np.outer(between, between)
        total.products = sum_over_processes(products)
        return total

    def rows(self):
        """Rows (d, d) with the same sums: the scaled mean, and a root of products."""
        scale = np.sqrt(np.maximum(self.products.diagonal(), 0.0))
        inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1.0), 0.0)
        correlations = self.products * np.outer(inverse, inverse)
        root, order, rank, _ = dpstrf(correlations.T, lower=True, overwrite_a=True)
        order -= 1
        rows = np.zeros_like(correlations)
        rows[0] = np.sqrt(self.n) * self.mean
        # The constant has no variance, so the last row is 0.
        rows[1:, order] = np.triu(root.T)[:-1] * scale[order]
        rows[1 + rank :] = 0.0
        return rows


def gather(read, width, known, seed):
    """Read signals once, into a list of `Rows` of random folds.

    ``read(index)`` gives values of this process's signals, with `width` columns as in
    `Rows`. `known` (n_samples, n_targets) marks their known targets.
    """
    counts = from_all(len(known))
    n_before, n_all = sum(counts[: rank()]), sum(counts)
    own = slice(n_before, n_before + len(known))
    patterns, kinds = patterns_of(known)
    can_sum = width <= MAX_WIDTH and len(patterns) <= MAX_PATTERNS
    if can_sum and n_all * width > MAX_VALUES:
        # Each turn has all folds once: a permutation of a billion does not fit.
        turns, place = np.divmod(np.arange(own.start, own.stop), N_FOLDS)
        turns = murmurhash3_32(turns.astype(np.int32), seed, positive=True)
        return gather_sums(read, width, patterns, kinds, (place + turns) % N_FOLDS)
    order = np.random.RandomState(seed).permutation(n_all)
    if not can_sum:
        order = order[: max(2 * N_FOLDS, MAX_VALUES // width)]
    n_folds = max(1, min(N_FOLDS, len(order)))
    folds = np.full(n_all, -1)
    # The seed shifts the numbers, because small calls would fill the first fold.
    numbers = (np.arange(n_folds) + seed) % N_FOLDS
    for fold, part in zip(numbers, np.array_split(order, n_folds), strict=True):
        folds[part] = fold
    blocks = []
    for fold in numbers.tolist():
        index = np.flatnonzero(folds[own] == fold)
        with shared_errors():
            values = read(index)
        parts = zip(*from_all((values, kinds[index])), strict=True)
        values, kinds_of_rows = map(np.concatenate, parts)
        for kind in np.unique(kinds_of_rows):
            rows = values[kinds_of_rows == kind].astype(np.float64)
            blocks.append(Rows(rows, fold, patterns[kind]))
    return blocks


def patterns_of(known):
    """Combinations of known targets, as tuples, and the index (n,) of each row's."""
    rows = np.column_stack([np.ones(len(known), dtype=bool), known])
    own, kinds = np.unique(rows, axis=0, return_inverse=True)
    own = [tuple(pattern) for pattern in own[:, 1:].tolist()]
    patterns = sorted(set().union(*from_all(own)))
    index = np.array([patterns.index(pattern) for pattern in own], dtype=int)
    return patterns, index[kinds.reshape(-1)]


def gather_sums(read, width, patterns, kinds, folds):
    """`Rows` of sums. A thread adds up one batch while the next is read."""
    kinds = len(patterns) * folds + kinds
    all_kinds = sorted(set().union(*from_all(set(kinds.tolist()))))
    sums = {kind: Sums(width) for kind in all_kinds}

    def add(values, kinds):
        numbers, starts = np.unique(kinds, return_index=True)
        for kind, part in zip(numbers, np.split(values, starts[1:]), strict=True):
            sums[kind].add(part)

    with shared_errors(), ThreadPoolExecutor(1) as adder:
        added = adder.submit(int)  # nothing, for the first batch to wait for
        for rows in gen_batches(len(kinds), N_ADDED):
            index = rows.start + np.argsort(kinds[rows], kind="stable")
            values = read(index)
            added.result()
            added = adder.submit(add, values, kinds[index])
        added.result()
    blocks = []
    for kind, part in sums.items():
        fold, pattern = divmod(int(kind), len(patterns))
        blocks.append(Rows(part.over_processes().rows(), fold, patterns[pattern]))
    return blocks


def centre(blocks):
    """Centred rows without the constant, their mean, and the number of signals."""
    rows = np.concatenate(blocks)
    ones = rows[:, 0].copy()
    n_samples = ones @ ones
    mean = ones @ rows / n_samples
    # In place, because rows may fill much of the memory.
    dger(-1.0, mean, ones, a=rows.T, overwrite_a=True)
    return rows[:, 1:], mean[1:], n_samples


def thin_svd(rows, n_components=None):
    """u, s, vt of rows (n, d), from the eigenvectors of the smaller Gram matrix."""
    is_wide = rows.shape[0] < rows.shape[1]
    gram = rows @ rows.T if is_wide else rows.T @ rows
    size = len(gram)
    subset = None
    if n_components is not None and n_components < size:
        subset = [size - n_components, size - 1]
    squares, vectors = eigh(gram, subset_by_index=subset, check_finite=False)
    squares, vectors = squares[::-1], vectors[:, ::-1]  # largest first
    is_real = squares > MIN_VARIANCE * max(squares[0], 0.0) if size else squares > 0
    squares, vectors = squares[is_real], vectors[:, is_real]
    s = np.sqrt(squares)
    if is_wide:
        return vectors, s, (vectors / s).T @ rows
    return rows @ (vectors / s), s, vectors.T
