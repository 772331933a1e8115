"""Records test/goldens/io/torch: files of torch.save and torch.jit.save, and the values that torch.load finds in them."""
import base64
import copyreg
import functools
import json
import os
import pickle
import subprocess
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "io" / "torch"
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
golden = {}

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.uint16: "U16", torch.float8_e4m3fn: "F8_E4M3",
    torch.complex64: "C64",
}


def describe(tensors):
    """Type, shape and, of float tensors, the values as float32."""
    def one(tensor):
        entry = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape)}
        if entry["dtype"] in ("F64", "F32", "F16", "BF16"):
            entry["values"] = tensor.detach().float().flatten().tolist()
        return entry
    return {name: one(tensor) for name, tensor in tensors.items()}


def save(name, value, tensors, **options):
    """`tensors` says where in the loaded value the state dict lies."""
    torch.save(value, out / name, **options)
    golden[name] = describe(tensors(torch.load(out / name, weights_only=False)))


def same(value):
    return value


# Every type, numbers without axes, and no elements at all.
types = {NAMES[dtype]: torch.randn(2, 3).mul(5).to(dtype) for dtype in NAMES}
types["scalar"] = torch.tensor(2.6592)
types["empty"] = torch.zeros(0, 7)
types["halfNumbers"] = torch.tensor([float("inf"), -0.0, 6e-8, 65504.0]).half()
save("types.pt", types, same)
simple = {name: tensor for name, tensor in types.items() if name != "C64"}
save_file(simple, out / "types.safetensors")
golden["types.safetensors"] = describe(simple)

# Views: of one storage, turned, with steps, with an offset, repeated.
base = torch.randn(6, 8)
half = torch.randn(4, 3, 5).half()
save("views.pt", {
    "base": base, "transposed": base.t(), "rows": base[2:4], "columns": base[:, 3:5], "steps": base[1::2, ::3], "row": base[3],
    "number": base[5, 7], "expanded": base[:, :1].expand(6, 4), "overlapping": base.flatten().unfold(0, 4, 2), "flat": base.view(-1),
    "permuted": half.permute(2, 0, 1), "halfStep": half[::2, 1:, ::2], "none": base[2:2, 1:],
}, same)

# A model with batch norm, tied weights and OrderedDict's attribute _metadata.
model = nn.Sequential(OrderedDict(embed=nn.Linear(3, 4), norm=nn.BatchNorm1d(4), head=nn.Linear(4, 3, bias=False)))
model.tied = nn.Linear(3, 4)
model.tied.weight = model.embed.weight
save("state-dict.pt", model.state_dict(), same)
save("state-dict-legacy.pt", model.state_dict(), same, _use_new_zipfile_serialization=False)
for protocol in (3, 4, 5):
    save(f"protocol-{protocol}.pt", model.state_dict(), same, pickle_protocol=protocol)

# Parameters, with and without attributes, and a tensor with one.
marked = nn.Parameter(torch.randn(3))
marked.note = "kept apart"
noted = torch.randn(2, 2)
noted.note = 1
save("parameters.pt", {"parameter": nn.Parameter(torch.randn(2, 3)), "marked": marked, "noted": noted}, same)

# A checkpoint of a training that ran distributed.
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
model(torch.randn(5, 3)).square().sum().backward()
optimizer.step()
wrapped = OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items())
checkpoint = {
    "epoch": 3, "name": "run ä", "best": 0.7, "seed": 2**70, "low": -(2**40), "done": False, "state_dict": wrapped,
    "optimizer": optimizer.state_dict(), "step": torch.tensor(12), "betas": (0.9, 0.98), "size": torch.Size([3, 4]),
    "device": torch.device("cpu"), "dtype": torch.float16, "seen": {1, 2}, "blob": b"\x00\xff" * 3, "counts": Counter("abba"),
    "nested": [[], {}, (), ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))], "none": None, "long": "x" * 300,
}
unwrap = lambda loaded: {name.removeprefix("module."): tensor for name, tensor in loaded["state_dict"].items()}
save("checkpoint.pt", checkpoint, unwrap)
save("checkpoint-legacy.pt", checkpoint, unwrap, _use_new_zipfile_serialization=False)
save("checkpoint-4.pt", checkpoint, unwrap, pickle_protocol=4)
save("deepspeed.pt", {"module": {"state_dict": {f"_orig_mod.module.{k}": v for k, v in model.state_dict().items()}}, "lr": torch.ones(1)},
     lambda loaded: {k.removeprefix("_orig_mod.module."): v for k, v in loaded["module"]["state_dict"].items()})


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(4)
        self.attn = nn.MultiheadAttention(4, 2)
        self.register_buffer("mask", torch.full((2, 2), -1e4).triu(1))

    def forward(self, x):
        y = self.ln_1(x)
        return x + self.attn(y, y, y, need_weights=False, attn_mask=self.mask.to(x.dtype))[0]


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 2, 2, bias=False)
        self.transformer = nn.Sequential(Block(), Block())
        self.proj = nn.Parameter(torch.randn(4, 3))
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))
        self.register_buffer("context_length", torch.tensor(77))

    def forward(self, image):
        x = self.conv1(image).flatten(2).permute(0, 2, 1)
        return self.transformer(x[:2]) @ self.proj * self.logit_scale.exp()


