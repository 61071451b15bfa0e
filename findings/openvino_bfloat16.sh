#!/usr/bin/env bash
# OpenVINO computes a float32 graph in bfloat16, with three digits, if the processor has
# instructions for it, and gives no warning. The same file is exact on other machines.
# INFERENCE_PRECISION_HINT "f32" asks for what the graph says.
#
# Version: openvino 2026.4.1, onnx 1.23.2, 2026-11-29
# Expected: an error below 1e-5, as the graph and its constants are float32.
# Output, on an AMD EPYC with avx512_bf16:
#     default bf16 error 7e-02
#     f32 f32 error 6e-06
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    openvino==2026.4.1 onnx==1.23.2 numpy==2.3.5
venv/bin/python - <<'END'
import io
from pathlib import Path

import numpy as np
import openvino
from onnx import TensorProto, checker, helper, numpy_helper

rng = np.random.default_rng(0)
signals = rng.standard_normal((100, 64)).astype(np.float32)
weights = rng.standard_normal((64, 8)).astype(np.float32)
X, Z = (
    helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size])
    for name, size in {"X": 64, "Z": 8}.items()
)
node = helper.make_node("MatMul", ["X", "W"], ["Z"])
tensors = [numpy_helper.from_array(weights, "W")]
graph = helper.make_graph([node], "latents", [X], [Z], tensors)
opset = helper.make_opsetid("", 18)
model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
checker.check_model(model, full_check=True)
exact = signals.astype(np.float64) @ weights
core, errors = openvino.Core(), {}
for name, options in {
    "default": {},
    "f32": {"INFERENCE_PRECISION_HINT": "f32"},
}.items():
    read = core.read_model(io.BytesIO(model.SerializeToString()))
    compiled = core.compile_model(read, "CPU", options)
    errors[name] = np.abs(compiled({"X": signals})[0] - exact).max()
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    print(name, precision, f"error {errors[name]:.0e}")
assert errors["f32"] < 1e-5
flags = Path("/proc/cpuinfo").read_text()
if "avx512_bf16" in flags or "amx_bf16" in flags:
    assert errors["default"] > 1e-3
else:
    print("this processor has no bfloat16")
END
