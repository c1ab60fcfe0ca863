"""Messages of a request to what a model is asked: one clip, earlier turns, and the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from callm_edge.serving.clips import read_embeddings, read_images, read_video
from callm_edge.serving.errors import ApiError
from callm_edge.serving.limits import Limits
from callm_edge.serving.schemas import EmbeddingsPart, ImagePart, Message, TextPart, VideoPart
from callm_edge.stage2.pictures import SIDE
from callm_edge.stage2.prompts import Turn


@dataclass(frozen=True)
class Conversation:
    """system: instead of the template's own, or None. history: answered turns. times_s: of the frames, if known.

    pictures: (2 N, side, side, 3) RGB uint8; video: (32, width) float32 where the client has encoded them already.
    Exactly one of the two is there.
    """

    system: str | None
    history: tuple[Turn, ...]
    question: str
    times_s: tuple[float, ...] = ()
    pictures: np.ndarray | None = None
    video: np.ndarray | None = None


def read_conversation(messages: Sequence[Message], limits: Limits, width: int, side: int = SIDE) -> Conversation:
    """Check the messages and decode what they show. width: of the language model's embeddings.

    All pictures of a conversation are one clip, whichever message they are in. Raises ApiError.
    """
    system: list[str] = []
    turns: list[Turn] = []
    question: str | None = None
    parts: list[ImagePart | VideoPart | EmbeddingsPart] = []
    characters = 0
    for message in messages:
        text, shown = _split(message)
        characters += len(text)
        if shown and message.role != "user":
            raise _wrong(f"A message of the role {message.role} holds pictures; only the user's can")
        parts += shown
        if message.role in ("system", "developer"):
            system.append(text)
        elif message.role == "user":
            # Some clients send the pictures and the question as two messages.
            question = text if not question else f"{question}\n{text}"
        else:
            if not question:
                raise _wrong("An answer of the assistant needs a question before it")
            turns.append(Turn(question, text))
            question = None
    if characters > limits.text_characters:
        raise ApiError(413, f"The text is longer than {limits.text_characters} characters", "text_too_long", "messages")
    if not question or not question.strip():
        raise _wrong("There is no question: the last message has to be the user's, with a text")
    pictures, times, video = _clip(parts, limits, width, side)
    return Conversation("\n".join(system) or None, tuple(turns), question, times, pictures, video)


def _split(message: Message) -> tuple[str, list[ImagePart | VideoPart | EmbeddingsPart]]:
    if isinstance(message.content, str):
        return message.content, []
    texts = [part.text for part in message.content if isinstance(part, TextPart)]
    return "\n".join(texts), [part for part in message.content if not isinstance(part, TextPart)]


def _clip(
    parts: Sequence[ImagePart | VideoPart | EmbeddingsPart], limits: Limits, width: int, side: int
) -> tuple[np.ndarray | None, tuple[float, ...], np.ndarray | None]:
    if not parts:
        raise _wrong("There is nothing to look at: give image_url parts, a video_url or video_embeddings")
    if len(parts) > limits.pictures:
        raise ApiError(413, f"There are more than {limits.pictures} pictures", "too_many_pictures", "messages")
    images = [part for part in parts if isinstance(part, ImagePart)]
    if images and len(images) == len(parts):
        return read_images([part.image_url.url for part in images], limits, side), (), None
    if len(parts) > 1:
        raise _wrong("A conversation is about one clip: several image_url parts, or one video_url or video_embeddings")
    if isinstance(parts[0], VideoPart):
        pictures, times = read_video(parts[0].video_url.url, limits, side)
        return pictures, times, None
    assert isinstance(parts[0], EmbeddingsPart)
    return None, (), read_embeddings(parts[0].video_embeddings, width)


def _wrong(why: str) -> ApiError:
    return ApiError(400, why, "invalid_messages", "messages")