class Scripted(nn.Module):
    """Attributes of all kinds beside the tensors."""
    names: Dict[str, int]
    pairs: List[Tuple[int, float]]

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(3, 3, bias=i == 0) for i in range(2))
        self.norm = nn.BatchNorm1d(3)
        self.sizes, self.rates, self.flags = [1, 2, 3], [0.5, 1.5], [True, False]
        self.label, self.size, self.names, self.pairs = "tiny", 2**40, {"a": 1}, [(1, 2.0)]
        self.stack = [torch.ones(2), torch.zeros(1)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x) + self.sizes[0] * self.rates[0] + len(self.names) + len(self.label) + len(self.stack) + self.size


def save_script(name, script):
    """Without the debug records, which hold the paths of this machine; PyTorch's own writer keeps its layout."""
    script.save(out / name)
    reader = torch._C.PyTorchFileReader(str(out / name))
    records = [(record, reader.get_record(record)) for record in reader.get_all_records() if not record.endswith(".debug_pkl")]
    del reader
    writer = torch._C.PyTorchFileWriter(str(out / name))
    for record, data in records:
        if record not in ("version", ".data/serialization_id"):
            writer.write_record(record, data, len(data))
    writer.write_end_of_file()
    loaded = torch.jit.load(out / name)
    golden[name] = describe(loaded.state_dict())


image = torch.randn(2, 3, 4, 4)
clip = Clip().eval()
save_script("scripted.pt", torch.jit.script(Scripted().eval()))
clip.half()
save_script("traced-half.pt", torch.jit.trace(clip, image.half()))

# Shards as transformers writes them, in both formats.
state = {f"layers.{i}.weight": torch.randn(3, 2) for i in range(4)}
parts = [dict(list(state.items())[:2]), dict(list(state.items())[2:])]
for folder, stem, end in (("sharded-safetensors", "model", "safetensors"), ("sharded-bin", "pytorch_model", "bin")):
    (out / folder).mkdir(exist_ok=True)
    names = [f"{stem}-0000{i + 1}-of-00002.{end}" for i in range(2)]
    for name, part in zip(names, parts):
        save_file(part, out / folder / name, metadata={"format": "pt"}) if end == "safetensors" else torch.save(part, out / folder / name)
    index = {"metadata": {"total_size": 96}, "weight_map": {name: names[i] for i in range(2) for name in parts[i]}}
    (out / folder / f"{stem}.{end}.index.json").write_text(json.dumps(index, indent=2))
    golden[f"{folder}/{stem}.{end}.index.json"] = describe(state)

# Pickles of plain values, and such as ask for more; none of the latter is ever loaded.
plain = {
    "none": None, "flags": [True, False], "numbers": [0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, 2**53 - 1, 1 - 2**53, 0.1, -0.0],
    "texts": ["", "a", "ä€😀", "x" * 300], "nested": [[], {}, [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]], {"a": {"b": [1]}}],
    "many": list(range(1001)), "table": {str(i): i for i in range(1001)},
}
plain["again"] = [plain["nested"]] * 3
large = {"large": [2**53, -(2**53), 2**53 + 1, 2**70, -(2**70), 2**63]}


class Call:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class Stateful:
    def __setstate__(self, state):
        raise AssertionError

    def __getstate__(self):
        return {"a": 1}


class Keywords:
    def __getnewargs_ex__(self):
        return (1,), {"b": 2}

    def __new__(cls, *args, **options):
        return object.__new__(cls)


copyreg.add_extension("__main__", "Stateful", 250)
with_extension = pickle.dumps(Stateful(), 2)
copyreg.remove_extension("__main__", "Stateful", 250)
hostile = {
    f"{what}, protocol {protocol}": [base64.b64encode(pickle.dumps(value, protocol)).decode(), name]
    for protocol in (2, 4)
    for what, value, name in (
        ("os.system", Call(os.system, ("touch owned",)), "posix.system"),
        ("eval", Call(eval, ("1",)), "__builtin__.eval" if protocol == 2 else "builtins.eval"),
        ("subprocess", [1, Call(subprocess.Popen, (["id"],))], "Popen"),
        ("getattr", {"a": Call(getattr, ("x", "upper"))}, "getattr"),
        ("partial", functools.partial(print, 1), "functools.partial"),
        ("an object with __setstate__", Stateful(), "__main__.Stateful"),
        ("an object made with keywords", Keywords(), "Keywords" if protocol == 4 else "functools.partial"),
        ("a whole model", nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        ("a numpy array", np.zeros(2), "numpy"),
        ("a sparse tensor", torch.zeros(2, 2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
    )
}
hostile["the extension registry"] = [base64.b64encode(with_extension).decode(), "extension registry"]
hostile["copyreg of protocol 0"] = [base64.b64encode(pickle.dumps(Stateful(), 0).replace(b"c", b"\x80\x02c", 1)).decode(), "copy_reg._reconstructor"]
(out / "pickles.json").write_text(json.dumps({
    "plain": {str(protocol): base64.b64encode(pickle.dumps(plain, protocol)).decode() for protocol in (2, 3, 4, 5)},
    "value": plain,
    "large": base64.b64encode(pickle.dumps(large, 2)).decode(),
    "largeValue": [str(value) for value in large["large"]],
    "hostile": hostile,
}))
(out / "golden.json").write_text(json.dumps(golden, indent=None).replace("Infinity", '"Infinity"'))
