#!/usr/bin/env bash
# NaN marks a gap in a signal. Runtimes of ONNX lose it in different ways: Relu and Clip
# give a number in OpenVINO and tract, Tanh gives -1 in tract, and NaN is greater than
# zero in OpenVINO. ReduceMax in onnxruntime depends on where NaN stands: the result may
# be neither NaN nor the largest of the other numbers.
#
# Version: onnxruntime 1.32.0, openvino 2026.4.1, tract 0.23.9, onnx 1.23.2, 2026-11-29
# Expected: nan from Relu, Clip, Tanh and ReduceMax, as NumPy gives and onnx.reference;
#     False from Greater.
# Output, of NaN, and of ReduceMax of [nan, 1, 0.5, 2] and [1, nan, 0.5, 2]:
#     Relu: onnxruntime [nan], openvino [0.0], tract [0.0]
#     Clip to -1 and 1: onnxruntime [nan], openvino [-1.0], tract [-1.0]
#     Tanh: onnxruntime [nan], openvino [nan], tract [-1.0]
#     Greater than 0: onnxruntime [False], openvino [True], tract [False]
#     ReduceMax: onnxruntime [nan, 1.0], openvino [2.0, 2.0], tract [2.0, 2.0]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 openvino==2026.4.1 tract==0.23.9 onnx==1.23.2 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
import onnx
import onnxruntime
import openvino
import tract
from onnx import TensorProto, helper, numpy_helper

X = np.array([[np.nan, 1, 0.5, 2], [1, np.nan, 0.5, 2]], np.float32)
CONSTANTS = {"low": np.float32(-1), "high": np.float32(1), "zero": np.float32(0)}
CONSTANTS["axis"] = np.array([1])


def save(operator, *constants):
    kind = TensorProto.BOOL if operator == "Greater" else TensorProto.FLOAT
    shape = [2, 1 if operator == "ReduceMax" else 4]
    node = helper.make_node(operator, ["X", *constants], ["Y"])
    values = [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, [2, 4]),
        helper.make_tensor_value_info("Y", kind, shape),
    ]
    tensors = [numpy_helper.from_array(np.asarray(CONSTANTS[c]), c) for c in constants]
    graph = helper.make_graph([node], "g", values[:1], values[1:], tensors)
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")


def by_onnxruntime():
    return onnxruntime.InferenceSession("model.onnx").run(None, {"X": X})[0]


def by_openvino():
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model("model.onnx", "CPU", hint)({"X": X})[0]


def by_tract():
    runnable = tract.onnx().load("model.onnx").into_model().into_runnable()
    return runnable.run([X])[0].to_numpy()


def of_nan(operator, values):
    """The value of the first NaN, or of both signals."""
    found = values[:, 0] if operator == "ReduceMax" else values[0, :1]
    return found.tolist() if found.dtype == bool else found.round(3).tolist()


CLIENTS = {"onnxruntime": by_onnxruntime, "openvino": by_openvino, "tract": by_tract}
nan = np.nan
for title, constants, expected in (
    ("Relu", [], ([nan], [0], [0])),
    ("Clip to -1 and 1", ["low", "high"], ([nan], [-1], [-1])),
    ("Tanh", [], ([nan], [nan], [-1])),
    ("Greater than 0", ["zero"], ([False], [True], [False])),
    ("ReduceMax", ["axis"], ([nan, 1], [2, 2], [2, 2])),
):
    operator = title.split()[0]
    save(operator, *constants)
    found = {name: of_nan(operator, client()) for name, client in CLIENTS.items()}
    print(f"{title}:", ", ".join(f"{name} {values}" for name, values in found.items()))
    np.testing.assert_equal(list(found.values()), list(expected))
END
