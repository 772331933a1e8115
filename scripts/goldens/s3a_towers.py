"""The towers of the training goldens in PyTorch: transformers' CLIP and SigLIP, and the folded residual tower."""
from torch import nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, SiglipVisionConfig, SiglipVisionModel

WIDTH = 12


class Folded(nn.Module):
    """The folded residual tower: every convolution has a bias and no normalisation follows."""

    def __init__(self, c):
        super().__init__()
        half, stem = c["stem_width"] // 2, c["stem_width"]
        self.stem = nn.ModuleList([nn.Conv2d(3, half, 3, 2, 1), nn.Conv2d(half, half, 3, 1, 1), nn.Conv2d(half, stem, 3, 1, 1)])
        self.stages, width = nn.ModuleList(), stem
        for w in c["widths"]:
            block = nn.ModuleDict({"conv1": nn.Conv2d(width, w, 3, 1, 1), "conv2": nn.Conv2d(w, w, 3, 1, 1)})
            if width != w:
                block["downsample"] = nn.Conv2d(width, w, 1)
            self.stages.append(nn.ModuleList([block]))
            width = w
        self.visual_projection = nn.Linear(width, WIDTH, bias=False)

    def forward(self, x):
        x = F.relu(self.stem[1](F.relu(self.stem[0](x))))
        x = F.relu(self.stem[2](F.avg_pool2d(x, 2)))
        for i, (block,) in enumerate(self.stages):
            x = F.avg_pool2d(x, 2) if i > 0 else x
            x = F.relu(block["conv2"](F.relu(block["conv1"](x))) + (block["downsample"](x) if "downsample" in block else x))
        return self.visual_projection(x.mean((2, 3)))


class Vit(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**c, projection_dim=WIDTH))

    def forward(self, x):
        return self.clip(pixel_values=x).image_embeds


class Siglip(SiglipVisionModel):
    def __init__(self, c):
        super().__init__(SiglipVisionConfig(**c))

    def forward(self, x):
        return super().forward(pixel_values=x).pooler_output
