"""Records test/goldens/clip/{quick_gelu,gelu}: tiny random CLIPModels of transformers, with inputs, outputs and gradients.

Each folder is a Hugging Face model folder; golden.safetensors beside the model holds what transformers computes from it.
"""
import json
import shutil
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch

import torch
from tokenizers import Tokenizer, pre_tokenizers, trainers
from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

from tower_record import record_towers

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "clip"
CORPUS = """a photo of a cat. a photo of the large dog. art of the sea lion. itap of a bald eagle. a bad photo of the tabby cat.
a origami crane. a tench in a video game. a photo of the small great white shark. it's the dog's ball, they're playing.
red fox, grey wolf, 12 birds and 345 fish; mushrooms! window screens? (traffic light) café crème brûlée naïve über"""
TEXTS = ["a photo of a cat", "A Photo  of\tthe LARGE dog.", "it's they're we'd", "", "x", "café crème — naïve",
         "cafe\u0301 12345 67", "日本語 🦊 fox", "<|endoftext|> inside", "art of the sea lion, " * 6, "itap of a bald eagle.",
         "a\u00a0photo\u3000of\n\na cat  ", "sea-lion/otter_2x!?", "ÀÉÎ ß İ ΑΣ"]


def tokenizer():
    """A CLIP-form byte-level BPE, trained on the few lines above."""
    shape = CLIPTokenizerFast()
    inner: Tokenizer = shape.backend_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=780, initial_alphabet=sorted(alphabet), end_of_word_suffix="</w>", show_progress=False)
    inner.train_from_iterator(CORPUS.splitlines(), trainer)
    learned = json.loads(inner.to_str())["model"]
    # The order of OpenAI's vocabulary: bytes, bytes that end a word, merges, then the two special tokens.
    merges = [tuple(m) for m in learned["merges"]]
    words = sorted(alphabet) + [b + "</w>" for b in sorted(alphabet)]
    words += [w for a, b in merges if (w := a + b) not in words]
    vocab = {w: i for i, w in enumerate([*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizerFast(vocab=vocab, merges=merges, model_max_length=16)


tok = tokenizer()
words = len(tok)
start, end = tok.bos_token_id, tok.eos_token_id
SHAPES = {
    "quick_gelu": dict(
        text=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, eos_token_id=2),
        vision=dict(hidden_size=24, intermediate_size=64, num_hidden_layers=3, num_attention_heads=3, image_size=32, patch_size=8),
        projection_dim=20, act="quick_gelu"),
    "gelu": dict(
        text=dict(hidden_size=24, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, eos_token_id=end),
        vision=dict(hidden_size=40, intermediate_size=80, num_hidden_layers=2, num_attention_heads=5, image_size=32, patch_size=8,
                    layer_norm_eps=1e-6),
        projection_dim=16, act="gelu"),
}
# As CLIPImageProcessor writes it.
PREPROCESSOR = {
    "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
    "do_rescale": True, "do_resize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3,
    "rescale_factor": 1 / 255, "size": {"shortest_edge": 32},
}
GRADIENTS = ["vision_model.embeddings.class_embedding", "vision_model.embeddings.patch_embedding.weight",
             "vision_model.embeddings.position_embedding.weight", "vision_model.pre_layrnorm.weight",
             "vision_model.encoder.layers.0.self_attn.q_proj.weight", "vision_model.encoder.layers.1.self_attn.k_proj.weight",
             "vision_model.encoder.layers.1.self_attn.v_proj.weight", "vision_model.encoder.layers.0.mlp.fc1.weight",
             "vision_model.post_layernorm.bias", "visual_projection.weight",
             "text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight",
             "text_model.encoder.layers.1.self_attn.q_proj.weight", "text_model.encoder.layers.0.self_attn.out_proj.weight",
             "text_model.encoder.layers.0.mlp.fc2.weight", "text_model.final_layer_norm.weight", "text_projection.weight"]

for name, shape in SHAPES.items():
    torch.manual_seed(1)
    special = dict(bos_token_id=start, pad_token_id=end, vocab_size=words, max_position_embeddings=16, hidden_act=shape["act"])
    config = CLIPConfig(text_config={**special, **shape["text"]}, vision_config={"hidden_act": shape["act"], **shape["vision"]},
                        projection_dim=shape["projection_dim"])
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for n, p in model.named_parameters():  # every bias and norm differs from its start, so that none can be forgotten
            if n != "logit_scale":
                p.add_(torch.randn_like(p) * 0.1)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")

    model = model.double()
    texts = TEXTS[:6]
    ids = tok(texts, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids
    record_towers(folder / "golden.safetensors", model, ids, 32, shape["projection_dim"],
                  lambda pixels, ids: (model.visual_projection(model.vision_model(pixels).pooler_output),
                                       model.text_projection(model.text_model(ids).pooler_output)), GRADIENTS)
    if name == "gelu":
        whole = [tok(t).input_ids for t in TEXTS]
        cut = tok(TEXTS, padding="max_length", truncation=True, max_length=16).input_ids
        (out / "tokens.json").write_text(json.dumps({"texts": TEXTS, "ids": whole, "padded": cut}, ensure_ascii=False) + "\n")
