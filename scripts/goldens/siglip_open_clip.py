"""Records test/goldens/clip/{open_clip_siglip,open_clip_siglip2}: tiny random SigLIPs of open_clip and timm as open_clip saves them.

The image towers are timm's of the names that the configurations give, made smaller. Run after siglip.py, whose tokenizers are used.
"""
import html
import json
import shutil
from pathlib import Path

import torch

# torchvision's own operators are not needed; where its build does not fit torch, importing it asks for their names.
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import ftfy
import timm
from open_clip import timm_model
from open_clip.model import CustomTextCLIP, set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file

goldens = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip"
TEXT = {"context_length": 12, "hf_tokenizer_name": "local/none", "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True,
        "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
VISION = {"timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
# Small towers under the names of large ones, whose heads (12 and 16) and activation they keep.
MODELS = {
    "open_clip_siglip": dict(
        tokenizer="siglip", small=dict(embed_dim=24, depth=2, img_size=24, patch_size=8, mlp_ratio=2),
        config={"embed_dim": 24, "init_logit_bias": -10, "custom_text": True,
                "vision_cfg": {"image_size": 24, "timm_model_name": "vit_base_patch16_siglip_224", **VISION},
                "text_cfg": {**TEXT, "width": 16, "heads": 2, "layers": 2, "act_kwargs": {"approximate": "tanh"}}}),
    "open_clip_siglip2": dict(
        tokenizer="siglip2", small=dict(embed_dim=32, depth=1, img_size=28, patch_size=6),
        config={"embed_dim": 32, "init_logit_bias": -10, "custom_text": True,
                "vision_cfg": {"image_size": 28, "timm_model_name": "vit_so400m_patch16_siglip_256", **VISION},
                "text_cfg": {**TEXT, "width": 20, "heads": 4, "layers": 1, "mlp_ratio": 3.7362}}),
}
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}

for name, shape in MODELS.items():
    torch.manual_seed(4)
    folder = goldens / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source = goldens / shape["tokenizer"]
    converted = source / "converted-tokenizer.json"
    shutil.copy(converted if converted.exists() else source / "tokenizer.json", folder / "tokenizer.json")
    config = json.loads((source / "tokenizer_config.json").read_text())
    config = {k: v for k, v in config.items() if k not in ("backend", "added_tokens_decoder", "sp_model_kwargs", "do_lower_case")}
    # As the files of timm's repositories: a class of the tokenizers library that takes tokenizer.json as it is.
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")
    tokenizer = HFTokenizer(str(folder), context_length=12, clean="canonicalize")

    cfg = shape["config"]
    cfg["text_cfg"]["vocab_size"] = len(tokenizer.tokenizer)
    with_sizes = lambda model, _small=shape["small"], **kwargs: timm.create_model(model, **{**kwargs, **_small})  # noqa: E731
    timm_model.timm = type("timm", (), {"create_model": staticmethod(with_sizes), "__version__": timm.__version__})
    model = CustomTextCLIP(**{k: v for k, v in cfg.items() if k != "custom_text"}).eval()
    set_model_preprocess_cfg(model, {"size": cfg["vision_cfg"]["image_size"], **PREPROCESS})
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    files = {p.name: p.read_bytes() for p in folder.iterdir()}
    save_for_hf(model, tokenizer=tokenizer, model_config=cfg, save_directory=folder, safe_serialization=True)
    for path in folder.iterdir():  # the tokenizer as it came
        if path.name in files:
            path.write_bytes(files[path.name])
        elif not path.name.startswith("open_clip"):
            path.unlink()

    recorded = json.loads((source / "tokens.json").read_text())["texts"]
    # What ftfy repairs is not repaired here; and where a text has the ▁ of pieces in it, this program does as sentencepiece does,
    # which the tokenizers library does not.
    texts = [t for t in recorded if ftfy.fix_text(t) == t and html.unescape(t) == t and "▁" not in t]
    ids = tokenizer(texts)
    (folder / "tokens.json").write_text(json.dumps({"texts": texts, "padded": ids.tolist()}, ensure_ascii=False) + "\n")
    side = cfg["vision_cfg"]["image_size"]
    pixels = torch.randn(5, 3, side, side)
    model = model.double()
    with torch.no_grad():
        image, text = model.encode_image(pixels.double()), model.encode_text(ids[:6])
        logits, _ = model.get_logits(pixels.double(), ids[:6])
    save_file({"pixels": pixels, "image": image.float(), "text": text.float(), "logits": logits.float().contiguous()},
              folder / "golden.safetensors")
