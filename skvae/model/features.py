"""Random convolutions: features of a signal that do not depend on time."""

import itertools
import math

import numpy as np
import torch
from torch import nn

N_TAPS = 9
N_KERNELS = 32  # 16 take half the time, and lose .02 of accuracy with a tenth of labels
QUANTILES = (1 / 8, 3 / 8, 5 / 8, 7 / 8)
MAX_SUMMED = 9  # channels that one kernel sums
# Inputs are whole numbers up to LIMIT, which stands for LIMIT_STD standard deviations.
# A kernel multiplies them by up to 12, and the result fits 16 bits.
LIMIT, LIMIT_STD = 2730, 8.0
# Least standard deviations of log spreads where gains are unequal. Over signals, load
# profiles have .2, and gains that move the features .5. Of a channel's share in the
# spread of its signal, sensors have .5, and loose electrodes .8.
UNEQUAL, UNEQUAL_CHANNELS = 1 / 3, 2 / 3
# A typical spread, and the least spread of a signal, in whole numbers.
SPREAD_STEPS, MIN_SPREAD = 2**12, 2**4
MIN_VARIATION = 1e-6  # least spread of a signal that varies, as a share of its maximum
MAKES_ROOM = 8  # one in eight kernels makes room for level and spread
MAX_BYTE = 2**8 - 1  # time steps that 8 bits count; a word holds eight counts
LONG_ROW = 512  # masks in a row that are added up fast
# Time steps of signals that a CPU reads at once: they fit its cache, and two threads
# seldom wait for each other between calls (GIL). Up to the second number, copies for
# all kernels are faster than more calls.
BLOCK_STEPS, FEW_STEPS = 2**18, 2**12


