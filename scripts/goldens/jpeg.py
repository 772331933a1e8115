"""Records what Pillow makes of JPEG files of its own, of every sampling, with and without restarts: test/goldens/jpeg.json.

Run from the repository root: python scripts/goldens/jpeg.py (needs pillow with libjpeg-turbo, numpy).
"""

import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLINGS = {"full": 0, "half": 1, "quarter": 2}


def picture(width, height, grey, rough):
    """Smooth waves; where they are rough, noise that leaves no coefficient zero."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    waves = 128 + 70 * np.sin(x / 9 + c) + 50 * np.cos(y / 7 - 2 * c)
    noise = (x * 7919 + y * 104729 + c * 1299709 + x * y * 31) % 113 - 56
    image = Image.fromarray((waves + rough * noise).clip(0, 255).astype(np.uint8))
    return image.convert("L") if grey else image


cases = []
for name, width, height, sampling, rough, options in [
    ("whole groups", 64, 48, "quarter", 1, {"quality": 90}),
    ("smooth", 75, 53, "quarter", 0, {"quality": 75}),
    ("coarse", 75, 53, "quarter", 1, {"quality": 5}),
    ("fine", 53, 37, "quarter", 1, {"quality": 100}),
    ("optimised", 75, 53, "quarter", 1, {"quality": 85, "optimize": True}),
    ("restarts", 75, 53, "quarter", 1, {"quality": 80, "restart_marker_blocks": 3}),
    ("restarts by row", 53, 75, "quarter", 1, {"quality": 80, "restart_marker_rows": 1}),
    ("a pixel more", 33, 17, "quarter", 1, {"quality": 80}),
    ("small", 5, 1, "quarter", 1, {"quality": 80}),
    ("half", 75, 53, "half", 1, {"quality": 80}),
    ("half, restarts", 33, 37, "half", 1, {"quality": 90, "restart_marker_blocks": 1}),
    ("full", 53, 37, "full", 1, {"quality": 80}),
    ("full, a pixel", 1, 1, "full", 1, {"quality": 80}),
    ("grey", 53, 37, "grey", 1, {"quality": 80}),
    ("grey, restarts", 37, 53, "grey", 1, {"quality": 80, "restart_marker_blocks": 2}),
]:
    buffer = io.BytesIO()
    more = {} if sampling == "grey" else {"subsampling": SAMPLINGS[sampling]}
    picture(width, height, sampling == "grey", rough).save(buffer, "JPEG", **options, **more)
    pixels = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
    cases.append({
        "name": name,
        "size": [width, height],
        "file": base64.b64encode(buffer.getvalue()).decode(),
        "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
    })
text = "[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n"
Path("test/goldens/jpeg.json").write_text(text)
