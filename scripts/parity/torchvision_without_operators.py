"""Imports torchvision where its compiled operators do not fit the installed torch; its image transforms need none of them."""
import re
import sys

import torch

while "torchvision" not in sys.modules:
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        missing = re.search(r"operator (torchvision::\w+) does not exist", str(error))
        if not missing:
            raise
        torch.library.define(missing[1], "(Tensor a, Tensor b, float c) -> Tensor")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
