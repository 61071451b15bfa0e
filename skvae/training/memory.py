"""Which signals a fit is of, and what it remembers of them to go on from."""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches

from skvae.distributed import from_all, n_processes, rank
from skvae.model.moments import Rows
from skvae.scaling import BLOCK_VALUES
from skvae.training.data import ScaledSignals, SignalDataset

# Values that are remembered; of long signals 64, if these have no more than the second
# number. Signals that are recognised.
REMEMBERED_VALUES, MAX_REMEMBERED = 2**20, 2**26
MAX_FINGERPRINTS = 2**17
# One remembered signal in so many tests training; fewer than `MIN_TESTS` test nothing.
SIGNALS_PER_TEST, MIN_TESTS = 5, 20


class Memory(NamedTuple):
    """What training that goes on needs of the signals seen so far, of all processes."""

    X: np.ndarray  # a random part of the signals, as they came
    y: np.ndarray  # (n_remembered, n_targets), their targets
    is_test: np.ndarray  # (n_remembered,), whether nothing is trained on a signal
    n_seen: int  # signals seen; one that came again counts once
    fingerprints: np.ndarray  # sorted uint64, of the first signals seen
    rows: list[Rows] | None  # of all signals; None while X holds all, or without any

    @classmethod
    def of(cls, fields):
        """The `Memory` of a dict of the fields, with tuples for rows."""
        rows = fields["rows"]
        return cls(**fields | {"rows": rows and [Rows(*row) for row in rows]})


class Datasets(NamedTuple):
    """Which signals a fit is of."""

    train: SignalDataset
    valid: SignalDataset | None  # held back for early stopping
    new: SignalDataset  # seen for the first time
    closed: SignalDataset  # read by the closed form: all but the rows of a `Memory`
    kept: SignalDataset  # a random part of all that has been seen, now too
    test: SignalDataset  # a part of that, on which nothing is ever trained
    y: np.ndarray  # (n, n_targets), of all signals, which the rows of datasets count

    def remembered(self, memory, rows):
        """The `Memory` after a fit, of that before and its `Rows`, or None."""
        X, index = self.kept.signals.X, to_numpy(self.kept.rows)
        is_test = np.isin(index, to_numpy(self.test.rows))
        new = fingerprints_of(self.new, self.y)
        parts = from_all((X[index], self.y[index], is_test, new))
        *kept, seen = (np.concatenate(part) for part in zip(*parts, strict=True))
        n_seen = self.new.n_all
        if memory is not None:
            seen = np.concatenate([memory.fingerprints, seen])
            n_seen += memory.n_seen
        return Memory(*kept, n_seen, np.unique(seen[:MAX_FINGERPRINTS]), rows)


def datasets(job, scaler, has_head):
    """The `Datasets` of a `Job`."""
    X, memory, before = job.X, job.memory, None
    y = np.zeros((len(X), 0), np.float32) if job.target is None else job.target.values
    if memory is not None:
        own = slice(rank(), None, n_processes())  # of which this process takes care
        before, y = memory.X[own], np.concatenate([y, memory.y[own]])
    signals = ScaledSignals(X, scaler, job.device, before)
    dataset = SignalDataset(signals, y if has_head else None)
    given, unseen = dataset.subset(slice(len(X))), None
    if memory is not None:
        unseen = given - among(given, fingerprints_of(given, y), memory.fingerprints)
    given, valid = hold_back(job, given, unseen)
    # A head is trusted anyway; new signals say nothing of those forgotten.
    has_test = job.params.linear_path and not has_head and not job.is_forgotten
    if memory is None:
        return first_datasets(given, valid, y, job.seed, has_test)
    before = dataset.subset(slice(len(X), None))
    return next_datasets(given, valid, before, y, memory, job.seed, has_test)


def hold_back(job, dataset, unseen):
    """Datasets to train on, and to validate on or None; of `unseen` if it suffices."""
    params, n_samples = job.params, len(job.X)
    if job.one_epoch or not params.early_stopping:
        return dataset, None
    n_valid = math.ceil(params.validation_fraction * n_samples)
    if n_processes() > 1:  # others hold back enough
        n_valid = min(n_valid, n_samples - 2)
    n_train = n_samples - n_valid
    if not any(from_all(n_valid)) or n_train < 2:
        raise ValueError(
            f"early_stopping=True with validation_fraction="
            f"{params.validation_fraction} leaves {n_train} of {n_samples} samples to "
            "train on. At least 2 are required, and one to validate: pass more "
            "samples, or use early_stopping=False."
        )
    if unseen is not None and min(from_all(len(unseen) - n_valid)) >= 0:
        valid, _ = unseen.split(n_valid)
        return dataset - valid, valid
    return dataset.split(n_train)


