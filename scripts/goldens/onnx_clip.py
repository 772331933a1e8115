"""Records test/goldens/onnx-clip: a tiny random CLIPModel and SiglipModel of transformers, exported to ONNX in the ways that
people have them.

The exports follow optimum (inputs, outputs, free axes) with PyTorch's TorchScript exporter, and the conversion script of
transformers.js (float16 with float32 inputs and outputs; 8 bits for each channel with reduced range, unsigned where there is a
convolution). Files are stored compressed; golden.safetensors and model.safetensors hold what transformers has and computes.
"""
import copy
import gzip
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

import numpy
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantizationMode, QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.registry import IntegerOpsRegistry
from onnxruntime.transformers.float16 import convert_float_to_float16
from safetensors.torch import save, save_file
from transformers import AutoTokenizer, CLIPConfig, CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection
from transformers import SiglipConfig, SiglipModel

goldens = Path(__file__).resolve().parents[2] / "test" / "goldens"
out = goldens / "onnx-clip"
TEXTS = ["a photo of a cat", "A Photo  of\tthe LARGE dog.", "itap of a bald eagle.", ""]


def coarsen(which):
    """Weights of few bits, so that the files are small; float16 still has to round the larger ones."""
    for p in which.parameters():
        p.copy_((p * 2**14).round() / 2**14)


tok = AutoTokenizer.from_pretrained(goldens / "clip" / "gelu")
torch.manual_seed(7)
config = CLIPConfig(
    text_config=dict(hidden_size=8, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu",
                     vocab_size=len(tok), max_position_embeddings=16, bos_token_id=tok.bos_token_id,
                     eos_token_id=tok.eos_token_id, pad_token_id=tok.eos_token_id),
    vision_config=dict(hidden_size=12, intermediate_size=28, num_hidden_layers=2, num_attention_heads=3, hidden_act="quick_gelu",
                       image_size=16, patch_size=8),
    projection_dim=10)
model = CLIPModel(config).eval()
with torch.no_grad():
    for name, p in model.named_parameters():
        p.add_(torch.randn_like(p) * 0.2)
    for tower in (model.vision_model, model.text_model):
        # The exporter stores equal tensors once and refers to them by Identity nodes, also across modules.
        for layer in tower.encoder.layers:
            layer.layer_norm1.weight.fill_(1)
            layer.layer_norm1.bias.zero_()
            layer.self_attn.k_proj.bias.zero_()
        tower.encoder.layers[1].self_attn.v_proj.weight.copy_(tower.encoder.layers[0].self_attn.v_proj.weight)
    model.logit_scale.fill_(4.25)
    coarsen(model)


def tower(kind, part):
    """The tower alone, as CLIPTextModelWithProjection or CLIPVisionModelWithProjection has it."""
    part = copy.deepcopy(part)
    part.projection_dim = config.projection_dim
    alone = kind(part).eval()
    state = model.state_dict()
    alone.load_state_dict({name: state[name] for name in alone.state_dict()})
    return alone


