"""Self-training of METHOD §3 written plainly in PyTorch: what the goldens and the parity script compare with."""
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


def run(student, data, s, dtype, blocks, after_step=lambda i, student, optimizer: None):
    """As many steps as `data` has views; the student's and the teacher's weights, what each step reports, and how near a
    decision (mask or label) came to falling otherwise. Parameters that need no gradient stay, and are not in the result."""
    student = copy.deepcopy(student).to(dtype)
    teacher = copy.deepcopy(student)
    head = data["head"].to(dtype)
    weak, strong = ((data[v].to(dtype) - 128) / 64 for v in ("weak", "strong"))
    groups = [{"params": [p], "weight_decay": 0.05 if p.ndim > 1 else 0.0, "scale": 0.65 ** (blocks + 1 - layer_of(n, blocks))}
              for n, p in student.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)
    reports, margin = [], math.inf
    logits_of = lambda tower, x: s["logitScale"] * F.normalize(tower(x), dim=-1) @ head.T
    steps = len(data["weak"])
    for i in range(steps):
        rate = s["floor"] + (s["peak"] - s["floor"]) * (1 + math.cos(math.pi * i / steps)) / 2
        decay = s["emaStart"] + (s["emaEnd"] - s["emaStart"]) * min(i / s["emaSteps"], 1)
        here = data["present"][i].bool()  # images that are not there are simply not in the batch
        labels = data["structural"][i][here].long()
        with torch.no_grad():
            confidence, guess = (p := logits_of(teacher, weak[i][here]).softmax(1)).max(1)
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
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), s["clip"] or math.inf)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        optimizer.step()
        with torch.no_grad():
            for t, p in zip(teacher.parameters(), student.parameters()):
                if not p.requires_grad:
                    continue
                t.mul_(decay).add_(p, alpha=1 - decay)
        after_step(i, student, optimizer)
        agreement = (guess[known] == labels[known]).double().mean().item() if known.any() else 0.0
        reports.append({"loss": loss.item(), "instanceLoss": instance.item(), "structuralLoss": structural.item(),
                        "maskShare": mask.double().mean().item(), "agreement": agreement, "gradientNorm": norm.item()})
    weights = {role: {saved_name(n): p.detach() for n, p in m.named_parameters() if p.requires_grad} for role, m in (("student", student), ("teacher", teacher))}
    return weights, reports, margin
