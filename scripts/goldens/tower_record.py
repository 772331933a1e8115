"""What two towers of transformers, in float64, make of random images and of texts."""
import torch
from safetensors.torch import save_file


def record_towers(path, model, ids, size, width, features, gradients):
    """Saves inputs, features, what leaves the first blocks, logits, and the named gradients of a loss on the features.

    `features` gives the images' and the texts' from pixels and ids, before they are normalised, [6, width] each."""
    pixels = torch.randn(6, 3, size, size).float()
    output = model(input_ids=ids, pixel_values=pixels.double(), output_hidden_states=True)
    target = torch.randn(6, width).float()
    image, text = features(pixels.double(), ids)
    ((image * text).mean() + ((image + text) * target.double()).mean()).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if n in gradients}
    assert len(grads) == len(gradients)
    save_file({
        "pixels": pixels, "target": target, "ids": ids.int(),
        "image": image.detach().float(), "text": text.detach().float(), "logits": output.logits_per_image.detach().float().contiguous(),
        "vision_hidden_1": output.vision_model_output.hidden_states[1].detach().float().contiguous(),
        "text_hidden_1": output.text_model_output.hidden_states[1].detach().float().contiguous(),
        **{f"gradients/{n}": g.float().contiguous() for n, g in grads.items()},
    }, path)
