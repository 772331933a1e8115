"""Records test/goldens/clip/vocabulary.json.gz: OpenAI's vocabulary as transformers builds it, and the ids of 5,000 texts.

For each text the first 8 hex digits of the sha256 of its ids (int32, little endian, cut to 77, without padding) by transformers'
CLIPTokenizer and by open_clip's SimpleTokenizer; for 50 of them transformers' ids themselves. The texts are drawn from a seed.
"""
import gzip
import hashlib
import json
import os
import random
import struct
import tempfile
import unicodedata
from pathlib import Path

import torch

# torchvision's own operators are not needed; where its build does not fit torch, importing it asks for their names.
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import open_clip.tokenizer
from transformers import CLIPTokenizer

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip" / "vocabulary.json.gz"
draw = random.Random("clip tokens")

lines = gzip.open(open_clip.tokenizer.default_bpe()).read().decode().split("\n")
merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
letters = list(open_clip.tokenizer.bytes_to_unicode().values())
words = letters + [x + "</w>" for x in letters] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
theirs = CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges)
simple = open_clip.tokenizer.SimpleTokenizer()

with tempfile.TemporaryDirectory() as folder:
    theirs.save_pretrained(folder)
    tokenizer = json.loads(Path(folder, "tokenizer.json").read_text())
model = tokenizer["model"]
vocab = sorted(model["vocab"], key=model["vocab"].get)
assert list(model["vocab"].values()) == list(range(len(vocab)))
model["vocab"] = hashlib.sha256("\n".join(vocab).encode()).hexdigest()
model["merges"] = hashlib.sha256("\n".join(" ".join(m) for m in model["merges"]).encode()).hexdigest()

ENGLISH = [w[:-4] for w in words if w.endswith("</w>") and len(w) > 6 and w[:-4].isascii() and w[:-4].isalpha()]
SCRIPTS = ["LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "THAI", "LAO",
           "TIBETAN", "MYANMAR", "GEORGIAN", "HANGUL", "ETHIOPIC", "CHEROKEE", "KHMER", "MONGOLIAN", "HIRAGANA", "KATAKANA",
           "CJK", "GOTHIC", "DESERET", "CUNEIFORM", "MATHEMATICAL", "YI", "VAI", "BAMUM", "TAGALOG"]
POINTS = [chr(c) for c in range(0x20, 0x1FFFF) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co", "Cc")]
SCRIPT_POINTS = {s: [p for p in POINTS if unicodedata.name(p, "").startswith(s) and unicodedata.category(p)[0] in "LMN"] for s in SCRIPTS}
COMBINING = [chr(c) for c in range(0x300, 0x370)] + ["\u0323", "\u093c", "\u0e31", "\u20dd", "\u3099"]
EMOJI = [chr(c) for c in [*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6D8), *range(0x1F900, 0x1FA00), *range(0x2600, 0x2700)]]
SPACES = ["\t", "\n", "\v", "\f", "\r", "\x1c", "\x1f", " ", "\x85", "\xa0", "\u1680", "\u2003", "\u200a", "\u2028", "\u2029", "\u202f",
          "\u205f", "\u3000", "\u200b", "\u200d", "\ufeff", "\u180e", "  "]
ENTITIES = ["&amp;", "&lt;", "&gt;", "&#39;", "&quot;", "&eacute;", "&amp;amp;", "&nbsp;", "&#x1F98A;", "&notanentity;", "&", "&copy"]
FTFY = ["\u201cquoted\u201d", "it\u2019s", "\ufb01sh", "\uff21\uff22\uff23\uff11", "caf\u00c3\u00a9", "\u00e2\u20ac\u2122s", "\x1b[31mred\x1b[0m", "a\r\nb", "\ufffd"]
CONTRACTIONS = ["it's", "IT'S", "they're", "we'VE", "I'm", "you'll", "he'd", "don't", "'s", "''s", "rock'n'roll", "o'clock", "'tis"]
SPECIAL = ["<|startoftext|>", "<|endoftext|>", "x<|ENDOFTEXT|>", "<| endoftext |>", "<start_of_text>", "<end_of_text>", "<|endoftext|"]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["...", "--", "?!", "\u2014", "\u2026", "\u00a9", "\u20ac"]


def english(low=1, high=8):
    chosen = draw.choices(ENGLISH, k=draw.randint(low, high))
    return " ".join(draw.choice([str, str, str.title, str.upper])(w) for w in chosen)


