"""Signals of a fit: where they are kept, and their batches."""

import math
from functools import partial

import numpy as np
import torch
from sklearn.utils import gen_batches
from sklearn.utils.random import sample_without_replacement
from torch.utils.data import Dataset

from skvae.batches import map_batches
from skvae.distributed import from_all, n_processes, rank, shared_errors
from skvae.scaling import has_gaps

RESIDENT_BYTES = 2**27  # largest size of signals that are kept scaled on a CPU
READ_VALUES = 2**20  # values that are scaled at a time
MAX_PERMUTED = 2**24  # largest number of signals that are permuted to draw a sample


class Stacked:
    """Two arrays (n, c, t), in memory or on disk, that are read as one."""

    def __init__(self, first, last):
        self.first, self.last = first, last
        self.shape = (len(first) + len(last), *first.shape[1:])
        self.size = math.prod(self.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if not len(self.last):
            return self.first[rows]
        rows = np.arange(len(self))[rows]
        is_first = rows < len(self.first)
        dtype = np.result_type(self.first, self.last)
        values = np.empty((len(rows), *self.shape[1:]), dtype)
        values[is_first] = self.first[rows[is_first]]
        values[~is_first] = self.last[rows[~is_first] - len(self.first)]
        return values


class ScaledSignals:
    """Signals X, then `before`, (n, c, t), scaled once if they fit on the device."""

    def __init__(self, X, scaler, device, before=None):
        self.X = Stacked(X, X[:0] if before is None else before)
        self.scaler = scaler
        self.device = torch.device(device)
        has_any = any(has_gaps(part) for part in (X, self.X.last) if len(part))
        self.has_gaps = any(from_all(has_any))
        self.x = self.inputs = self.h = None
        with shared_errors():
            if self._fits():
                n_rows = max(1, READ_VALUES // math.prod(self.X.shape[1:]))
                self.x = torch.empty(self.X.shape, dtype=torch.float32, device=device)
                for rows in gen_batches(len(self.X), n_rows):
                    self.x[rows] = torch.from_numpy(scaler.transform(self.X[rows]))
        # Row numbers are on the CPU for X: from a GPU they would have to be waited for.
        self.home = torch.device("cpu") if self.x is None else self.device

    def _fits(self):
        limit = RESIDENT_BYTES
        if self.device.type == "cuda":
            limit = free_cuda_memory(self.device) // 2
        return 4 * self.X.size <= limit

    def read(self, rows):
        """Scaled x (b, c, t), on the device, at rows, a Tensor."""
        if self.x is not None:
            return self.x[rows]
        x = torch.from_numpy(self.scaler.transform(self.X[rows.numpy()]))
        return to_device(x, self.device)

    def read_by(self, module, rows):
        """``module.read(x)``, an ndarray (b, d), of the signals at rows."""
        if self.inputs is not None:
            return self.inputs[rows.cpu().numpy()]
        return self._map(module.read, self.read, rows)

    def keep_inputs(self, module):
        """Keep ``module.read(x)`` of all signals until they are represented."""
        self.inputs = self.read_by(module, self.all_rows())

    def represent_by(self, module, rows):
        """Keep ``module.represent(x)`` of the signals at rows, unless it is x."""
        function, read = module.represent, self.read
        if self.inputs is not None:
            function, read = module.encoder.represent, partial(self.read_by, module)
        elif not self.has_gaps and function(first := self.read(rows[:1])) is first:
            return
        h = torch.from_numpy(self._map(function, read, rows)).to(self.home)
        self.inputs = None
        self.h = h.new_full((len(self.X), *h.shape[1:]), math.nan)
        self.h[rows] = h

    def all_rows(self):
        return torch.arange(len(self.X), device=self.home)

    def _map(self, function, read, rows):
        sizes = len(rows), self.X.shape[2]
        return map_batches(function, lambda i: read(rows[i]), *sizes, self.device)


class SignalDataset(Dataset):
    """A part of `ScaledSignals`, in pairs of the network's input and its target.

    `y` (n_samples, n_targets) has the head's targets of all signals, NaN where unknown.
    """

    def __init__(self, signals, y=None, rows=None):
        self.signals = signals
        self.y = None if y is None else torch.as_tensor(y, device=signals.home)
        self.rows = signals.all_rows() if rows is None else rows
        counts = from_all(len(self.rows))  # of each process
        self.n_all, self.n_before = sum(counts), sum(counts[: rank()])
        self.n_largest = max(counts)

    @property
    def share(self):
        """This process's share of all samples."""
        return len(self) / self.n_all

    @property
    def label_factor(self):
        """This process's share of known targets, over its share of samples."""
        y = torch.zeros(0, 1) if self.y is None else self.y[self.rows]
        known = from_all(int((~y.isnan()).sum()))
        return known[rank()] / max(1, sum(known)) / max(self.share, 1e-30)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        """Representation of x, and target (x,) or (x, y), at a slice or Tensor."""
        rows = self.rows[index]
        x = self.signals.read(rows)
        h = x if self.signals.h is None else to_device(self.signals.h[rows], x.device)
        target = (x,) if self.y is None else (x, to_device(self.y[rows], x.device))
        return h, target

    def x_of_all(self):
        """Scaled signals (n_all, c, t) of all processes, on the device."""
        parts = from_all(self.signals.read(self.rows).cpu())
        return torch.cat(parts).to(self.signals.device)

    def subset(self, index):
        """The samples at `index`, a slice or Tensor."""
        return SignalDataset(self.signals, self.y, self.rows[index])

    def __or__(self, other):
        """The samples of both datasets, which have the same signals."""
        rows = torch.cat([self.rows, other.rows])
        return SignalDataset(self.signals, self.y, rows)

    def __sub__(self, other):
        """The samples that the other dataset, of the same signals, has not."""
        return self.subset(~torch.isin(self.rows, other.rows))

    def split(self, n_first):
        """Two random parts of the dataset, the first of `n_first` samples."""
        generator = None
        if n_processes() > 1:  # the global generators stay in step
            generator = torch.Generator().manual_seed(torch.initial_seed())
        order = torch.randperm(len(self), generator=generator).to(self.rows.device)
        return self.subset(order[:n_first]), self.subset(order[n_first:])

    def sample(self, n_drawn, generator=None):
        """This process's part of at most `n_drawn` random samples, in order."""
        if n_drawn >= self.n_all:
            index = torch.arange(self.n_before, self.n_before + len(self))
        elif self.n_all <= MAX_PERMUTED:
            index = torch.randperm(self.n_all, generator=generator)[:n_drawn]
        else:  # a permutation of a billion samples would not fit
            seed = int(torch.randint(2**31 - 1, (), generator=generator))
            drawn = sample_without_replacement(self.n_all, n_drawn, random_state=seed)
            index = torch.from_numpy(drawn)
        index = index.sort().values - self.n_before
        index = index[(index >= 0) & (index < len(self))]
        return self.subset(index.to(self.rows.device))


class Batches:
    """Iterate over a `SignalDataset` in batches that are sliced, not collated.

    BatchNorm refuses a single sample, so a remainder of 1 joins the batch before it.
    With `in_step` processes with fewer samples have smaller batches, or repeat samples.
    """

    def __init__(self, dataset, batch_size, shuffle=False, in_step=False):
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.in_step = in_step and n_processes() > 1

    def __len__(self):
        dataset = self.dataset
        n_samples = dataset.n_largest if self.in_step else len(dataset)
        return n_batches(n_samples, self.batch_size)

    def __iter__(self):
        # On the CPU, so that each device has the same order.
        permute = torch.randperm if self.shuffle else torch.arange
        n_samples, parts = len(self.dataset), len(self)
        order = permute(n_samples)
        if self.in_step:
            n_more = math.ceil(2 * len(self) / n_samples) - 1
            order = torch.cat([order, *(permute(n_samples) for _ in range(n_more))])
            order = order[: max(n_samples, 2 * len(self))]
        else:
            parts = [i * self.batch_size for i in range(1, len(self))]
        for index in order.to(self.dataset.rows.device).tensor_split(parts):
            if len(index):
                yield self.dataset[index]


def n_batches(n_samples, batch_size):
    n_full, remainder = divmod(n_samples, batch_size)
    return max(1, n_full + (remainder > 1))


def to_device(values, device):
    """A tensor on a device; a GPU computes while it is copied."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def free_cuda_memory(device):
    """Free bytes on a GPU, including those that PyTorch keeps for its next tensors."""
    with torch.cuda.device(device):  # torch 2.4 refuses "cuda" without a number
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return torch.cuda.mem_get_info()[0] + kept
