"""Loads a folder that `s3a export` wrote with Python's libraries and compares their labels with those of `s3a predict`.

check-export.py FOLDER IMAGES PREDICTIONS TEMPLATE [PAGE]

PREDICTIONS is what `s3a predict ... --json` printed. PAGE is a Markdown page whose Python blocks are run in a folder that has the
export as `photos-clip` and an image as `photo.png`. Prints one JSON object: for each way the share of images with the same label, and
where it is about embeddings the lowest cosine to those of transformers with Pillow.
"""
import contextlib
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", HF_HUB_DISABLE_PROGRESS_BARS="1")
folder, images, predictions, template, *page = sys.argv[1:]
folder, images = Path(folder).resolve(), Path(images).resolve()

# A repository of the hub, as its cache has it after a download.
cache = tempfile.TemporaryDirectory()
os.environ["HF_HUB_CACHE"] = cache.name
repo = Path(cache.name) / "models--someone--photos-clip"
commit = hashlib.sha1(b"s3a").hexdigest()
(repo / "snapshots").mkdir(parents=True)
(repo / "refs").mkdir()
(repo / "refs" / "main").write_text(commit)
(repo / "snapshots" / commit).symlink_to(folder, target_is_directory=True)

sys.path.insert(0, str(Path(__file__).resolve().parent / "parity"))
import torchvision_without_operators  # noqa: E402, F401  (before what imports torchvision)

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, CLIPModel, CLIPVisionModelWithProjection, pipeline

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
wanted = {p["file_name"]: p["label"] for p in json.loads(Path(predictions).read_text())}
files = sorted(wanted)
pictures = [Image.open(images / f).convert("RGB") for f in files]
classes = json.loads((folder / "classes.json").read_text())["names"]
prototypes = torch.from_numpy(np.load(folder / "prototypes.npy"))
results = {}


def agreement(labels):
    return sum(a == wanted[f] for f, a in zip(files, labels)) / len(files)


def by_prototypes(features):
    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    return unit, [classes[i] for i in (unit @ prototypes.T).argmax(-1).tolist()]


def features_of(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
    model = CLIPModel.from_pretrained(folder).eval()
    reference = None
    for backend in ("pil", "torchvision"):
        processor = AutoImageProcessor.from_pretrained(folder, backend=backend)
        pixels = processor(pictures, return_tensors="pt").pixel_values
        unit, labels = by_prototypes(features_of(model.get_image_features(pixels)))
        reference = unit if reference is None else reference
        results[f"CLIPModel, prototypes, {backend}"] = {"agreement": agreement(labels), "cosine": (unit * reference).sum(-1).min().item()}

    vision = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    unit, labels = by_prototypes(vision(AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures, return_tensors="pt").pixel_values).image_embeds)
    results["CLIPVisionModelWithProjection, prototypes"] = {"agreement": agreement(labels), "cosine": (unit * reference).sum(-1).min().item()}

    for name in (str(folder), "someone/photos-clip"):
        classify = pipeline("zero-shot-image-classification", model=name)
        answers = classify(pictures, candidate_labels=classes, hypothesis_template=template)
        where = "folder" if name == str(folder) else "hub cache"
        results[f"pipeline, {where}"] = {"agreement": agreement([a[0]["label"] for a in answers])}

    processor = AutoProcessor.from_pretrained(folder)
    texts = [template.replace("{}", c) for c in classes]
    inputs = processor(text=texts, images=pictures[:2], return_tensors="pt", padding=True, truncation=True)
    text = torch.nn.functional.normalize(features_of(model.get_text_features(inputs.input_ids, inputs.attention_mask)), dim=-1)
    results["texts to prototypes"] = {"cosine": (text * prototypes).sum(-1).min().item()}

    if (folder / "open_clip_config.json").exists():
        import open_clip

        for name in (f"local-dir:{folder}", "hf-hub:someone/photos-clip"):
            clip, preprocess = open_clip.create_model_from_pretrained(name)
            unit, labels = by_prototypes(clip.eval().encode_image(torch.stack([preprocess(p) for p in pictures])))
            scheme = name.split(":")[0]
            results[f"open_clip {scheme}, prototypes"] = {"agreement": agreement(labels), "cosine": (unit * reference).sum(-1).min().item()}
            if scheme == "hf-hub" and "hf_tokenizer_name" in (folder / "open_clip_config.json").read_text():
                continue  # the name of another tokenizer's repository is not known when a folder is written
            tokens = open_clip.get_tokenizer(name)(texts)
            text = torch.nn.functional.normalize(clip.encode_text(tokens), dim=-1)
            labels = [classes[i] for i in (unit @ text.T).argmax(-1).tolist()]
            results[f"open_clip {scheme}, texts"] = {"agreement": agreement(labels), "cosine": (text * prototypes).sum(-1).min().item()}

    with contextlib.suppress(ImportError):
        import onnx

        for path in sorted((folder / "onnx").glob("*.onnx")):
            onnx.checker.check_model(str(path), full_check=True)
        results["onnx.checker"] = {"files": len(list((folder / "onnx").glob("*.onnx")))}

    with contextlib.suppress(ImportError):
        import onnxruntime

        pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures, return_tensors="np").pixel_values
        for suffix in ("", "_fp16", "_quantized"):
            path = folder / "onnx" / f"vision_model{suffix}.onnx"
            if path.exists():
                session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                unit, labels = by_prototypes(torch.from_numpy(session.run(None, {"pixel_values": pixels})[0]))
                results[f"onnxruntime, {path.name}"] = {"agreement": agreement(labels), "cosine": (unit * reference).sum(-1).min().item()}

if page:
    blocks = re.findall(r"^```python\n(.*?)^```$", Path(page[0]).read_text(), re.M | re.S)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.symlink(folder, "photos-clip", target_is_directory=True)
        pictures[0].save("photo.png")
        printed = []
        for block in blocks:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block, page[0], "exec"), {})
            printed.append(out.getvalue().strip())
        results["page"] = {"printed": printed, "label": wanted[files[0]]}
        os.chdir("/")

print(json.dumps(results, indent=1))
