"""The two towers of a CLIPModel as transformers.js keeps them: exported as optimum does, float16 and 8 bits as its conversion script."""
import logging
import warnings

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

SUFFIX = {"onnx": "", "onnx-float16": "_fp16", "onnx-int8": "_int8"}


def export_towers(model, form, folder):
    """Writes vision_model….onnx and text_model….onnx into a folder."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    folder.mkdir()
    size = model.config.vision_config.image_size
    towers = {
        "vision": (CLIPVisionModelWithProjection, model.config.vision_config, {"pixel_values": torch.zeros(2, 3, size, size)},
                   {"pixel_values": {0: "batch_size"}}, "image_embeds"),
        "text": (CLIPTextModelWithProjection, model.config.text_config, {"input_ids": torch.arange(32).reshape(2, 16)},
                 {"input_ids": {0: "batch_size", 1: "sequence_length"}}, "text_embeds"),
    }
    for name, (kind, config, inputs, axes, output) in towers.items():
        config.projection_dim = model.config.projection_dim
        alone = kind(config).eval()
        state = model.state_dict()
        alone.load_state_dict({key: state[key] for key in alone.state_dict()})
        plain, path = folder / f"{name}_model.onnx", folder / f"{name}_model{SUFFIX[form]}.onnx"
        torch.onnx.export(alone, (), plain, kwargs=inputs, input_names=list(inputs), output_names=[output], dynamic_axes=axes,
                          opset_version=14, do_constant_folding=True, dynamo=False)
        if form == "onnx-float16":
            onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), path)
        elif form == "onnx-int8":
            quantize_dynamic(plain, path, weight_type=QuantType.QInt8)
        if path != plain:
            plain.unlink()
