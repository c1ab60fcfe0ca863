"""Stage 2 on this device, step by step and as a whole, on a clip of the plaza."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from callm_bench import footage
from callm_bench.setting import Setting
from callm_bench.stage import Call, SkipError, Stage, ready
from callm_edge.plaza import FPS
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.decoder import Decoder
from callm_edge.stage2.device import DeviceBranch
from callm_edge.stage2.motion import Motion
from callm_edge.stage2.pictures import CROPS, shown
from callm_edge.stage2.prompts import FRAMES, QUERIES, Prompt, TextTokenizer, frames_message, template
from callm_edge.stage2.spec import LLM, Stage2Spec
from callm_edge.stage2.text import TOKENIZER, Tokenizer
from callm_edge.stage2.view import ClipView

CLIP_FRAMES = 50  # 2 s
ROOM = 64  # tokens decoded before the state is set back to the prompt


def stages(setting: Setting) -> list[Stage]:
    """Clip packing needs no branch; the others are left out where the bundle has none."""
    clip = footage.clip(footage.images(CLIP_FRAMES), setting.bundle.ways)
    folder = setting.bundle.stage2_path
    crops = Stage2Spec.read(folder).crops if folder else CROPS

    view = ClipView(clip, crops)

    def pack() -> np.ndarray:
        return ClipView(clip, crops).pictures()

    def move() -> Motion:
        return Motion(clip.frames, shown(len(clip.frames)), view.images, clip.ways)

    branch = cache(lambda: _Parts(folder or Path(), view, setting.threads))

    def of_branch(call: Callable[[_Parts], Call]) -> Callable[[ExitStack], Call]:
        def open_(stack: ExitStack) -> Call:
            if folder is None:
                raise SkipError(f"the bundle '{setting.bundle.name}' has no stage 2")
            return call(branch())

        return open_

    def judging(parts: _Parts) -> Call:
        whole = DeviceBranch(parts.folder, setting.threads)
        return lambda: whole.judge(clip)

    return [
        Stage("clip packing", ready(pack), "clip", note="8 frames from JPEG, squares of them and of their crops"),
        Stage("motion", ready(move), "clip", note="optical flow of the 8 frames, each and the one after it"),
        Stage("vision encode", of_branch(lambda parts: lambda: parts.encoder.features(parts.pictures)), "clip"),
        Stage("Q-Former", of_branch(lambda parts: lambda: parts.encoder.queries(parts.features)), "clip"),
        Stage("prefill", of_branch(lambda parts: parts.prefill), "question", note="the whole prompt, the video in it"),
        Stage("decode", of_branch(lambda parts: parts.decoding()), "token"),
        Stage("verdict on the device", of_branch(judging), "clip", note="yes or no, and only after yes why"),
    ]


def first_question(spec: Stage2Spec, tokenizer: TextTokenizer) -> Prompt:
    """Yes or no, about a clip of 2 s."""
    message = frames_message([at * CLIP_FRAMES / FRAMES / FPS for at in range(FRAMES)]) if spec.message else ""
    return template(spec.template).prompt(tokenizer, spec.abnormal_question, message)


def prompt_tokens(folder: Path) -> int:
    """How long that question is, the video's queries in it. folder: `stage2` of a bundle."""
    prompt = first_question(Stage2Spec.read(folder), Tokenizer(folder / LLM / TOKENIZER))
    return len(prompt.before) + QUERIES + len(prompt.after)


@dataclass
class _Parts:
    """The branch in its parts, each loaded as the device loads it."""

    folder: Path
    view: ClipView
    threads: int

    def __post_init__(self) -> None:
        spec = Stage2Spec.read(self.folder)
        self.decoder = Decoder(self.folder / LLM, self.threads)
        self.encoder = ClipEncoder(self.folder, self.decoder.spec.width, self.threads)
        self.pictures, motion = self.view.pictures(), self.view.motion()
        self.features = self.encoder.features(self.pictures, motion)
        prompt = first_question(spec, self.decoder.tokenizer)
        embed = self.decoder.embed
        video = self.encoder.queries(self.features)
        self.prompt = np.concatenate([embed(prompt.before), video, embed(prompt.after)])

    def prefill(self) -> object:
        return self.decoder.prefill(self.prompt, room=0)

    def decoding(self) -> Call:
        room = min(ROOM, self.decoder.spec.context - len(self.prompt))
        state = self.decoder.prefill(self.prompt, room=room)
        assert state.logits is not None
        token, length = int(np.argmax(state.logits)), state.length

        def decode() -> None:
            nonlocal token
            if state.length == state.capacity:
                state.truncate(length)
            state.feed(self.decoder.embed([token]))
            assert state.logits is not None
            token = int(np.argmax(state.logits))

        return decode
