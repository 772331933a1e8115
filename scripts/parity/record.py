"""Makes a random-weight model of a real architecture with its own library and records what that library computes with it.

    python record.py --list                         the cases, as JSON
    python record.py CASE FOLDER [--photos DIR]     FOLDER/model… and FOLDER/expected.{safetensors,json}

Weights are far enough from the usual start for attention, biases and norms to matter. Features are float32.
"""
import argparse
import json
import math
from pathlib import Path

import torchvision_without_operators  # noqa: F401  (before what imports torchvision)

import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

TEXTS = [
    "a photo of a cat.", "a photo of a dog.", "itap of a golden retriever.", "art of the Brooklyn Bridge.", "a bad photo of the  crème brûlée.",
    "a origami crane.", "a photo of the large 🦜.", "a low-angle view: skyscrapers, at dusk!", "东京的樱花", "Привет, мир",
    "a photo of the small thing that is described by many more words than the model can read, " * 8, "", "x", "1234567890", "don't", "A PHOTO OF A TREE",
]
OPENAI = {"vit-b-32": (768, 12, 12, 32, 224, 512, 8, 512), "vit-b-16": (768, 12, 12, 16, 224, 512, 8, 512),
          "vit-l-14": (1024, 24, 16, 14, 224, 768, 12, 768), "vit-l-14-336": (1024, 24, 16, 14, 336, 768, 12, 768)}
SIGLIP = {"siglip-base-16-224": (768, 12, 12, 3072, 16, 224), "siglip-so400m-14-384": (1152, 27, 16, 4304, 14, 384)}

