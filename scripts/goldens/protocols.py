"""Miniature copies of data sets as their owners write them, and numbers of NumPy's old generator.

Needs numpy, scipy, pyarrow and Pillow. The cuts of BREEDS are recorded when the sources of the library `robustness` (MadryLab) are on
PYTHONPATH; without them the last recorded ones stay.
"""

import io
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from PIL import Image

out = Path(__file__).parents[2] / "test" / "goldens" / "protocols"
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


class Python2Pickler(pickle._Pickler):
    """Protocol 2 with the strings of Python 2 for text and bytes, as the owners of CIFAR wrote their files."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, value):
        data = value if isinstance(value, bytes) else value.encode("latin1")
        short = len(data) < 256
        self.write(b"U" + bytes([len(data)]) + data if short else b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string


def cells(texts):
    array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    return array


def dogs():
    folder = out / "stanford-dogs"
    folder.mkdir(exist_ok=True)
    breeds = ["n02085620-Chihuahua", "n02085936-Maltese_dog", "n02113978-Mexican_hairless"]
    for name, numbers, compress in [("train_list", [3, 10, 7], True), ("test_list", [21, 2], False)]:
        files = [f"{breed}/{breed.split('-')[0]}_{n}.jpg" for breed in breeds for n in numbers]
        labels = np.array([[i + 1.0] for i in range(len(breeds)) for _ in numbers])
        lists = {"file_list": cells(files), "annotation_list": cells([f[:-4] for f in files]), "labels": labels}
        scipy.io.savemat(folder / f"{name}.mat", lists, do_compression=compress)


def devkit():
    folder = out / "devkit"
    folder.mkdir(exist_ok=True)
    rows = [(1, "n02119789", "kit fox, Vulpes macrotis", 0), (2, "n01440764", "tench, Tinca tinca", 0)]
    rows += [(3, "n02012849", "crane", 0), (1001, "n02084071", "dog, domestic dog", 118)]
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O"), ("children", "O")]
    synsets = np.zeros((len(rows), 1), dtype=kinds)
    for i, (number, wnid, words, children) in enumerate(rows):
        below = np.arange(children, dtype=np.uint16).reshape(1, -1)
        synsets[i, 0] = (np.float64(number), wnid, words, np.float64(children), below)
    scipy.io.savemat(folder / "meta.mat", {"synsets": synsets}, do_compression=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n2\n1\n")


def cifar():
    folder = out / "cifar"
    names = ["apple", "aquarium_fish", "baby"]
    splits = {"train": [2, 0, 1, 1], "test": [1, 2]}
    for kind in ["cifar-100-python", "cifar-100-binary", "cifar100"]:
        (folder / kind).mkdir(parents=True, exist_ok=True)

    def dump(path, value):
        data = io.BytesIO()
        Python2Pickler(data, protocol=2).dump(value)
        # NumPy's module had another name when the originals were written.
        path.write_bytes(data.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
        with path.open("rb") as file:
            return pickle.load(file, encoding="latin1")

    assert dump(folder / "cifar-100-python" / "meta", {"fine_label_names": names, "coarse_label_names": ["a", "b"]})
    (folder / "cifar-100-binary" / "fine_label_names.txt").write_text("".join(f"{name}\n" for name in names))
    for split, labels in splits.items():
        # Smooth, so that they pack well as parquet and PNG.
        steps = rng.integers(0, 200, (len(labels), 3))
        ramp = np.add.outer(np.arange(32), np.arange(32) // 2).astype(np.uint8)
        data = (steps[:, :, None, None] + ramp).astype(np.uint8).reshape(len(labels), 3072)
        coarse = [label % 2 for label in labels]
        back = dump(
            folder / "cifar-100-python" / split,
            {
                "filenames": [f"{split}_{i}.png" for i in range(len(labels))],
                "batch_label": f"{split} batch 1 of 1",
                "fine_labels": labels,
                "coarse_labels": coarse,
                "data": data,
            },
        )
        assert (back["data"] == data).all() and back["fine_labels"] == labels
        records = b"".join(bytes([c, f]) + row.tobytes() for c, f, row in zip(coarse, labels, data))
        (folder / "cifar-100-binary" / f"{split}.bin").write_bytes(records)
        images = []
        for i, row in enumerate(data):
            image = io.BytesIO()
            Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).save(image, "PNG")
            images.append({"bytes": image.getvalue(), "path": f"{split}_{i}.png"})
        about = {"info": {"features": {"fine_label": {"names": names, "_type": "ClassLabel"}, "img": {"_type": "Image"}}}}
        schema = pa.schema(
            [
                ("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                ("fine_label", pa.int64()),
                ("coarse_label", pa.int64()),
            ],
            metadata={"huggingface": json.dumps(about)},
        )
        table = pa.table({"img": images, "fine_label": labels, "coarse_label": coarse}, schema=schema)
        pq.write_table(table, folder / "cifar100" / f"{split}-00000-of-00001.parquet", row_group_size=3)
        expected[f"cifar_{split}"] = {
            "labels": labels,
            "pixels": data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)[:, ::31, ::31].reshape(len(labels), -1).tolist(),
        }


def permutations():
    expected["permutations"] = [
        [seed, n, np.random.RandomState(seed).permutation(n).tolist()]
        for seed, n in [(0, 1), (0, 2), (0, 37), (2, 37), (2, 300), (12345, 64)]
    ]
    np.random.seed(0)
    expected["imagenet_100"] = np.random.choice(range(1000), size=100, replace=False).tolist()
    generator = np.random.RandomState(2)
    expected["in_a_row"] = [generator.choice(n, 3, replace=False).tolist() for n in [9, 40, 3, 17]]


def breeds():
    try:
        from robustness.tools.breeds_helpers import BreedsDatasetGenerator
    except ImportError:
        return (json.loads((out / "expected.json").read_text())).get("breeds")
    folder = out / "imagenet_class_hierarchy" / "modified"
    folder.mkdir(parents=True, exist_ok=True)
    # A random directed graph of levels, in which some nodes have two parents and some classes lie high.
    draw = random.Random(5)
    leaves = [f"n{10_000_000 + draw.randrange(10**7):08d}" for _ in range(160)]
    levels = [["n00001740"], ["n00004258", "n00021939"]]
    levels += [[f"dummy{level}{i}" for i in range(size)] for level, size in [(2, 5), (3, 9), (4, 14), (5, 22)]]
    edges = []
    for above, here in zip(levels, levels[1:]):
        for node in here:
            edges += [(parent, node) for parent in draw.sample(above, min(len(above), 1 + (draw.random() < 0.3)))]
    for leaf in leaves:
        edges.append((draw.choice(draw.choices(levels[2:], [1, 2, 4, 8])[0]), leaf))
    (folder / "class_hierarchy.txt").write_text("".join(f"{parent} {child}\n" for parent, child in edges))
    (folder / "node_names.txt").write_text("".join(f"{n}\tnode {n}\n" for level in levels for n in level))
    (folder / "dataset_class_info.json").write_text(json.dumps([[i, leaf, "x"] for i, leaf in enumerate(leaves)]))
    cuts = []
    generator = BreedsDatasetGenerator(str(folder))
    for level, per_node, ancestor in [(3, 4, None), (4, 2, None), (5, 3, "n00004258"), (5, 4, "n00021939")]:
        nodes, (groups, _), _ = generator.get_superclasses(level, per_node, None, ancestor, True, 2)
        ids = generator.hierarchy.LEAF_IDS
        groups = [{"node": n, "leaves": [ids[i] for i in group]} for n, group in zip(nodes, groups)]
        cuts.append({"level": level, "perNode": per_node, "ancestor": ancestor, "groups": groups})
    return cuts


expected = {}
dogs()
devkit()
cifar()
permutations()
expected["breeds"] = breeds()
(out / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
