"""Layers for signals of any length, and their initial weights."""

import torch
from torch import nn


class AlignedLinear(nn.Linear):
    """Linear layer whose output for a sample has the same bits in any batch.

    The order of a sum depends on its place in memory, so zeros pad it to 64 bytes.
    """

    def __init__(self, n_in, n_out):
        super().__init__(n_in, n_out, dtype=torch.float32)

    def forward(self, h):
        n_in, n_out = -self.in_features % 16, -self.out_features % 16
        if self.training or not (n_in or n_out):
            return super().forward(h)
        weight = nn.functional.pad(self.weight, (0, n_in, 0, n_out))
        h = nn.functional.linear(nn.functional.pad(h, (0, n_in)), weight)
        return h[:, : self.out_features] + self.bias


class SameConv(nn.Conv2d):
    """Convolution of (n, c, 1, t) to length ``ceil(t / stride)``, as in Keras."""

    def __init__(self, n_in, n_out, kernel_size, stride, n_timepoints):
        left, right = same_padding(n_timepoints, kernel_size, stride)
        sizes = (n_in, n_out, (1, kernel_size), (1, stride))
        padding = (0, left if left == right else 0)
        super().__init__(*sizes, padding=padding, dtype=torch.float32)
        self.pad = nn.Identity() if left == right else nn.ZeroPad2d((left, right, 0, 0))

    def forward(self, h):
        return super().forward(self.pad(h))


class SameConvTranspose(nn.ConvTranspose2d):
    """Transpose of `SameConv` at length t: (n, c, 1, ceil(t / stride)) to length t."""

    def __init__(self, n_in, n_out, kernel_size, stride, n_timepoints):
        left, _ = same_padding(n_timepoints, kernel_size, stride)
        n_steps = -(-n_timepoints // stride)
        shortfall = n_timepoints + 2 * left - (n_steps - 1) * stride - kernel_size
        own = {"padding": (0, left), "output_padding": (0, max(0, shortfall))}
        sizes = (n_in, n_out, (1, kernel_size), (1, stride))
        super().__init__(*sizes, **own, dtype=torch.float32)
        self.n_timepoints = n_timepoints

    def forward(self, h):
        h = super().forward(h)
        return h if h.shape[-1] == self.n_timepoints else h[..., : self.n_timepoints]


class Dropout(nn.Dropout):
    """Dropout with 16 random bits a value on a CPU: PyTorch's double is slower."""

    def forward(self, h):
        if not self.training or h.device.type != "cpu":
            return super().forward(h)
        n_dropped = min(round(self.p * 2**16), 2**16 - 1)
        bits = torch.empty(-(-h.numel() // 4), dtype=torch.int64)
        bits = bits.random_(-(2**63), None).view(torch.int16)[: h.numel()]
        kept = (bits >= n_dropped - 2**15).view(torch.int8)
        kept = kept.as_strided(h.shape, h.stride())  # a layer's output is dense
        return (h * kept).mul_(2**16 / (2**16 - n_dropped))


def stack(layers, batch_norm=False, dropout=0.0):
    """Layers, each followed by a ReLU, and optionally BatchNorm and dropout."""
    stacked = nn.Sequential()
    for layer in layers:
        is_dense = isinstance(layer, nn.Linear)
        stacked.append(layer)
        stacked.append(nn.ReLU(inplace=True))  # its gradient needs its output only
        if batch_norm:
            norm = nn.BatchNorm1d if is_dense else nn.BatchNorm2d
            stacked.append(norm(layer.bias.numel(), dtype=torch.float32))
        if dropout:
            stacked.append(nn.Dropout(dropout) if is_dense else Dropout(dropout))
    return stacked


def same_padding(n_timepoints, kernel_size, stride):
    """Zeros before and after a signal: half of them, and the odd one after."""
    n_steps = -(-n_timepoints // stride)
    total = max(0, (n_steps - 1) * stride + kernel_size - n_timepoints)
    return total // 2, total - total // 2


def draw_weights(module, init):
    """Draw the initial weights of all layers in a module, with zero biases.

    "he" is He-normal (He et al. 2015), "glorot" is Glorot-uniform (Glorot and Bengio
    2010) as in Keras, and "torch" leaves PyTorch's weights and biases.
    """
    for layer in module.modules():
        is_weighted = isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
        if init == "torch" or not is_weighted:
            continue
        fan_in = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            # An output reads one in `stride` of the weights.
            fan_in = layer.weight[:, 0].numel() / layer.stride[1]
        if init == "he":
            nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)
        else:
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