CASES = {
    **{f"transformers/{name}/safetensors": name for name in OPENAI},
    **{f"transformers/vit-b-32/{form}": "vit-b-32" for form in ("safetensors-sharded", "bin", "bin-sharded", "float16", "bfloat16")},
    **{f"transformers.js/vit-b-32/{form}": "vit-b-32" for form in ("onnx", "onnx-float16", "onnx-int8")},
    **{f"transformers/{name}/safetensors": name for name in SIGLIP},
    **{f"open_clip/{name}/safetensors": name for name in (
        "ViT-B-32", "ViT-B-32-256", "ViT-B-32-quickgelu", "ViT-B-16", "ViT-B-16-plus-240", "ViT-L-14", "ViT-L-14-336", "ViT-L-14-quickgelu", "ViT-H-14")},
    **{f"open_clip/{name}/safetensors": name for name in ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP-384")},
    "open_clip/ViT-B-32/bin": "ViT-B-32",
    "open_clip/ViT-B-32/training-checkpoint": "ViT-B-32",
    "openai/ViT-B-32/torchscript": "ViT-B-32-quickgelu",
}


def disturb(model):
    """Weights twice as large, and no bias zero, no norm one; seeded."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("logit_scale"):
                p.fill_(math.log(100))  # what trained models have; ONNX files of towers do not say it
            if name.endswith(("logit_scale", "logit_bias")):
                continue
            p.mul_(2 if p.ndim > 1 else 1).add_(torch.randn(p.shape, generator=generator) * 0.02)
    return model.eval()


def of_transformers(name):
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
    torch.manual_seed(0)
    if name in SIGLIP:
        width, layers, heads, inner, patch, size = SIGLIP[name]
        shared = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": inner}
        tokenizer = siglip_tokenizer()
        config = SiglipConfig(vision_config={**shared, "patch_size": patch, "image_size": size},
                              text_config={**shared, "vocab_size": len(tokenizer), "projection_size": width})
        return disturb(SiglipModel(config)), tokenizer
    width, layers, heads, patch, size, text_width, text_heads, dimension = OPENAI[name]
    config = CLIPConfig(
        vision_config={"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 4 * width,
                       "patch_size": patch, "image_size": size, "projection_dim": dimension},
        text_config={"hidden_size": text_width, "num_attention_heads": text_heads, "intermediate_size": 4 * text_width, "projection_dim": dimension},
        projection_dim=dimension)
    return disturb(CLIPModel(config)), clip_tokenizer()


def clip_tokenizer():
    """CLIP's tokenizer for transformers, from the merges that open_clip carries."""
    from transformers import CLIPTokenizer
    simple = open_clip.tokenizer.SimpleTokenizer()
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    vocabulary = {token: i for token, i in simple.encoder.items()}
    vocabulary = {{"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}.get(t, t): i for t, i in vocabulary.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(pair) for pair in merges], model_max_length=77)


def siglip_tokenizer():
    """A small unigram model in the form of SigLIP's: the real one cannot be had without a download."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"), ""),
                                                 normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=64)


def save_transformers(model, tokenizer, form, folder):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    size = model.config.vision_config.image_size
    siglip = model.config.model_type == "siglip"
    processor = (SiglipImageProcessorPil(size={"height": size, "width": size}) if siglip
                 else CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}))
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(form, torch.float32)
    model = model.to(dtype)
    folder.mkdir(parents=True)
    if form.startswith("bin"):
        # transformers 5 writes safetensors only; this is what its older versions wrote.
        state = {n: t.clone() for n, t in model.state_dict().items()}
        model.config.save_pretrained(folder)
        names = list(state)
        parts = [names] if form == "bin" else [names[i::3] for i in range(3)]
        files = ["pytorch_model.bin"] if form == "bin" else [f"pytorch_model-0000{i + 1}-of-00003.bin" for i in range(3)]
        for file, part in zip(files, parts):
            torch.save({n: state[n] for n in part}, folder / file)
        if form != "bin":
            weight_map = {n: file for file, part in zip(files, parts) for n in part}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))
    elif not form.startswith("onnx"):
        model.save_pretrained(folder, max_shard_size="150MB" if form == "safetensors-sharded" else "50GB")
    else:
        model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.float(), processor


def of_open_clip(name):
    torch.manual_seed(0)
    return disturb(open_clip.create_model(name, pretrained=None))


def save_open_clip(model, name, form, folder):
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {k: v for k, v in open_clip.get_model_preprocess_cfg(model).items()}}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    state = {n: t.contiguous().clone() for n, t in model.state_dict().items()}
    if form == "safetensors":
        save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    elif form == "bin":
        torch.save(state, folder / "open_clip_pytorch_model.bin")
    else:
        torch.save({"epoch": 3, "name": "run", "state_dict": {f"module.{n}": t for n, t in state.items()}, "optimizer": {"state": {}, "param_groups": []}},
                   folder / "open_clip_pytorch_model.bin")


class OpenAiArchive(torch.nn.Module):
    """OpenAI's released archives: the model traced, in half precision, with three numbers beside the weights."""

    def __init__(self, model):
        super().__init__()
        for name, child in model.named_children():
            self.add_module(name, child)
        for name, p in model.named_parameters(recurse=False):
            self.register_parameter(name, p)
        for name, value in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x):
        return x * self.logit_scale


def record(case, folder, photos):
    library, _, form = case.split("/")
    name = CASES[case]
    # What the small tokenizer that stands for SigLIP's makes of no text at all is its own.
    texts = [text for text in TEXTS if text or "siglip" not in name.lower()]
    model_folder = folder / "model"
    if library.startswith("transformers"):
        model, tokenizer = of_transformers(name)
        model, processor = save_transformers(model, tokenizer, form, model_folder)
        if form.startswith("onnx"):
            from onnx_export import export_towers
            export_towers(model, form, model_folder / "onnx")
        if form == "onnx-float16":
            model = model.half().float()
        length = model.config.text_config.max_position_embeddings
        encoded = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        size = model.config.vision_config.image_size
        to_pixels = lambda image: torch.as_tensor(processor(images=image, return_tensors="pt")["pixel_values"])[0]
        pooled = lambda output: output if torch.is_tensor(output) else output.pooler_output
        image_of = lambda pixels: pooled(model.get_image_features(pixel_values=pixels))
        text = lambda: pooled(model.get_text_features(input_ids=encoded["input_ids"]))
    else:
        model = of_open_clip(name)
        if library == "openai":
            half = OpenAiArchive(model).half()
            model_folder.mkdir(parents=True)
            torch.jit.trace(half, torch.zeros(1, dtype=torch.float16)).save(str(model_folder / "ViT-B-32.pt"))
            model = model.float()
        else:
            save_open_clip(model, name, form, model_folder)
        if "SigLIP" in name:
            small = siglip_tokenizer()
            small.save_pretrained(model_folder)
            tokenizer = lambda texts: small(texts, padding="max_length", max_length=64, truncation=True, return_tensors="pt")["input_ids"]
        else:
            tokenizer = open_clip.get_tokenizer(name)
        size = model.visual.image_size[0] if isinstance(model.visual.image_size, tuple) else model.visual.image_size
        to_pixels = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), is_train=False)
        image_of = model.encode_image
        text = lambda: model.encode_text(tokenizer(texts))
    with torch.no_grad():
        pixels = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(2))
        image = image_of(pixels)
        out = {"pixels": pixels, "image": image, "text": text()}
        out["logits"] = model.logit_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(out["text"], dim=-1).T
        # Photographs once an architecture: the other formats hold the same model.
        photos = photos if form in ("safetensors", "torchscript") else None
        files = sorted(p.name for p in photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")) if photos else []
        if files:
            out["photos"] = torch.cat([image_of(to_pixels(Image.open(photos / f).convert("RGB"))[None]) for f in files])
    save_file({n: t.float().contiguous() for n, t in out.items()}, folder / "expected.safetensors")
    facts = {"texts": texts, "photos": files, "model": "model/ViT-B-32.pt" if library == "openai" else "model"}
    (folder / "expected.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("case", nargs="?")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--photos", type=Path)
    given = parser.parse_args()
    if given.list:
        print(json.dumps(list(CASES)))
    else:
        record(given.case, given.folder, given.photos)
