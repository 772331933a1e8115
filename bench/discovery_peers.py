"""k-means, assignment and products with scikit-learn, faiss, scipy and numpy: the other side of bench/discovery.ts.

Reads one JSON object a line: first {threads}, then {name, ...} for each piece of work; answers with {seconds, cpu, ...}.
"""

import json
import os
import sys
import time

config = json.loads(sys.stdin.readline())
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(config["threads"])
os.environ["LOKY_MAX_CPU_COUNT"] = str(config["threads"])

import numpy as np

try:
    import faiss
    import scipy
    import sklearn
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
except ImportError:
    sys.exit(0)

faiss.omp_set_num_threads(config["threads"])
loaded = {}


def array(path):
    if path not in loaded:
        loaded[path] = np.load(path)
    return loaded[path]


def inertia(rows, centres, labels):
    """Sum of squared distances in float64."""
    return sum(
        float(((rows[at : at + 4096].astype(np.float64) - centres[labels[at : at + 4096]]) ** 2).sum())
        for at in range(0, len(rows), 4096)
    )


def k_means(algorithm, rows, start, iterations, tolerance):
    rows, start = array(rows), array(start)
    if algorithm == "faiss":
        k, width = start.shape

        def fit():
            found = faiss.Clustering(width, k)
            found.niter = iterations
            found.min_points_per_centroid = 1
            found.max_points_per_centroid = len(rows)
            faiss.copy_array_to_vector(start.ravel(), found.centroids)
            index = faiss.IndexFlatL2(width)
            found.train(rows, index)
            # Training ends with centres; the labels take one more search, as they do with the others.
            return index.search(rows, 1)[1][:, 0], faiss.vector_to_array(found.centroids).reshape(k, width)

        return fit, lambda found: {"inertia": inertia(rows, found[1], found[0]), "iterations": iterations}
    model = KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=tolerance, algorithm=algorithm)
    return (lambda: model.fit(rows)), lambda found: {
        "inertia": inertia(rows, found.cluster_centers_, found.labels_),
        "iterations": found.n_iter_,
    }


def assignment(rows, cols, path):
    matrix = np.zeros((rows, cols))
    for row, (names, scores) in enumerate(json.load(open(path))):
        matrix[row, names] = scores
    return (lambda: linear_sum_assignment(matrix, maximize=True)), lambda found: {"total": float(matrix[found].sum())}


def product(m, k, n):
    rng = np.random.default_rng(0)
    a, b = rng.random((m, k), dtype=np.float32), rng.random((n, k), dtype=np.float32)
    return (lambda: a @ b.T), lambda _: {}


def nearest(rows, names):
    """The usual way: a block of products and the largest of each row."""
    rows, names = array(rows), array(names)

    def find():
        return np.concatenate([(rows[at : at + 1024] @ names.T).argmax(1) for at in range(0, len(rows), 1024)])

    return find, lambda found: {"labels": found.tolist()}


works = {"k-means": k_means, "assignment": assignment, "product": product, "nearest": nearest}


def answer(message):
    print(json.dumps(message), flush=True)


versions = {"sklearn": sklearn.__version__, "faiss": faiss.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
answer({"name": "scikit-learn, faiss, scipy, numpy", "versions": versions})
for line in sys.stdin:
    request = json.loads(line)
    run, describe = works[request["work"]](*request["arguments"])
    before, start = time.process_time(), time.perf_counter()
    found = run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    answer({"seconds": seconds, "cpu": cpu, **describe(found)})
