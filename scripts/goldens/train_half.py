"""Records test/goldens/train/half: eight steps of METHOD §3 in PyTorch with torch.autocast in float16 and torch.amp.GradScaler.

The scale begins so high that the first steps overflow and are skipped. Beside each weight stands how far it ends from a float64
run that skips the same steps: what float16 does to it.
"""
import json
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import torch
from safetensors.torch import save_file

from s3a_step import draw_data, moved, run, saved_name
from s3a_towers import WIDTH, Vit

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "train"
torch.set_num_threads(1)
STEPS, BATCH, NAMES, BLOCKS, SCALE = 8, 6, 24, 2, 2.0**17
CONFIG = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": BLOCKS, "num_attention_heads": 2, "image_size": 8,
          "patch_size": 4, "hidden_act": "quick_gelu"}
SETTINGS = {"peak": 2e-3, "floor": 1e-4, "emaStart": 0.8, "emaEnd": 0.95, "emaSteps": 6, "instanceWeight": 1.0,
            "structuralWeight": 0.25, "logitScale": 9.0, "thresholds": [0.3] * STEPS, "clip": None}

for seed in range(200):
    torch.manual_seed(seed)
    student = moved(Vit(CONFIG))
    data = draw_data(STEPS, BATCH, NAMES, WIDTH)
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    weights, reports, margin = run(student, data, SETTINGS, torch.float32, BLOCKS, scaler=scaler)
    scales = [r["lossScale"] for r in reports] + [scaler.get_scale()]
    skip = [i for i in range(STEPS) if scales[i + 1] < scales[i]]
    exact, _, wide = run(student, data, SETTINGS, torch.float64, BLOCKS, skip=skip)
    # float16 must not decide a mask or a label.
    if min(margin, wide) > 4e-3 and 0 < len(skip) < 4 and skip == list(range(len(skip))):
        break
else:
    raise SystemExit("no seed fits")
names = [(role, name) for role in weights for name in weights[role]]
away = {f"{role}.{name}": (weights[role][name].double() - exact[role][name]).abs().max().item() for role, name in names}
tensors = {**data, **{f"start.{saved_name(n)}": p.detach() for n, p in student.named_parameters()}}
tensors |= {f"{role}.{name}": weights[role][name] for role, name in names}
save_file({n: t.contiguous() for n, t in tensors.items()}, out / "half.safetensors")
facts = {"vision_config": CONFIG, "projection_dim": WIDTH, "settings": SETTINGS, "steps": STEPS, "batch": BATCH, "names": NAMES,
         "lossScales": scales, "reports": reports, "rounding": away}
(out / "half.json").write_text(json.dumps(facts, indent=1) + "\n")
