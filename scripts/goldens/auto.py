"""Records `--method auto` (METHOD §7 in place of §2.2–2.3) on the features of discover.py with numpy and scipy.

An independent, plain implementation: dense votes, a dense graph of neighbours, float64 throughout. Features that differ by less than
float32 rounds them must give the same labels, so an implementation in float32 must too, image for image.

Run: python scripts/goldens/auto.py   (reads and writes test/goldens/discover/)
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

OUT = Path(__file__).resolve().parents[2] / "test" / "goldens" / "discover"
SCALE = 30.0
AUTO = {"voteTop": 5, "hubs": 0, "manyToOne": True, "unknownBelow": 0.1, "neighbours": 10, "smoothing": 7}
CASES = [
    {},
    {"voteTop": 1, "unknownBelow": 0},
    {"hubs": 0.25, "unknownBelow": 0.3},
    {"manyToOne": False, "neighbours": 3},
    {"smoothing": 0, "unknownBelow": 0.2},
    {"smoothing": 20, "unknownBelow": 0},
    {"neighbours": 0},
]


def soft_votes(scores, best, groups, count):
    """M [count, V]: the mean over a group of softmax(scale · score) among each image's best names."""
    shares = np.exp(SCALE * (np.take_along_axis(scores, best, 1) - np.take_along_axis(scores, best[:, :1], 1)))
    votes = np.zeros((count, scores.shape[1]))
    np.add.at(votes, (groups[:, None], best), shares / shares.sum(1, keepdims=True))
    return votes / np.bincount(groups, minlength=count)[:, None]


def graph_of(z, count):
    """An edge where either end chose the other: half a cosine for each that did; rows sum to 1."""
    cosines = z @ z.T
    np.fill_diagonal(cosines, -2)
    chosen = np.zeros_like(cosines)
    for row, near in enumerate(np.argsort(-cosines, axis=1)[:, :count]):
        chosen[row, near] = np.maximum(0, cosines[row, near]) / 2
    weights = chosen + chosen.T
    total = weights.sum(1, keepdims=True)
    return weights / np.where(total > 0, total, 1)


def smooth(scores, best, groups, votes, graph, strength):
    """Mean field in a mixture of names for every cluster; an image may get its own best names and its cluster's best five."""
    shares = votes[groups]
    top = np.argsort(-shares, axis=1, kind="stable")[:, :5]
    allowed = np.zeros(scores.shape, bool)
    np.put_along_axis(allowed, top, np.take_along_axis(shares, top, 1) > 0, 1)
    np.put_along_axis(allowed, best, True, 1)
    text = np.maximum(-20, SCALE * (scores - np.take_along_axis(scores, best[:, :1], 1)))

    def normalised(logits):
        logits = np.where(allowed, logits, -np.inf)
        q = np.exp(logits - logits.max(1, keepdims=True))
        return q / q.sum(1, keepdims=True)

    q = normalised(np.log(shares + 1e-3) + 0.5 * text)
    sizes = np.bincount(groups)
    for _ in range(15):
        borne = np.zeros_like(votes)
        np.add.at(borne, groups, q)
        borne /= sizes[:, None]
        q = normalised(0.5 * text + np.log(borne[groups] + 1e-2) + strength * (graph @ q) + 0.25 * np.log(q.mean(0) + 1e-9))
    return np.argmax(q, axis=1)


def auto(z, h, clusters, parts):
    scores = z @ h.T - parts["hubs"] * (z.mean(0) @ h.T)
    best = np.argsort(-scores, axis=1)[:, : parts["voteTop"]]
    groups = np.unique(clusters, return_inverse=True)[1]
    votes = soft_votes(scores, best, groups, groups.max() + 1)
    if parts["manyToOne"]:
        names = votes.argmax(1)
    else:
        rows, cols = linear_sum_assignment(votes, maximize=True)
        names = np.where(votes[rows, cols] > 0, cols, -1)
    labels = named = names[groups]
    if parts["smoothing"] > 0 and parts["neighbours"] > 0:
        labels = smooth(scores, best, groups, votes, graph_of(z, parts["neighbours"]), parts["smoothing"])
    if parts["unknownBelow"] > 0:
        found, groups = np.unique(labels, return_inverse=True)
        share = soft_votes(scores, best, groups, len(found))[np.arange(len(found)), found]
        labels = np.where(share[groups] < parts["unknownBelow"], -1, labels)
    return {"named": named.tolist(), "labels": labels.tolist()}


h = np.load(OUT / "prototypes.npy").astype(np.float64)
rng = np.random.default_rng(0)
records = []
for i, case in enumerate(json.loads((OUT / "rounds.json").read_text())["cases"]):
    z = np.load(OUT / f"features-{i}.npy").astype(np.float64)
    clusters = np.array(case["clusters"])
    for change in CASES:
        parts = {**AUTO, **change}
        found = auto(z, h, clusters, parts)
        for _ in range(5):
            assert auto(z + 1e-6 * rng.normal(size=z.shape), h, clusters, parts) == found, f"a tie in {i} {change}"
        records.append({"features": i, "parts": parts, **found})
(OUT / "auto.json").write_text(json.dumps({"scale": SCALE, "cases": records}, separators=(",", ":")) + "\n")
