#!/usr/bin/env bash
# openvino 2026.4.1 beside onnxruntime 1.32.0, onnx 1.23.2. Seen on 2026-11-30.
# Expected: an ONNX Resize with antialias=1 is smoothed by OpenVINO, or refused, as half_pixel_symmetric is.
# Happens: the attribute is ignored: the result is that of antialias=0, for linear and for cubic. ONNX Runtime and ONNX's reference agree with each other and smooth.
# Matters: a preprocessing that was exported with the model (torchvision's Resize and interpolate(antialias=True) become this operator) gives aliased pictures: large photographs get other
#   features than those in a gallery made elsewhere, and no message says so.
# Source: seen by running; ONNX's documentation of Resize, antialias (since opset 18).
. "$(dirname "$0")/common.sh"
python_packages openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import numpy as np, onnx, onnxruntime, openvino
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
image = np.arange(64, dtype="f").reshape(1, 1, 8, 8) ** 2
def model(mode, antialias):
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, coordinate_transformation_mode="half_pixel", antialias=antialias)
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, image.shape)], [helper.make_tensor_value_info("y", 1, None)], [numpy_helper.from_array(np.array([1, 1, 2, 2]), "size")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]); made.ir_version = 8
    return made
core = openvino.Core()
for mode in "linear", "cubic":
    for antialias in 0, 1:
        made = model(mode, antialias); data = made.SerializeToString()
        for who, result in {"OpenVINO": core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"x": image})[0],
                            "ONNX Runtime": onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": image})[0],
                            "ONNX's reference": ReferenceEvaluator(made).run(None, {"x": image})[0]}.items():
            print(f"{mode}, antialias={antialias}, {who}: {result.round(0).astype(int).ravel().tolist()}")
E
observe python "$tmp/program.py"
verdict <<'E'
linear, antialias=0, OpenVINO: [198, 322, 2086, 2466]
linear, antialias=0, ONNX Runtime: [198, 322, 2086, 2466]
linear, antialias=0, ONNX's reference: [198, 322, 2086, 2466]
linear, antialias=1, OpenVINO: [198, 322, 2086, 2466]
linear, antialias=1, ONNX Runtime: [355, 478, 2104, 2445]
linear, antialias=1, ONNX's reference: [355, 478, 2104, 2445]
cubic, antialias=0, OpenVINO: [174, 298, 2062, 2442]
cubic, antialias=0, ONNX Runtime: [174, 298, 2062, 2442]
cubic, antialias=0, ONNX's reference: [174, 298, 2062, 2442]
cubic, antialias=1, OpenVINO: [174, 298, 2062, 2442]
cubic, antialias=1, ONNX Runtime: [188, 312, 2143, 2542]
cubic, antialias=1, ONNX's reference: [188, 312, 2143, 2542]
E
