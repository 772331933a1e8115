"""Records test/goldens/clip/{siglip,siglip2}: tiny random SiglipModels of transformers, with inputs, outputs and gradients;
and siglip-images.json: what its image processor makes of images of several shapes.

Each folder is a Hugging Face model folder; golden.safetensors beside the model holds what transformers computes from it,
and tokens.json what its tokenizer makes of many texts. `siglip` has SigLIP's tokenizer (a sentencepiece unigram model),
`siglip2` SigLIP2's (Gemma's byte-pair form, in lower case). Needs sentencepiece and protobuf beside the other packages.
"""
import base64
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import numpy as np
import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import SiglipConfig, SiglipModel
from transformers.convert_slow_tokenizer import SpmConverter
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip.tokenization_siglip import SiglipTokenizer
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

from pattern import pattern
from tower_record import record_towers

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip"
CORPUS = """a photo of a cat. a photo of the large dog. art of the sea lion. itap of a bald eagle. a bad photo of the tabby cat.
a origami crane. a tench in a video game. a photo of the small great white shark. its the dogs ball theyre playing
red fox grey wolf 12 birds and 345 fish mushrooms window screens traffic light café crème brûlée naïve über
this is a photo of a golden retriever this is a photo of an apple pie a close up picture of the old church
two people walking on the beach at sunset with an umbrella several bottles of red wine on a wooden table"""
# How characters are rewritten before sentencepiece sees them: a few of the rules of nmt_nfkc.
RULES = {"\u00a0": " ", "\u200b": " ", "\u3000": " ", "\ufb01": "fi", "\u2460": "1", "\u00b2": "2", "\u2026": "...", "\uff21": "A",
         "\uff41": "a", "\uff42": "b", "\uff43": "c", "\uff5e": "~", "e\u0301": "\u00e9", "a\u0300\u0323": "a", "\u2122": "TM",
         "\ufeff": "", "\u00ad": "", "\u0007": ""}
WORDS = ["a photo of a", "the large dog", "cat", "sea-lion", "bald_eagle", "café", "CRÈME brûlée", "naïve", "über", "日本語", "🦊 fox", "12345",
         "it's they're", "(traffic light)", "великий", "ΑΣ ΟΔΟΣ", "İstanbul", "ﬁne", "x²", "①", "…", "Ａａｂ", "e\u0301clair",
         "cafe\u0301", "a\u0300\u0323", "zero\u200bwidth", "soft\u00adhyphen", "tab\there", "line\n\nfeed", "a\u00a0b\u3000c", "wide   space",
         "\u0085next", "unit\u001fsep", "™", "&amp;", "<b>bold</b>", "{}", "~", "ß", "▁", "a▁b", "👩‍👩‍👧 family", "🇩🇪", "\ufeffbom",
         "!?", "C++ / C#", "50%", "@home", "über-naïve", "screens", "zzzz qqqq", "éèê", "ﬀ", "Ⅷ", "ǆ", "Ω"]
TEXTS = ["a photo of a cat", "This is a photo of A Golden Retriever.", "it's they're we'd", "", "x", " leading space", "trailing  ", "...",
         "!a mark first", "</s>", "a </s> b", "<unk> inside", "the</s>end", "<eos> inside <pad>", "<EOS>", "art of the sea lion, " * 12, "▁under", " ", "\n",
         *WORDS, *[f"{a} {b}" for a, b in zip(WORDS, WORDS[7:] + WORDS[:7])], *[f"{a}{b}" for a, b in zip(WORDS[3:], WORDS)],
         *[f"a photo of the {w}." for w in WORDS], *[w.upper() for w in WORDS]]
LENGTH = 12


def siglip_tokenizer(folder):
    """A unigram model with the settings of SigLIP's."""
    work = Path(tempfile.mkdtemp())
    (work / "corpus.txt").write_text(CORPUS.lower().replace(".", ""))
    rules = [" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) for a, b in RULES.items()]
    (work / "rules.tsv").write_text("\n".join(rules) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(work / "corpus.txt"), model_prefix=str(work / "spiece"), vocab_size=300, model_type="unigram",
        normalization_rule_tsv=str(work / "rules.tsv"), pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
        minloglevel=2, num_threads=1)
    # The file names those it was made from.
    proto = sentencepiece_model_pb2.ModelProto.FromString((work / "spiece.model").read_bytes())
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.ClearField("model_prefix")
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    (work / "spiece.model").write_bytes(proto.SerializeToString())
    tokenizer = SiglipTokenizer(str(work / "spiece.model"), model_max_length=LENGTH, model_input_names=["input_ids"])
    tokenizer.save_pretrained(folder)
    shutil.rmtree(work)
    return SiglipTokenizer.from_pretrained(folder)


class Converter(SpmConverter):
    """tokenizer.json of the same model, as T5's converter would write it."""

    def post_processor(self):
        return processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 1)])


