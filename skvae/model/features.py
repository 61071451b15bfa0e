"""Random convolutions: what happens in a signal, wherever in time it happens."""

import itertools
import math
from collections import Counter

import numpy as np
import torch
from torch import nn

N_TAPS = 9
# 16 take half the time, and cost .02 of accuracy with a tenth of the labels.
N_KERNELS = 32
QUANTILES = (1 / 8, 3 / 8, 5 / 8, 7 / 8)
# Channels that one kernel sums, at most.
MAX_SUMMED = 9
# Inputs are whole numbers up to this limit, which a kernel's weights multiply by up to
# 12: sums fit 16 bits. The limit stands for 8 standard deviations.
LIMIT = 2730
LIMIT_STD = 8.0
# Standard deviation of the logarithms of signals' spreads above which their gains are
# unequal: between what signals of one gain have (load profiles .2), and gains that move
# the thresholds' shares (a factor of e^.5). And of those of a channel's spread, to that
# of all: between sensors of one gain (.5) and loose electrodes (gains of e^1: .8).
UNEQUAL = 1 / 3
UNEQUAL_CHANNELS = 2 / 3
# Whole numbers in a typical spread, and the least spread that a signal has in them.
SPREAD_STEPS = 2**12
MIN_SPREAD = 2**4
# Of a signal's largest value, the spread below which it is constant but for rounding.
MIN_VARIATION = 1e-6
# Of so many kernels, one makes room for level and spread.
MAKES_ROOM = 8
# Time steps that are counted in 8 bits, eight counts in a word.
MAX_BYTE = 2**8 - 1
# Masks side by side that are added up fast.
LONG_ROW = 512
# Time steps of the signals that a CPU reads at once: few enough for its cache, and
# enough that two threads seldom wait for each other between calls (GIL).
BLOCK_STEPS = 2**18


