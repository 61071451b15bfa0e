"""The convolutions pad as Keras's do, and are each other's transposes."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from skvae.network import SameConv, SameConvTranspose

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # not ours to mend
@pytest.mark.parametrize("n_timepoints", [336, 151])
def test_keras_with_equal_weights(n_timepoints, monkeypatch):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    port = importlib.import_module("port")
    differences, loss, n_parameters = port.equality(n_timepoints, n_signals=8)
    assert differences.pop("loss") < 1e-6 * loss  # what float32 resolves
    assert max(differences.values()) < 1e-5
    if n_timepoints == 336:
        assert n_parameters == [58740, 24769]
