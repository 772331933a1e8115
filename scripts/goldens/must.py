"""Records test/goldens/must/{vit,many,frozen,resnet}: steps of MUST (arXiv 2206.02967) in PyTorch, in float64, with fixed views and masks.

Written from what salesforce/MUST computes (clip/model.py, engine_self_training.py), on transformers' CLIP with a mask token after
the patch embedding. `many` has 600 names, so that the mean prediction is a moving average; two epochs of two steps.
The residual tower, which the published method does not treat, is masked in pixels.

Pixels are multiples of 1/64, so that eight bits hold them. Beside the weights of the float64 run stands how far a float32 run ends
from it: rounding that no float32 implementation can be asked to avoid.
"""
import copy
import json
import math
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from s3a_step import layer_of, saved_name

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "must"
out.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
# Odd numbers of masked patches: the gradient of an L1 loss is a sum of signs, and one that cancels leaves Adam rounding to divide.
BATCH, MASKED, WIDTH, PATCH = 5, 3, 12, 4


class Vit(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**c, projection_dim=WIDTH))
        hidden = c["hidden_size"]
        self.mask_token = nn.Parameter(torch.randn(1, hidden) * 0.02)
        self.patch_norm = nn.LayerNorm(hidden)
        self.decoder = nn.Sequential(nn.Conv2d(hidden, 3 * PATCH**2, 1), nn.PixelShuffle(PATCH))

    def forward(self, x, mask=None):
        vision = self.clip.vision_model
        e = vision.embeddings
        patches = e.patch_embedding(x).flatten(2).transpose(1, 2)  # [B, L, W]
        if mask is not None:
            w = mask[..., None]
            patches = patches * (1 - w) + self.mask_token * w
        tokens = torch.cat([e.class_embedding.expand(len(x), 1, -1), patches], 1) + e.position_embedding.weight
        hidden = vision.encoder(inputs_embeds=vision.pre_layrnorm(tokens)).last_hidden_state
        project = self.clip.visual_projection
        z = F.normalize(project(vision.post_layernorm(hidden[:, 0])), dim=-1)
        if mask is None:
            assert torch.allclose(z, F.normalize(self.clip(pixel_values=x).image_embeds, dim=-1), atol=1e-6)
            return z
        features = self.patch_norm(hidden[:, 1:])
        side = x.shape[-1] // PATCH
        pixels = self.decoder(features.transpose(1, 2).unflatten(2, (side, side)))
        return z, F.normalize(project(features), dim=-1), pixels


class Resnet(nn.Module):
    """The folded residual tower with attention pooling; its stride is 4."""

    def __init__(self, c):
        super().__init__()
        half, stem = c["stem_width"] // 2, c["stem_width"]
        self.stem = nn.ModuleList([nn.Conv2d(3, half, 3, 2, 1), nn.Conv2d(half, half, 3, 1, 1), nn.Conv2d(half, stem, 3, 1, 1)])
        (width,) = c["widths"]
        self.stages = nn.ModuleList([nn.ModuleList([nn.ModuleDict({"conv1": nn.Conv2d(stem, width, 3, 1, 1), "conv2": nn.Conv2d(width, width, 3, 1, 1),
                                                                   "downsample": nn.Conv2d(stem, width, 1)})])])
        side = c["image_size"] // PATCH
        self.attnpool = nn.Module()
        self.attnpool.positional_embedding = nn.Parameter(torch.randn(side**2 + 1, width) * width**-0.5)
        for name in ("q_proj", "k_proj", "v_proj"):
            setattr(self.attnpool, name, nn.Linear(width, width))
        self.heads = c["num_attention_heads"]
        self.visual_projection = nn.Linear(width, WIDTH, bias=False)
        self.mask_token = nn.Parameter(torch.randn(1, 3 * PATCH**2) * 0.02)
        self.decoder = nn.Sequential(nn.Conv2d(width, 3 * PATCH**2, 1), nn.PixelShuffle(PATCH))

    def forward(self, x, mask=None):
        side = x.shape[-1] // PATCH
        if mask is not None:
            token = F.pixel_shuffle(self.mask_token.T[None, :, :, None].expand(len(x), -1, side, side), PATCH)
            w = F.interpolate(mask.view(-1, 1, side, side), scale_factor=PATCH, mode="nearest")
            x = x * (1 - w) + token * w
        x = F.relu(self.stem[1](F.relu(self.stem[0](x))))
        x = F.relu(self.stem[2](F.avg_pool2d(x, 2)))
        block = self.stages[0][0]
        x = F.relu(block["conv2"](F.relu(block["conv1"](x))) + block["downsample"](x))
        features = x.flatten(2).transpose(1, 2)  # [B, L, C]
        pool = self.attnpool
        tokens = torch.cat([features.mean(1, keepdim=True), features], 1) + pool.positional_embedding
        heads = lambda t: t.unflatten(2, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(heads(pool.q_proj(tokens[:, :1])), heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens)))
        z = F.normalize(self.visual_projection(mixed.transpose(1, 2).flatten(1)), dim=-1)
        if mask is None:
            return z
        values = pool.v_proj(features + pool.positional_embedding[1:])
        return z, F.normalize(self.visual_projection(values), dim=-1), self.decoder(x)