class RandomConvolutions(nn.Module):
    """Shares of time steps at which random convolutions exceed thresholds.

    A kernel has nine taps, three of weight 2 and six of weight -1, with zero padding,
    at the dilations 1, 2, 4, ... up to an eighth of the signal. It reads the sum of a
    random subset of the channels and of their first differences, each in units of its
    standard deviation. The four thresholds of a kernel and dilation are quantiles of
    its responses on training signals.

    Where the training signals are of unequal gain, each is read in units of its own
    spread, about its own level. What level and spread are, they then say themselves, in
    the place of every eighth kernel: whether they exceed thresholds, quantiles too.

    All of it is whole numbers of 16 bits, those of level and spread below 2**53 in
    float64, so that sums are exact: a signal has the same features in any batch, order,
    thread and device.

    Parameters
    ----------
    n_channels, n_timepoints : int
        Of the signals. Kernels and channels are drawn from torch's global generator.

    Attributes
    ----------
    n_features : int
        ``32 * n_dilations * 4``.

    References
    ----------
    Dempster, Petitjean & Webb (2020), ROCKET, https://arxiv.org/abs/1910.13051
    Dempster, Schmidt & Webb (2021), MiniRocket, https://arxiv.org/abs/2012.08791
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
        thresholds = torch.zeros(
            N_KERNELS, n_dilations, len(QUANTILES), dtype=torch.int16
        )
        self.register_buffer("taps", triples[drawn])
        self.register_buffer("inputs", inputs)
        self.register_buffer("thresholds", thresholds)
        self.register_buffer("offset", torch.zeros(n_inputs, 1, 1, dtype=torch.float32))
        self.register_buffer("scale", torch.zeros(n_inputs, 1, 1, dtype=torch.float32))
        # Of signals of unequal gain: the typical spread of each channel, all 0 of those
        # of equal gain, and whether channels have gains of their own.
        self.register_buffer("typical", torch.zeros(n_channels, 1, dtype=torch.float64))
        self.register_buffer("by_channel", torch.zeros((), dtype=torch.bool))
        n_bounds = thresholds[::MAKES_ROOM].numel()
        self.register_buffer("bounds", torch.zeros(n_bounds, dtype=torch.float64))

    @property
    def n_features(self):
        return self.thresholds.numel()

    @property
    def has_own_units(self):
        """Whether signals are read in units of their own spread."""
        return bool(self.typical.any())

    @torch.no_grad()
    def fit(self, x):
        """Learn units and thresholds from signals x (n, c, t); some of many suffice."""
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
        # Also of a spread so small that float32 has no reciprocal of it.
        scale = torch.where(std > 1e-30, LIMIT / LIMIT_STD / std, 0.0)
        self.offset.copy_(mean[:, None, None])
        self.scale.copy_(scale[:, None, None])
        for kernels, i, responses in self.responses(x):
            values = torch.as_tensor(responses).flatten(1).cpu().numpy()
            values = np.sort(values, axis=1, kind="stable")
            positions = [int(q * (values.shape[1] - 1)) for q in QUANTILES]
            chosen = torch.from_numpy(values[:, positions])
            self.thresholds[kernels, i] = chosen.to(self.thresholds.device)
        return self

    @torch.no_grad()
    def forward(self, x):
        """Features (n, n_features), shares from 0 to 1, of signals x (n, c, t)."""
        is_cpu = x.device.type == "cpu"
        n_blocks = -(-len(x) * x.shape[2] // BLOCK_STEPS) if is_cpu else 1
        size = 8 * -(-len(x) // (8 * n_blocks))  # masks of 8 signals fill a word
        return torch.cat([self.shares(block) for block in x.split(size)])

    def shares(self, x):
        """`forward` of one block of signals."""
        n_timepoints = x.shape[2]
        has_own_units = self.has_own_units
        if has_own_units:
            x, measures = self.in_own_units(x)
        is_one = len(x) == 1 and x.device.type == "cpu"
        counts = self.counts_of_one(x) if is_one else self.counts(x)
        if has_own_units:
            above = (measures > self.bounds).T * n_timepoints
            counts[::MAKES_ROOM] = above.view_as(counts[::MAKES_ROOM])
        # Times the reciprocal: a division is one on a CPU, but not on a GPU.
        return counts.flatten(end_dim=2).T.float() * (1 / n_timepoints)

    def counts(self, x):
        """Time steps above thresholds, (n_kernels, n_dilations, 4, n), of x."""
        n_samples, _, n_timepoints = x.shape
        greater = functions(x).greater
        thresholds = as_array(self.thresholds)[..., None, None]
        # Masks are added up as words of eight, fast where a row is long: `fold` steps
        # make one. What fills up the last row is never above.
        fold = 8 // math.gcd(8, n_samples)
        fold *= -(-LONG_ROW // (fold * n_samples))
        n_rows = -(-n_timepoints // fold)
        shape = (self.kernels_at_once(x), len(QUANTILES), n_rows * fold, n_samples)
        mask = torch.empty(shape, dtype=torch.bool, device=x.device)
        mask[:, :, n_timepoints:] = False
        above = as_array(mask[:, :, :n_timepoints])
        words = mask.view(*shape[:2], n_rows, fold * n_samples).view(torch.int64)
        parts = words.split(MAX_BYTE, dim=2)
        sums = words.new_empty(len(parts), *self.thresholds.shape, words.shape[3])
        for kernels, i, responses in self.responses(x):
            k = len(kernels)
            greater(responses, thresholds[kernels, i], out=above[:k])
            for part, summed in zip(parts, as_array(sums), strict=True):
                summed[kernels, i] = as_array(part[:k].sum(dim=2))
        counts = sums.view(torch.uint8).unflatten(4, (fold, n_samples))
        return counts.sum(dim=(0, 4), dtype=torch.int32)

    def counts_of_one(self, x):
        """`counts` of one signal x (1, c, t), all kernels at once: fewer calls.

        Each kernel has its own copy of what it reads.
        """
        n_timepoints, edge = x.shape[2], N_TAPS // 2 * self.dilations[-1]
        groups = self.kernels_of()
        group_of = np.empty(len(self.inputs), int)
        for group, kernels in enumerate(groups.values()):
            group_of[kernels] = group
        q = nn.functional.pad(self.whole_sums(x, np.array(list(groups))), (edge, edge))
        q, shifted = q.numpy(), q.unfold(1, n_timepoints, 1).numpy()
        taps = self.taps.numpy().T - N_TAPS // 2
        thresholds = self.thresholds.numpy()[..., None]
        # Masks of time steps as words of eight, which are counted side by side.
        n_words = -(-n_timepoints // 8)
        above = np.zeros((*thresholds.shape[::2], 8 * n_words), bool)
        words = above.view(np.uint64)
        parts = range(0, n_words, MAX_BYTE)
        sums = np.empty((*thresholds.shape[:3], len(parts)), np.uint64)
        for i, dilation in enumerate(self.dilations):
            a, b, c = edge + dilation * taps
            response = shifted[group_of, a]
            response += shifted[group_of, b]
            response += shifted[group_of, c]
            response *= 3
            ends = edge - N_TAPS // 2 * dilation
            three = sum_of_three(np, q[:, ends : q.shape[1] - ends], dilation)
            nine = sum_of_three(np, three, 3 * dilation)
            response -= nine[group_of]
            np.greater(
                response[:, None], thresholds[:, i], out=above[..., :n_timepoints]
            )
            for j, start in enumerate(parts):
                part = words[..., start : start + MAX_BYTE]
                np.add.reduce(part, axis=-1, out=sums[:, i, :, j])
        counts = sums.view(np.uint8).sum(axis=-1, dtype=np.int32)
        return torch.from_numpy(counts)[..., None]

    @np.errstate(invalid="ignore")  # of infinities of both signs, as PyTorch
    def whole_sums(self, x, inputs):
        """`whole_sum` for each row of inputs, (g, t), of one signal x (1, c, t)."""
        scaled = ((channels_and_differences(x) - self.offset) * self.scale).squeeze(2)
        scaled = np.concatenate([scaled.numpy(), np.zeros((1, x.shape[2]), np.float32)])
        n_summed = inputs.sum(axis=1)
        read = np.argsort(~inputs, axis=1, kind="stable")
        summed = scaled[read[:, 0]]
        for i in range(1, n_summed.max()):
            summed += scaled[np.where(i < n_summed, read[:, i], -1)]  # or zeros
        summed *= (1 / np.sqrt(n_summed)).astype(np.float32)[:, None]
        return as_whole(torch.from_numpy(summed))

    def kernels_of(self):
        """Lists of kernels by the inputs that they sum, a tuple of bool."""
        groups = {}
        for kernel, inputs in enumerate(self.inputs.tolist()):
            groups.setdefault(tuple(inputs), []).append(kernel)
        return groups

    def find_gains(self, x):
        """Learn whether signals x (n, c, t) have unequal gains, and typical spreads."""
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
        """Signals x (n, c, t) about their levels, in units of their spreads; and these.

        Spreads and levels are whole numbers (n, n_bounds): of either as many columns,
        in which channels follow one another.
        """
        is_alive = self.typical > 0
        steps = torch.where(is_alive, SPREAD_STEPS / self.typical, 0.0)
        x = x.double() * steps
        # For sums below 2**53. A power of 2: ONNX graphs hold numbers in float32.
        limit = 2.0 ** (52 - math.ceil(math.log2(x.shape[1] * x.shape[2])))
        whole = x.round().clamp(-limit, limit)
        # Not by a plain number, which is no division on a GPU.
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

    def kernels_at_once(self, x):
        """Number of kernels whose responses to signals x (n, c, t) are in memory."""
        return min(len(self.taps), max(1, 2 * BLOCK_STEPS // (len(x) * x.shape[2])))

    def responses(self, x):
        """Yield a list of k kernels, a dilation's index, and responses (k, 1, t, n).

        They are whole numbers, in memory that the next ones take.
        """
        n_samples, _, n_timepoints = x.shape
        xp, n_at_once = functions(x), self.kernels_at_once(x)
        taps = self.taps.tolist()
        scaled = channels_and_differences(x).sub_(self.offset).mul_(self.scale)
        edge = N_TAPS // 2 * self.dilations[-1]
        length = n_timepoints + 2 * edge
        groups = [
            (inputs, kernels_that_share({k: taps[k] for k in kernels}, n_at_once))
            for inputs, kernels in self.kernels_of().items()
        ]
        n_groups = min(len(groups), max(1, BLOCK_STEPS // (n_samples * n_timepoints)))
        # In one piece: the next block takes it again, where pieces were mapped anew.
        shapes = [(n_groups, length)] * 3
        shapes += [(n_groups, n_timepoints), (n_at_once, n_timepoints)]
        sizes = [k * n_rows for k, n_rows in shapes]
        memory = scaled.new_empty(sum(sizes), n_samples, dtype=torch.int16)
        q, tripled, threes, nine, responses = (
            as_array(part.view(*shape, n_samples))
            for part, shape in zip(memory.split(sizes), shapes, strict=True)
        )
        q[:, :edge] = q[:, length - edge :] = 0
        for some in in_lists(groups, n_groups):
            for row, (inputs, _) in zip(q, some, strict=False):
                row[edge : length - edge] = as_array(whole_sum(scaled, inputs))
            xp.multiply(q, 3, out=tripled)
            for i, dilation in enumerate(self.dilations):
                ends = edge - N_TAPS // 2 * dilation
                three = threes[:, : n_timepoints + 6 * dilation]
                sum_of_three(xp, q[:, ends : length - ends], dilation, out=three)
                sum_of_three(xp, three, 3 * dilation, out=nine)
                ready = []
                for (_, shared), row, minus in zip(some, tripled, nine, strict=False):
                    starts = range(ends, length, dilation)[:N_TAPS]
                    at = [row[start : start + n_timepoints] for start in starts]
                    for tap, kernels, others in shared:
                        if len(ready) + len(kernels) > n_at_once:
                            yield ready, i, responses[: len(ready), None]
                            ready = []
                        # What kernels share becomes the response of the last. It is
                        # 10 times the limit at most, and 11 and 12 with their taps.
                        *outs, common = responses[len(ready) :][: len(kernels)]
                        xp.subtract(at[tap], minus, out=common)
                        for out, (a, b) in zip(outs, others, strict=False):
                            xp.add(common, at[a], out=out)
                            out += at[b]
                        for t in others[-1]:
                            common += at[t]
                        ready += kernels
                yield ready, i, responses[: len(ready), None]


def functions(x):
    """The module for `as_array`: into bool NumPy compares ten times as fast."""
    return np if x.device.type == "cpu" else torch


def as_array(tensor):
    """A tensor as the array that `functions` take, of the same memory."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def kernels_that_share(taps, n_most):
    """Lists of a tap, kernels that have it, `n_most` at most, and their other taps."""
    left, shared = dict(taps), []
    while left:
        [(tap, _)] = Counter(itertools.chain(*left.values())).most_common(1)
        some = [kernel for kernel in left if tap in left[kernel]][:n_most]
        others = [[t for t in left.pop(kernel) if t != tap] for kernel in some]
        shared.append((tap, some, others))
    return shared


