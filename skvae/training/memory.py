"""The datasets of a fit, and the signals that it remembers for the next one."""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import gen_batches

from skvae.distributed import from_all, n_processes, rank
from skvae.model.moments import Rows
from skvae.scaling import BLOCK_VALUES
from skvae.training.data import ScaledSignals, SignalDataset

# Values that are remembered; or 64 signals, if these have at most the second number.
REMEMBERED_VALUES, MAX_REMEMBERED = 2**20, 2**26
MAX_FINGERPRINTS = 2**17  # signals that are recognised
# One remembered signal in five tests training, if there are enough of them.
SIGNALS_PER_TEST, MIN_TESTS = 5, 20


class Memory(NamedTuple):
    """Signals of earlier fits, of all processes, from which training goes on."""

    X: np.ndarray  # (n_remembered, n_channels, n_timepoints), a random part, not scaled
    y: np.ndarray  # (n_remembered, n_targets)
    is_test: np.ndarray  # (n_remembered,), whether training leaves a signal out
    n_seen: int  # number of distinct signals
    fingerprints: np.ndarray  # sorted uint64, of the first signals
    rows: list[Rows] | None  # of all signals, or None while X holds all

    @classmethod
    def of(cls, fields):
        """The `Memory` from a dict of its fields, with tuples for rows."""
        rows = fields["rows"]
        return cls(**fields | {"rows": rows and [Rows(*row) for row in rows]})


class Datasets(NamedTuple):
    """Signals of a fit."""

    train: SignalDataset
    valid: SignalDataset | None  # for early stopping
    new: SignalDataset  # seen for the first time
    closed: SignalDataset  # for the closed form, beside the rows of a `Memory`
    kept: SignalDataset  # to remember, a random part of all
    test: SignalDataset  # the part of `kept` that is never trained on
    y: np.ndarray  # (n, n_targets), of all signals

    def remembered(self, memory, rows):
        """The `Memory` after a fit, from the `Memory` before and `Rows`, or None."""
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
    X, memory, before = job.X, job.memory, None
    y = np.zeros((len(X), 0), np.float32) if job.target is None else job.target.values
    if memory is not None:
        own = slice(rank(), None, n_processes())  # this process's part
        before, y = memory.X[own], np.concatenate([y, memory.y[own]])
    signals = ScaledSignals(X, scaler, job.device, before)
    dataset = SignalDataset(signals, y if has_head else None)
    given, unseen = dataset.subset(slice(len(X))), None
    if memory is not None:
        unseen = given - among(given, fingerprints_of(given, y), memory.fingerprints)
    given, valid = hold_back(job, given, unseen)
    # A head is trusted anyway, and new signals cannot test for forgotten ones.
    has_test = job.params.linear_path and not has_head and not job.is_forgotten
    if memory is not None:
        before = dataset.subset(slice(len(X), None))
        return next_datasets(given, valid, before, y, memory, job.seed, has_test)
    generator = seeded(job.seed)
    kept = given.sample(n_remembered(given), generator)
    test = kept.sample(n_tests(kept) if has_test else 0, generator)
    # Each process trains on two signals at least.
    test = test.subset(slice(max(0, len(given) - 2)))
    return Datasets(given - test, valid, given, given, kept, test, y)


def hold_back(job, dataset, unseen):
    """Datasets for training and validation, from `unseen` signals if enough."""
    params, n_samples = job.params, len(job.X)
    if job.one_epoch or not params.early_stopping:
        return dataset, None
    n_valid = math.ceil(params.validation_fraction * n_samples)
    if n_processes() > 1:  # other processes hold back enough
        n_valid = min(n_valid, n_samples - 2)
    n_train = n_samples - n_valid
    if not any(from_all(n_valid)) or n_train < 2:
        raise ValueError(
            f"early_stopping=True with validation_fraction="
            f"{params.validation_fraction} leaves {n_train} of {n_samples} samples to "
            "train on. At least 2 are required, and 1 to validate: pass more samples, "
            "or use early_stopping=False."
        )
    if unseen is not None and min(from_all(len(unseen) - n_valid)) >= 0:
        valid, _ = unseen.split(n_valid)
        return dataset - valid, valid
    return dataset.split(n_train)


def next_datasets(given, valid, before, y, memory, seed, has_test):
    """`Datasets` with as many signals `before`, of a `Memory`, as are given."""
    generator = seeded(seed)
    given_prints, prints_before = fingerprints_of(given, y), fingerprints_of(before, y)
    new = given - among(given, given_prints, memory.fingerprints)
    n_seen, n_kept = memory.n_seen + new.n_all, n_remembered(given)
    n_new = new.n_all
    if n_seen > n_kept:  # rounded at random, so that single signals may be kept
        chance = torch.rand((), generator=generator, dtype=torch.float32).item()
        n_new = int(n_kept * new.n_all / n_seen + chance)
    kept_before = before.sample(n_kept - n_new, generator)
    kept_new = new.sample(n_new, generator)
    kept = kept_before | kept_new

    was_test = memory.is_test[rank() :: n_processes()]
    test_before = before.subset(torch.from_numpy(was_test))
    test = kept_before - (kept_before - test_before)
    n_more = n_tests(kept) - test.n_all if has_test else 0
    n_more = min(n_more, (kept_new.n_all + 1) // 2)  # training has the other half
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
    """The samples of a dataset whose fingerprints are known."""
    is_known = np.zeros(len(dataset), dtype=bool)
    is_known[: len(fingerprints)] = np.isin(fingerprints, known)
    return dataset.subset(torch.from_numpy(is_known))


def fingerprints_of(dataset, y):
    """Hashes, uint64, of the first `MAX_FINGERPRINTS` signals with their targets."""
    X, index = dataset.signals.X, to_numpy(dataset.rows)[:MAX_FINGERPRINTS]
    n_values = math.prod(X.shape[1:]) + y.shape[1]
    factors = np.random.default_rng(0).integers(2**63, size=n_values, dtype=np.uint64)
    fingerprints = [np.zeros(0, np.uint64)]
    for batch in gen_batches(len(index), max(1, BLOCK_VALUES // n_values)):
        rows = index[batch]
        values = [X[rows].reshape(len(rows), -1), y[rows]]
        values = np.hstack(values).astype(np.float64) + 0.0  # no -0.0
        values[np.isnan(values)] = np.nan  # with the same bits
        bits = values.view(np.uint64)
        bits ^= bits >> np.uint64(32)  # those of float32 end in zeros
        fingerprints.append((bits * (2 * factors + 1)).sum(axis=1))
    return np.concatenate(fingerprints)


def to_numpy(rows):
    return rows.cpu().numpy()
