"""Random convolutions: what happens in a signal, wherever in time it happens."""

import itertools
import math

import numpy as np
import torch
from torch import nn

N_TAPS = 9
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
# Responses, of several kernels to few signals, that are computed at once.
RESPONSES_AT_ONCE = 2**17


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
            values = np.sort(responses.flatten(1).cpu().numpy(), axis=1, kind="stable")
            positions = [int(q * (values.shape[1] - 1)) for q in QUANTILES]
            chosen = torch.from_numpy(values[:, positions])
            self.thresholds[kernels, i] = chosen.to(self.thresholds.device)
        return self

    @torch.no_grad()
    def forward(self, x):
        """Features (n, n_features), shares from 0 to 1, of signals x (n, c, t)."""
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
        thresholds = self.thresholds[..., None, None]
        # Masks are added up as words of eight, fast where a row is long: `fold` steps
        # make one. What fills up the last row is never above.
        fold = 8 // math.gcd(8, n_samples)
        fold *= -(-LONG_ROW // (fold * n_samples))
        n_rows = -(-n_timepoints // fold)
        shape = (kernels_at_once(x), len(QUANTILES), n_rows * fold, n_samples)
        above = torch.zeros(shape, dtype=torch.bool, device=x.device)
        words = above.view(*shape[:2], n_rows, fold * n_samples).view(torch.int64)
        parts = words.split(MAX_BYTE, dim=2)
        sums = words.new_empty(len(parts), *self.thresholds.shape, words.shape[3])
        for kernels, i, responses in self.responses(x):
            k = len(responses)
            exceeds(responses, thresholds[kernels, i], above[:k, :, :n_timepoints])
            for part, summed in zip(parts, sums, strict=True):
                summed[kernels, i] = part[:k].sum(dim=2)
        counts = sums.view(torch.uint8).unflatten(4, (fold, n_samples))
        return counts.sum(dim=(0, 4), dtype=torch.int32)

    def counts_of_one(self, x):
        """`counts` of one signal x (1, c, t), in NumPy: a call takes much less time.

        All kernels at once, each of which has its own copy of what it reads.
        """
        n_timepoints, edge = x.shape[2], N_TAPS // 2 * self.dilations[-1]
        groups = self.kernels_of()
        group_of = np.empty(N_KERNELS, int)
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
            nine = sum_of_nine(q[:, ends : q.shape[1] - ends], dilation)
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

    def responses(self, x):
        """Yield an index of k kernels, of a dilation, and responses (k, 1, t, n).

        They are whole numbers, in memory that the next ones take.
        """
        n_samples, _, n_timepoints = x.shape
        scaled = (channels_and_differences(x) - self.offset) * self.scale  # (2c, t, n)
        edge = N_TAPS // 2 * self.dilations[-1]
        taps = self.taps.tolist()
        n_at_once = kernels_at_once(x)
        shape = (n_at_once, 1, n_timepoints, n_samples)
        memory = torch.empty(shape, dtype=torch.int16, device=x.device)
        for groups in in_lists(list(self.kernels_of().items()), n_at_once):
            q = torch.stack([whole_sum(scaled, inputs) for inputs, _ in groups])
            q = nn.functional.pad(q, (0, 0, edge, edge))  # (g, t + 2 edges, n)
            tripled = 3 * q
            places = [(k, g) for g, (_, kernels) in enumerate(groups) for k in kernels]
            parts = []
            for some in in_lists(places, n_at_once):
                kernels = [k for k, _ in some]
                if len(some) == 1:  # a slice copies nothing
                    kernels = slice(kernels[0], kernels[0] + 1)
                responses = memory[: len(some)]
                each = zip(some, responses.squeeze(1).unbind(), strict=True)
                parts.append((kernels, responses, list(each)))
            for i, dilation in enumerate(self.dilations):
                ends = edge - N_TAPS // 2 * dilation
                minus = sum_of_nine(q[:, ends : q.shape[1] - ends], dilation).unbind()
                shifted = tripled[:, ends:].unfold(1, n_timepoints, dilation).mT
                shifted = [row[:N_TAPS].unbind() for row in shifted.unbind()]
                for kernels, responses, each in parts:
                    for (k, g), response in each:
                        a, b, c = taps[k]
                        torch.add(shifted[g][a], shifted[g][b], out=response)
                        response += shifted[g][c]
                        response -= minus[g]
                    yield kernels, i, responses


def std_of_known(values):
    """Standard deviation of each column that is not NaN; 0 if all of it is."""
    is_known = ~values.isnan()
    n_known = is_known.sum(dim=0).clamp(min=1)
    centred = values - values.nansum(dim=0) / n_known
    return (centred.square().nansum(dim=0) / n_known).sqrt()


def exceeds(responses, thresholds, out):
    """``responses > thresholds``: into bool NumPy compares ten times as fast."""
    if out.device.type == "cpu":
        np.greater(responses.numpy(), thresholds.numpy(), out=out.numpy())
    else:
        torch.gt(responses, thresholds, out=out)


def kernels_at_once(x):
    """Kernels whose responses to signals x (n, c, t) are few enough for the cache."""
    return min(N_KERNELS, max(1, RESPONSES_AT_ONCE // (x.shape[0] * x.shape[2])))


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
    x = x.permute(1, 2, 0)
    differences = torch.zeros_like(x, memory_format=torch.contiguous_format)
    torch.sub(x[:, 1:], x[:, :-1], out=differences[:, 1:])
    return torch.cat([x, differences])


def sum_of_nine(q, dilation):
    """Sum of q (g, t + 8 dilations, n) shifted by 0 to 8 dilations, (g, t, n)."""
    pairs = q[:, :-dilation] + q[:, dilation:]
    fours = pairs[:, : -2 * dilation] + pairs[:, 2 * dilation :]
    eights = fours[:, : -4 * dilation] + fours[:, 4 * dilation :]
    return eights[:, : q.shape[1] - 8 * dilation] + q[:, 8 * dilation :]
