"""Records test/goldens/train/{vit,resnet,siglip,found}: ten steps of METHOD §3 in PyTorch, in float64, with fixed views.

The pixels are multiples of 1/64, so that eight bits hold them exactly. Beside the weights of the float64 run stands how far
a float32 run of the same script ends from it: rounding that no float32 implementation can be asked to avoid.
"""
import json
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import torch
from safetensors.torch import save_file

from s3a_step import draw_data, moved, run, saved_name
from s3a_towers import WIDTH, Folded, Siglip, Vit

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "train"
out.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(1)
STEPS, BATCH, NAMES = 10, 6, 24

COMMON = {"peak": 2e-3, "floor": 1e-4, "emaStart": 0.8, "emaEnd": 0.95, "emaSteps": 6, "instanceWeight": 1.0,
          "structuralWeight": 0.25, "logitScale": 9.0, "thresholds": [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 1.0, 0.3, 0.4, 0.4]}
CASES = {
    "vit": (Vit, {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8,
                  "patch_size": 4, "hidden_act": "quick_gelu"}, 2, {**COMMON, "clip": None}, 4),
    "resnet": (Folded, {"model_type": "s3a_resnet", "image_size": 8, "stem_width": 8, "stem_pool": True, "widths": [8, 12],
                        "blocks": [1, 1], "block": "basic", "pool": "mean", "num_attention_heads": 1}, 2, {**COMMON, "clip": 0.5}, 2),
    "siglip": (Siglip, {"model_type": "siglip_vision_model", "hidden_size": WIDTH, "intermediate_size": 20, "num_hidden_layers": 2,
                        "num_attention_heads": 2, "image_size": 8, "patch_size": 4}, 2, {**COMMON, "clip": None}, 3),
}
CASES["found"] = (*CASES["vit"][:3], {**CASES["vit"][3], "instanceNames": [1, 2, 3, 5, 8, 13, 21]}, 4)
for name, (tower, config, blocks, settings, variety) in CASES.items():
    for seed in range(100):
        torch.manual_seed(seed)
        student = moved(tower(config))
        data = draw_data(STEPS, BATCH, NAMES, WIDTH)
        data["structural"][2] = -1  # a step without structural labels
        data["present"][4, 3] = 0  # a step with an image less
        weights, reports, margin = run(student, data, settings, torch.float64, blocks)
        shares = {round(r["maskShare"], 6) for r in reports}
        # Rounding must not decide a mask or a label; an empty mask, agreement and (for the vit) partial masks must occur.
        if margin > 1e-3 and 0.0 in shares and len(shares) >= variety and any(r["agreement"] > 0 for r in reports):
            break
    else:
        raise SystemExit(f"no seed fits {name}")
    single, _, _ = run(student, data, settings, torch.float32, blocks)
    rounding = {f"{role}.{n}": (single[role][n].double() - w).abs().max().item() for role in weights for n, w in weights[role].items()}
    tensors = {**data, **{f"start.{saved_name(n)}": p.detach() for n, p in student.named_parameters()}}
    tensors |= {f"{role}.{n}": w.float() for role in weights for n, w in weights[role].items()}
    save_file({n: t.contiguous() for n, t in tensors.items()}, out / f"{name}.safetensors")
    facts = {"vision_config": config, "projection_dim": WIDTH, "settings": settings, "steps": STEPS, "batch": BATCH, "names": NAMES,
             "reports": reports, "rounding": rounding}
    (out / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
