"""The frozen half of the branch: pictures -> features of each picture. What it gives can be cached."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel, Blip2VisionConfig, Blip2VisionModel

from callm_edge.stage2.torch_model.config import VideoLlamaConfig
from callm_edge.stage2.torch_model.efficientnet import CELL_CHANNELS, HEAD, EfficientNetLite0, normalise

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LN_VISION_EPS = 1e-5  # of the published `ln_vision`, unlike the blocks' 1e-6
STRIDE = 32  # of EfficientNet's last map


class EvaQFormer(nn.Module):
    """EVA-CLIP's vision transformer and BLIP-2's Q-Former, picture by picture.

    image: side of a picture. tokens, width: a picture's features are (tokens, width).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: VideoLlamaConfig) -> None:
        super().__init__()
        self.image, self.tokens, self.width = config.image, config.frame_queries, config.qformer_hidden
        self.vision = Blip2VisionModel(
            Blip2VisionConfig(
                hidden_size=config.vit_width,
                intermediate_size=config.vit_feed_forward,
                num_hidden_layers=config.vit_blocks,
                num_attention_heads=config.vit_heads,
                image_size=config.image,
                patch_size=config.patch,
                hidden_act="gelu",
                layer_norm_eps=1e-6,
                qkv_bias=True,
            )
        )
        self.vision.post_layernorm.eps = LN_VISION_EPS
        self.qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=config.qformer_hidden,
                num_hidden_layers=config.qformer_layers,
                num_attention_heads=config.qformer_heads,
                intermediate_size=config.qformer_feed_forward,
                encoder_hidden_size=config.vit_width,
                cross_attention_frequency=2,
            )
        )
        self.query_tokens = nn.Parameter(torch.zeros(1, config.frame_queries, config.qformer_hidden))
        # On the CPU whatever the default device: nothing loads these two.
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(CLIP_MEAN, device="cpu").view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD, device="cpu").view(shape), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, S, S, 3) RGB, 0..255, uint8 or float -> (N, tokens, width)."""
        pixels = pictures.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        pixels = (pixels - self.mean) / self.std
        image_embeds = self.vision(pixels.to(self.query_tokens.dtype)).last_hidden_state
        queries = self.query_tokens.expand(image_embeds.shape[0], -1, -1)
        return cast(Tensor, self.qformer(query_embeds=queries, encoder_hidden_states=image_embeds).last_hidden_state)


class LiteGrid(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    A picture's features are one tensor (cells + 4, 320): the last block's map, row by row, then the pooled head of
    1280 channels in four rows. So they are a quarter of the head's own map, and the head's nonlinear features are
    there too.
    """

    def __init__(self, image: int = 224) -> None:
        super().__init__()
        self.image = image
        self.cells = (image // STRIDE) ** 2
        self.tokens, self.width = self.cells + HEAD // CELL_CHANNELS, CELL_CHANNELS
        self.net = EfficientNetLite0()
        # The classifier is not used; without it the exported graph and the saved weights are smaller.
        self.net._fc = nn.Identity()  # type: ignore[assignment]

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, S, S, 3) RGB, 0..255, uint8 or float -> (N, tokens, width)."""
        pixels = normalise(pictures).to(self.net._conv_stem.weight.dtype)
        cells, pooled = self.net.features(pixels)
        return torch.cat([cells.flatten(2).transpose(1, 2), pooled.unflatten(1, (-1, CELL_CHANNELS))], dim=1)
