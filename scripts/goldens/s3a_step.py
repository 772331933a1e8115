"""Self-training of METHOD §3 written plainly in PyTorch: what the goldens and the parity script compare with."""
import contextlib
import copy
import math

import torch
from torch.nn import functional as F


def saved_name(name):
    if name.startswith("clip."):
        return name[len("clip."):]
    return name if name.startswith("visual_projection") else f"vision_model.{name}"


def layer_of(name, blocks):
    if any(part in name for part in ("embeddings", "pre_layrnorm", "stem.")):
        return 0
    parts = saved_name(name).split(".")
    for i, part in enumerate(parts[:-1]):
        if part in ("layers", "stages"):
            return int(parts[i + 1]) + 1
    return blocks + 1


def moved(tower):
    """The tower with noise on all weights, so that no bias is zero and no norm is one."""
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return tower


def draw_data(steps, batch, names, width):
    """What `run` works on: views of 8×8 pixels in eight bits, structural labels of which some are none, and prototypes."""
    return {
        "weak": torch.randint(0, 256, (steps, batch, 3, 8, 8), dtype=torch.uint8),
        "strong": torch.randint(0, 256, (steps, batch, 3, 8, 8), dtype=torch.uint8),
        "structural": torch.randint(-1, names, (steps, batch), dtype=torch.int32),
        "present": torch.ones(steps, batch),
        "head": F.normalize(torch.randn(names, width), dim=-1),
    }


def run(student, data, s, dtype, blocks, after_step=lambda i, student, optimizer: None, scaler=None, skip=()):
    """As many steps as `data` has views; the student's and the teacher's weights, what each step reports, and how near a
    decision (mask or label) came to falling otherwise. Parameters that need no gradient stay, and are not in the result.

    With a `scaler` (torch.amp.GradScaler) towers run under autocast in float16, and a step that it skips moves no average; reports
    then hold its scale. Steps of `skip` are computed and change nothing. With `instanceNames` the teacher chooses from these names."""
    student = copy.deepcopy(student).to(dtype)
    teacher = copy.deepcopy(student)
    head = data["head"].to(dtype)
    weak, strong = ((data[v].to(dtype) - 128) / 64 for v in ("weak", "strong"))
    groups = [{"params": [p], "weight_decay": 0.05 if p.ndim > 1 else 0.0, "scale": 0.65 ** (blocks + 1 - layer_of(n, blocks))}
              for n, p in student.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    reports, margin = [], math.inf
    half = lambda: torch.autocast("cpu", torch.float16) if scaler else contextlib.nullcontext()

    def logits_of(tower, x):
        with half():
            z = tower(x)
        return s["logitScale"] * F.normalize(z.to(dtype), dim=-1) @ head.T

    steps = len(data["weak"])
    for i in range(steps):
        rate = s["floor"] + (s["peak"] - s["floor"]) * (1 + math.cos(math.pi * i / steps)) / 2
        decay = s["emaStart"] + (s["emaEnd"] - s["emaStart"]) * min(i / s["emaSteps"], 1)
        here = data["present"][i].bool()  # images that are not there are simply not in the batch
        labels = data["structural"][i][here].long()
        with torch.no_grad():
            seen = logits_of(teacher, weak[i][here])
            if "instanceNames" in s:
                seen[:, [n for n in range(len(head)) if n not in s["instanceNames"]]] = -math.inf
            confidence, guess = (p := seen.softmax(1)).max(1)
        top = p.topk(2).values
        threshold = s["thresholds"][i]
        margin = min(margin, (confidence - threshold).abs().min().item(), (top[:, 0] - top[:, 1]).min().item())
        mask, known = confidence > threshold, labels >= 0
        logits = logits_of(student, strong[i][here])
        zero = logits.sum() * 0
        instance = F.cross_entropy(logits[mask], guess[mask]) if mask.any() else zero
        structural = F.cross_entropy(logits[known], labels[known]) if known.any() else zero
        loss = s["instanceWeight"] * instance + s["structuralWeight"] * structural
        optimizer.zero_grad()
        scale = scaler.get_scale() if scaler else 1.0
        (scaler.scale(loss) if scaler else loss).backward()
        if scaler:
            scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), s["clip"] or math.inf)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        elif i not in skip:
            optimizer.step()
        skipped = i in skip or (scaler is not None and scaler.get_scale() < scale)
        with torch.no_grad():
            for t, p in zip(teacher.parameters(), student.parameters()):
                if skipped or not p.requires_grad:
                    continue
                t.mul_(decay).add_(p, alpha=1 - decay)
        after_step(i, student, optimizer)
        agreement = (guess[known] == labels[known]).double().mean().item() if known.any() else 0.0
        reports.append({"loss": loss.item(), "instanceLoss": instance.item(), "structuralLoss": structural.item(),
                        "maskShare": mask.double().mean().item(), "agreement": agreement, "gradientNorm": norm.item()})
        if scaler:
            reports[-1] |= {"lossScale": scale, "gradientNorm": 0.0 if skipped else norm.item()}
    weights = {role: {saved_name(n): p.detach() for n, p in m.named_parameters() if p.requires_grad} for role, m in (("student", student), ("teacher", teacher))}
    return weights, reports, margin
