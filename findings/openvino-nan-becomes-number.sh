#!/usr/bin/env bash
# openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2. Seen on 2026-11-30.
# Expected: a NaN that arises in a network (half precision that overflowed, a broken weight) goes through to the output, as it does in PyTorch and in ONNX's reference.
# Happens: on OpenVINO's CPU Relu, Clip and Max(x, 0) make it 0, ReduceMax of 1, NaN, -7 is -7, and TopK's best is not the NaN but 1, in front of 3. ONNX Runtime keeps it in these but
#   for ReduceMax, which gives 1. GlobalMaxPool and ArgMax pass over it in both.
# Matters: behind the first ReLU or pooling the features of a broken model are finite numbers: a check for NaN at the output finds nothing, and galleries fill with nonsense.
# Source: seen by running. The CPU instructions for maximum hand on their second operand where either is NaN.
. "$(dirname "$0")/common.sh"
python_packages openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, onnx, onnxruntime, openvino
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
core, nan = openvino.Core(), np.nan
def run(name, data, constants=(), outputs=1, **attributes):
    data = np.array(data, "f"); inputs = [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(name, ["x", *inputs], [f"y{i}" for i in range(outputs)], **attributes)
    kinds = {"ArgMax": [7], "TopK": [1, 7]}.get(name, [1])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, data.shape)], [helper.make_tensor_value_info(f"y{i}", kind, None) for i, kind in enumerate(kinds)],
                              [numpy_helper.from_array(c, n) for c, n in zip(constants, inputs)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]); made.ir_version = 8
    file = made.SerializeToString()
    compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for who, result in {"OpenVINO": compiled({"x": data})[outputs - 1], "ONNX Runtime": onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": data})[outputs - 1],
                        "reference": ReferenceEvaluator(made).run(None, {"x": data})[outputs - 1]}.items():
        print(f"{name} of {data.ravel().tolist()}, {who}: {np.ravel(result).tolist()}")
run("Relu", [-1, nan, 2])
run("Clip", [-1, nan, 2], [np.float32(0), np.float32(1)])
run("Max", [-1, nan, 2], [np.zeros(3, "f")])
run("ReduceMax", [[1, nan, -7]], [np.array([1])])
run("GlobalMaxPool", [[[[1, nan], [2, -3]]]])
run("ArgMax", [[1, nan, 3, 2]], axis=1)
run("TopK", [[1, nan, 3, 2]], [np.array([2])], 2)
E
observe python "$tmp/program.py"
verdict <<'E'
Relu of [-1.0, nan, 2.0], OpenVINO: [0.0, 0.0, 2.0]
Relu of [-1.0, nan, 2.0], ONNX Runtime: [0.0, nan, 2.0]
Relu of [-1.0, nan, 2.0], reference: [0.0, nan, 2.0]
Clip of [-1.0, nan, 2.0], OpenVINO: [0.0, 0.0, 1.0]
Clip of [-1.0, nan, 2.0], ONNX Runtime: [0.0, nan, 1.0]
Clip of [-1.0, nan, 2.0], reference: [0.0, nan, 1.0]
Max of [-1.0, nan, 2.0], OpenVINO: [0.0, 0.0, 2.0]
Max of [-1.0, nan, 2.0], ONNX Runtime: [0.0, nan, 2.0]
Max of [-1.0, nan, 2.0], reference: [0.0, nan, 2.0]
ReduceMax of [1.0, nan, -7.0], OpenVINO: [-7.0]
ReduceMax of [1.0, nan, -7.0], ONNX Runtime: [1.0]
ReduceMax of [1.0, nan, -7.0], reference: [nan]
GlobalMaxPool of [1.0, nan, 2.0, -3.0], OpenVINO: [2.0]
GlobalMaxPool of [1.0, nan, 2.0, -3.0], ONNX Runtime: [2.0]
GlobalMaxPool of [1.0, nan, 2.0, -3.0], reference: [nan]
ArgMax of [1.0, nan, 3.0, 2.0], OpenVINO: [2]
ArgMax of [1.0, nan, 3.0, 2.0], ONNX Runtime: [2]
ArgMax of [1.0, nan, 3.0, 2.0], reference: [1]
TopK of [1.0, nan, 3.0, 2.0], OpenVINO: [0, 1]
TopK of [1.0, nan, 3.0, 2.0], ONNX Runtime: [1, 2]
TopK of [1.0, nan, 3.0, 2.0], reference: [1, 2]
E
