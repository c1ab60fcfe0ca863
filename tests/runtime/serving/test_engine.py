"""The engines say what the branch on the device says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.errors import BundleError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.serving.conversation import Conversation
from callm_edge.serving.engine import DeviceEngine
from callm_edge.serving.errors import ApiError
from callm_edge.serving.generation import Sampling
from callm_edge.stage2.device import DeviceBranch
from callm_edge.stage2.pictures import clip_pictures


def never() -> bool:
    return False


def test_the_server_answers_as_the_device_does(tiny_folder: Path, engine: DeviceEngine) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (60, 80, 3), np.uint8) for _ in range(8)]
    jpegs = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    clip = Clip(
        "e1", "h", 20.0, tuple(ClipFrame(i, i / 25, data, 18.0, ((20.0, 30.0),)) for i, data in enumerate(jpegs))
    )
    spoken = "".join(DeviceBranch(tiny_folder, threads=1).ask(clip, "Who?"))
    pictures = clip_pictures(images, [((20.0, 30.0),)] * 8)
    (video,) = engine.encode([pictures])
    reply = engine.reply(video, Conversation(None, (), "Who?"), Sampling(96), never)
    said = "".join(piece.text for piece in reply.pieces)
    assert said.rstrip("\ufffd") == spoken.rstrip("\ufffd") != ""  # half a character at the end shows here alone


def test_clips_of_a_batch_do_not_mix(engine: DeviceEngine) -> None:
    clips = [np.full((count, 224, 224, 3), tone, np.uint8) for count, tone in ((16, 20), (32, 120), (24, 220))]
    together = engine.encode(clips)
    for clip, video in zip(clips, together, strict=True):
        assert video.shape == (32, engine.width)
        np.testing.assert_allclose(video, engine.encode([clip])[0], rtol=1e-5)
    assert not np.allclose(together[0], together[1])


def test_a_system_message_takes_the_place_of_the_templates_own(engine: DeviceEngine) -> None:
    (video,) = engine.encode([np.zeros((16, 224, 224, 3), np.uint8)])
    own = engine.reply(video, Conversation(None, (), "Who?"), Sampling(1), never)
    short = engine.reply(video, Conversation("Hi.", (), "Who?"), Sampling(1), never)
    assert short.prompt_tokens < own.prompt_tokens
    with pytest.raises(ApiError, match="too long"):
        engine.reply(video, Conversation(None, (), "Who? " * 200), Sampling(1), never)


def test_a_folder_without_a_branch_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no video-language branch"):
        DeviceEngine(tmp_path)
