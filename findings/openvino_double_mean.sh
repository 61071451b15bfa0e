#!/usr/bin/env bash
# The mean of each signal (n, channel, time), by ReduceSum and Div in float64, is right
# in OpenVINO for the first signal and zero for all others. In float32, for one signal,
# and for signals without the channel axis, it is right.
#
# Version: openvino 2026.4.1, onnx 1.23.2, 2026-11-29
# Expected: the means 3, 8 and 13 in both types.
# Output:
#     float32 [3.0, 8.0, 13.0]
#     float64 [3.0, 0.0, 0.0]
#     float64 without channels [3.0, 8.0, 13.0]
#     float64, last signal alone [13.0]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    openvino==2026.4.1 onnx==1.23.2 numpy==2.3.5
venv/bin/python - <<'END'
import io

import numpy as np
import openvino
from onnx import checker, helper, numpy_helper

signals = np.arange(1, 16).reshape(3, 1, 5)  # means 3, 8, 13


def means(dtype, signals):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("ReduceSum", ["X", "axis"], ["sum"]),
        helper.make_node("Div", ["sum", "n"], ["mean"]),
    ]
    shape = [None, *signals.shape[1:]]
    X = helper.make_tensor_value_info("X", kind, shape)
    mean = helper.make_tensor_value_info("mean", kind, [*shape[:-1], 1])
    constants = {"axis": np.array([-1]), "n": np.array([5], dtype)}
    tensors = [numpy_helper.from_array(a, name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "means", [X], [mean], tensors)
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    checker.check_model(model, full_check=True)
    core = openvino.Core()
    file = io.BytesIO(model.SerializeToString())
    compiled = core.compile_model(core.read_model(file), "CPU")
    return compiled({"X": signals.astype(dtype)})[0].ravel().tolist()


single, double = (means(dtype, signals) for dtype in (np.float32, np.float64))
flat, last = means(np.float64, signals[:, 0]), means(np.float64, signals[2:])
print("float32", single)
print("float64", double)
print("float64 without channels", flat)
print("float64, last signal alone", last)
assert single == flat == [3, 8, 13]
assert double == [3, 0, 0]
assert last == [13]
END
