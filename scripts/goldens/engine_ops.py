"""Records test/goldens/engine/ops.json: what PyTorch computes for every constructor of the engine."""
import json
from pathlib import Path

import torch
from torch.nn import functional as F

g = torch.Generator().manual_seed(0)
cases = []


def draw(*shape, low=-2.0, high=2.0):
    # Multiples of 1/256 print exactly and short.
    return torch.round((torch.rand(shape, generator=g) * (high - low) + low) * 256) / 256


def entry(t):
    data = t.flatten().tolist()
    if t.is_floating_point():
        data = [float(f"{x:.8g}") for x in data]
    return {"type": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": data}


def record(name, inputs, outputs, **options):
    if torch.is_tensor(outputs):
        outputs = [outputs]
    # A long in PyTorch is an index, which the engine keeps in 32 bits.
    outputs = [o.int() if o.dtype == torch.int64 else o for o in outputs]
    cases.append({"name": name, "options": options, "inputs": [entry(x) for x in inputs], "outputs": [entry(o) for o in outputs]})


a, b = draw(2, 3, 4), draw(3, 1)
for name, op in {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "maximum": torch.maximum, "minimum": torch.minimum}.items():
    record(name, [a, b], op(a, b))
    record(name, [b, a], op(b, a))
positive = draw(4, low=0.5)
record("div", [a, positive], a / positive)
ties, other = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[2.0], [3.0]])
for name, op in {"equal": torch.eq, "greater": torch.gt, "greaterOrEqual": torch.ge}.items():
    record(name, [ties, other], op(ties, other))
record("and", [ties > 1, other > 2], (ties > 1) & (other > 2))
record("where", [a > 0, a, b], torch.where(a > 0, a, b))

x = torch.cat([draw(2, 7, low=-6, high=6), torch.zeros(2, 1)], 1)
for name in ("neg", "abs", "exp", "sigmoid", "tanh", "erf", "relu", "square"):
    record(name, [x], getattr(torch, name)(x))
for name in ("log", "sqrt", "reciprocal"):
    record(name, [positive], getattr(torch, name)(positive))
record("gelu", [x], F.gelu(x))
record("gelu", [x], F.gelu(x, approximate="tanh"), approximate="tanh")
record("quickGelu", [x], x * torch.sigmoid(1.702 * x))
numbers = torch.tensor([-2.7, -0.5, 0.0, 0.5, 1.5, 200.9])
record("cast", [numbers], numbers.to(torch.int32), to="int32")
record("cast", [numbers.abs()], numbers.abs().to(torch.uint8), to="uint8")
record("cast", [numbers], numbers.bool(), to="bool")
record("cast", [numbers], numbers.double(), to="float64")
record("cast", [torch.tensor([3, -7], dtype=torch.int32)], torch.tensor([3.0, -7.0]), to="float32")

record("reshape", [a], a.reshape(4, -1), shape=[4, -1])
record("expand", [b], b.expand(2, 3, 4), shape=[2, 3, 4])
record("transpose", [a], a.permute(2, 0, 1), perm=[2, 0, 1])
record("transpose", [a], a.permute(2, 1, 0))
c = draw(2, 1, 4)
record("concat", [a, c, a], torch.cat([a, c, a], -2), axis=-2)
record("slice", [a], a[:, :, 1:3], axis=2, start=1, end=3)
record("slice", [a], a[:, -2:], axis=-2, start=-2)
record("slice", [a], a[:, 0:-1], axis=1, start=0, end=-1)
record("split", [a], torch.split(a, [1, 3], -1), axis=-1, sizes=[1, 3])
record("pad", [a], F.pad(a, (3, 0, 0, 1, 2, 0)), pads=[2, 0, 3, 0, 1, 0])
indices = torch.tensor([[2, 0], [2, 1]], dtype=torch.int32)
record("gather", [a, indices], a[:, indices.long()], axis=1)
record("gather", [b, indices], b[indices.long()], axis=0)
record("pick", [a], a[:, :, [3, 0, 3]], indices=[3, 0, 3], axis=2)
rows = torch.tensor([4, 1, 4], dtype=torch.int32)
updates = draw(3, 2)
record("scatterAdd", [rows, updates], torch.zeros(5, 2).index_add(0, rows.long(), updates), rows=5)

