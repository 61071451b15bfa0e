"""ONNX graphs of fitted models, which run without Python.

Importing this module registers `ConvVAETransformer` with skl2onnx. Then
``skl2onnx.to_onnx(pipeline, X[:2])`` converts pipelines that contain this estimator.
"""

import copy
import math

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skvae.model.features import LIMIT, MAKES_ROOM, N_TAPS
from skvae.threads import plain_torch
from skvae.transformer import ConvVAETransformer

try:
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from skl2onnx.helpers import add_onnx_graph
except ImportError as error:
    message = 'skvae.onnx needs skl2onnx. Install it: pip install "skvae[onnx]"'
    raise ImportError(message) from error

MIN_OPSET = 18  # of PyTorch's exporter


@plain_torch()
def decoder_to_onnx(estimator, opset=MIN_OPSET):
    """Convert `inverse_transform` of an estimator to a graph.

    Parameters
    ----------
    estimator : fitted ConvVAETransformer
    opset : int
        Version of ONNX's operators, at least 18.

    Returns
    -------
    onnx.ModelProto
        Graph with the input "Z", float32 of shape (n_samples, latent_dim), and the
        output "signals", with the units, layout and dtype of `inverse_transform`.
    """
    check_is_fitted(estimator)
    Z = torch.zeros(2, estimator.latent_scale_.size, dtype=torch.float32)
    return export(DecoderGraph(estimator), Z, "Z", "signals", opset)


class Graph(nn.Module):
    """Copy of the network on the CPU, with the scaling of signals and latents."""

    def __init__(self, estimator):
        super().__init__()
        scaler = estimator.scaler_
        self.module = copy.deepcopy(estimator.module_).cpu().eval()
        self.register_buffer("offset", torch.from_numpy(scaler.offset_))
        self.register_buffer("scale", torch.from_numpy(scaler.scale_))
        latent_scale = torch.from_numpy(estimator.latent_scale_)
        self.register_buffer("latent_scale", latent_scale)
        self.dtype = getattr(torch, scaler.dtype_)
        self.shape = estimator.n_channels_in_, estimator.n_timepoints_in_
        self.is_flat = estimator.n_dims_in_ == 2


class EncoderGraph(Graph):
    """`transform`, without filling gaps: latents of a signal with NaN are NaN.

    Latents have the dtype of X, as skl2onnx expects.
    """

    def __init__(self, estimator):
        super().__init__(estimator)
        encoder = self.module.encoder
        if getattr(encoder, "features", None) is not None:
            encoder.features = FeatureGraph(encoder.features)

    def forward(self, X):
        x = X.reshape(-1, *self.shape)
        x = ((x.double() - self.offset) / self.scale).float()
        z_mean, _ = self.module.encode_read(self.module.encoder.read(x))
        has_gaps = x.isnan().any(dim=2).any(dim=1)[:, None]
        return (torch.where(has_gaps, math.nan, z_mean) * self.latent_scale).to(X.dtype)


class DecoderGraph(Graph):
    """`inverse_transform`."""

    def forward(self, Z):
        x = self.module.decode(Z / self.latent_scale)
        signals = (x.double() * self.scale + self.offset).to(self.dtype)
        return signals.flatten(1) if self.is_flat else signals


