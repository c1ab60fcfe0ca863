"""Sizes of the video-language branch, as saved beside its weights. Without torch, so that others may read them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from callm_edge.stage2.pictures import CROPS
from callm_edge.stage2.prompts import FRAMES, QUERIES

Positive = Annotated[int, Field(gt=0)]


class VideoFormerConfig(BaseModel):
    """The part that is trained: temporal positions, video Q-Former, projection.

    hidden: width. layers, heads, feed_forward: of the Q-Former. queries: embeddings that the language model gets.
    positions: frames that have a position of their own. dropout: while training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: Positive = 768
    layers: Positive = 2
    heads: Positive = 12
    feed_forward: Positive = 3072
    queries: Positive = QUERIES
    positions: Positive = 32
    dropout: float = Field(0.1, ge=0, lt=1)


class VideoLlamaConfig(BaseModel):
    """The published model: EVA-CLIP g/14, BLIP-2's Q-Former, video Q-Former. Defaults are the released sizes.

    image: side of a picture, pixels. patch: of a ViT patch, pixels. vit_*: the vision transformer; vit_blocks counts
    the blocks in use (the file has one more). qformer_*: BLIP-2's Q-Former, cross-attention in every second layer.
    frames: pictures of a clip.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["video-llama"] = "video-llama"
    image: Positive = 224
    patch: Positive = 14
    vit_width: Positive = 1408
    vit_blocks: Positive = 39
    vit_heads: Positive = 16
    vit_feed_forward: Positive = 6144
    qformer_hidden: Positive = 768
    qformer_layers: Positive = 12
    qformer_heads: Positive = 12
    qformer_feed_forward: Positive = 3072
    frame_queries: Positive = 32
    frames: Positive = FRAMES
    video: VideoFormerConfig = VideoFormerConfig()

    @property
    def pictures(self) -> int:
        """Pictures of a clip."""
        return self.frames


class MiniConfig(BaseModel):
    """The embedded model: EfficientNet-Lite0 under a small video Q-Former.

    image: side of a picture, pixels. frames: uniform frames of a clip. crops: of each frame, around the peaks of its
    error map.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mini"] = "mini"
    image: Positive = 224
    frames: Positive = FRAMES
    crops: int = Field(CROPS, ge=0)
    video: VideoFormerConfig = VideoFormerConfig(hidden=256, heads=4, feed_forward=1024, positions=FRAMES)

    @property
    def pictures(self) -> int:
        """Pictures of a clip: all frames, then all crops."""
        return self.frames * (1 + self.crops)


BranchConfig = Annotated[VideoLlamaConfig | MiniConfig, Field(discriminator="kind")]
