"""Records discovery (METHOD §2 and §4) on fixed features with numpy, scipy and scikit-learn.

An independent, plain implementation: dense vote matrices, scipy's linear_sum_assignment, scikit-learn's k-means and
silhouettes, float64 throughout. Every recorded case has one optimum and clear margins (checked below), so an
implementation in float32 must give the same labels image for image.

Run: python scripts/goldens/discover.py   (writes test/goldens/discover/)
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import silhouette_samples, silhouette_score

OUT = Path(__file__).resolve().parents[2] / "test" / "goldens" / "discover"
N, D, V, K, CLASSES, PHRASES = 300, 32, 200, 12, 16, 30
TEMPLATES = ["a photo of a {name} {phrase}.", "a photo of a {phrase} {name}.", "a {name}, which has {phrase}"]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def names(rng):
    """Prototypes around one common direction, with near neighbours: every fourth name resembles the one before it."""
    h = rng.normal(size=(V, D)) + 0.8 * rng.normal(size=D)
    h[3::4] = h[2::4] + 0.5 * rng.normal(size=(V // 4, D))
    return unit(h).astype(np.float32)


def images(rng, h):
    """Sixteen classes for twelve clusters, of unequal size; an image lies between its name, an offset of its class and noise."""
    truth = rng.choice(V, size=CLASSES, replace=False)
    classes = rng.choice(CLASSES, size=N, p=rng.dirichlet(np.full(CLASSES, 3.0)))
    offsets = rng.normal(size=(CLASSES, D)) * 0.12
    z = h[truth[classes]] + offsets[classes] + 0.2 * rng.normal(size=(N, D)) + 0.1 * rng.normal(size=D)
    return unit(z).astype(np.float32)


# ---- METHOD §2.2–2.3 -------------------------------------------------------------------------------------------------


def vote_matrix(partition, ids, y):
    m = np.zeros((len(ids), V))
    for row, cluster in enumerate(ids):
        for name in y[partition == cluster]:
            m[row, name] += 1
        m[row] /= np.sum(partition == cluster)
    return m


def best(score):
    rows, cols = linear_sum_assignment(score, maximize=True)
    return cols, score[rows, cols].sum()


def unique_optimum(score):
    """No other assignment reaches the same total: forbidding any one chosen pair lowers it."""
    cols, total = best(score)
    for row, col in enumerate(cols):
        if score[row, col] == 0:
            return False
        forbidden = score.copy()
        forbidden[row, col] = -1e3
        if best(forbidden)[1] > total - 1e-9:
            return False
    return True


def margin(scores):
    top = np.sort(scores, axis=1)[:, ::-1]
    return np.min(top[:, 0] - top[:, 1])


class Ambiguous(Exception):
    """The drawn data has a tie that the method does not break."""


class Dull(Exception):
    """The second vote changes nothing, so iterating would not be tested."""


def reassign(z, h, chosen):
    w = np.sort(chosen)
    scores = z @ h[w].T
    if margin(scores) < 1e-5:
        raise Ambiguous
    return w, w[np.argmax(scores, axis=1)]


def vote(z, h, clusters):
    y = np.argmax(z @ h.T, axis=1)
    if margin(z @ h.T) < 1e-5:
        raise Ambiguous
    partition, rounds = clusters, []
    for _ in range(3):
        ids = np.unique(partition)
        m = vote_matrix(partition, ids, y)
        if not unique_optimum(m):
            raise Ambiguous
        counted = (partition, ids, m)
        chosen, partition = reassign(z, h, best(m)[0])
        rounds.append({"names": chosen.tolist(), "labels": partition.tolist()})
    return y, rounds, counted


def candidates(m, count=3):
    """Names with votes, by falling share and then by index."""
    order = np.lexsort((np.arange(V), -m))
    return [int(w) for w in order[:count] if m[w] > 0]


# ---- METHOD §2.5 -----------------------------------------------------------------------------------------------------


def encode(text, h, q):
    """A made-up text encoder: the name's prototype, the phrase's direction, and a little of the word order.

    Words are w<index> and p<index>; anything else is ignored.
    """
    words = [word.strip(",.") for word in text.split()]
    name = next(i for i, word in enumerate(words) if word[0] == "w" and word[1:].isdigit())
    phrase = next(i for i, word in enumerate(words) if word[0] == "p" and word[1:].isdigit())
    p = int(words[phrase][1:])
    turn = 1 if phrase < name else 2
    return unit(h[int(words[name][1:])] + 0.4 * q[p] + 0.1 * q[(p + turn) % PHRASES] + 0.02 * len(words))


def phrase_prototype(name, phrase, h, q):
    texts = [t.replace("{name}", f"w{name}").replace("{phrase}", f"p{phrase}") for t in TEMPLATES]
    return unit(np.mean([encode(text, h, q) for text in texts], axis=0))


def realign(z, h, q, counted, prompts):
    partition, ids, m = counted
    score = np.zeros((len(ids), V))
    for row, cluster in enumerate(ids):
        listed = [(c["name"], p["phrase"], p["weight"]) for c in prompts[row] for p in c["phrases"]]
        if not listed:
            score[row] = m[row]
            continue
        prototypes = np.stack([phrase_prototype(w, int(p[1:]), h, q) for w, p, _ in listed])
        cosines = z[partition == cluster] @ prototypes.T
        ranked = np.sort(cosines, axis=1)[:, ::-1]
        if len(listed) > 1 and np.min(np.abs(np.diff(ranked[:, :4], axis=1))) < 1e-6:
            raise Ambiguous
        v = np.zeros(len(listed))
        for image in cosines:
            v[np.argsort(-image)[:3]] += 1
        total = sum(u for _, _, u in listed)
        for name in {w for w, _, _ in listed}:
            own = sum(u for w, _, u in listed if w == name)
            score[row, name] = sum(
                u / own * votes / (1 + total - own) for (w, _, u), votes in zip(listed, v) if w == name
            )
    if not unique_optimum(score):
        raise Ambiguous
    chosen, labels = reassign(z, h, best(score)[0])
    return score, chosen, labels


def made_up_prompts(rng, counted):
    """Two to five phrases a candidate with counts 1–3; the third cluster got no answer."""
    _, ids, m = counted
    prompts = []
    for row in range(len(ids)):
        drawn = rng.permutation(PHRASES)
        found = [] if row == 2 else candidates(m[row])
        prompts.append(
            [
                {
                    "name": name,
                    "phrases": [
                        {"phrase": f"p{p}", "weight": int(rng.integers(1, 4))}
                        for p in drawn[6 * i : 6 * i + rng.integers(2, 6)]
                    ],
                }
                for i, name in enumerate(found)
            ]
        )
    return prompts


def sparse(matrix):
    return [[[int(w), float(row[w])] for w in np.flatnonzero(row)] for row in matrix]


def discovery(seed, h, q):
    rng = np.random.default_rng([seed, 7])
    z32 = images(rng, h)
    z = z32.astype(np.float64)
    clusters = KMeans(K, n_init=3, random_state=seed).fit(z).labels_
    y, rounds, counted = vote(z, h, clusters)
    if rounds[0]["labels"] == rounds[1]["labels"]:
        raise Dull
    prompts = made_up_prompts(rng, counted)
    score, chosen, labels = realign(z, h, q, counted, prompts)
    record = {
        "seed": seed,
        "clusters": clusters.tolist(),
        "nearest": y.tolist(),
        "rounds": rounds,
        "counted": {
            "clusters": np.searchsorted(counted[1], counted[0]).tolist(),
            "votes": sparse(counted[2]),
            "candidates": [candidates(row) for row in counted[2]],
        },
        "prompts": prompts,
        "realign": {"scores": sparse(score), "names": chosen.tolist(), "labels": labels.tolist()},
    }
    return z32, record


# ---- k-means and silhouettes -----------------------------------------------------------------------------------------


def plus_plus(z, k, seed):
    """The rows scikit-learn starts from, and the uniform numbers it drew for them."""
    _, rows = kmeans_plusplus(z, k, random_state=np.random.RandomState(seed))
    trials = 2 + int(np.log(k))
    drawn = np.random.RandomState(seed).random_sample(1 + (k - 1) * trials)
    return {"k": k, "uniform": drawn.tolist(), "rows": rows.tolist()}


def lloyd(z, start, max_iter=1000):
    """`start` lists rows of z; −i−1 stands for the opposite of row i, a centre no image is near."""
    centres = np.stack([z[i] if i >= 0 else -z[-i - 1] for i in start])
    fit = KMeans(len(start), init=centres, n_init=1, max_iter=max_iter, algorithm="lloyd").fit(z)
    return {
        "start": [int(i) for i in start],
        "maxIterations": max_iter,
        "labels": fit.labels_.tolist(),
        "inertia": float(fit.inertia_),
        "iterations": int(fit.n_iter_),
    }


def clustering(z):
    seeds = [plus_plus(z, k, seed) for k, seed in [(5, 0), (12, 1), (40, 2)]]
    runs = [lloyd(z, case["rows"]) for case in seeds]
    runs.append(lloyd(z, seeds[1]["rows"], max_iter=2))
    # Opposites of images close to the common direction are near no image.
    lonely = [-int(i) - 1 for i in np.argsort(-(z @ z.mean(axis=0)))]
    for start in ([0, 50, 100, 150, 200, lonely[0]], [0, 1, 2, 3, 4, 5, 6, 7, *lonely[:3]]):
        centres = np.stack([z[i] if i >= 0 else -z[-i - 1] for i in start])
        nearest = np.argmin(np.linalg.norm(z[:, None] - centres, axis=2), axis=1)
        assert not np.any(np.isin(nearest, [j for j, i in enumerate(start) if i < 0]))
        runs.append(lloyd(z, start))
    silhouettes = []
    for run in runs[:3]:
        labels = np.array(run["labels"])
        silhouettes.append(
            {
                "labels": run["labels"],
                "mean": float(silhouette_score(z, labels)),
            }
        )
    alone = np.array(runs[0]["labels"])
    alone[17] = 9
    silhouettes.append(
        {
            "labels": alone.tolist(),
            "mean": float(silhouette_score(z, alone)),
            "samples": silhouette_samples(z, alone).tolist(),
        }
    )
    return {"plusPlus": seeds, "lloyd": runs, "silhouettes": silhouettes}


def assignments():
    """Vote matrices with starved clusters: scipy on the whole K × V matrix names them with the first free columns."""
    rng = np.random.default_rng(11)
    cases = []
    while len(cases) < 4:
        m = np.where(rng.random((8, 25)) < 0.12, rng.random((8, 25)), 0)
        m[rng.permutation(8)[:2]] = 0
        chosen, total = best(m)
        starved = [row for row in range(8) if m[row, chosen[row]] == 0]
        fed = [row for row in range(8) if row not in starved]
        if unique_optimum(m[fed]):
            cases.append({"votes": sparse(m), "names": chosen.tolist(), "starved": starved, "total": float(total)})
    return {"vocabulary": 25, "cases": cases}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    h = names(rng)
    q = unit(rng.normal(size=(PHRASES, D))).astype(np.float32)
    np.save(OUT / "prototypes.npy", h)
    np.save(OUT / "phrases.npy", q)
    kept, seed = [], 0
    while len(kept) < 3:
        try:
            z, record = discovery(seed, h.astype(np.float64), q.astype(np.float64))
            np.save(OUT / f"features-{len(kept)}.npy", z)
            kept.append(record)
        except (Ambiguous, Dull):
            pass
        seed += 1
    write("rounds.json", {"templates": TEMPLATES, "cases": kept})
    write("clustering.json", clustering(np.load(OUT / "features-0.npy").astype(np.float64)))
    write("assignments.json", assignments())


def write(name, value):
    (OUT / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
