"""The trained half of the branch: features of a clip's pictures -> embeddings that the language model reads."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from callm_edge.stage2.motion import CHANNELS, FLOW
from callm_edge.stage2.torch_model.config import VideoFormerConfig
from callm_edge.stage2.torch_model.efficientnet import CELL_CHANNELS, HEAD

INITIAL_STD = 0.02
USUAL = 0.36  # a clip's motion is made as loud as on the plaza
FAINT = 0.09  # and what is fainter than this four times louder at most


class VideoFormer(nn.Module):
    """Temporal positions, video Q-Former, linear projection: Video-LLaMA's vision-language branch above the frames."""

    def __init__(self, config: VideoFormerConfig, llm_width: int) -> None:
        super().__init__()
        self.positions = config.positions
        self.frame_position = nn.Embedding(config.positions, config.hidden)
        self.query_tokens = nn.Parameter(torch.empty(1, config.queries, config.hidden).normal_(std=INITIAL_STD))
        self.qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.feed_forward,
                encoder_hidden_size=config.hidden,
                cross_attention_frequency=1,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
            )
        )
        self.projection = nn.Linear(config.hidden, llm_width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, pictures, tokens, width) -> (B, queries, llm_width)."""
        return self.attend(features, torch.arange(features.shape[1], device=features.device))

    def attend(self, features: Tensor, times: Tensor, asked: Tensor | None = None) -> Tensor:
        """(B, P, tokens, hidden) whose picture p was seen at frame times[p] -> (B, queries, llm_width).

        asked: (B, 1, hidden), added to the queries.
        """
        placed = features + self.frame_position(times)[None, :, None, :]
        queries = self.query_tokens.expand(placed.shape[0], -1, -1)
        if asked is not None:
            queries = queries + asked
        hidden = self.qformer(query_embeds=queries, encoder_hidden_states=placed.flatten(1, 2)).last_hidden_state
        return cast(Tensor, self.projection(hidden))


class MiniVideoFormer(VideoFormer):
    """The same above EfficientNet's cells: each says where in its picture it lies, whether that is a crop, and how what
    it shows moves.

    The pooled token hears of the motion of all cells: whether a way is wrong is a matter of where. So do the queries,
    of all frames: among 1600 tokens they would find it late.
    """

    WIDTH = CELL_CHANNELS + CHANNELS  # of a token: the encoder's, and motion

    def __init__(self, config: VideoFormerConfig, llm_width: int, cells: int, crops: int) -> None:
        super().__init__(config, llm_width)
        self.crops, self.cells = crops, cells
        self.from_cell = nn.Linear(CELL_CHANNELS, config.hidden)
        self.from_pooled = nn.Linear(HEAD, config.hidden)
        self.norm = nn.LayerNorm(config.hidden)
        self.place = nn.Parameter(torch.empty(cells + 1, config.hidden).normal_(std=INITIAL_STD))
        self.kind = nn.Embedding(2, config.hidden)
        self.from_motion = nn.Linear(CHANNELS, config.hidden, bias=False)
        self.from_motions = nn.Linear(CHANNELS * cells, config.hidden, bias=False)
        self.to_queries = nn.Linear(config.hidden, config.hidden, bias=False)
        for embedding in (self.frame_position, self.kind):
            nn.init.normal_(embedding.weight, std=INITIAL_STD)

    def forward(self, features: Tensor) -> Tensor:
        """(B, P, cells + 4, 338), all frames and then all crops, by rank -> (B, queries, llm_width).

        320 wide, as of the encoder alone: nothing is known to move.
        """
        if features.shape[3] == CELL_CHANNELS:
            features = F.pad(features, (0, CHANNELS))
        pictures = features.shape[1]
        frames = pictures // (1 + self.crops)
        features = features.to(self.from_cell.weight.dtype)
        features, motion = features[..., :CELL_CHANNELS], features[:, :, : self.cells, CELL_CHANNELS:]
        motion = torch.cat([_against_the_usual(motion[..., :FLOW], frames), motion[..., FLOW:]], dim=3)
        motions = self.from_motions(motion.flatten(2))
        moved = torch.cat([self.from_motion(motion), motions[:, :, None]], dim=2)
        cells = self.from_cell(features[:, :, : self.cells])
        pooled = self.from_pooled(features[:, :, self.cells :].flatten(2))[:, :, None]
        at = torch.arange(pictures, device=features.device)
        hidden = (
            self.norm(torch.cat([cells, pooled], dim=2))
            + moved
            + self.place
            + self.kind((at >= frames).long())[None, :, None, :]
        )
        asked = self.to_queries(F.gelu(motions[:, :frames])).mean(1, keepdim=True)
        return self.attend(hidden, at % frames, asked)

    @torch.no_grad()
    def match_scale(self, embeddings: Tensor) -> None:
        """Let the first outputs be as large as the language model's (V, W) own `embeddings`, so that it reads them."""
        rms = float(embeddings.float().square().mean().sqrt())
        nn.init.normal_(self.projection.weight, std=rms / self.projection.in_features**0.5)
        nn.init.zeros_(self.projection.bias)


def _against_the_usual(motion: Tensor, frames: int) -> Tensor:
    """Flow divided by the clip's usual one: how fast people cross a picture is a matter of where the camera hangs.

    motion: (B, P, cells, 8), the first `frames` of P those of whole frames.
    """
    whole = motion[:, :frames]
    # Weighted by itself: most cells lie still, and how many do is not how fast the rest moves.
    usual = whole.square().sum((1, 2, 3), keepdim=True) / whole.sum((1, 2, 3), keepdim=True).clamp(min=1e-3)
    return motion * (USUAL / usual.clamp(min=FAINT))
