"""One instruction: a picture or a video, and what is asked and answered about it."""

from __future__ import annotations

from dataclasses import dataclass

from callm_edge.stage2.prompts import Medium, Turn

DESCRIBE = {"Image": "Describe this image in detail.", "Video": "Describe this video in detail."}


@dataclass(frozen=True)
class Instruction:
    """What is asked and answered about one picture or video.

    media: its path or name, as the file gives it. medium: which of the two. turns: at least one, all answered.
    media_last: whether the picture stands behind the first question rather than before it (LLaVA has both).
    caption_only: of a MiniGPT-4 file, whose captions the published code wraps otherwise than conversations.
    """

    media: str
    medium: Medium
    turns: tuple[Turn, ...]
    media_last: bool = False
    caption_only: bool = False

    def __post_init__(self) -> None:
        if not self.turns or any(turn.answer is None for turn in self.turns):
            raise ValueError("an instruction needs turns, and each its answer")

    @property
    def caption(self) -> str:
        """What the first turn answers."""
        return self.turns[0].answer or ""
