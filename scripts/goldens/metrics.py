"""Records scipy's and scikit-learn's figures for confidence intervals, calibration and per-class accuracy."""
import json
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, precision_score, recall_score

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "metrics.json"
rng = np.random.default_rng(0)


def bootstrap(name, values, statistic):
    """The same resamples through scipy's three steps: what it resampled and what it made of that."""
    result = {"name": name, "values": np.asarray(values, float).tolist()}
    for method, key in (("percentile", "percentile"), ("BCa", "bca")):
        r = stats.bootstrap(
            (values,), statistic, n_resamples=399, method=method, confidence_level=0.9, axis=-1, rng=np.random.default_rng(1))
        result["distribution"] = r.bootstrap_distribution.tolist()
        result["standardError"] = float(r.standard_error)
        result[key] = [float(r.confidence_interval.low), float(r.confidence_interval.high)]
    return result


skewed = np.round(rng.exponential(1, 40), 3)
cases = [
    bootstrap("mean of right and wrong", (rng.random(60) < 0.85).astype(float), np.mean),
    bootstrap("mean of skewed values", skewed, np.mean),
    bootstrap("mean of five values that occur often", rng.integers(0, 5, 80) / 4, np.mean),
]

levels = [0.5, 0.8, 0.9, 0.95, 0.99, 0.999]
points = [-12, -6, -3.6, -2.5, -1, -1e-3, 0, 0.3, 1, 2, 2.6, 5, 8]
chances = [1e-12, 1e-4, 0.0249, 0.3, 0.5, 0.8, 0.975, 0.9999]
seeds = np.round(rng.normal(0.6, 0.02, 5), 4)
low, high = stats.t.interval(0.95, 4, loc=seeds.mean(), scale=stats.sem(seeds))
wilson = {str(n): [float(x) for x in stats.binomtest(n, n).proportion_ci(method="wilson")] for n in (1, 7, 1000)}

confidences = np.round(rng.beta(4, 1.5, 400), 3)
confidences[:4] = [0, 1, 0.2, 0.4]
right = rng.random(400) < confidences**1.5
curves = []
for bins, strategy in ((10, "uniform"), (15, "uniform"), (5, "uniform"), (10, "quantile")):
    true, predicted = calibration_curve(right, confidences, n_bins=bins, strategy=strategy)
    ends = np.linspace(0, 1, bins + 1)
    if strategy == "quantile":
        ends = np.percentile(confidences, ends * 100)
    share = np.bincount(np.searchsorted(ends[1:-1], confidences), minlength=bins) / len(confidences)
    share = share[share > 0]
    curves.append({
        "bins": bins, "strategy": strategy, "accuracy": true.tolist(), "confidence": predicted.tolist(),
        "ece": float((share * np.abs(true - predicted)).sum()), "mce": float(np.abs(true - predicted).max()),
    })

truth = rng.integers(0, 6, 120)
given = np.where(rng.random(120) < 0.6, truth, rng.integers(0, 9, 120))
classes = np.unique(truth)
per_class = {
    "truth": truth.tolist(), "given": given.tolist(),
    "balanced": float(recall_score(truth, given, labels=classes, average="macro")),
    "precision": precision_score(truth, given, labels=classes, average=None, zero_division=0).tolist(),
    "recall": recall_score(truth, given, labels=classes, average=None).tolist(),
    "f1": f1_score(truth, given, labels=classes, average=None, zero_division=0).tolist(),
    "macroF1": float(f1_score(truth, given, labels=classes, average="macro", zero_division=0)),
}
assert abs(per_class["balanced"] - balanced_accuracy_score(truth, given)) < 1e-12

sets = []
for _ in range(4):
    found, true = rng.random(20) < 0.5, rng.random(20) < 0.4
    sets.append({
        "found": np.flatnonzero(found).tolist(), "true": np.flatnonzero(true).tolist(),
        "precision": float(precision_score(true, found)), "recall": float(recall_score(true, found)), "f1": float(f1_score(true, found)),
    })

binomials = [
    {"trials": n, "p": p, "at": [int(x) for x in q], "cdf": [float(x) for x in stats.binom.cdf(q, n, p)]}
    for n, p in ((12, 0.3), (60, 0.02), (400, 0.5), (50_000, 0.73), (1_000_000, 0.001))
    for q in [np.unique(stats.binom.ppf([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99], n, p))]
]

out.write_text(json.dumps({
    "bootstrap": cases,
    "normal": {"x": points, "cdf": stats.norm.cdf(points).tolist(), "p": chances, "quantile": stats.norm.ppf(chances).tolist()},
    "student": [{"degrees": d, "t": [float(stats.t.ppf((1 + q) / 2, d)) for q in levels]} for d in (1, 2, 3, 4, 9, 30, 1000)],
    "levels": levels,
    "spread": {"values": seeds.tolist(), "mean": float(seeds.mean()), "sd": float(seeds.std(ddof=1)), "low": float(low), "high": float(high)},
    "wilson": wilson,
    "calibration": {
        "confidences": confidences.tolist(), "right": right.astype(int).tolist(), "brier": float(brier_score_loss(right, confidences)),
        "curves": curves,
    },
    "perClass": per_class,
    "sets": sets,
    "binomial": binomials,
}))
