"""The image that several records are made of."""
import numpy as np
from PIL import Image


def pattern(width, height):
    """The same pixels as `pattern` in test/images.ts: a gradient with integer noise over the whole range."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    noise = (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 113
    smooth = (x * 160) // width + (y * 90) // height + c * 7
    flash = np.where((x * 5 + y * 3) % 23 == 0, 255, 0)
    return Image.fromarray(np.maximum(np.minimum(noise + smooth - 30, 255), flash).clip(0, 255).astype(np.uint8))