m = draw(4, 5)
record("matMul", [a, m], a @ m)
m = draw(2, 1, 5, 4)
record("matMul", [a, m], 0.5 * (a @ m.mT), transB=True, alpha=0.5)
m = draw(2, 3, 5)
record("matMul", [a, m], a.mT @ m, transA=True)
m = draw(3, 5)
record("matMul", [a, m], a.mT @ m, transA=True)
p, q, r = draw(3, 2), draw(4, 3), draw(4)
record("gemm", [p, q, r], -2 * (p.T @ q.T) + r, transA=True, transB=True, alpha=-2)
q, r = draw(5, 4), draw(5)
record("linear", [a, q, r], F.linear(a, q, r))

wide = draw(2, 3, 5, low=-30, high=30)
for axis in (-1, 1):
    record("softmax", [wide], wide.softmax(axis), axis=axis)
    record("logSoftmax", [wide], wide.log_softmax(axis), axis=axis)
w, bias = draw(4), draw(4)
record("layerNorm", [a, w, bias], F.layer_norm(a, (4,), w, bias, 1e-5))
record("layerNorm", [a, w, bias], F.layer_norm(a, (4,), w, bias, 0.1), epsilon=0.1)
maps = draw(2, 3, 6, 5)
w, bias = draw(3), draw(3)
record(
    "batchNorm", [maps, w, bias],
    [F.batch_norm(maps, None, None, w, bias, True), maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)],
)
record("l2Normalize", [a], F.normalize(a, dim=-1))
for stride, padding in ((1, 0), (1, 1), (2, 1)):
    w, bias = draw(4, 3, 3, 2), draw(4)
    record("conv2d", [maps, w, bias], F.conv2d(maps, w, bias, stride, padding), stride=stride, padding=padding)
w = draw(3, 1, 3, 3)
record("conv2d", [maps, w], F.conv2d(maps, w, None, 2, 1, groups=3), stride=2, padding=1, group=3)
w = draw(3, 2, 3, 3)
y = F.conv_transpose2d(maps, w, None, 2, 1, (1, 0))
record("convTranspose2d", [maps, w], y, height=y.shape[2], width=y.shape[3], stride=2, padding=1)
record("avgPool2d", [maps], F.avg_pool2d(maps, 2), kernel=2)
record("avgPool2d", [maps], F.avg_pool2d(maps, 3, 2, 1), kernel=3, stride=2, padding=1)
record("maxPool2d", [maps], F.max_pool2d(maps, 3, 2, 1), kernel=3, stride=2, padding=1)
record("maxPool2d", [maps - 3], F.max_pool2d(maps - 3, 3, 1, 1), kernel=3, stride=1, padding=1)
image, w, bias = draw(2, 3, 4, 6), draw(5, 3, 2, 2), draw(5)
record("patchEmbed", [image, w, bias], F.conv2d(image, w, bias, 2).flatten(2).mT)
scores, labels = draw(3, 5, low=-20, high=20), torch.tensor([4, 0, 2], dtype=torch.int32)
record("crossEntropy", [scores, labels], F.cross_entropy(scores, labels.long(), reduction="none"))

for name, op in {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}.items():
    record(name, [a], op(a, (0, 2)), axes=[0, 2])
    record(name, [a], op(a, (-1,), keepdim=True), axes=[-1], keepdims=True)
    record(name, [a], op(a, (0, 1, 2)))
record("sumTo", [a], a.sum((0, 2), keepdim=True)[0], shape=[3, 1])
mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
values = draw(2, 2)
record("maskedMean", [values, mask], values[mask.bool()].mean())
record("maskedMean", [values, mask * 0], torch.zeros(()))
equals = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]])
record("argMax", [equals], torch.tensor([1, 0]), axis=-1)
record("argMax", [equals], torch.tensor([1, 0, 0]), axis=0)
top = a.topk(3)
record("topK", [a], [top.values, top.indices], k=3)
record("oneHot", [indices], F.one_hot(indices.long(), 4).float(), depth=4)
record("full", [], torch.full((2, 3), 0.25), value=0.25, shape=[2, 3])

for stride, padding in ((1, 0), (1, 1), (2, 1), (3, 2)):
    w = torch.zeros(4, 3, 3, 2, requires_grad=True)
    y = F.conv2d(maps, w, None, stride, padding)
    dy = draw(*y.shape)
    y.backward(dy)
    record("convWeight2d", [maps, dy], w.grad, kernel=[3, 2], stride=stride, padding=padding)

record("upsample2d", [maps], F.interpolate(maps, scale_factor=2, mode="nearest"), factor=2)
record("upsample2d", [maps], F.interpolate(maps, scale_factor=3, mode="nearest"), factor=3)
record("upsample2d", [maps.double()], F.interpolate(maps.double(), scale_factor=2, mode="nearest"), factor=2)

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "engine" / "ops.json"
out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
print(len(cases), "cases", out.stat().st_size, "bytes")
