"""ONNX graphs of fitted models, which run without Python.

Importing this module registers `ConvVAETransformer` with skl2onnx. Then
``skl2onnx.to_onnx(pipeline, X[:2])`` also converts pipelines that contain this
estimator, without the output "has_gaps".
"""

import contextlib
import copy
import logging
import math

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skvae.model.features import LIMIT, MAKES_ROOM, N_TAPS
from skvae.sklearn_private import safe_indexing
from skvae.threads import plain_torch
from skvae.transformer import ConvVAETransformer

try:
    from onnx import TensorProto, helper
    from skl2onnx import to_onnx, update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from skl2onnx.helpers import add_onnx_graph
except ImportError as error:
    message = 'skvae.onnx needs skl2onnx. Install it: pip install "skvae[onnx]"'
    raise ImportError(message) from error

__all__ = ["check_graph", "decoder_to_onnx", "pipeline_to_onnx"]

MIN_OPSET = 18  # of PyTorch's exporter
ML_OPSET = 3  # of ONNX's operators for trees and the like: skl2onnx's forests need it
# Share of the spread by which a right graph may be off. The order of float32 sums
# alone makes up to 4e-5.
TOLERANCE = 1e-4
BATCH_SIZE = 256  # of a check, whose features take 0.7 MB a signal of 336 steps
# Of which the first that an estimator has gives the second output of its graph.
SECOND_METHODS = "predict_proba", "decision_function", "transform"


def pipeline_to_onnx(pipeline, X, opset=MIN_OPSET):
    """Convert a fitted pipeline to a graph that also marks signals with gaps.

    Parameters
    ----------
    pipeline : fitted Pipeline, or ConvVAETransformer alone
    X : array-like of shape (n_samples, n_timepoints) or \
            (n_samples, n_channels, n_timepoints)
        Signals. Only their shape and dtype matter. The graph takes arrays: the values
        of a DataFrame with several channels, one channel after the other.
    opset : int
        Version of ONNX's operators, at least 18.

    Returns
    -------
    onnx.ModelProto
        Graph with the input "X", float64 for an X of float64 and float32 for any other.
        Its outputs are those of skl2onnx, such as "label" and "probabilities", and
        "has_gaps", bool of shape (n_samples,), which is True for signals with NaN.
        Latents of such signals are NaN, and their labels arbitrary. Infinity, which
        the pipeline refuses, is not marked.

    Raises
    ------
    ValueError
        If X holds no numbers or signals of another shape than the fitted ones, or if
        `opset` is too small. For steps that it cannot convert, skl2onnx has its own
        errors.
    """
    X = np.asarray(X[:2])
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"X has values of dtype {X.dtype}, but a graph takes arrays of numbers. "
            "Pass an array of float32 or float64, as numpy.stack gives of cells."
        )
    X = X.astype(np.float64 if X.dtype == np.float64 else np.float32)
    # skl2onnx knows neither "passthrough" nor the pipelines of imbalanced-learn.
    steps = Pipeline([*steps_of(pipeline, "pipeline")])
    model = to_graph(steps, X, opset)
    add_has_gaps(model.graph)
    return model


def check_graph(model, pipeline, X):
    """Compare a graph with its pipeline on signals, for example those of a test set.

    Labels must be equal, and numbers to 1e-4 of their standard deviation. Both get X in
    the dtype of the graph. Each step is also converted alone, and compared on what the
    steps before it give. Gaps are not filled in a graph, so of signals with NaN only
    "has_gaps" is compared.

    Parameters
    ----------
    model : onnx.ModelProto
        As from `pipeline_to_onnx`.
    pipeline : fitted Pipeline, or ConvVAETransformer alone
    X : array-like of shape (n_samples, n_timepoints) or \
            (n_samples, n_channels, n_timepoints)

    Raises
    ------
    ValueError
        If they differ. The message names the first step that is off.
    """
    dtype = helper.tensor_dtype_to_np_dtype(
        model.graph.input[0].type.tensor_type.elem_type
    )
    opset = next(each.version for each in model.opset_import if not each.domain)
    signals = np.asarray(X, dtype)
    has_gaps = np.isnan(signals).reshape(len(signals), -1).any(axis=1)
    if has_gaps.all():
        raise ValueError("All signals of X have NaN. Pass also signals without NaN.")
    marked = run(model, signals).get("has_gaps", has_gaps)
    off = np.flatnonzero(marked != has_gaps)
    if off.size:
        raise ValueError(
            f"has_gaps is wrong for {off.size} signals, first signal {off[0]}. Export "
            "the pipeline again with pipeline_to_onnx."
        )
    X = X.astype(dtype) if hasattr(X, "astype") else X
    X = values = safe_indexing(X, np.flatnonzero(~has_gaps))
    for name, step in steps_of(pipeline, "pipeline"):
        array = np.asarray(values, dtype)
        alone = to_graph(step, array, opset)
        if difference := compare(run(alone, array), step, values):
            raise ValueError(
                f"{name}, {step}, is exported wrongly: {difference}. Change its "
                "parameters, replace it, or export the steps before it and compute it "
                "in your own code. If X is a DataFrame with several channels, pass an "
                "array, one channel after the other."
            )
        values = step.transform(values) if hasattr(step, "transform") else None
    found = run(model, signals[~has_gaps])
    found.pop("has_gaps", None)
    if difference := compare(found, pipeline, X):
        raise ValueError(
            f"The graph is off: {difference}, but no step alone is. If the pipeline "
            "was fitted since the export, export it again. If X is of float32, which "
            "rounds between the steps, export X of float64."
        )


