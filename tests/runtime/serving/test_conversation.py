"""Messages to one clip, earlier turns and a question."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from callm_edge.serving.conversation import Conversation, read_conversation
from callm_edge.serving.errors import ApiError
from callm_edge.serving.limits import Limits
from callm_edge.serving.schemas import ChatRequest
from callm_edge.stage2.prompts import Turn

VIDEO = np.arange(32 * 4).reshape(32, 4)
CLIP = {
    "type": "video_embeddings",
    "video_embeddings": {"data": base64.b64encode(VIDEO.astype("<f2").tobytes()).decode(), "width": 4},
}


def read(*messages: tuple[str, Any], **limits: Any) -> Conversation:
    given = [{"role": role, "content": content} for role, content in messages]
    asked = ChatRequest.model_validate({"model": "m", "messages": given})
    return read_conversation(asked.messages, Limits(**limits), width=4)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_turns_system_and_clip_are_told_apart() -> None:
    talk = read(
        ("system", "Be brief."),
        ("developer", "Be kind."),
        ("user", [CLIP]),
        ("user", "Who is there?"),
        ("assistant", "A man."),
        ("user", [text("What does"), text("he do?")]),
    )
    assert talk.system == "Be brief.\nBe kind."
    assert talk.history == (Turn("Who is there?", "A man."),)
    assert talk.question == "What does\nhe do?"
    assert talk.pictures is None
    np.testing.assert_array_equal(talk.video, VIDEO.astype(np.float32))


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([("user", "Who?")], "nothing to look at"),
        ([("user", [CLIP])], "no question"),
        ([("user", [CLIP, text("  ")])], "no question"),
        ([("user", [CLIP, text("Who?")]), ("assistant", "Me.")], "no question"),
        ([("user", [CLIP, CLIP, text("Who?")])], "one clip"),
        ([("system", [CLIP]), ("user", "Who?")], "role system"),
        ([("assistant", "Me."), ("user", [CLIP, text("Who?")])], "needs a question"),
    ],
)
def test_what_cannot_be_answered_says_why(messages: list[tuple[str, Any]], why: str) -> None:
    with pytest.raises(ApiError, match=why) as caught:
        read(*messages)
    assert (caught.value.status, caught.value.code) == (400, "invalid_messages")


def test_there_is_a_bound_on_text_and_on_pictures(images: Callable[..., list]) -> None:
    with pytest.raises(ApiError, match="longer than 10"):
        read(("user", [CLIP, text("Who is it?!")]), text_characters=10)
    with pytest.raises(ApiError, match="more than 2 pictures") as caught:
        read(("user", [*images(1, 2, 3), text("Who?")]), pictures=2)
    assert caught.value.status == 413
