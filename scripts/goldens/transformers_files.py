"""Records test/goldens/clip/files: one tiny random CLIPModel of transformers in the files that people have, with its outputs.

shards/      bfloat16 safetensors in several files with an index, as save_pretrained writes them
bin/         pytorch_model.bin of float16 with the position buffers of older versions; vocab.json and merges.txt
bin-shards/  pytorch_model.bin.index.json and two files of float32
outputs.safetensors  pixels, and for each folder the features of what from_pretrained loads from it, in float64
Needs the tokenizer of test/goldens/clip/gelu (scripts/goldens/clip.py).
"""
import json
import shutil
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

goldens = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip"
out = goldens / "files"
shutil.rmtree(out, ignore_errors=True)
torch.manual_seed(30)
tokenizer = CLIPTokenizer.from_pretrained(goldens / "gelu")
texts = json.loads((goldens / "tokens.json").read_text())["texts"]
ids = tokenizer(texts, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids
pixels = torch.randn(5, 3, 16, 16)
outputs = {"pixels": pixels}

common = {"hidden_size": 16, "num_attention_heads": 2, "hidden_act": "gelu"}
config = CLIPConfig(
    text_config={**common, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 656, "max_position_embeddings": 16,
                 "bos_token_id": 654, "eos_token_id": 655},
    vision_config={**common, "intermediate_size": 40, "num_hidden_layers": 2, "image_size": 16, "patch_size": 8},
    projection_dim=12,
)
model = CLIPModel(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name or "norm." in name:
            parameter.add_(torch.randn_like(parameter) * 0.1)
PREPROCESSOR = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}


def folder(name, dtype):
    path = out / name
    path.mkdir(parents=True)
    model.config.dtype = dtype
    model.config.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=1))
    return path, {k: v.detach().to(dtype) for k, v in model.state_dict().items()}


def record(path):
    loaded = CLIPModel.from_pretrained(path, dtype=torch.float64).eval()
    with torch.no_grad():
        image = loaded.visual_projection(loaded.vision_model(pixel_values=pixels.double()).pooler_output)
        text = loaded.text_projection(loaded.text_model(input_ids=ids).pooler_output)
    outputs[f"{path.name}/image"], outputs[f"{path.name}/text"] = image.float().contiguous(), text.float().contiguous()


path, state = folder("shards", torch.bfloat16)
CLIPModel(config).eval().to(torch.bfloat16).save_pretrained(path, max_shard_size="20KB", state_dict=state)
for name in ("tokenizer.json", "tokenizer_config.json"):
    shutil.copy(goldens / "gelu" / name, path / name)
record(path)

path, state = folder("bin", torch.float16)
buffers = {"text_model.embeddings.position_ids": torch.arange(16)[None], "vision_model.embeddings.position_ids": torch.arange(5)[None]}
torch.save({**state, **buffers}, path / "pytorch_model.bin")
words = json.loads((goldens / "gelu" / "tokenizer.json").read_text())["model"]
(path / "vocab.json").write_text(json.dumps(words["vocab"], ensure_ascii=False))
(path / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in words["merges"]), ""]))
record(path)

path, state = folder("bin-shards", torch.float32)
files = {"pytorch_model-00001-of-00002.bin": {}, "pytorch_model-00002-of-00002.bin": {}}
for i, (name, value) in enumerate(state.items()):
    list(files.values())[i % 2][name] = value.clone()
for name, part in files.items():
    torch.save(part, path / name)
weight_map = {key: name for name, part in files.items() for key in part}
(path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}, indent=1))
shutil.copy(goldens / "gelu" / "tokenizer.json", path / "tokenizer.json")
record(path)

save_file(outputs, out / "outputs.safetensors")
for file in sorted(out.rglob("*")):
    if file.is_file():
        print(file.relative_to(out), file.stat().st_size)