def first_datasets(given, valid, y, seed, has_test):
    """`Datasets` of a first fit."""
    generator = seeded(seed)
    kept = given.sample(n_remembered(given), generator)
    test = kept.sample(n_tests(kept) if has_test else 0, generator)
    # Two at least are left to train on, in each process.
    test = test.subset(slice(max(0, len(given) - 2)))
    return Datasets(given - test, valid, given, given, kept, test, y)


def next_datasets(given, valid, before, y, memory, seed, has_test):
    """`Datasets` of signals after those of a `Memory`, the dataset `before`.

    As many of these are trained on, or training would forget them.
    """
    generator = seeded(seed)
    given_prints, prints_before = fingerprints_of(given, y), fingerprints_of(before, y)
    new = given - among(given, given_prints, memory.fingerprints)
    n_seen, n_kept = memory.n_seen + new.n_all, n_remembered(given)
    n_new = new.n_all
    if n_seen > n_kept:  # rounded at random, or single signals would never be kept
        chance = torch.rand((), generator=generator, dtype=torch.float32).item()
        n_new = int(n_kept * new.n_all / n_seen + chance)
    kept_before = before.sample(n_kept - n_new, generator)
    kept_new = new.sample(n_new, generator)
    kept = kept_before | kept_new

    was_test = memory.is_test[rank() :: n_processes()]
    test_before = before.subset(torch.from_numpy(was_test))
    test = kept_before - (kept_before - test_before)
    n_more = n_tests(kept) - test.n_all if has_test else 0
    n_more = min(n_more, (kept_new.n_all + 1) // 2)  # the others are trained on
    test = test | kept_new.sample(max(0, n_more), generator)

    tested = np.concatenate(from_all(prints_before[was_test]))
    valid_prints = given_prints[:0] if valid is None else fingerprints_of(valid, y)
    now = np.concatenate(from_all(np.append(given_prints, valid_prints)))
    replayed = before - test_before - among(before, prints_before, now)
    train = given - test - among(given, given_prints, tested)
    train = train | replayed.sample(given.n_all, generator)
    if not min(from_all(len(train))):
        train, test = given, test - given
    closed = before | new if len(memory.X) == memory.n_seen else new
    return Datasets(train, valid, new, closed, kept, test, y)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def n_remembered(dataset):
    n_values = math.prod(dataset.signals.X.shape[1:])
    least = max(2, min(64, MAX_REMEMBERED // n_values))
    return min(MAX_FINGERPRINTS, max(least, REMEMBERED_VALUES // n_values))


def n_tests(dataset):
    n_signals = dataset.n_all // SIGNALS_PER_TEST
    return n_signals if n_signals >= MIN_TESTS else 0


def among(dataset, fingerprints, known):
    """The samples of a dataset, of these fingerprints, that are known."""
    is_known = np.zeros(len(dataset), dtype=bool)
    is_known[: len(fingerprints)] = np.isin(fingerprints, known)
    return dataset.subset(torch.from_numpy(is_known))


def fingerprints_of(dataset, y):
    """Numbers, uint64, that tell signals with their targets apart.

    Of the first `MAX_FINGERPRINTS`. The bits of a signal, mixed, times odd random
    numbers, summed modulo 2**64: those of two signals are equal by a rare chance alone.
    """
    X, index = dataset.signals.X, to_numpy(dataset.rows)[:MAX_FINGERPRINTS]
    n_values = math.prod(X.shape[1:]) + y.shape[1]
    factors = np.random.default_rng(0).integers(2**63, size=n_values, dtype=np.uint64)
    fingerprints = [np.zeros(0, np.uint64)]
    for batch in gen_batches(len(index), max(1, BLOCK_VALUES // n_values)):
        rows = index[batch]
        values = [X[rows].reshape(len(rows), -1), y[rows]]
        values = np.hstack(values).astype(np.float64) + 0.0  # no -0.0
        values[np.isnan(values)] = np.nan  # of one kind
        bits = values.view(np.uint64)
        bits ^= bits >> np.uint64(32)  # those of float32 end in zeros
        fingerprints.append((bits * (2 * factors + 1)).sum(axis=1))
    return np.concatenate(fingerprints)


def to_numpy(rows):
    return rows.cpu().numpy()
