"""The peer of bench/images.ts: the same views by torchvision's transforms on Pillow images, in torch's DataLoader.

Reads one request a line, answers with the seconds and the processor time of passes over all images. RandAugment is timm's, of whose
`rand-m9-mstd0.5-inc1` torchvision has no equal. An image is decoded once for both training views.
"""
import json
import os
import sys
import time

config = json.loads(sys.stdin.readline())

import numpy as np
import PIL
import torch

try:
    import torchvision
except RuntimeError:
    # torchvision's compiled operators fit one build of PyTorch alone; the transforms of Pillow images need none of them.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

SIZE, MEAN, STD = config["size"], config["mean"], config["std"]
BICUBIC = T.InterpolationMode.BICUBIC
torch.set_num_threads(1)

to_tensor = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD, inplace=True)])
evaluation = T.Compose([T.Resize(SIZE, BICUBIC), T.CenterCrop(SIZE), to_tensor])
weak = T.Compose([T.Resize(SIZE, BICUBIC), T.RandomCrop(SIZE), to_tensor])
fill = tuple(min(255, round(255 * value)) for value in MEAN)
rand_augment = rand_augment_transform("rand-m9-mstd0.5-inc1", {"img_mean": fill, "interpolation": Image.BICUBIC})
crop = T.RandomResizedCrop(SIZE, (0.3, 1), interpolation=BICUBIC)
strong = T.Compose([crop, T.RandomHorizontalFlip(), rand_augment, to_tensor])


class Files(Dataset):
    def __init__(self, views, draft):
        self.views, self.draft = views, draft

    def __len__(self):
        return len(config["files"])

    def __getitem__(self, index):
        with Image.open(os.path.join(config["root"], config["files"][index])) as image:
            if self.draft:
                # libjpeg decodes to ½, ¼ or ⅛ of the size: fewer pixels, and other ones.
                scale = SIZE / min(image.size)
                image.draft("RGB", tuple(round(scale * side) for side in image.size))
            image = image.convert("RGB")
        return tuple(view(image) for view in self.views)


WORKS = {"evaluation": ([evaluation], False), "draft": ([evaluation], True), "training": ([weak, strong], False)}
loaders = {}


def loader(work):
    if work not in loaders:
        workers = config["workers"]
        several = {"persistent_workers": True, "prefetch_factor": 2} if workers else {}
        loaders[work] = DataLoader(Files(*WORKS[work]), config["batch"], num_workers=workers, **several)
    return loaders[work]


def processor_time(work):
    """Seconds of this process and of the loader's."""
    total = time.process_time()
    for process in getattr(loader(work)._iterator, "_workers", []):
        try:
            with open(f"/proc/{process.pid}/stat") as file:
                user, system = file.read().rpartition(")")[2].split()[11:13]
            total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return None
    return total


def run(work):
    before, start, count = processor_time(work), time.perf_counter(), 0
    for views in loader(work):
        count += len(views[0])
    seconds, after = time.perf_counter() - start, processor_time(work)
    cpu = None if before is None or after is None else after - before
    return {"seconds": seconds, "cpu": cpu, "images": count}


print(json.dumps({"name": f"torchvision {torchvision.__version__.split('+')[0]}, Pillow {PIL.__version__}"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "save" in request:
        views = [Files([evaluation], False)[index][0] for index in range(request["count"])]
        np.save(request["save"], torch.stack(views).numpy())
        print(json.dumps({}), flush=True)
    else:
        print(json.dumps(run(request["work"])), flush=True)
