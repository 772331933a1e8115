"""Records test/goldens/semantic: tiny random sentence models in sentence-transformers' own folders, with ONNX graphs as optimum
exports them, and what sentence-transformers computes from each: token ids, pooled and normalised vectors, and mean cosines."""
import json
import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.modules["torchvision"] = None  # not needed here; transformers would import it, and fail where it does not fit torch
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import onnx
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, PreTrainedTokenizerFast

out = Path(__file__).resolve().parents[2] / "test" / "goldens" / "semantic"
WORDS = "a an b c d dog cat red panda wolf sea lion hot ##dog ##s ##ing ##ly fox tele ##phone e ##e ##t x ##x ##a ##c ##b h run ' , . - ice cream".split()
TEXTS = ["dog", "Dogs", "hot dog", "hotdog", "red panda", "café", "Él", "", "  sea   lion ", "zebra", "ice-cream", "dog 狗", "running",
         "dog " * 20, "tele\u200bphone", "fox's", "a\tcat\n", "\u0130ce", "[MASK] cat"]


def tokenizer(first, last, pad, unknown, mask, folder):
    """WordPiece with BERT's normaliser; the special words of BERT or of MPNet."""
    words = [first, pad, last, unknown, mask, *WORDS]
    model = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token=unknown))
    model.normalizer = normalizers.BertNormalizer(lowercase=True)
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.post_processor = processors.TemplateProcessing(f"{first} $A {last}", f"{first} $A {last} $B {last}", [(first, 0), (last, 2)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=model, cls_token=first, sep_token=last, bos_token=first, eos_token=last, pad_token=pad, unk_token=unknown,
        mask_token=mask, model_max_length=16)
    fast.save_pretrained(folder)
    return len(words)


def export(model, path, types):
    """As optimum does: the hidden states, with free numbers of texts and tokens."""
    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return self.model(**dict(zip(names, inputs))).last_hidden_state

    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if types else [])
    ones = torch.ones(2, 5, dtype=torch.int64)
    free = {0: "batch_size", 1: "sequence_length"}
    torch.onnx.export(
        Hidden().eval(), (ones,) * len(names), path, input_names=names, output_names=["last_hidden_state"], opset_version=14,
        dynamo=False, dynamic_axes={name: free for name in [*names, "last_hidden_state"]})
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.doc_string = ""
    onnx.save(graph, path)


def build(name, kind, pooling, normalise, longest, legacy):
    folder = out / name
    with tempfile.TemporaryDirectory() as scratch:
        torch.manual_seed(3)
        special = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]") if kind == "bert" else ("<s>", "</s>", "<pad>", "[UNK]", "<mask>")
        size = tokenizer(*special, scratch)
        shape = dict(vocab_size=size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
                     max_position_embeddings=20, pad_token_id=1)
        model = (BertModel(BertConfig(**shape), add_pooling_layer=False) if kind == "bert" else
                 MPNetModel(MPNetConfig(**shape), add_pooling_layer=False)).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.3)
        model.save_pretrained(scratch)
        word = Transformer(scratch, max_seq_length=longest)
        modules = [word, Pooling(8, pooling_mode=pooling)] + ([Normalize()] if normalise else [])
        sentences = SentenceTransformer(modules=modules, device="cpu")
        with torch.no_grad():
            vectors = sentences.encode(TEXTS, batch_size=len(TEXTS), convert_to_tensor=True)
            tokens = [sentences.tokenize([text])["input_ids"][0].tolist() for text in TEXTS]
        shutil.rmtree(folder, ignore_errors=True)
        sentences.save(str(folder), create_model_card=False)
        (folder / "model.safetensors").unlink()
        (folder / "onnx").mkdir()
        export(model, str(folder / "onnx" / "model.onnx"), kind == "bert")
    for path in (*folder.glob("*.json"), *folder.glob("*/*.json")):
        path.write_text(json.dumps(json.loads(path.read_text()), indent=1, ensure_ascii=False) + "\n")
    if legacy:
        # As the repositories on the hub have it, which are older.
        modes = [pooling] if isinstance(pooling, str) else pooling
        keys = dict(cls="cls_token", max="max_tokens", mean="mean_tokens", mean_sqrt_len_tokens="mean_sqrt_len_tokens",
                    weightedmean="weightedmean_tokens", lasttoken="lasttoken")
        config = dict(word_embedding_dimension=8, **{f"pooling_mode_{key}": mode in modes for mode, key in keys.items()})
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        again = SentenceTransformer(modules=[word, Pooling.load(str(folder / "1_Pooling"))] + ([Normalize()] if normalise else []), device="cpu")
        assert torch.equal(again.encode(TEXTS, batch_size=len(TEXTS), convert_to_tensor=True), vectors)
        for path, short in (("modules.json", "sentence_transformers.models."),):
            listed = json.loads((folder / path).read_text())
            for module in listed:
                module["type"] = short + module["type"].split(".")[-1]
            (folder / path).write_text(json.dumps(listed, indent=1) + "\n")
        (folder / "sentence_bert_config.json").write_text(json.dumps(dict(max_seq_length=longest, do_lower_case=False)) + "\n")
    pairs = [(0, 1), (2, 3), (4, 9), (5, 5), (8, 16)]
    from sentence_transformers.util import cos_sim
    cosines = [float(cos_sim(vectors[a], vectors[b])) for a, b in pairs]
    return {"name": name, "tokens": tokens, "vectors": vectors.tolist(), "pairs": pairs, "cosines": cosines}


out.mkdir(exist_ok=True)
cases = [
    build("mpnet", "mpnet", "mean", True, 12, legacy=True),
    build("bert-cls", "bert", "cls", True, 12, legacy=True),
    build("bert-all", "bert", ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"), False, 10, legacy=False),
]
(out / "golden.json").write_text(json.dumps({"texts": TEXTS, "models": cases}, indent=0) + "\n")
