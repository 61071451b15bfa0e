"""Layers for signals of any length, and their first weights."""

import torch
from torch import nn


class AlignedLinear(nn.Linear):
    """Linear layer whose result for a sample does not depend on its place in the batch.

    Matrix kernels add up a row in an order that depends on where in memory it starts,
    and take another way for a single output. In evaluation, inputs and outputs are
    filled up with zeros to multiples of 16, 64 bytes.
    """

    def forward(self, h):
        n_in, n_out = -self.in_features % 16, -self.out_features % 16
        if self.training or not (n_in or n_out):
            return super().forward(h)
        weight = nn.functional.pad(self.weight, (0, n_in, 0, n_out))
        h = nn.functional.linear(nn.functional.pad(h, (0, n_in)), weight)
        return h[:, : self.out_features] + self.bias


class SameConv(nn.Conv2d):
    """Convolution of (n, c, 1, t) to length ``ceil(t / stride)``.

    The padding is that of TensorFlow's ``same``: half before, the odd one after.
    """

    def __init__(self, n_in, n_out, kernel_size, stride, n_timepoints):
        left, right = same_padding(n_timepoints, kernel_size, stride)
        symmetric = left == right
        super().__init__(
            n_in,
            n_out,
            (1, kernel_size),
            stride=(1, stride),
            padding=(0, left) if symmetric else 0,
        )
        self.pad = nn.Identity() if symmetric else nn.ZeroPad2d((left, right, 0, 0))

    def forward(self, h):
        return super().forward(self.pad(h))


class SameConvTranspose(nn.ConvTranspose2d):
    """Transposed convolution of (n, c, 1, ceil(t / stride)) to length t.

    It is the transpose of `SameConv` at length t, padding included.
    """

    def __init__(self, n_in, n_out, kernel_size, stride, n_timepoints):
        left, _ = same_padding(n_timepoints, kernel_size, stride)
        n_steps = -(-n_timepoints // stride)
        shortfall = n_timepoints + 2 * left - (n_steps - 1) * stride - kernel_size
        super().__init__(
            n_in,
            n_out,
            (1, kernel_size),
            stride=(1, stride),
            padding=(0, left),
            output_padding=(0, max(0, shortfall)),
        )
        self.n_timepoints = n_timepoints

    def forward(self, h):
        h = super().forward(h)
        return h if h.shape[-1] == self.n_timepoints else h[..., : self.n_timepoints]


class Dropout(nn.Dropout):
    """Dropout whose mask on a CPU takes 16 random bits a value.

    PyTorch's own draws a double for each: 2 of the 16 ms of a training step of the
    thread's final network (batch 32, one thread), where this takes 0.4. The
    probability is rounded to a multiple of 1 / 65536, the scale is exact for it.
    """

    def forward(self, h):
        if not self.training or h.device.type != "cpu":
            return super().forward(h)
        n_dropped = min(round(self.p * 2**16), 2**16 - 1)
        bits = torch.empty(-(-h.numel() // 4), dtype=torch.int64)
        bits = bits.random_(-(2**63), None).view(torch.int16)[: h.numel()]
        kept = (bits >= n_dropped - 2**15).view(torch.int8)
        # In the memory format of h, which came dense out of a layer.
        kept = kept.as_strided(h.shape, h.stride())
        return (h * kept).mul_(2**16 / (2**16 - n_dropped))


def relu():
    """In place: the layers before it do not need their output for the gradient."""
    return nn.ReLU(inplace=True)


def same_padding(n_timepoints, kernel_size, stride):
    """Zeros before and after a signal whose convolution has length ceil(t / stride)."""
    n_steps = -(-n_timepoints // stride)
    total = max(0, (n_steps - 1) * stride + kernel_size - n_timepoints)
    return total // 2, total - total // 2


def lengths_after(n_timepoints, n_layers, stride):
    """Lengths of a signal before and after each of the convolutions."""
    lengths = [n_timepoints]
    for _ in range(n_layers):
        lengths.append(-(-lengths[-1] // stride))
    return lengths


def first_weights(init):
    """The function for `Module.apply` that draws the first weights.

    "he": He-normal (He et al. 2015); "glorot": Glorot-uniform (Glorot and Bengio
    2010), as in Keras; both with zero biases. "torch": as PyTorch drew them.
    """
    functions = {"he": he_init, "glorot": glorot_init, "torch": lambda module: None}
    if init not in functions:
        raise ValueError(f"init={init!r}, expected one of {list(functions)}.")
    return functions[init]


def glorot_init(module):
    """Glorot-uniform weights and zero biases, for `Module.apply`."""
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def he_init(module):
    """He-normal weights and zero biases, for `Module.apply`.

    An output of a transposed convolution sees one in `stride` of its inputs' weights.
    """
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        fan_in = module.weight[0].numel()
        if isinstance(module, nn.ConvTranspose2d):
            fan_in = module.weight[:, 0].numel() / module.stride[1]
        nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
        nn.init.zeros_(module.bias)


def zero_init(module):
    """Zero weights and biases, for `Module.apply`."""
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