class FeatureGraph(nn.Module):
    """`RandomConvolutions` by operators of ONNX, with the same bits.

    Its whole numbers of 16 bits are exact in float32, up to 2**24.
    """

    def __init__(self, features):
        super().__init__()
        self.features = features
        # Read here, because operators of a graph may not depend on values.
        rows = [tuple(np.flatnonzero(row)) for row in features.inputs.numpy()]
        self.summed = list(dict.fromkeys(rows))  # inputs that kernels sum
        self.order = [self.summed.index(row) for row in rows]
        weight = torch.full((len(rows), 1, N_TAPS), -1.0, dtype=torch.float32)
        weight.scatter_(2, features.taps[:, None], 2.0)
        self.register_buffer("weight", weight)
        self.has_own_units = features.has_own_units

    def forward(self, x):
        features, n_timepoints = self.features, x.shape[2]
        if self.has_own_units:
            x, measures = features.in_own_units(x)
        differences = nn.functional.pad(x[:, :, 1:] - x[:, :, :-1], (1, 0))
        inputs = torch.cat([x, differences], dim=1)  # (n, 2c, t)
        scaled = (inputs - features.offset.squeeze(2)) * features.scale.squeeze(2)
        summed = [
            sum(scaled[:, c] for c in row) * (1 / math.sqrt(len(row)))
            for row in self.summed
        ]
        q = torch.stack(summed, dim=1).round().clamp(-LIMIT, LIMIT)[:, self.order]
        counts = []
        for i, dilation in enumerate(features.dilations):
            reach = {"padding": N_TAPS // 2 * dilation, "dilation": dilation}
            groups = len(self.order)
            response = nn.functional.conv1d(q, self.weight, **reach, groups=groups)
            above = response[:, :, None] > features.thresholds[:, i, :, None].float()
            counts.append(above.float().sum(dim=3))  # (n, n_kernels, n_thresholds)
        counts = torch.stack(counts, dim=2)  # (n, n_kernels, n_dilations, n_thresholds)
        if self.has_own_units:
            above = (measures > features.bounds).float() * n_timepoints
            above = above.unflatten(1, (-1, *counts.shape[2:]))
            groups = counts.unflatten(1, (-1, MAKES_ROOM))
            counts = torch.cat([above[:, :, None], groups[:, :, 1:]], dim=2)
        return counts.flatten(1) * (1 / n_timepoints)


def export(module, example, input_name, output_name, opset):
    """Graph of a module, for any number of samples."""
    if opset < MIN_OPSET:
        raise ValueError(
            f"opset={opset}, but PyTorch's exporter needs at least {MIN_OPSET}. Pass "
            f"target_opset={MIN_OPSET} to to_onnx."
        )
    program = torch.onnx.export(
        module.eval(),
        (example,),
        input_names=[input_name],
        output_names=[output_name],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    end_names(model.graph)
    return model


def end_names(graph):
    """Append "_" to the names of values.

    skl2onnx appends digits, so that copy_1 would become copy_11, which may exist.
    """
    kept = {"", *(value.name for value in (*graph.input, *graph.output))}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in kept else f"{name}_" for name in names]
    for value in (*graph.initializer, *graph.value_info):
        value.name += "_"


def set_latents_type(operator):
    """Set type and shape of the latents; skl2onnx calls this before `convert`."""
    estimator = operator.raw_operator
    check_is_fitted(estimator)
    n_samples, *shape = operator.inputs[0].type.shape
    fitted = [estimator.n_channels_in_, estimator.n_timepoints_in_]
    if shape not in (fitted, [estimator.n_features_in_]):
        raise ValueError(
            f"to_onnx got signals of shape {tuple(shape)}, but this "
            f"{type(estimator).__name__} was fitted on {tuple(fitted)}, or "
            f"({estimator.n_features_in_},) when flat. Pass an array of such signals. "
            "For a DataFrame, pass X[:2].to_numpy()."
        )
    of_type = DoubleTensorType if is_double(operator) else FloatTensorType
    operator.outputs[0].type = of_type([n_samples, estimator.latent_scale_.size])


def is_double(operator):
    return isinstance(operator.inputs[0].type, DoubleTensorType)


@plain_torch()
def convert(scope, operator, container):
    """Add the graph of an estimator to the graph of its pipeline."""
    dtype = torch.float64 if is_double(operator) else torch.float32
    example = torch.zeros(2, *operator.inputs[0].type.shape[1:], dtype=dtype)
    module = EncoderGraph(operator.raw_operator)
    graph = export(module, example, "X", "Z", container.target_opset)
    add_onnx_graph(scope, operator, container, graph)


update_registered_converter(
    ConvVAETransformer, "SkvaeConvVAETransformer", set_latents_type, convert
)