def steps_of(pipeline, name):
    """Names and estimators that a pipeline applies, also those of pipelines in it."""
    if not isinstance(pipeline, Pipeline):
        yield name, pipeline
        return
    for key, step in pipeline.steps:
        if step not in (None, "passthrough") and not hasattr(step, "fit_resample"):
            yield from steps_of(step, f"{name}[{key!r}]")


def to_graph(estimator, X, opset):
    """Graph of an estimator or a pipeline, with probabilities as an array."""
    options = {"zipmap": False} if is_classifier(estimator) else None
    opsets = {"": opset, "ai.onnx.ml": ML_OPSET}
    return to_onnx(estimator, X[:2], target_opset=opsets, options=options)


def add_has_gaps(graph):
    """Add the output "has_gaps": the sum of a signal with NaN is NaN.

    Its maximum is another number in some runtimes.
    """
    signals = graph.input[0]
    axes = range(1, len(signals.type.tensor_type.shape.dim))
    # Names of skl2onnx have no slash.
    axes = helper.make_tensor("gaps/axes", TensorProto.INT64, [len(axes)], axes)
    inputs, total = [signals.name, axes.name], "gaps/sum"
    graph.initializer.append(axes)
    graph.node.append(helper.make_node("ReduceSum", inputs, [total], total, keepdims=0))
    graph.node.append(helper.make_node("IsNaN", [total], ["has_gaps"], "gaps/is_nan"))
    is_bool = helper.make_tensor_value_info("has_gaps", TensorProto.BOOL, [None])
    graph.output.append(is_bool)


def run(model, X):
    """Outputs of a graph by name, computed by onnxruntime in batches."""
    from onnxruntime import InferenceSession

    session = InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    batches = gen_batches(len(X), BATCH_SIZE)
    parts = zip(*(session.run(None, {"X": X[rows]}) for rows in batches), strict=True)
    return dict(zip(names, map(join, parts), strict=True))


def join(parts):
    """One output of all batches. Of several targets, they are its first axis."""
    if isinstance(parts[0], list):
        return [np.concatenate(target) for target in zip(*parts, strict=True)]
    return np.concatenate(parts, axis=max(0, parts[0].ndim - 2))


def compare(found, estimator, X):
    """What differs between a graph's outputs and an estimator's, in words, or None."""
    methods = ["predict" if hasattr(estimator, "predict") else "transform"]
    methods += [method for method in SECOND_METHODS if hasattr(estimator, method)][:1]
    for (name, values), method in zip(found.items(), methods, strict=False):
        expected = getattr(estimator, method)(X)
        if isinstance(expected, list):  # probabilities of several targets
            expected, values = np.hstack(expected), np.hstack([*values])
        expected, values = np.asarray(expected), np.asarray(values)
        if expected.ndim == 1 and values.shape == (len(expected), 2):
            values = values[:, 1]  # of the second of two classes
        if values.size != expected.size:
            return f"{name} has shape {values.shape}, {method} gives {expected.shape}"
        values = values.reshape(expected.shape)
        if values.dtype.kind != "f":
            if n_off := np.count_nonzero(values != expected):
                return f"{n_off} of {len(expected)} labels differ"
        elif not np.allclose(values, expected, 1e-6, TOLERANCE * expected.std()):
            error, spread = np.abs(values - expected).max(), expected.std()
            return f"{name} differ by {error:.2g}, of a spread of {spread:.2g}"


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
            f"opset={MIN_OPSET}, or target_opset={MIN_OPSET} to to_onnx."
        )
    with quiet("torch.onnx"):  # which logs that torchvision is not installed
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


@contextlib.contextmanager
def quiet(name):
    """Let a logger show errors alone."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


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
