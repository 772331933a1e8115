"""Records what Pillow, timm and transformers make of small images: test/goldens/images/.

Run from the repository root: python scripts/goldens/images.py (needs pillow, numpy, timm, torchvision, transformers).
"""

import base64
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageCms, ImageOps
from timm.data import auto_augment
from timm.data.transforms import RandomResizedCropAndInterpolation
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from pattern import pattern

OUT = Path("test/goldens/images")
FILL = (123, 117, 104)


def record(array, limit=1500):
    """Arrays of up to `limit` bytes in full, others as a hash."""
    data = np.ascontiguousarray(array).tobytes()
    if len(data) <= limit:
        return {"base64": base64.b64encode(data).decode()}
    return {"sha256": hashlib.sha256(data).hexdigest()}


def save(name, value):
    text = json.dumps(value) if isinstance(value, dict) else "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
    (OUT / f"{name}.json").write_text(text + "\n")


def resizing():
    sizes = [
        (24, 18, 12, 9), (24, 18, 7, 5), (24, 18, 31, 23), (24, 18, 24, 9), (24, 18, 11, 18), (24, 18, 1, 1),
        (1, 1, 16, 16), (1, 1, 1, 1), (2, 3, 9, 4), (3, 2, 224, 149), (1, 40, 8, 320), (40, 1, 300, 8), (5, 700, 4, 300),
        (5, 700, 32, 100), (7, 701, 16, 1602), (101, 67, 224, 337), (640, 427, 335, 224), (427, 640, 224, 335),
        (1000, 750, 298, 224), (333, 1000, 224, 672), (224, 224, 224, 224), (97, 64, 32, 32),
    ]
    boxes = [
        (24, 18, 12, 9, (2, 3, 20, 15)), (24, 18, 12, 9, (0.5, 1.25, 23.3, 17.9)), (24, 18, 24, 18, (3, 2, 9.5, 8)),
        (200, 150, 64, 48, (10.1, 20.7, 180.3, 149.9)), (24, 18, 10, 10, (0, 4, 24, 5)), (6, 800, 3, 40, (1, 7.5, 5.5, 790)),
    ]
    cases = [(*size, None) for size in sizes] + boxes
    result = []
    for width, height, to_width, to_height, box in cases:
        for name, resample in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)):
            image = pattern(width, height).resize((to_width, to_height), resample, box=box)
            case = {"from": [width, height], "to": [to_width, to_height], "filter": name, "box": box}
            result.append({**case, **record(image)})
    save("resize", result)


