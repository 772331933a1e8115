"""Records test/goldens/clip/quantised.json: weights in 8 bits as onnxruntime.quantization.quantize_dynamic writes them."""
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip" / "quantised.json"
rng = np.random.default_rng(0)
matrix = (rng.standard_normal((5, 12)) * rng.uniform(0.01, 3, (5, 1))).astype(np.float32)  # [out, in], as PyTorch keeps it
matrix[3] = 0
table = (rng.standard_normal((7, 6)) * 0.02 + 0.01).astype(np.float32)

graph = helper.make_graph(
    [helper.make_node("Gather", ["table", "ids"], ["rows"]), helper.make_node("MatMul", ["x", "matrix"], ["y"])], "g",
    [helper.make_tensor_value_info("ids", TensorProto.INT64, [2]), helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 12])],
    [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [2, 6]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5])],
    [numpy_helper.from_array(matrix.T.copy(), "matrix"), numpy_helper.from_array(table, "table")])
with tempfile.TemporaryDirectory() as folder:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), f"{folder}/a.onnx")
    quantize_dynamic(f"{folder}/a.onnx", f"{folder}/b.onnx", per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    made = {t.name: numpy_helper.to_array(t) for t in onnx.load(f"{folder}/b.onnx").graph.initializer}
    nodes = [n.op_type for n in onnx.load(f"{folder}/b.onnx").graph.node]
print(nodes, {k: (v.dtype, v.shape) for k, v in made.items()})
flat = lambda a: a.reshape(-1).tolist()
out.write_text(json.dumps({
    "matrix": flat(matrix), "quantised": flat(made["matrix_quantized"].T), "scales": flat(made["matrix_scale"]),
    "zeros": flat(made["matrix_zero_point"]),
    "table": flat(table), "tableQuantised": flat(made["table_quantized"]), "tableScale": flat(made["table_scale"])[0],
    "tableZero": flat(made["table_zero_point"])[0],
}) + "\n")
