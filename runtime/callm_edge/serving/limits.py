"""How much one client may ask of the server. Each limit is checked before what it limits is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from callm_edge.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """body_bytes: of a request. body_s: seconds within which it must have come. pictures: parts of a message that are
    pictures, or frames in one JPEG film. picture_pixels: of one picture, read from its header. video_frames: of a film.
    text_characters: of all messages together. max_tokens: of an answer; who asks for more gets this many. waiting:
    requests being answered or waiting; the next is told to come back. batch: clips encoded together at most. parallel:
    answers being written at the same time.
    """

    body_bytes: int = 32 << 20
    body_s: float = 30.0
    pictures: int = 256
    picture_pixels: int = 9_000_000
    video_frames: int = 4500
    text_characters: int = 32_768
    max_tokens: int = 512
    waiting: int = 64
    batch: int = 1
    parallel: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"The limit {name} is {value}", "it must be more than 0")
