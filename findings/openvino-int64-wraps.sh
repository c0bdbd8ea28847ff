#!/usr/bin/env bash
# openvino 2026.4.1 beside onnxruntime 1.32.0, onnx 1.23.2. Seen on 2026-11-30.
# Expected: a model whose inputs and outputs are int64, or double, computes in them, or compiling it is refused.
# Happens: on the CPU int64 is 32 bits inside. 3000000000 through Identity comes out as -1294967296, of constants as 2147483647, and 100000 x 100000 is 1410065408. The output still says
#   int64. Double is float inside: 16777217 times 1 is 16777216.
# Matters: hashes, ids and keys that go through a model, as the rows of a gallery behind a TopK and a Gather, come out as others; products of large sizes are wrong.
# Source: seen by running.
. "$(dirname "$0")/common.sh"
python_packages openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, onnxruntime, openvino
from onnx import helper, numpy_helper
core = openvino.Core()
def run(name, data, *constants):
    kind = helper.np_dtype_to_tensor_dtype(data.dtype)
    node = helper.make_node(name, ["ids", "x"] if name == "Gather" else ["x", *(["ids"] if constants else [])], ["y"])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", kind, data.shape)], [helper.make_tensor_value_info("y", kind, None)], [numpy_helper.from_array(c, "ids") for c in constants])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]); made.ir_version = 8
    file = made.SerializeToString()
    for who, result in {"OpenVINO": core.compile_model(core.read_model(file), "CPU")({"x": data})[0], "ONNX Runtime": onnxruntime.InferenceSession(file).run(None, {"x": data})[0]}.items():
        print(f"{name} of {data.tolist()}{''.join(f' and {c.tolist()}' for c in constants)}, {who}: {result.tolist()}, {result.dtype}")
run("Identity", np.array([3000000000, 2**40 + 1]))
run("Mul", np.array([100000]), np.array([100000]))
run("Gather", np.array([1, 0]), np.array([3000000000, 7]))
run("Mul", np.array([16777217.]), np.array([1.]))
E
observe python "$tmp/program.py"
verdict <<'E'
Identity of [3000000000, 1099511627777], OpenVINO: [-1294967296, 1], int64
Identity of [3000000000, 1099511627777], ONNX Runtime: [3000000000, 1099511627777], int64
Mul of [100000] and [100000], OpenVINO: [1410065408], int64
Mul of [100000] and [100000], ONNX Runtime: [10000000000], int64
Gather of [1, 0] and [3000000000, 7], OpenVINO: [7, 2147483647], int64
Gather of [1, 0] and [3000000000, 7], ONNX Runtime: [7, 3000000000], int64
Mul of [16777217.0] and [1.0], OpenVINO: [16777216.0], float64
Mul of [16777217.0] and [1.0], ONNX Runtime: [16777217.0], float64
E
