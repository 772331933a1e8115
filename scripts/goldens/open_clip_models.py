"""Records test/goldens/clip/open_clip: tiny random models of open_clip, saved as open_clip and OpenAI save theirs, with their outputs.

plain/          CLIP with GELU, save_for_hf's folder with its tokenizer, float32 safetensors; other head widths and MLP ratios
custom/         CustomTextCLIP with QuickGELU, a logit bias, layer norms without bias, bfloat16, open_clip_pytorch_model.bin
openai.pt       TorchScript in half precision with OpenAI's three sizes
epoch_1.pt      a training checkpoint of `plain`, every name behind `module.`
outputs.safetensors  pixels, ids of the texts of ../tokens.json, each model's features and logits, and views of images as
                open_clip's transform for evaluation makes them
model_configs.json.gz  all of open_clip's architectures
Needs the tokenizer of test/goldens/clip/gelu (scripts/goldens/clip.py).
"""
import gzip
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import torch

# torchvision's own operators are not needed; where its build does not fit torch, importing it asks for their names.
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from open_clip.factory import _MODEL_CONFIGS
from open_clip.model import CLIP, CustomTextCLIP, build_model_from_openai_state_dict, convert_weights_to_fp16
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import save_file
from transformers import CLIPTokenizer

sys.path.insert(0, str(Path(__file__).parent))
from images import pattern

goldens = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip"
out = goldens / "open_clip"
shutil.rmtree(out, ignore_errors=True)
out.mkdir()
torch.manual_seed(20)
tokenizer = CLIPTokenizer.from_pretrained(goldens / "gelu", model_max_length=16)
texts = json.loads((goldens / "tokens.json").read_text())["texts"]
ids = tokenizer(texts, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids
pixels = torch.randn(5, 3, 32, 32)
outputs = {"pixels": pixels, "ids": ids.to(torch.int32)}

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
PLAIN = {
    "embed_dim": 20,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "mlp_ratio": 2.7, "patch_size": 8, "patch_dropout": 0.5},
    "text_cfg": {"context_length": 16, "vocab_size": 656, "width": 24, "heads": 4, "layers": 2, "mlp_ratio": 1.5},
}
CUSTOM = {
    "embed_dim": 16,
    "quick_gelu": True,
    "custom_text": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 24, "head_width": 12, "mlp_ratio": 4.9231, "patch_size": 8,
                   "final_ln_after_pool": True, "norm_kwargs": {"bias": False, "eps": 1e-4}},
    "text_cfg": {"context_length": 16, "vocab_size": 656, "width": 16, "heads": 2, "layers": 2, "hf_tokenizer_name": "local/none"},
    "init_logit_bias": -10, "nonscalar_logit_scale": True,
}
# As in OpenAI's, all that is not said: heads 64 wide, MLPs four times as wide as the tower.
OPENAI = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
          "text_cfg": {"context_length": 16, "vocab_size": 656, "width": 64, "heads": 1, "layers": 1}}


def randomised(model):
    """Biases and norms that open_clip starts at 0 and 1 are drawn too, so that none of them can be mistaken for another."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "logit_scale":
                parameter.fill_(2.5)
            elif parameter.ndim == 1 and name != "logit_bias":
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif "attn" in name:
                parameter.mul_(2)
    return model.eval()


def record(name, model):
    with torch.no_grad():
        image, text = model.double().encode_image(pixels.double()), model.encode_text(ids)
        logits, _ = model.get_logits(pixels.double(), ids)
        if getattr(model, "logit_bias", None) is not None:
            logits = logits - model.logit_bias
    for key, value in {"image": image, "text": text, "logits": logits}.items():
        outputs[f"{name}/{key}"] = value.float().contiguous()
    model.float()


def build(cls, config):
    return randomised(cls(**{k: v for k, v in config.items() if k != "custom_text"}))


plain = build(CLIP, PLAIN)
plain.visual.image_mean, plain.visual.image_std = MEAN, STD
plain.visual.preprocess_cfg = {"interpolation": "bicubic", "resize_mode": "shortest"}
save_for_hf(plain, tokenizer, PLAIN, out / "plain", safe_serialization=True)
record("plain", plain)
torch.save({"epoch": 1, "name": "tiny", "state_dict": {"module." + k: v for k, v in plain.state_dict().items()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98)}]}}, out / "epoch_1.pt")

custom = build(CustomTextCLIP, CUSTOM).to(torch.bfloat16)
(out / "custom").mkdir()
torch.save(custom.state_dict(), out / "custom" / "open_clip_pytorch_model.bin")
(out / "custom" / "open_clip_config.json").write_text(json.dumps({"model_cfg": CUSTOM, "preprocess_cfg": {"mean": 0.5, "std": 0.25}}, indent=1))
record("custom", custom.float())

openai = build(CLIP, OPENAI)
convert_weights_to_fp16(openai)
for name, size in {"input_resolution": 32, "context_length": 16, "vocab_size": 656}.items():
    if hasattr(openai, name):
        delattr(openai, name)
    openai.register_buffer(name, torch.tensor(size))


class Encode(torch.nn.Module):
    """forward alone: what the archive computes does not matter here, only how it keeps its weights."""

    def __init__(self, clip):
        super().__init__()
        for name, child in clip.named_children():
            self.add_module(name, child)
        for name, value in clip.named_parameters(recurse=False):
            self.register_parameter(name, value)
        for name, value in clip.named_buffers(recurse=False):
            self.register_buffer(name, value)

    def forward(self, image):
        return self.visual.conv1(image) * self.logit_scale.exp()


traced = torch.jit.trace(Encode(openai), torch.zeros(1, 3, 32, 32, dtype=torch.half))
buffer = io.BytesIO()
torch.jit.save(traced, buffer)
# Without the traces of where the code is from.
with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out / "openai.pt", "w") as new:
    for entry in old.infolist():
        if not entry.filename.endswith(".debug_pkl"):
            kept = zipfile.ZipInfo(entry.filename.replace(old.namelist()[0].split("/")[0], "ViT-tiny", 1))
            new.writestr(kept, old.read(entry), compress_type=entry.compress_type)
archive = torch.jit.load(str(out / "openai.pt")).state_dict()
assert "input_resolution" in archive and archive["visual.proj"].dtype == torch.half
del archive["attn_mask"]  # tracing keeps it, OpenAI's files do not
record("openai", build_model_from_openai_state_dict(archive, cast_dtype=None))

# Odd margins of every kind, with and without a resize.
for width, height in [(35, 32), (32, 37), (70, 64), (61, 90), (90, 61), (33, 39)]:
    view = image_transform_v2(PreprocessCfg(size=32, mean=MEAN, std=STD), is_train=False)
    outputs[f"views/{width}x{height}"] = view(pattern(width, height))

save_file(outputs, out / "outputs.safetensors")
with gzip.GzipFile(out / "model_configs.json.gz", "wb", 9, mtime=0) as file:
    file.write(json.dumps(_MODEL_CONFIGS).encode())
for file in sorted(out.rglob("*")):
    if file.is_file():
        print(file.relative_to(out), file.stat().st_size)