vision = tower(CLIPVisionModelWithProjection, config.vision_config)
text = tower(CLIPTextModelWithProjection, config.text_config)
ids = tok(TEXTS, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids
pixels = torch.randn(4, 3, 16, 16)
batch, sequence = "batch_size", "sequence_length"
images = dict(args={"pixel_values": pixels}, inputs=["pixel_values"], axes={"pixel_values": {0: batch}})
words = dict(args={"input_ids": ids}, inputs=["input_ids"], axes={"input_ids": {0: batch, 1: sequence}})
both = dict(args={"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids)},
            inputs=["input_ids", "pixel_values", "attention_mask"],
            axes={"input_ids": {0: batch, 1: sequence}, "pixel_values": {0: "image_" + batch}, "attention_mask": {0: batch, 1: sequence}})


def export(module, path, args, inputs, axes, outputs, opset=14, dynamo=False):
    torch.onnx.export(module, (), path, kwargs=args, input_names=inputs, output_names=outputs, opset_version=opset, dynamo=dynamo,
                      **({"external_data": False, "verbose": False} if dynamo else
                         {"dynamic_axes": axes, "do_constant_folding": True}))


def as_transformers_js(source, target, weights):
    """8 bits in the way of transformers.js: each channel with its scale, reduced range."""
    quantizer = ONNXQuantizer(
        onnx.load(source), True, True, mode=QuantizationMode.IntegerOps, static=False, weight_qType=weights,
        activation_qType=QuantType.QUInt8, tensors_range=None, nodes_to_quantize=[], nodes_to_exclude=[],
        op_types_to_quantize=set(IntegerOpsRegistry.keys()), extra_options=dict(EnableSubgraph=True, MatMulConstBOnly=True))
    quantizer.quantize_model()
    onnx.save(quantizer.model.model, target)


def clean(path):
    """The bytes of a file without what the exporter notes beside the graph: stack traces with paths, shapes of values."""
    stripped = onnx.load(path, load_external_data=False)
    for node in stripped.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del stripped.graph.value_info[:]
    return stripped.SerializeToString()


def run(folder, suffix):
    """What ONNX Runtime computes from a pair of files."""
    found = {}
    for kind, feeds in (("vision", {"pixel_values": pixels.numpy()}), ("text", {"input_ids": ids.numpy()})):
        session = onnxruntime.InferenceSession(folder / f"{kind}_model{suffix}.onnx", providers=["CPUExecutionProvider"])
        found[kind] = session.run(["image_embeds" if kind == "vision" else "text_embeds"], feeds)[0]
    return found


def embed(which):
    """Image and text embeddings of a CLIPModel in double precision."""
    which = which.double()
    with torch.no_grad():
        image = which.visual_projection(which.vision_model(pixels.double()).pooler_output)
        return {"image": image.float(), "text": which.text_projection(which.text_model(ids).pooler_output).float()}


def dequantised(folder, suffix):
    """The model with the weights that a pair of 8-bit files stands for; its activations stay floats."""
    twin = copy.deepcopy(model)
    parameters = dict(twin.named_parameters())
    for kind in ("vision", "text"):
        graph = onnx.load(folder / f"{kind}_model{suffix}.onnx").graph
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        modules = {node.input[1]: ".".join(node.name.split("/")[1:-1]) for node in graph.node if node.op_type == "MatMulInteger"}
        for name in [name for name in stored if name.endswith("_quantized")]:
            base = name.removesuffix("_quantized")
            # Of matrices [in, out] and single scales alike, the scales lie along the last axis.
            zero, scale = stored[f"{base}_zero_point"].astype(numpy.int32), stored[f"{base}_scale"]
            weight = torch.from_numpy((stored[name].astype(numpy.int32) - zero).astype(numpy.float32) * scale)
            parameter = parameters[f"{modules[name]}.weight" if name in modules else base]
            parameter.data.copy_(weight.T if name in modules else weight)
    return twin


with tempfile.TemporaryDirectory() as scratch:
    at = Path(scratch)
    export(vision, at / "vision_model.onnx", **images, outputs=["image_embeds"])
    export(text, at / "text_model.onnx", **words, outputs=["text_embeds"])
    # All outputs of CLIPModel come in this order.
    export(model, at / "whole.onnx", **both, outputs=["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"], opset=17)
    onnx.save(onnx.load(at / "whole.onnx"), at / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=256)
    export(vision, at / "vision_model_dynamo.onnx", **images, outputs=["image_embeds"], opset=18, dynamo=True)
    for kind, weights in (("vision", QuantType.QUInt8), ("text", QuantType.QInt8)):
        source = at / f"{kind}_model.onnx"
        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), at / f"{kind}_model_fp16.onnx")
        as_transformers_js(source, at / f"{kind}_model_quantized.onnx", weights)
        quantize_dynamic(source, at / f"{kind}_model_int8.onnx", weight_type=QuantType.QInt8)
    # Only one product, because the packed blocks of so small matrices are larger than the floats.
    weight = onnx.numpy_helper.from_array(numpy.linspace(-1, 1, 64, dtype=numpy.float32).reshape(32, 2), "onnx::MatMul_1")
    tensors = [onnx.helper.make_tensor_value_info(n, 1, [1, width]) for n, width in (("x", 32), ("image_embeds", 2))]
    product = onnx.helper.make_node("MatMul", ["x", "onnx::MatMul_1"], ["image_embeds"], "/visual_projection/MatMul")
    graph = onnx.helper.make_graph([product], "main_graph", tensors[:1], tensors[1:], [weight])
    four = MatMulNBitsQuantizer(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), block_size=32)
    four.process()
    onnx.save(four.model.model, at / "vision_model_q4.onnx")

    shutil.rmtree(out, ignore_errors=True)
    (out / "onnx").mkdir(parents=True)
    for path in sorted(at.iterdir()):
        if path.name == "whole.onnx":
            continue
        data = clean(path) if path.suffix == ".onnx" else path.read_bytes()
        (out / "onnx" / f"{path.name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))

    # The exports compute what transformers computes, or they would prove nothing.
    with torch.no_grad():
        expected = {"vision": vision(**images["args"]).image_embeds.numpy(), "text": text(**words["args"]).text_embeds.numpy()}
    for suffix, limit in (("", 1e-5), ("_fp16", 0.02), ("_quantized", 0.5), ("_int8", 0.5)):
        for kind, found in run(at, suffix).items():
            worst = numpy.abs(found - expected[kind]).max()
            assert worst < limit, (suffix, kind, worst)
    quantised = {f"{kind}{suffix}": rows for suffix in ("_quantized", "_int8") for kind, rows in embed(dequantised(at, suffix)).items()}

(out / "config.json").write_text(json.dumps(json.loads(config.to_json_string()), indent=2) + "\n")
processor = json.loads((goldens / "clip" / "gelu" / "preprocessor_config.json").read_text())
processor.update(crop_size={"height": 16, "width": 16}, size={"shortest_edge": 16})
(out / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def save_weights(which, folder):
    weights = save({name: p.detach().float().contiguous() for name, p in which.named_parameters()}, {"format": "pt"})
    (folder / "model.safetensors.gz").write_bytes(gzip.compress(weights, 9, mtime=0))


save_weights(model, out)
save_file({"pixels": pixels, **embed(model), **quantised}, out / "golden.safetensors")
(out / "texts.json").write_text(json.dumps(TEXTS) + "\n")

# SigLIP, whose exporter folds the scale and bias of the logits into tensors without names.
base = json.loads((goldens / "clip" / "siglip" / "config.json").read_text())
small = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2)
siglip_config = SiglipConfig(text_config={**base["text_config"], **small, "projection_size": 8},
                             vision_config={**base["vision_config"], **small, "image_size": 16, "patch_size": 8})
torch.manual_seed(8)
siglip = SiglipModel(siglip_config).eval()
with torch.no_grad():
    for p in siglip.parameters():
        p.add_(torch.randn_like(p) * 0.2)
    coarsen(siglip)
length = siglip_config.text_config.max_position_embeddings
siglip_ids = torch.randint(0, siglip_config.text_config.vocab_size, (4, length))
with tempfile.TemporaryDirectory() as scratch:
    at = Path(scratch)
    export(siglip, at / "model.onnx", {"input_ids": siglip_ids, "pixel_values": pixels}, ["input_ids", "pixel_values"],
           {"input_ids": {0: batch}, "pixel_values": {0: "image_" + batch}},
           ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"])
    as_transformers_js(at / "model.onnx", at / "model_quantized.onnx", QuantType.QUInt8)
    (out / "siglip" / "onnx").mkdir(parents=True)
    for path in sorted(at.iterdir()):
        (out / "siglip" / "onnx" / f"{path.name}.gz").write_bytes(gzip.compress(clean(path), 9, mtime=0))
(out / "siglip" / "config.json").write_text(json.dumps(json.loads(siglip_config.to_json_string()), indent=2) + "\n")
save_weights(siglip, out / "siglip")
with torch.no_grad():
    image = siglip.double().vision_model(pixels.double()).pooler_output.float()
save_file({"image": image}, out / "siglip" / "golden.safetensors")
