"""Records test/goldens/onnx-file: small ONNX files with tensors stored in every way, and what Python's onnx reads from them."""
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "onnx-file"
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
rng = np.random.default_rng(3)
values = np.concatenate([[0, -0.0, 1, -1, 65504, 6e-8, 1e-40, np.pi], rng.standard_normal(16)]).reshape(4, 6)
plain = np.nan_to_num(values)


def tensor(name, kind, array, raw):
    """The array as make_tensor stores it: raw bytes, or the list of the type."""
    array = np.asarray(array).astype(h.tensor_dtype_to_np_dtype(kind))
    return h.make_tensor(name, kind, array.shape, array.tobytes() if raw else array.flatten().tolist(), raw=raw)


whole = np.array([[0, 1, 2], [100, 127, 3]])
signed = np.array([[-1, -128, 2], [0, 127, -3]])
kinds = {
    "float32": (T.FLOAT, plain), "float64": (T.DOUBLE, plain), "float16": (T.FLOAT16, plain), "bfloat16": (T.BFLOAT16, plain),
    "int8": (T.INT8, signed), "int16": (T.INT16, signed * 200), "int32": (T.INT32, signed * 10**7), "int64": (T.INT64, signed * 2**50),
    "uint8": (T.UINT8, whole * 2), "uint16": (T.UINT16, whole * 500), "uint32": (T.UINT32, whole * 2**25),
    "uint64": (T.UINT64, whole * 2**56), "bool": (T.BOOL, whole > 2), "scalar": (T.FLOAT, np.float32(4.6052)),
    "empty": (T.FLOAT, np.zeros((0, 7))),
}
stored = [tensor(f"{how}/{name}", kind, array, how == "raw") for name, (kind, array) in kinds.items() for how in ("raw", "list")]
stored.append(h.make_tensor("text", T.STRING, [1], [b"abc"]))
stored.append(numpy_helper.from_array(np.array([1.5], np.float32), "ä 🦊"))
constant = h.make_node("Constant", [], ["constant"], "", value=numpy_helper.from_array(np.float32([[7, 8]]), "its own name"))
turn = h.make_node("Transpose", ["raw/float32"], ["turned"], "/a/b.0/Transpose", perm=[1, 0])
gemm = h.make_node("Gemm", ["turned", "list/float32", ""], ["product"], "/a/b.0/Gemm", transB=1, alpha=0.5, domain="")
branch = h.make_graph([h.make_node("Identity", ["inner"], ["y"])], "then", [], [h.make_tensor_value_info("y", 1, None)],
                      [numpy_helper.from_array(np.float32([1]), "inner")])
choice = h.make_node("If", ["list/bool"], ["chosen"], then_branch=branch, else_branch=branch)
graph = h.make_graph([constant, turn, gemm, choice], "graph", [], [h.make_tensor_value_info(n, 1, None) for n in ("product", "chosen")], stored)
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)])
onnx.save(model, out / "all.onnx")
onnx.save(model, out / "external.onnx", save_as_external_data=True, location="external.onnx_data", size_threshold=0)


def listed(array):
    array = np.asarray(array)
    if array.dtype.kind in "iub":
        return [str(int(x)) for x in array.flatten()]
    return [float(x) for x in array.astype(np.float32).flatten()]


expected = {t.name: {"shape": list(t.dims), "values": listed(numpy_helper.to_array(t))} for t in stored if t.name != "text"}

# Quantised weights, as the operators that use them define their floats.
inits, nodes, ends, truth = [], [], [], {}


def put(name, kind, array):
    inits.append(tensor(name, kind, array, True))


x = rng.standard_normal((3, 4)).astype(np.float32)
for kind, low, high, zero in ((T.INT8, -128, 128, 5), (T.UINT8, 0, 256, 131)):
    for axis in (None, 0, 1, -1):
        name = f"{'i8' if kind == T.INT8 else 'u8'}/axis {axis}"
        n = 1 if axis is None else (4, 5)[axis]
        scale = rng.uniform(0.01, 0.1, n).astype(np.float32)
        zeros = (zero + np.arange(n)) % 100
        put(name, kind, rng.integers(low, high, (4, 5)))
        put(f"{name} s", T.FLOAT, scale[0] if axis is None else scale)
        put(f"{name} z", kind, zeros[0] if axis is None else zeros)
        attributes = {} if axis is None else {"axis": axis}
        nodes.append(h.make_node("DequantizeLinear", [name, f"{name} s", f"{name} z"], [f"{name} float"], **attributes))
        ends.append(f"{name} float")
put("no zero point", T.INT8, rng.integers(-128, 128, (4, 5)))
nodes.append(h.make_node("DequantizeLinear", ["no zero point", "i8/axis None s"], ["no zero point float"]))
ends.append("no zero point float")
put("i32", T.INT32, rng.integers(-2**31, 2**31, 5))
put("i32 s", T.FLOAT, rng.uniform(1e-9, 1e-8, 5).astype(np.float32))
nodes.append(h.make_node("DequantizeLinear", ["i32", "i32 s"], ["i32 float"], axis=0))
ends.append("i32 float")
put("rows", T.UINT8, rng.integers(0, 256, (6, 3)))
put("every row", T.INT64, np.arange(6))
nodes += [h.make_node("Gather", ["rows", "every row"], ["taken"]),
          h.make_node("DequantizeLinear", ["taken", "u8/axis None s", "u8/axis None z"], ["rows float"])]
ends.append("rows float")
quantised = h.make_graph(nodes, "graph", [], [h.make_tensor_value_info(n, 1, None) for n in ends], inits)
quantised = h.make_model(quantised, opset_imports=[h.make_opsetid("", 21)])
onnx.save(quantised, out / "quantised.onnx")
for name, array in zip(ends, ReferenceEvaluator(quantised).run(None, {})):
    truth[name.removesuffix(" float")] = listed(array)
(out / "expected.json").write_text(json.dumps({"stored": expected, "quantised": truth}) + "\n")
