"""Which signals a fit is of, and what it remembers of them to go on from."""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches

from skvae.distributed import from_all, n_processes, rank
from skvae.model.moments import Rows
from skvae.scaling import BLOCK_VALUES
from skvae.training.data import SignalDataset

# Values that are remembered, of 64 signals at least, if these have no more than the
# second number; and signals that are recognised.
REMEMBERED_VALUES, MAX_REMEMBERED = 2**20, 2**26
MAX_FINGERPRINTS = 2**17
# One in so many signals, of those remembered, tests what training gains; where they
# are fewer than `MIN_TESTS`, none does.
SIGNALS_PER_TEST, MIN_TESTS = 5, 20


class Memory(NamedTuple):
    """What training that goes on needs of the signals seen so far, of all processes.

    Attributes
    ----------
    X : ndarray of shape (n_remembered, n_channels, n_timepoints)
        A random part of them, as they came.
    y : ndarray of shape (n_remembered, n_targets)
        Their targets, of which there may be none.
    is_test : ndarray of bool, shape (n_remembered,)
        Which of them nothing is trained on.
    n_seen : int
        A signal that came again counts once.
    fingerprints : ndarray of uint64
        Of the first of them, sorted.
    rows : list of Rows or None
        All of them, for the closed form. None while X holds all, or without one.
    """

    X: np.ndarray
    y: np.ndarray
    is_test: np.ndarray
    n_seen: int
    fingerprints: np.ndarray
    rows: list[Rows] | None

    @classmethod
    def of(cls, fields):
        """That of a dict of the attributes, with tuples for rows."""
        rows = fields["rows"]
        return cls(**fields | {"rows": rows and [Rows(*row) for row in rows]})

    @property
    def holds_all(self):
        """Whether X has all signals."""
        return len(self.X) == self.n_seen

    def own_part(self):
        """X and y of which this process takes care."""
        part = slice(rank(), None, n_processes())
        return self.X[part], self.y[part]


class Datasets(NamedTuple):
    """Which signals a fit is of.

    Attributes
    ----------
    train : SignalDataset
    new : SignalDataset
        What is seen for the first time.
    closed : SignalDataset
        What the closed form has to read: all but the rows of a `Memory`.
    kept : SignalDataset
        A random part of all that has been seen, now too.
    test : SignalDataset
        A part of that, on which nothing is ever trained.
    """

    train: SignalDataset
    new: SignalDataset
    closed: SignalDataset
    kept: SignalDataset
    test: SignalDataset

    def remembered(self, y, before, rows):
        """The `Memory` after a fit.

        Parameters
        ----------
        y : ndarray of shape (n, n_targets)
            Targets of all signals that the datasets are of.
        before : Memory or None
        rows : list of Rows or None
        """
        X, index = self.kept.signals.X, to_numpy(self.kept.rows)
        is_test = np.isin(index, to_numpy(self.test.rows))
        parts = from_all((X[index], y[index], is_test, fingerprints_of(self.new, y)))
        *kept, found = (np.concatenate(part) for part in zip(*parts, strict=True))
        n_seen = self.new.n_all
        if before is not None:
            found = np.concatenate([before.fingerprints, found])
            n_seen += before.n_seen
        return Memory(*kept, n_seen, np.unique(found[:MAX_FINGERPRINTS]), rows)


def first_datasets(given, seed, has_test):
    """`Datasets` of signals that nothing was seen before."""
    generator = seeded(seed)
    kept = given.sample(n_remembered(given), generator)
    test = kept.sample(n_tests(kept) if has_test else 0, generator)
    # Two at least are left to train on, in each process.
    test = test.subset(slice(max(0, len(given) - 2)))
    return Datasets(given - test, given, given, kept, test)


def next_datasets(given, valid, before, y, memory, seed, has_test):
    """`Datasets` of signals after those of a `Memory`.

    Training is on as many of the latter, which it would forget.

    Parameters
    ----------
    given, valid, before : SignalDataset
        Those that came now, less those that are held back; these, or None; and those
        of the memory.
    y : ndarray of shape (n, n_targets)
        Targets of all of them.
    """
    generator = seeded(seed)
    own, others = fingerprints_of(given, y), fingerprints_of(before, y)
    was_test = memory.is_test[rank() :: n_processes()]
    new = given - among(given, own, memory.fingerprints)
    n_seen, n_kept = memory.n_seen + new.n_all, n_remembered(given)
    n_new = new.n_all
    if n_seen > n_kept:  # rounded at random, or single signals would never be kept
        chance = torch.rand((), generator=generator, dtype=torch.float32).item()
        n_new = int(n_kept * new.n_all / n_seen + chance)
    kept_before = before.sample(n_kept - n_new, generator)
    kept_new = new.sample(n_new, generator)
    kept = kept_before | kept_new

    test_before = before.subset(torch.from_numpy(was_test))
    test = kept_before - (kept_before - test_before)
    n_test = n_tests(kept) - test.n_all if has_test else 0
    n_test = min(n_test, (kept_new.n_all + 1) // 2)  # the others are trained on
    test = test | kept_new.sample(max(0, n_test), generator)
    tested = np.concatenate(from_all(others[was_test]))
    now = own if valid is None else np.append(own, fingerprints_of(valid, y))
    again = among(before, others, np.concatenate(from_all(now)))
    replayed = before - test_before - again
    train = given - test - among(given, own, tested)
    train = train | replayed.sample(given.n_all, generator)
    if not min(from_all(len(train))):
        train, test = given, test - given
    return Datasets(train, new, before | new if memory.holds_all else new, kept, test)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def n_remembered(dataset):
    n_values = math.prod(dataset.signals.X.shape[1:])
    least = max(2, min(64, MAX_REMEMBERED // n_values))
    return min(MAX_FINGERPRINTS, max(least, REMEMBERED_VALUES // n_values))


def n_tests(dataset):
    n_found = dataset.n_all // SIGNALS_PER_TEST
    return n_found if n_found >= MIN_TESTS else 0


def among(dataset, fingerprints, known):
    """The samples of a dataset, of these fingerprints, that are known."""
    is_known = np.zeros(len(dataset), dtype=bool)
    is_known[: len(fingerprints)] = np.isin(fingerprints, known)
    return dataset.subset(torch.from_numpy(is_known))


def fingerprints_of(dataset, y):
    """Of the signals and targets of a dataset, of `MAX_FINGERPRINTS` at most, uint64.

    The bits of a signal, mixed, times odd random numbers, summed modulo 2**64: those of
    signals that differ are equal by a rare chance alone.
    """
    X, index = dataset.signals.X, to_numpy(dataset.rows)[:MAX_FINGERPRINTS]
    n_values = math.prod(X.shape[1:]) + y.shape[1]
    factors = np.random.default_rng(0).integers(2**63, size=n_values, dtype=np.uint64)
    found = [np.zeros(0, np.uint64)]
    for rows in gen_batches(len(index), max(1, BLOCK_VALUES // n_values)):
        some = index[rows]
        values = X[some].reshape(len(some), -1).astype(np.float64)
        values = np.hstack([values, y[some].astype(np.float64)]) + 0.0  # no -0.0
        values[np.isnan(values)] = np.nan  # of one kind
        bits = values.view(np.uint64)
        bits ^= bits >> np.uint64(32)  # those of float32 end in zeros
        found.append((bits * (2 * factors + 1)).sum(axis=1))
    return np.concatenate(found)


def to_numpy(rows):
    return rows.cpu().numpy()