def our_name(name):
    if name == "mask_token":
        return "must.embeddings.mask_token"
    if name == "classifier":
        return "must.classifier"
    if name.startswith("patch_norm"):
        return f"must.{name}"
    return f"must.{name.replace('.0.', '.')}" if name.startswith("decoder") else saved_name(name)


def layer(name, blocks):
    return 0 if name == "mask_token" else layer_of(name, blocks)


def run(model, data, s, dtype, blocks):
    """All steps; the weights of both roles, what each step reports, and how near a decision came to falling otherwise."""
    student = copy.deepcopy(model).to(dtype)
    head = data["head"].to(dtype)
    if s["trainHead"]:
        student.classifier = nn.Parameter(head.clone())
    teacher = copy.deepcopy(student)
    groups = [{"params": [p], "weight_decay": 0.05 if p.ndim > 1 else 0.0, "scale": 0.65 ** (blocks + 1 - layer(n, blocks))}
              for n, p in student.named_parameters()]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    weak, strong = ((data[v].to(dtype) - 128) / 64 for v in ("weak", "strong"))
    reports, margin, average = [], math.inf, None
    steps = len(weak)
    for i in range(steps):
        rate = s["floor"] + (s["peak"] - s["floor"]) * (1 + math.cos(math.pi * i / steps)) / 2
        decay = s["emaStart"] + (s["emaEnd"] - s["emaStart"]) * min(i / s["emaSteps"], 1)
        here = data["present"][i].bool()  # images that are not there are simply not in the batch
        with torch.no_grad():
            p = (s["logitScale"] * teacher(weak[i][here]) @ (teacher.classifier if s["trainHead"] else head).T).softmax(1)
            confidence, guess = p.max(1)
        top = p.topk(2).values
        margin = min(margin, (confidence - s["threshold"]).abs().min().item(), (top[:, 0] - top[:, 1]).min().item())
        sure = confidence > s["threshold"]
        images, mask = strong[i][here], data["mask"][i][here].to(dtype)
        z, local, pixels = student(images, mask)
        logits = s["logitScale"] * z @ (student.classifier if s["trainHead"] else head).T
        instance = F.cross_entropy(logits[sure], guess[sure]) if sure.any() else logits.sum() * 0
        now = logits.softmax(1).mean(0)
        if len(head) >= 512:
            average = now if i % s["stepsPerEpoch"] == 0 else 0.5 * (average.detach() + now)
            fairness = -average.log().mean() / 0.5
        else:
            fairness = -now.log().mean()
        side = images.shape[-1] // PATCH
        seen = mask.view(-1, 1, side, side).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
        reconstruction = (F.l1_loss(pixels, images, reduction="none") * seen).sum() / seen.sum() / 3
        alignment = (local - z[:, None]).pow(2).sum(-1)[mask.bool()].mean()
        loss = instance + s["fairnessWeight"] * fairness + s["reconstructionWeight"] * reconstruction + s["alignmentWeight"] * alignment
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), math.inf)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        optimizer.step()
        with torch.no_grad():
            for t, q in zip(teacher.parameters(), student.parameters()):
                t.mul_(decay).add_(q, alpha=1 - decay)
        values = {"loss": loss, "instanceLoss": instance, "fairnessLoss": fairness, "reconstructionLoss": reconstruction,
                  "alignmentLoss": alignment, "gradientNorm": norm, "maskShare": sure.double().mean()}
        reports.append({n: v.item() for n, v in values.items()})
    kept = lambda role, n: role == "student" or not our_name(n).startswith("must.") or n == "classifier"
    return {f"{role}.{our_name(n)}": p.detach() for role, m in (("student", student), ("teacher", teacher))
            for n, p in m.named_parameters() if kept(role, n)}, reports, margin