def std_of_known(values):
    """Standard deviation of each column that is not NaN; 0 if all of it is."""
    is_known = ~values.isnan()
    n_known = is_known.sum(dim=0).clamp(min=1)
    centred = values - values.nansum(dim=0) / n_known
    return (centred.square().nansum(dim=0) / n_known).sqrt()


def in_lists(items, size):
    """The items in lists of `size`; the last may be shorter."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def whole_sum(scaled, is_read):
    """What a kernel reads, (t, n), whole numbers: the sum of some of scaled (2c, t, n).

    One by one, in order: a sum whose last bit no library chooses.
    """
    summed = sum(scaled[c] for c, reads in enumerate(is_read) if reads)
    return as_whole(summed * (1 / math.sqrt(sum(is_read))))


def as_whole(summed):
    """Whole numbers of 16 bits, of what is summed, which is overwritten."""
    return summed.round_().clamp_(-LIMIT, LIMIT).short()


def channels_and_differences(x):
    """Channels and first differences in time, (2c, t, n), of signals x (n, c, t)."""
    n_samples, n_channels, n_timepoints = x.shape
    inputs = x.new_empty(2 * n_channels, n_timepoints, n_samples)
    channels, differences = inputs.split(n_channels)
    channels.copy_(x.permute(1, 2, 0))
    differences[:, 0] = 0
    torch.sub(channels[:, 1:], channels[:, :-1], out=differences[:, 1:])
    return inputs


def sum_of_three(xp, q, step, out=None):
    """Sum of q (g, t + 2 steps, n) shifted by 0, 1 and 2 steps, (g, t, n)."""
    n_timepoints = q.shape[1] - 2 * step
    out = xp.add(q[:, :n_timepoints], q[:, step : step + n_timepoints], out=out)
    out += q[:, 2 * step :]
    return out