def siglip2_tokenizer(folder):
    """A byte-pair model with Gemma's settings: spaces as ▁, bytes for characters that are not known."""
    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    inner.train_from_iterator(CORPUS.lower().splitlines(), trainers.BpeTrainer(vocab_size=260, show_progress=False))
    learned = json.loads(inner.to_str())["model"]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    names = [*special, *(f"<0x{b:02X}>" for b in range(256)), "\n\n", "▁▁", *learned["vocab"]]
    vocab = {name: i for i, name in enumerate(dict.fromkeys(names))}
    merges = [tuple(m) for m in learned["merges"]]
    tokenizer = Siglip2Tokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH, padding_side="right",
                                 add_bos_token=False, add_eos_token=True, model_input_names=["input_ids"])
    # Gemma has such tokens too: they are found before anything is normalised.
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False)])
    tokenizer.save_pretrained(folder)
    # What a checkpoint's file holds: the normaliser is Gemma's, the class adds the lower case.
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n")
    return Siglip2Tokenizer.from_pretrained(folder)


GRADIENTS = ["vision_model.embeddings.patch_embedding.weight", "vision_model.embeddings.patch_embedding.bias",
             "vision_model.embeddings.position_embedding.weight", "vision_model.encoder.layers.0.self_attn.q_proj.weight",
             "vision_model.encoder.layers.1.mlp.fc1.weight", "vision_model.post_layernorm.weight", "vision_model.head.probe",
             "vision_model.head.attention.in_proj_weight", "vision_model.head.attention.in_proj_bias",
             "vision_model.head.attention.out_proj.weight", "vision_model.head.layernorm.bias", "vision_model.head.mlp.fc2.weight",
             "text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight",
             "text_model.encoder.layers.0.self_attn.k_proj.weight", "text_model.encoder.layers.0.mlp.fc1.bias",
             "text_model.final_layer_norm.weight", "text_model.head.weight", "text_model.head.bias"]

SHAPES = {
    "siglip": dict(
        tokenizer=siglip_tokenizer,
        text=dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, pad_token_id=1, eos_token_id=1),
        vision=dict(hidden_size=24, intermediate_size=36, num_hidden_layers=3, num_attention_heads=3, image_size=32, patch_size=8)),
    # An image that is not a whole number of patches (as so400m's), towers of different widths, the plain GELU.
    "siglip2": dict(
        tokenizer=siglip2_tokenizer,
        text=dict(hidden_size=16, intermediate_size=28, num_hidden_layers=1, num_attention_heads=2, projection_size=20,
                  pad_token_id=0, bos_token_id=2, eos_token_id=1, hidden_act="gelu"),
        vision=dict(hidden_size=20, intermediate_size=32, num_hidden_layers=2, num_attention_heads=5, image_size=28, patch_size=6)),
}
for name, shape in SHAPES.items():
    torch.manual_seed(2)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tok = shape["tokenizer"](folder)
    config = SiglipConfig(text_config={"vocab_size": len(tok), "max_position_embeddings": LENGTH, **shape["text"]},
                          vision_config=shape["vision"])
    model = SiglipModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():  # every bias and norm differs from its start, so that none can be forgotten
            p.add_(torch.randn_like(p) * 0.1)
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-3.7)
    model.save_pretrained(folder)
    size = shape["vision"]["image_size"]
    processor = {"do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
                 "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "resample": 3 if name == "siglip" else 2,
                 "rescale_factor": 1 / 255, "size": {"height": size, "width": size}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")

    model = model.double()
    ids = tok(TEXTS[:6], padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids
    record_towers(folder / "golden.safetensors", model, ids, size, shape["vision"]["hidden_size"],
                  lambda pixels, ids: (model.vision_model(pixels).pooler_output, model.text_model(ids).pooler_output), GRADIENTS)
    whole = [tok(t).input_ids for t in TEXTS]
    cut = tok(TEXTS, padding="max_length", truncation=True, max_length=LENGTH).input_ids
    (folder / "tokens.json").write_text(json.dumps({"texts": TEXTS, "ids": whole, "padded": cut}, ensure_ascii=False) + "\n")
    if name == "siglip":
        (folder / "converted-tokenizer.json").write_text(Converter(tok).converted().to_str() + "\n")


images = []
for width, height, size, resample in [(24, 18, 10, 3), (24, 18, 10, 2), (9, 40, 16, 3), (224, 224, 224, 3), (640, 427, 224, 3),
                                      (427, 640, 224, 2), (30, 20, 64, 3), (1, 1, 8, 2), (2000, 12, 28, 3)]:
    process = SiglipImageProcessorPil(size={"height": size, "width": size}, resample=resample)
    pixels = np.asarray(process(pattern(width, height), return_tensors="np").pixel_values[0], dtype=np.float32)
    data = pixels.tobytes()
    recorded = {"base64": base64.b64encode(data).decode()} if len(data) <= 1500 else {"sha256": hashlib.sha256(data).hexdigest()}
    images.append({"width": width, "height": height, "size": size, "resample": resample, **recorded})
(out / "siglip-images.json").write_text("[\n" + ",\n".join(map(json.dumps, images)) + "\n]\n")
