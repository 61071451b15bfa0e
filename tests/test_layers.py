"""Layers: padding as Keras's, transposes, places in a batch, stacks, first weights."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from skvae.model.layers import (
    AlignedLinear,
    Dropout,
    SameConv,
    SameConvTranspose,
    draw_weights,
    same_padding,
    stack,
)

LENGTHS = (*range(1, 21), 23, 29, 37, 101, 337)
STRIDES = (1, 2, 3)
KERNELS = range(1, 10)


def same_convolution(x, weight, stride):
    """TensorFlow's "same" convolution, in NumPy: x (n, c, t), weight (o, c, k)."""
    n_timepoints, kernel_size = x.shape[2], weight.shape[2]
    if n_timepoints % stride == 0:
        total = max(kernel_size - stride, 0)
    else:
        total = max(kernel_size - n_timepoints % stride, 0)
    padded = np.pad(x, [(0, 0), (0, 0), (total // 2, total - total // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_size, axis=2)
    return np.einsum("nctk,ock->not", windows[:, :, ::stride], weight)


def random_layers(kernel_size, stride, n_timepoints):
    """A `SameConv` of 2 to 3 channels and the transposed one, in float64.

    Both have the same weights, and biases of zero.
    """
    size = kernel_size, stride, n_timepoints
    forward = SameConv(2, 3, *size).double()
    backward = SameConvTranspose(3, 2, *size).double()
    backward.weight = forward.weight
    forward.bias.data.zero_()
    backward.bias.data.zero_()
    return forward, backward


def test_reference_convolution_on_a_worked_example():
    """13 points, kernel 6, stride 5: one zero before and two after.

    https://stackoverflow.com/questions/37674306
    """
    x = np.arange(1.0, 14)[None, None]
    windows = [[0, 1, 2, 3, 4, 5], [5, 6, 7, 8, 9, 10], [10, 11, 12, 13, 0, 0]]
    weight = np.array([1.0, 10, 100, 1e3, 1e4, 1e5])
    expected = [np.dot(window, weight) for window in windows]
    found = same_convolution(x, weight[None, None], 5)
    np.testing.assert_array_equal(found[0, 0], expected)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
@torch.no_grad()
def test_convolution_pads_as_tensorflow(kernel_size, stride):
    rng = np.random.default_rng(0)
    for n_timepoints in LENGTHS:
        layer, _ = random_layers(kernel_size, stride, n_timepoints)
        x = rng.normal(size=(2, 2, n_timepoints))
        expected = same_convolution(x, layer.weight.squeeze(2).numpy(), stride)
        found = layer(torch.from_numpy(x).unsqueeze(2)).squeeze(2).numpy()
        assert found.shape == (2, 3, -(-n_timepoints // stride))
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel_size", KERNELS)
@torch.no_grad()
def test_transposed_convolution_is_the_adjoint(kernel_size, stride):
    rng = np.random.default_rng(0)
    for n_timepoints in LENGTHS:
        forward, backward = random_layers(kernel_size, stride, n_timepoints)
        x = torch.from_numpy(rng.normal(size=(1, 2, 1, n_timepoints)))
        y = torch.from_numpy(rng.normal(size=(1, 3, 1, -(-n_timepoints // stride))))
        assert backward(y).shape == x.shape
        torch.testing.assert_close((forward(x) * y).sum(), (x * backward(y)).sum())


@torch.no_grad()
def test_symmetric_padding_differs():
    """The padding of 4 on both sides that one picks by hand for kernel 8."""
    layer, _ = random_layers(8, 2, 336)
    x = torch.ones(1, 2, 1, 336, dtype=torch.float64)
    picked = conv2d(x, layer.weight, stride=(1, 2), padding=(0, 4))[..., :168]
    assert (layer(x) - picked).abs().max() > 0.01


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("n_timepoints", LENGTHS)
def test_padding_is_that_of_the_layers(n_timepoints, stride):
    left, right = same_padding(n_timepoints, 4, stride)
    assert 0 <= right - left <= 1
    h = SameConv(1, 1, 4, stride, n_timepoints)(torch.zeros(1, 1, 1, n_timepoints))
    assert h.shape[3] == math.ceil(n_timepoints / stride)


# Linear layers


@pytest.mark.parametrize("shape", [(3, 5), (16, 32), (40, 1), (17, 33)])
def test_aligned_linear_is_a_linear_layer(shape):
    layer = AlignedLinear(*shape).double()
    h = torch.randn(20, shape[0], dtype=torch.float64)
    expected = h @ layer.weight.T + layer.bias
    for module in (layer.train(), layer.eval()):
        torch.testing.assert_close(module(h), expected)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(3, 5), (101, 1), (337, 33)])
def test_aligned_linear_gives_the_same_bits_at_any_place(shape):
    layer = AlignedLinear(*shape).eval()
    h = torch.randn(203, shape[0])
    expected = layer(h)
    order = torch.randperm(203)
    assert torch.equal(layer(h[order]), expected[order])
    assert torch.equal(layer(h[7:40]), expected[7:40])


# Dropout


@pytest.mark.parametrize("p", [0.0, 0.013, 0.3, 0.5, 0.9, 1 - 1e-9])
def test_dropout_has_the_distribution_of_pytorchs(p):
    torch.manual_seed(0)
    dropout = Dropout(p)
    h = torch.ones(1000, 16, 1, 21).contiguous(memory_format=torch.channels_last)
    h.requires_grad_()
    dropped = dropout(h)
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    kept = (dropped != 0).float()
    n, share = kept.numel(), 1 - round(p * 2**16) / 2**16
    share = max(share, 2**-16)
    assert abs(share - (1 - p)) <= 2**-16
    assert dropped[dropped != 0].allclose(torch.tensor(1 / share))
    assert abs(kept.mean() - share) < 4 * (share * (1 - share) / n) ** 0.5 + 1e-12
    # Values drop out alone, not with those that are drawn together.
    pairs = kept.permute(0, 2, 3, 1).flatten()[: 4 * (n // 4)].view(-1, 4)
    for other in range(1, 4):
        both = (pairs[:, 0] * pairs[:, other]).mean()
        assert abs(both - share**2) < 5 * (share**2 / len(pairs)) ** 0.5
    dropped.sum().backward()
    assert torch.equal(h.grad, dropped.detach())
    assert dropout.eval()(h) is h


# Stacks


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_layer_is_followed_by_relu_norm_dropout(batch_norm, dropout):
    """In the order of the thread's final script."""
    norms = {nn.Linear: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d}
    for layer in (AlignedLinear(4, 7), SameConv(4, 7, 3, 1, 9)):
        kind = nn.Linear if isinstance(layer, nn.Linear) else nn.Conv2d
        first, relu, *rest = stack([layer], batch_norm, dropout)
        assert first is layer
        assert isinstance(relu, nn.ReLU)
        drops = nn.Dropout if kind is nn.Linear else Dropout
        expected = [norms[kind]] * batch_norm + [drops] * bool(dropout)
        assert [type(each) for each in rest] == expected
        assert not batch_norm or rest[0].num_features == 7
        assert not dropout or rest[-1].p == dropout


# First weights


@torch.no_grad()
@pytest.mark.parametrize(
    ("layer", "n_inputs"),
    [
        (AlignedLinear(600, 400), 600),
        (SameConv(24, 64, 8, 1, 512), 24),
        (SameConv(24, 64, 8, 4, 2048), 24),
        (SameConvTranspose(48, 32, 7, 1, 512), 48),
        (SameConvTranspose(48, 32, 8, 2, 512), 48),
        (SameConvTranspose(48, 32, 8, 4, 512), 48),
        (SameConvTranspose(48, 32, 9, 2, 512), 48),  # not a whole number of strides
    ],
    ids=repr,
)
def test_he_weights_keep_the_variance_through_a_layer_and_relu(layer, n_inputs):
    """Away from the edges, where fewer weights add up; a ReLU halves the square."""
    torch.manual_seed(0)
    draw_weights(layer, "he")
    if isinstance(layer, nn.Linear):
        shape = (200, n_inputs)
    elif isinstance(layer, SameConv):
        shape = (8, n_inputs, 1, 512 * layer.stride[1])
    else:
        shape = (8, n_inputs, 1, layer.n_timepoints // layer.stride[1])
    out = layer(torch.randn(shape))
    if out.ndim == 4:
        out = out[..., 16:-16]
    assert float(out.square().mean()) / 2 == pytest.approx(1.0, abs=0.06)
    assert not layer.bias.any()


@torch.no_grad()
@pytest.mark.parametrize("layer", [nn.Linear(400, 600), nn.Conv2d(20, 30, (1, 8))])
def test_glorot_weights_are_uniform_within_their_limit(layer):
    torch.manual_seed(0)
    draw_weights(layer, "glorot")
    n_out, n_in, *size = layer.weight.shape
    limit = math.sqrt(6 / ((n_in + n_out) * math.prod(size)))
    assert float(layer.weight.abs().max()) == pytest.approx(limit, rel=1e-2)
    assert float(layer.weight.std()) == pytest.approx(limit / math.sqrt(3), rel=0.05)
    assert not layer.bias.any()


def test_torch_weights_are_left_as_they_were():
    layer = nn.Linear(5, 4)
    before = layer.weight.clone(), layer.bias.clone()
    draw_weights(layer, "torch")
    assert torch.equal(layer.weight, before[0])
    assert torch.equal(layer.bias, before[1])