def script():
    points = SCRIPT_POINTS[draw.choice(SCRIPTS)]
    return " ".join("".join(draw.choices(points, k=draw.randint(1, 7))) for _ in range(draw.randint(1, 3)))


def emoji():
    kinds = [lambda: draw.choice(EMOJI), lambda: draw.choice(EMOJI) + "\ufe0f",
             lambda: "\u200d".join(draw.choices(EMOJI, k=3)), lambda: draw.choice(EMOJI) + chr(0x1F3FB + draw.randrange(5)),
             lambda: "".join(chr(0x1F1E6 + draw.randrange(26)) for _ in range(2)), lambda: draw.choice("0123456789#*") + "\ufe0f\u20e3"]
    return draw.choice(["", " "]).join(draw.choice(kinds)() for _ in range(draw.randint(1, 4))) + draw.choice(["", " " + english(1, 2)])


def mixed(parts, low=1, high=4):
    return "".join(draw.choice(["", " "]) + draw.choice([english(1, 2), draw.choice(parts)]) for _ in range(draw.randint(low, high))) + draw.choice(parts)


KINDS = [
    ("english", 1100, lambda: draw.choice(["a photo of a {}.", "itap of the {}.", "{}", "{}, {}!"]).replace("{}", english(1, 3))),
    ("scripts", 1000, script),
    ("emoji", 600, emoji),
    ("combining marks", 350, lambda: "".join(draw.choice("aeiouncsAEIOUÅéσ") + "".join(draw.choices(COMBINING, k=draw.randint(0, 3))) for _ in range(draw.randint(1, 8)))),
    ("case", 250, lambda: mixed(["İstanbul", "STRASSE ß ẞ", "ΟΔΟΣ", "ΑΣ ΣΑΣ", "ǅ ǈ", "ŉ", "Ⅷ", "ⓐⒷ", "K Å Ω", "ı I"])),
    ("numbers", 200, lambda: mixed([str(draw.randrange(10**6)), "3.14", "1,000", "x2", "²³", "½", "٣٤", "Ⅳ", "1st"])),
    ("punctuation", 350, lambda: mixed(PUNCTUATION, 1, 6)),
    ("contractions", 150, lambda: mixed(CONTRACTIONS)),
    ("whitespace", 250, lambda: mixed(SPACES, 2, 5)),
    ("control characters", 100, lambda: mixed([chr(c) for c in [*range(32), *range(127, 160)]])),
    ("entities", 150, lambda: mixed(ENTITIES)),
    ("what ftfy mends", 100, lambda: mixed(FTFY)),
    ("special tokens", 50, lambda: mixed(SPECIAL)),
    ("any characters", 200, lambda: "".join(draw.choices(POINTS, k=draw.randint(1, 8)))),
    ("long", 150, lambda: draw.choice([english(60, 90), draw.choice(ENGLISH) * draw.randint(30, 80), draw.choice(EMOJI) * 60, ("a photo of a cat, " * 20)[: draw.randint(280, 320)]])),
]


def digest(ids):
    """Padding is the end token too, so a text that ends in one cannot be told from a padded one: it counts once."""
    while len(ids) > 1 and ids[-2] == 49407:
        ids = ids[:-1]
    return hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()[:8]


def cut(ids):
    return ids if len(ids) <= 77 else [*ids[:76], 49407]


kinds, texts, ours, open_clips, full = [], [], [], [], {}
for kind, count, make in KINDS:
    kinds.append([kind, count])
    for i in range(count):
        text = make()
        ids = theirs(text, truncation=True, max_length=77)["input_ids"]
        other = cut([simple.sot_token_id, *simple.encode(text), simple.eot_token_id])
        if i < 3 or kind == "long" and i < 8:
            full[len(texts)] = ids
        texts.append(text)
        ours.append(digest(ids))
        open_clips.append(digest(other))
assert len(texts) == 5000
at = 0
for kind, count in kinds:
    differ = sum(a != b for a, b in zip(ours[at : at + count], open_clips[at : at + count]))
    print(f"{kind}: {count} texts, open_clip differs in {differ}")
    at += count
golden = {"tokenizer": tokenizer, "kinds": kinds, "texts": texts, "transformers": "".join(ours), "open_clip": "".join(open_clips), "ids": full}
with gzip.GzipFile(out, "wb", 9, mtime=0) as file:
    file.write(json.dumps(golden, ensure_ascii=False).encode())
print(os.path.getsize(out), "bytes")