def operators():
    """Every operator of rand-m9-mstd0.5-inc1 as timm builds it, at fixed magnitudes and in both directions."""
    hparams = {"translate_const": 100, "img_mean": FILL, "interpolation": Image.Resampling.BICUBIC}
    result = []
    images = {"small": pattern(24, 18), "large": pattern(224, 224), "flat": Image.new("RGB", (9, 7), (10, 200, 77)),
              "dim": pattern(24, 18).point(lambda v: v // 3 + 40), "pixel": pattern(1, 1), "tall": pattern(2, 90)}
    directed = ("Rotate", "ColorI", "ContrastI", "BrightnessI", "SharpnessI", "Shear", "Translate")
    plain = ("AutoContrast", "Equalize", "Invert")
    for name in auto_augment._RAND_INCREASING_TRANSFORMS:
        for kind, image in images.items():
            for magnitude in (9,) if name in plain else (0, 2.7, 9, 9.43, 10):
                for negative in (False, True) if name.startswith(directed) else (False,):
                    op = auto_augment.AugmentOp(name, prob=1.0, magnitude=magnitude, hparams=hparams)
                    with mock.patch.object(auto_augment.random, "random", lambda: 0.9 if negative else 0.1):
                        out = op(image)
                    case = {"operator": name, "image": kind, "magnitude": magnitude, "negative": negative}
                    result.append({**case, **record(out, 1500 if kind == "small" and magnitude == 9 else 0)})
    save("operators", result)


def regions():
    """timm's random resized crop with its uniform draws given: a hit, and the fallback after ten misses."""
    result = []
    for width, height in ((24, 18), (500, 375), (1000, 20), (20, 1000), (4, 4), (3, 300)):
        for u in (0.0, 0.31, 0.77, 0.999):
            uniform = lambda low, high: low + (high - low) * u
            integer = lambda low, high: low + int(u * (high - low + 1))
            with mock.patch("random.uniform", uniform), mock.patch("random.randint", integer):
                i, j, h, w = RandomResizedCropAndInterpolation.get_params(pattern(width, height), (0.3, 1), (3 / 4, 4 / 3))
            result.append({"from": [width, height], "draw": u, "rect": [j, i, w, h]})
    save("regions", result)


def png16(colour_type, samples):
    """A 16-bit PNG, which Pillow cannot write for colour."""
    height, width = samples.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def swapped_profile():
    """An sRGB profile with red and green exchanged: nobody who applies it can miss it."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # No trace of when and where it was made.
    profile[24:36] = bytes(12)
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def decoding():
    base = pattern(20, 14)
    soft = base.resize((10, 7)).resize((20, 14), Image.Resampling.BILINEAR)
    alpha = Image.fromarray((np.arange(280).reshape(14, 20) % 256).astype(np.uint8))
    rgba = base.copy()
    rgba.putalpha(alpha)
    la = base.convert("L")
    la.putalpha(alpha)
    files = {}

    def add(name, image, **options):
        buffer = io.BytesIO()
        image.save(buffer, format={"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[-1]) or name.split(".")[-1], **options)
        files[name] = buffer.getvalue()

    add("photo.jpg", soft, quality=85)
    add("progressive.jpg", soft, quality=85, progressive=True, subsampling=0)
    add("grey.jpg", soft.convert("L"), quality=85)
    add("cmyk.jpg", soft.convert("CMYK"), quality=90)
    add("cmyk.tif", Image.merge("CMYK", [*soft.split(), alpha]))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"turned{orientation}.jpg", soft, quality=85, exif=exif)
    add("profile.jpg", soft, quality=85, icc_profile=swapped_profile())
    add("rgb.png", base)
    add("rgba.png", rgba)
    add("grey-alpha.png", la)
    add("palette.png", base.quantize(16))
    add("palette-alpha.png", base.quantize(16), transparency=3)
    add("bits.png", base.convert("1"))
    add("animated.gif", base, save_all=True, append_images=[ImageOps.invert(base)])
    add("animated.webp", base, save_all=True, append_images=[ImageOps.invert(base)], lossless=True)
    add("lossy.webp", soft, quality=80)
    add("rgb.tif", base)
    add("rgb24.bmp", base)
    add("palette8.bmp", base.quantize(200))
    add("bits.bmp", base.convert("1"))
    samples = np.asarray(base).astype(np.int64) * 256 + (np.arange(840).reshape(14, 20, 3) * 7) % 256
    files["rgb16.png"] = png16(2, samples)
    files["rgba16.png"] = png16(6, np.concatenate([samples, samples[:, :, :1]], axis=2))
    result = []
    for name, data in files.items():
        (OUT / name).write_bytes(data)
        decoded = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        result.append({"file_name": name, "size": decoded.size, **record(decoded)})
    save("decode", result)


def preprocessing():
    """CLIP's preprocessing by transformers' Pillow backend, at 16 pixels in full and at 224 as a hash."""
    mean, std = CLIPImageProcessorPil.image_mean, CLIPImageProcessorPil.image_std
    values = []
    for name in ("photo.jpg", "rgba.png", "grey.jpg", "cmyk.jpg", "palette.png", "bits.png"):
        for size in (11, 224):
            processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
            pixels = processor(Image.open(OUT / name), return_tensors="np")["pixel_values"][0]
            values.append({"file_name": name, "size": size, **record(pixels.astype("<f4"))})
    save("clip", {"mean": list(mean), "std": list(std), "values": values})


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    resizing()
    operators()
    regions()
    decoding()
    preprocessing()
