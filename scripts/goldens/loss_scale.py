"""Records test/goldens/engine/loss-scale.json: torch.amp.GradScaler and AdamW over gradients of which some are not finite."""
import json
from pathlib import Path

import torch

GROWTH, BACKOFF, INTERVAL, START, STEPS = 3.0, 0.25, 4, 1024.0, 40
torch.manual_seed(0)
w = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))
optimizer = torch.optim.AdamW([w], lr=0.01, weight_decay=0.0)
scaler = torch.amp.GradScaler("cpu", init_scale=START, growth_factor=GROWTH, backoff_factor=BACKOFF, growth_interval=INTERVAL)
bad = {0: float("inf"), 7: float("nan"), 8: float("-inf"), 21: float("inf"), 22: float("inf"), 23: float("nan")}
gradients, scales, weights = [], [], []
for i in range(STEPS):
    # As gradients of the unscaled loss: a multiple of 2**-10 is exact in float32 at every scale here.
    gradient = torch.randint(-1000, 1000, (3,)) / 1024
    gradients.append([*gradient.tolist()[:2], bad[i] if i in bad else gradient[2].item()])
    optimizer.zero_grad()
    loss = (w * torch.tensor(gradients[-1])).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    scales.append(scaler.get_scale())
    weights.append(w.tolist())
text = json.dumps({"growth": GROWTH, "backoff": BACKOFF, "interval": INTERVAL, "start": START, "scales": scales, "weights": weights,
                   "gradients": [[v if abs(v) < float("inf") else str(v) for v in g] for g in gradients]})
out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "engine" / "loss-scale.json"
out.write_text(text + "\n")