COMMON = {"peak": 2e-3, "floor": 1e-4, "emaStart": 0.8, "emaEnd": 0.95, "emaSteps": 3, "logitScale": 9.0, "threshold": 0.3, "stepsPerEpoch": 2,
          "fairnessWeight": 0.7, "reconstructionWeight": 1.3, "alignmentWeight": 0.2, "trainHead": True}
VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8, "patch_size": PATCH,
       "hidden_act": "quick_gelu"}
RESNET = {"model_type": "s3a_resnet", "image_size": 8, "stem_width": 8, "stem_pool": True, "widths": [12], "blocks": [1], "block": "basic",
          "pool": "attention", "num_attention_heads": 2}
CASES = {
    "vit": (Vit, VIT, 2, 24, 3, COMMON),
    "many": (Vit, VIT, 2, 600, 4, {**COMMON, "threshold": 0.05}),
    "frozen": (Vit, VIT, 2, 24, 1, {**COMMON, "trainHead": False}),
    "resnet": (Resnet, RESNET, 1, 24, 3, COMMON),
}
for name, (tower, config, blocks, names, steps, settings) in CASES.items():
    side = config["image_size"] // PATCH
    for seed in range(500):
        torch.manual_seed(seed)
        model = tower(config)
        with torch.no_grad():
            for n, p in model.named_parameters():  # no bias stays zero and no norm stays one
                p.add_(torch.randn_like(p) * (0.02 if n == "mask_token" else 0.1))
        order = torch.rand(steps, BATCH, side**2).argsort(-1)
        data = {
            "weak": torch.randint(0, 256, (steps, BATCH, 3, 8, 8), dtype=torch.uint8),
            "strong": torch.randint(0, 256, (steps, BATCH, 3, 8, 8), dtype=torch.uint8),
            "mask": (order < MASKED).float(),
            "present": torch.ones(steps, BATCH),
            "head": F.normalize(torch.randn(names, WIDTH), dim=-1),
        }
        data["present"][-1, 1:3] = 0  # two images less in the last step
        weights, reports, margin = run(model, data, settings, torch.float64, blocks)
        shares = [r["maskShare"] for r in reports]
        # Rounding must not decide a mask or a label, and some images must be sure and others not.
        if margin > 1e-3 * settings["threshold"] and all(0 < share for share in shares) and min(shares) < 1:
            break
    else:
        raise SystemExit(f"no seed fits {name}")
    single, _, _ = run(model, data, settings, torch.float32, blocks)
    rounding = {n: (single[n].double() - w).abs().max().item() for n, w in weights.items()}
    tensors = {**data, **{f"start.{our_name(n)}": p.detach() for n, p in model.named_parameters()}, **{n: w.float() for n, w in weights.items()}}
    save_file({n: t.contiguous() for n, t in tensors.items()}, out / f"{name}.safetensors")
    facts = {"vision_config": config, "projection_dim": WIDTH, "settings": settings, "steps": steps, "batch": BATCH, "names": names,
             "reports": reports, "rounding": rounding}
    (out / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
