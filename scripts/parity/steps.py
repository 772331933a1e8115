"""Ten steps of self-training of a random-weight ViT-B/32 in PyTorch: python steps.py FOLDER

Writes steps.json and, as safetensors, the start, the views, the gradients of the first step, and student and teacher after ten
steps, all of the float64 run; how far a float32 run of the same script ends from it stands beside them.
"""
import json
import sys
from pathlib import Path

import torchvision_without_operators  # noqa: F401

import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))
from s3a_step import run, saved_name

STEPS, BATCH, NAMES, WIDTH = 10, 6, 400, 512
SETTINGS = {"peak": 2e-5, "floor": 1e-6, "emaStart": 0.9, "emaEnd": 0.95, "emaSteps": 6, "instanceWeight": 1.0, "structuralWeight": 0.25,
            "logitScale": 100.0, "thresholds": [0.5] * STEPS, "clip": None}


class Vit(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=WIDTH))

    def forward(self, x):
        return self.clip(pixel_values=x).image_embeds


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    student = Vit()
    with torch.no_grad():
        for p in student.parameters():
            p.mul_(2 if p.ndim > 1 else 1).add_(torch.randn_like(p) * 0.02)
    views = lambda: torch.randint(0, 256, (STEPS, BATCH, 3, 224, 224), dtype=torch.uint8)
    data = {"weak": views(), "strong": views(), "structural": torch.randint(-1, NAMES, (STEPS, BATCH), dtype=torch.int32),
            "present": torch.ones(STEPS, BATCH), "head": F.normalize(torch.randn(NAMES, WIDTH), dim=-1)}
    # Prototypes near what the tower gives, so that the teacher is sure of some images and not of others.
    with torch.no_grad():
        seen = F.normalize(torch.cat([student((w.float() - 128) / 64) for w in data["weak"]]), dim=-1)
        own = torch.randn(NAMES, WIDTH) * 0.012
        data["head"] = F.normalize(seen[torch.randint(0, len(seen), (NAMES,))] + own, dim=-1)
    gradients = {}

    def after_step(i, student, _):
        if i == 0:
            gradients.update({saved_name(n): p.grad.detach().clone() for n, p in student.named_parameters()})

    exact, reports, margin = run(student, data, SETTINGS, torch.float64, 12, after_step)
    exact_gradients = {n: g.clone() for n, g in gradients.items()}
    single, single_reports, _ = run(student, data, SETTINGS, torch.float32, 12, after_step)
    apart = lambda a, b: (a.double() - b.double()).abs().max().item()
    rounding = {
        **{f"gradient.{n}": apart(gradients[n], g) for n, g in exact_gradients.items()},
        **{f"{role}.{n}": apart(single[role][n], w) for role in exact for n, w in exact[role].items()},
    }
    tensors = {**data, **{f"start.{saved_name(n)}": p.detach() for n, p in student.named_parameters()},
               **{f"gradient.{n}": g.float() for n, g in exact_gradients.items()},
               **{f"{role}.{n}": w.float() for role in exact for n, w in exact[role].items()}}
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "steps.safetensors")
    facts = {"projection_dim": WIDTH, "settings": SETTINGS, "steps": STEPS, "batch": BATCH, "names": NAMES, "reports": reports,
             "singleReports": single_reports, "rounding": rounding, "margin": margin}
    (folder / "steps.json").write_text(json.dumps(facts, indent=1))


main(Path(sys.argv[1]))
