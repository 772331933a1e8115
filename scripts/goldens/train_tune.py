"""Records test/goldens/train/{freeze,head,dropout,lora,lora-resnet}: steps of METHOD §3 that train a part of the tower.

LoRA is PEFT's; patch dropout is a hook that keeps given tokens of the student, where open_clip drops them.
"""
import json
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file

import s3a_step
from s3a_towers import WIDTH, Folded, Vit

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "train"
torch.set_num_threads(1)
STEPS, BATCH, NAMES, RANK, ALPHA, KEPT = 6, 6, 24, 3, 6, 3

VIT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8,
       "patch_size": 4, "hidden_act": "quick_gelu"}
RESNET = {"model_type": "s3a_resnet", "image_size": 8, "stem_width": 8, "stem_pool": True, "widths": [8, 12], "blocks": [1, 1],
          "block": "basic", "pool": "mean", "num_attention_heads": 1}
SETTINGS = {"peak": 2e-3, "floor": 1e-4, "emaStart": 0.8, "emaEnd": 0.95, "emaSteps": 6, "instanceWeight": 1.0,
            "structuralWeight": 0.25, "logitScale": 9.0, "thresholds": [0.2] * STEPS, "clip": None}
CASES = {
    "freeze": (Vit, VIT, {"freezeLayers": 1}),
    "head": (Vit, VIT, {"tune": "head"}),
    "dropout": (Vit, VIT, {"patchDropout": 0.5}),
    "lora": (Vit, VIT, {"tune": "lora", "loraRank": RANK, "loraAlpha": ALPHA}),
    "lora-resnet": (Folded, RESNET, {"tune": "lora", "loraRank": RANK, "loraAlpha": ALPHA, "freezeLayers": 1}),
}
TARGETS = {"lora": r".*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)", "lora-resnet": r".*stages\.1\..*(conv1|conv2|downsample)"}


def name_of(name):
    """transformers' name without what PEFT puts around weights and factors."""
    return s3a_step.saved_name(name.replace(".base_layer", "").replace(".default", ""))


def prepare(name, model, tokens):
    """Leaves only what is trained needing a gradient; the step of `tokens` that is due is kept by a counter."""
    due = {"step": 0}
    if name in TARGETS:
        inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS[name]), model)
        with torch.no_grad():
            for n, p in model.named_parameters():
                if "lora_B" in n:  # zero in PEFT, which would leave A without a gradient in the first step
                    p.copy_(torch.randn_like(p) * 0.1)
        return due
    for n, p in model.named_parameters():
        if name == "head":
            p.requires_grad = n.endswith("visual_projection.weight")
        elif name == "freeze":
            p.requires_grad = s3a_step.layer_of(n, 2) > 1
    if name == "dropout":
        def keep(module, args, hidden):  # the teacher, which runs without gradients, sees all
            if not torch.is_grad_enabled():
                return hidden
            rows = tokens[due["step"]].long() - torch.arange(BATCH)[:, None] * hidden.shape[1]
            return torch.gather(hidden, 1, rows[:, :, None].expand(-1, -1, hidden.shape[2]))
        model.clip.vision_model.embeddings.register_forward_hook(keep)
    return due


for name, (tower, config, tune) in CASES.items():
    for seed in range(100):
        torch.manual_seed(seed)
        student = s3a_step.moved(tower(config))
        patches = torch.stack([torch.randperm(4)[:KEPT - 1].sort().values for _ in range(STEPS * BATCH)]).view(STEPS, BATCH, -1)
        first = torch.arange(BATCH)[None, :, None] * 5
        tokens = torch.cat([first.expand(STEPS, -1, -1), first + 1 + patches], 2).int()
        due = prepare(name, student, tokens)
        data = s3a_step.draw_data(STEPS, BATCH, NAMES, WIDTH)

        def count(i, *_):
            due["step"] = (i + 1) % STEPS

        weights, reports, margin = s3a_step.run(student, data, SETTINGS, torch.float64, 2, count)
        if margin > 1e-3 and len({r["maskShare"] for r in reports}) >= 2:
            break
    else:
        raise SystemExit(f"no seed fits {name}")
    single, _, _ = s3a_step.run(student, data, SETTINGS, torch.float32, 2, count)
    plain = lambda n: n.replace(".base_layer", "").replace(".default", "")
    rounding = {f"{role}.{plain(n)}": (single[role][n].double() - w).abs().max().item() for role in weights for n, w in weights[role].items()}
    tensors = {**data, **{f"start.{name_of(n)}": p.detach() for n, p in student.named_parameters()}}
    tensors |= {f"{role}.{plain(n)}": w.float() for role in weights for n, w in weights[role].items()}
    if name == "dropout":
        tensors["tokens"] = tokens
    save_file({n: t.contiguous() for n, t in tensors.items()}, out / f"{name}.safetensors")
    facts = {"vision_config": config, "projection_dim": WIDTH, "tune": tune, "settings": SETTINGS, "steps": STEPS, "batch": BATCH,
             "names": NAMES, "reports": reports, "rounding": rounding}
    (out / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
