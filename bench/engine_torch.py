"""The peer of bench/engine.ts: the same towers, steps and products in PyTorch. Reads one request a line, answers with seconds.

Its fastest ways: scaled_dot_product_attention, fused AdamW, for-each averages, gradients set to none, contiguous tensors.
"""
import copy
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

config = json.loads(sys.stdin.readline())
torch.set_num_threads(config["threads"])
# On a GPU for bench/gpu.ts: bf16 autocast, and a run ends when the card is done.
DEVICE = config.get("device", "cpu")
DEVICE = ("cuda" if torch.cuda.is_available() else "cpu") if DEVICE == "auto" else DEVICE
AUTOCAST = config.get("autocast", False)
torch.set_default_device(DEVICE)
torch.manual_seed(0)
VISION, DIMENSION, BATCH, NAMES = config["vision"], config["dimension"], config["batch"], config["names"]
IMAGE = VISION["image_size"]


class Block(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width))
        y = self.fc1(self.norm2(x))
        return x + self.fc2(y * torch.sigmoid(1.702 * y))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        width, patch = VISION["hidden_size"], VISION["patch_size"]
        self.width = width
        self.patch = nn.Conv2d(3, width, patch, patch, bias=False)
        self.token = nn.Parameter(torch.randn(width) * 0.02)
        self.position = nn.Parameter(torch.randn((IMAGE // patch) ** 2 + 1, width) * 0.02)
        self.pre, self.post = nn.LayerNorm(width), nn.LayerNorm(width)
        block = (width, VISION["num_attention_heads"], VISION["intermediate_size"])
        self.blocks = nn.Sequential(*(Block(*block) for _ in range(VISION["num_hidden_layers"])))
        self.projection = nn.Linear(width, DIMENSION, bias=False)

    def forward(self, pixels):
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, self.width), x], 1) + self.position
        return self.projection(self.post(self.blocks(self.pre(x))[:, 0]))


class Basic(nn.Module):
    def __init__(self, before, width, halve):
        super().__init__()
        self.halve = halve
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.short = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, x):
        x = F.avg_pool2d(x, 2) if self.halve else x
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.short(x))


class Residual(nn.Module):
    """The embedded tiny CLIP's tower, its batch norms folded."""

    def __init__(self):
        super().__init__()
        stem = VISION["stem_width"]
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem // 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(stem // 2, stem // 2, 3, padding=1), nn.ReLU(),
            nn.AvgPool2d(2), nn.Conv2d(stem // 2, stem, 3, padding=1), nn.ReLU(),
        )
        blocks, before = [], stem
        for stage, (width, count) in enumerate(zip(VISION["widths"], VISION["blocks"])):
            for i in range(count):
                blocks.append(Basic(before, width, stage > 0 and i == 0))
                before = width
        self.blocks, self.heads = nn.Sequential(*blocks), VISION["num_attention_heads"]
        side = IMAGE // 2 ** (len(VISION["widths"]) + 1)
        self.position = nn.Parameter(torch.randn(side**2 + 1, before) * 0.02)
        self.q, self.k, self.v = (nn.Linear(before, before) for _ in range(3))
        self.projection = nn.Linear(before, DIMENSION, bias=False)

    def forward(self, pixels):
        x = self.blocks(self.stem(pixels)).flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.position
        n, t, width = x.shape
        q, k, v = (f(y).reshape(n, -1, self.heads, width // self.heads).transpose(1, 2)
                   for f, y in ((self.q, x[:, :1]), (self.k, x), (self.v, x)))
        return self.projection(F.scaled_dot_product_attention(q, k, v).reshape(n, width))


tower = (Residual if VISION["model_type"] == "s3a_resnet" else Transformer)()
teacher = copy.deepcopy(tower).requires_grad_(False)
optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-6, weight_decay=0.05, fused=True)
forward, teach = (torch.compile(tower), torch.compile(teacher)) if config["compile"] else (tower, teacher)
pixels, weak = torch.randn(BATCH, 3, IMAGE, IMAGE), torch.randn(BATCH, 3, IMAGE, IMAGE)
head = F.normalize(torch.randn(NAMES, DIMENSION), dim=1)
structural = torch.arange(BATCH) % NAMES
averages, weights = list(teacher.parameters()), list(tower.parameters())


def update(loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def train():
    return update(forward(pixels).square().mean())


def step():
    """Both towers, both losses, AdamW and the teacher's average, as METHOD §3 has them."""
    with torch.no_grad():
        confidence, labels = (100 * F.normalize(teach(weak), dim=1) @ head.T).softmax(1).max(1)
        mask = (confidence > 0).float()
    logits = 100 * F.normalize(forward(pixels), dim=1) @ head.T
    instance = (F.cross_entropy(logits, labels, reduction="none") * mask).sum() / mask.sum().clamp(min=1)
    loss = update(instance + 0.25 * F.cross_entropy(logits, structural))
    with torch.no_grad():
        torch._foreach_lerp_(averages, weights, 0.001)
    return loss


@torch.inference_mode()
def embed():
    return forward(pixels)[0, 0].item()


def product(m, k, n):
    a, b = torch.randn(m, k), torch.randn(k, n)

    @torch.inference_mode()
    def run():
        torch.mm(a, b)

    return run


def copied(mebibytes):
    source = torch.empty(mebibytes << 18)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def moved(mebibytes, up):
    host = torch.empty(mebibytes << 18, device="cpu")
    card = torch.empty(mebibytes << 18)
    return (lambda: card.copy_(host)) if up else (lambda: host.copy_(card))


work = {"train": train, "embed": embed, "step": step}
products = {f"product {m}x{k}x{n}": product(m, k, n) for m, k, n in config["products"]}
products |= {f"copy {n} MiB": copied(n) for n in config.get("copies", [])}
products |= {f"{way} {n} MiB": moved(n, way == "upload") for n in config.get("copies", []) for way in ("upload", "download")}
name = f"PyTorch {torch.__version__}{' compiled' if config['compile'] else ''}"
name += f" {torch.cuda.get_device_name()}" if DEVICE == "cuda" else ""
name += " bf16 autocast" if AUTOCAST else ""
print(json.dumps({"name": name, "device": DEVICE}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    run = products.get(request["name"]) or work[request["name"].split()[-1]]
    seconds = []
    for _ in range(request["count"]):
        start = time.perf_counter()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=AUTOCAST):
            run()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds}), flush=True)