class RandomConvolutions(nn.Module):
    """Shares of time steps at which random convolutions exceed thresholds.

    A kernel has nine taps, three of weight 2 and six of weight -1, as in MiniRocket
    (Dempster, Schmidt and Webb 2021, https://arxiv.org/abs/2012.08791). The dilations
    are 1, 2, 4, ... up to an eighth of the signal, with zero padding. A kernel reads
    the sum of a random subset of channels and their first differences, each divided by
    its standard deviation. The four thresholds of a kernel and dilation are quantiles
    of its responses to training signals.

    Where training signals have unequal gains, each signal is centred on its own level
    and divided by its own spread. Indicators of level and spread above quantiles then
    replace the features of every eighth kernel.

    A signal has the same features in any batch, order, thread and device, because all
    sums are exact: responses are whole numbers of 16 bits, and levels and spreads are
    whole numbers below 2**53 in float64.
    """

    def __init__(self, n_channels, n_timepoints):
        super().__init__()
        n_dilations = 1 + int(math.log2(max(1, (n_timepoints - 1) // (N_TAPS - 1))))
        self.dilations = [2**i for i in range(n_dilations)]
        triples = torch.tensor(list(itertools.combinations(range(N_TAPS), 3)))
        drawn = torch.randperm(len(triples))[:N_KERNELS].sort().values
        n_inputs = 2 * n_channels
        inputs = torch.zeros(N_KERNELS, n_inputs, dtype=torch.bool)
        for row in inputs:
            largest = math.log2(1 + min(n_inputs, MAX_SUMMED))
            n_summed = int(2 ** (largest * torch.rand((), dtype=torch.float32).item()))
            row[torch.randperm(n_inputs)[: max(1, n_summed)]] = True
        shape = (N_KERNELS, n_dilations, len(QUANTILES))
        n_bounds = len(range(0, N_KERNELS, MAKES_ROOM)) * math.prod(shape[1:])
        buffers = {
            "taps": triples[drawn],
            "inputs": inputs,
            "thresholds": torch.zeros(shape, dtype=torch.int16),
            "offset": torch.zeros(n_inputs, 1, 1, dtype=torch.float32),
            "scale": torch.zeros(n_inputs, 1, 1, dtype=torch.float32),
            # Typical spread of each channel, 0 where gains are equal.
            "typical": torch.zeros(n_channels, 1, dtype=torch.float64),
            # Whether each channel has its own gain.
            "by_channel": torch.zeros((), dtype=torch.bool),
            "bounds": torch.zeros(n_bounds, dtype=torch.float64),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values)

    @property
    def n_features(self):
        return self.thresholds.numel()

    @property
    def has_own_units(self):
        """Whether each signal is divided by its own spread."""
        return bool(self.typical.any())

    @torch.no_grad()
    def fit(self, x):
        """Learn units and thresholds from a sample of signals x (n, c, t)."""
        self.find_gains(x)
        if self.has_own_units:
            x, measures = self.in_own_units(x)
            measures = measures.sort(dim=0, stable=True).values
            columns = torch.arange(len(self.bounds), device=x.device)
            n_each = len(columns) // 2
            quantiles = ((columns % n_each).float() + 0.5) / n_each
            positions = (quantiles * (len(x) - 1)).long()
            self.bounds.copy_(measures[positions, columns])
        inputs = channels_and_differences(x)
        std, mean = torch.std_mean(inputs.double(), dim=(1, 2), correction=0)
        # float32 has no reciprocal of a smaller spread.
        scale = torch.where(std > 1e-30, LIMIT / LIMIT_STD / std, 0.0)
        self.offset.copy_(mean[:, None, None])
        self.scale.copy_(scale[:, None, None])
        for kernels, i, responses in self.responses(x):
            values = torch.as_tensor(responses).flatten(1).cpu().numpy()
            values = np.sort(values, axis=1, kind="stable")
            positions = [int(q * (values.shape[1] - 1)) for q in QUANTILES]
            quantiles = torch.from_numpy(values[:, positions])
            self.thresholds[kernels, i] = quantiles.to(self.thresholds.device)
        return self

    @torch.no_grad()
    def forward(self, x):
        """Features (n, n_features), from 0 to 1, of signals x (n, c, t)."""
        is_cpu = x.device.type == "cpu"
        n_blocks = -(-len(x) * x.shape[2] // BLOCK_STEPS) if is_cpu else 1
        size = 8 * -(-len(x) // (8 * n_blocks))  # masks of 8 signals fill a word
        return torch.cat([self.shares(block) for block in x.split(size)])

    def shares(self, x):
        n_timepoints = x.shape[2]
        if self.has_own_units:
            x, measures = self.in_own_units(x)
        counts = self.counts(x)
        if self.has_own_units:
            above = (measures > self.bounds).T * n_timepoints
            counts[::MAKES_ROOM] = above.view_as(counts[::MAKES_ROOM])
        # Not divided, because GPUs divide differently.
        return counts.flatten(end_dim=2).T.float() * (1 / n_timepoints)

    def counts(self, x):
        """Numbers (n_kernels, n_dilations, 4, n) of time steps above thresholds."""
        n_samples, _, n_timepoints = x.shape
        greater = functions(x).greater
        thresholds = as_array(self.thresholds)[..., None, None]
        # Masks are added up in words of eight. `fold` time steps make a row, because
        # long rows are fast, and zeros fill the last row.
        fold = 8 // math.gcd(8, n_samples)
        if n_samples > 1:
            fold *= -(-LONG_ROW // (fold * n_samples))
        n_rows = -(-n_timepoints // fold)
        shape = (self.kernels_at_once(x), len(QUANTILES), n_rows * fold, n_samples)
        mask = torch.empty(shape, dtype=torch.bool, device=x.device)
        mask[:, :, n_timepoints:] = False
        above = as_array(mask[:, :, :n_timepoints])
        words = mask.view(*shape[:2], n_rows, fold * n_samples).view(torch.int64)
        parts = words.split(MAX_BYTE, dim=2)
        sums = words.new_empty(len(parts), *self.thresholds.shape, words.shape[3])
        if n_samples == 1:  # NumPy adds up single words faster than PyTorch
            parts = [as_array(part) for part in parts]
        sums_of_parts = as_array(sums)
        for kernels, i, responses in self.responses(x):
            k = len(kernels)
            greater(responses[:, None], thresholds[kernels, i], out=above[:k])
            for part, summed in zip(parts, sums_of_parts, strict=True):
                summed[kernels, i] = part[:k].sum(2)
        counts = sums.view(torch.uint8).unflatten(4, (fold, n_samples))
        return counts.sum(dim=(0, 4), dtype=torch.int32)

    def kernels_at_once(self, x):
        return min(len(self.taps), max(1, 2 * BLOCK_STEPS // (len(x) * x.shape[2])))

    def responses(self, x):
        """Yield kernels, a dilation, and responses (k, t, n) until the next ones."""
        n_samples, _, n_timepoints = x.shape
        xp, n_at_once = functions(x), self.kernels_at_once(x)
        scaled = channels_and_differences(x).sub_(self.offset).mul_(self.scale)
        groups = {}  # kernels of each subset of inputs
        for kernel, inputs in enumerate(self.inputs.tolist()):
            groups.setdefault(tuple(inputs), []).append(kernel)
        groups = list(groups.items())
        n_groups = min(len(groups), max(1, BLOCK_STEPS // (n_samples * n_timepoints)))
        edge = N_TAPS // 2 * self.dilations[-1]
        shape = (n_groups, n_timepoints + 2 * edge, n_samples)
        memory = scaled.new_empty(3, *shape, dtype=torch.int16)
        q, tripled, threes = as_array(memory)
        q[:, :edge] = q[:, edge + n_timepoints :] = 0
        # Windows of `q`, one from each time step on.
        shape = (n_groups, 2 * edge + 1, n_timepoints, n_samples)
        strides = (memory.stride(1), n_samples, n_samples, 1)
        at = as_array(memory[1].as_strided(shape, strides))
        shape = (n_groups + n_at_once + 1, n_timepoints, n_samples)
        memory = as_array(memory.new_empty(shape))
        nine, out = memory[:n_groups], memory[n_groups:]
        for first in range(0, len(groups), n_groups):
            inputs, members = zip(*groups[first : first + n_groups], strict=True)
            summed = whole_sums(scaled, inputs)
            q[: len(inputs), edge : edge + n_timepoints] = as_array(summed)
            xp.multiply(q, 3, out=tripled)
            kernels = np.array([kernel for group in members for kernel in group])
            rows = np.repeat(np.arange(len(members)), [len(group) for group in members])
            taps = self.taps.cpu().numpy()[kernels] - N_TAPS // 2
            windows = edge + np.multiply.outer(self.dilations, taps)  # (d, k, 3)
            for i, dilation in enumerate(self.dilations):
                ends = edge - N_TAPS // 2 * dilation
                three = threes[:, : n_timepoints + 6 * dilation]
                sum_of_three(xp, q[:, ends : q.shape[1] - ends], dilation, three)
                sum_of_three(xp, three, 3 * dilation, nine)
                for start in range(0, len(kernels), n_at_once):
                    part = slice(start, start + n_at_once)
                    index = rows[part], windows[i, part]
                    responses = sum_of_taps(xp, at, nine, *index, out)
                    yield kernels[part], i, responses

    def find_gains(self, x):
        """Learn typical spreads of signals, and whether their gains are unequal."""
        x = x.double()
        spread = (x - x.mean(dim=2, keepdim=True)).abs().mean(dim=2)  # (n, c)
        varies = spread > MIN_VARIATION * x.abs().amax(dim=2)
        typical = spread.where(varies, math.nan).nanmedian(dim=0).values.nan_to_num()
        spread = spread / typical.where(typical > 0, 1.0)
        common = spread.mean(dim=1, keepdim=True)
        # A constant signal has no gain.
        least = MIN_SPREAD / SPREAD_STEPS
        varies = varies & (spread > least)
        gains = common.where(varies.any(dim=1, keepdim=True), math.nan).log()
        of_channels = (spread / common).where(varies, math.nan).log()
        by_channel = (std_of_known(of_channels) > UNEQUAL_CHANNELS).any()
        is_unequal = by_channel | (std_of_known(gains) > UNEQUAL)
        self.by_channel.copy_(by_channel)
        self.typical.copy_((typical * is_unequal)[:, None])

    def in_own_units(self, x):
        """Signals x (n, c, t) in their own units; spreads and levels (n, n_bounds)."""
        is_alive = self.typical > 0
        steps = torch.where(is_alive, SPREAD_STEPS / self.typical, 0.0)
        x = x.double() * steps
        # So sums are below 2**53. The float32 of ONNX graphs holds a power of 2.
        limit = 2.0 ** (52 - math.ceil(math.log2(x.shape[1] * x.shape[2])))
        whole = x.round().clamp(-limit, limit)
        # A Tensor, because a GPU does not really divide by a plain number.
        n_timepoints = torch.full_like(self.typical, x.shape[2])
        level = (whole.sum(dim=2, keepdim=True) / n_timepoints).round()
        spread = (whole - level).abs().sum(dim=2, keepdim=True)  # (n, c, 1)
        of_all = spread.sum(dim=1, keepdim=True).expand_as(spread)
        spread = torch.where(self.by_channel, spread, of_all)
        n_summed = n_timepoints * torch.where(self.by_channel, 1, is_alive.sum())
        own = (x - level) * (n_summed / spread.maximum(MIN_SPREAD * n_summed))
        n_channels, n_each = x.shape[1], len(self.bounds) // 2
        channels = torch.arange(n_each, device=x.device) % n_channels
        measures = torch.cat([spread[:, channels, 0], level[:, channels, 0]], dim=1)
        return own.float(), measures


def functions(x):
    """NumPy on a CPU, because it compares ten times as fast; PyTorch elsewhere."""
    return np if x.device.type == "cpu" else torch


def as_array(tensor):
    """A view of a tensor that `functions` take."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def std_of_known(values):
    """Standard deviation of each column without NaN, or 0 if all are NaN."""
    is_known = ~values.isnan()
    n_known = is_known.sum(dim=0).clamp(min=1)
    centred = values - values.nansum(dim=0) / n_known
    return (centred.square().nansum(dim=0) / n_known).sqrt()


@np.errstate(over="ignore", invalid="ignore")  # as PyTorch
def whole_sums(scaled, groups):
    """Inputs of kernels, whole numbers (g, t, n): sums of rows of scaled (2c, t, n)."""
    summed = scaled.new_empty(len(groups), *scaled.shape[1:])
    arrays = as_array(scaled)
    for total, inputs in zip(as_array(summed), groups, strict=True):
        first, *others = itertools.compress(arrays, inputs)
        total[:] = first
        for each in others:  # libraries differ in the last bits of a sum of all
            total += each
    factors = [1 / math.sqrt(sum(inputs)) for inputs in groups]
    summed *= summed.new_tensor(factors)[:, None, None]
    return summed.round_().clamp_(-LIMIT, LIMIT).short()


def channels_and_differences(x):
    """Channels and first differences (2c, t, n) of signals x (n, c, t)."""
    n_samples, n_channels, n_timepoints = x.shape
    inputs = x.new_empty(2 * n_channels, n_timepoints, n_samples)
    channels, differences = inputs.split(n_channels)
    channels.copy_(x.permute(1, 2, 0))
    differences[:, 0] = 0
    torch.sub(channels[:, 1:], channels[:, :-1], out=differences[:, 1:])
    return inputs


def sum_of_three(xp, q, step, out):
    """Write the sum of q, shifted by 0, 1 and 2 steps, into out (g, t, n)."""
    n_timepoints = q.shape[1] - 2 * step
    xp.add(q[:, :n_timepoints], q[:, step : step + n_timepoints], out=out)
    out += q[:, 2 * step :]


def sum_of_taps(xp, at, nine, rows, windows, out):
    """Responses (k, t, n): windows (k, 3) of `at`, less `nine`, at rows (k,)."""
    if at.shape[2] * at.shape[3] <= FEW_STEPS:
        a, b, c = windows.T
        responses = at[rows, a]
        responses += at[rows, b]
        responses += at[rows, c]
        responses -= nine[rows]
        return responses
    responses, common, before = out[: len(rows)], out[-1], None
    index = zip(responses, rows.tolist(), windows.tolist(), strict=True)
    for response, row, (a, b, c) in index:
        if (row, a) != before:
            xp.subtract(at[row, a], nine[row], out=common)
            before = row, a
        xp.add(common, at[row, b], out=response)
        response += at[row, c]
    return responses
