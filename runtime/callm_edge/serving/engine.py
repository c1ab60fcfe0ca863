"""What answers: a video-language model, and the two that we have behind one face."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from callm_edge.errors import UsageError
from callm_edge.serving.conversation import Conversation
from callm_edge.serving.errors import ApiError
from callm_edge.serving.generation import Continuation, Piece, Sampling, generate
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.decoder import Decoder, State
from callm_edge.stage2.pictures import SIDE, with_crops
from callm_edge.stage2.prompts import QUERIES, Prompt, Template, TextTokenizer, frames_message, template
from callm_edge.stage2.spec import LLM, Stage2Spec


@dataclass(frozen=True)
class Reply:
    """prompt_tokens: read before the answer, the video's 32 among them. pieces: to be taken once."""

    prompt_tokens: int
    pieces: Iterator[Piece]


class Engine(Protocol):
    """A model to serve. width: of its embeddings. side: pixels of the pictures it looks at.

    `encode` is called by one thread at a time, `reply` by several at once.
    """

    width: int
    side: int

    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(P, side, side, 3) RGB uint8 of each clip -> its (32, width) float32 video queries."""
        ...

    def reply(self, video: np.ndarray, talk: Conversation, sampling: Sampling, cancelled: Callable[[], bool]) -> Reply:
        """Read the prompt, which takes its time, and answer. Raises ApiError where it is too long."""
        ...


class Asking:
    """How a model is to be asked, shared by all engines. message: whether its prompts tell the frames' times."""

    def __init__(self, wrapping: Template, tokenizer: TextTokenizer, message: bool) -> None:
        self._template, self.tokenizer, self._message = wrapping, tokenizer, message
        self._lock = threading.Lock()  # the tokenizer keeps a setting between two of its steps

    def prompt(self, talk: Conversation) -> Prompt:
        wrapping = self._template if talk.system is None else self._template.with_system(talk.system)
        message = frames_message(talk.times_s) if self._message and talk.times_s else ""
        with self._lock:
            return wrapping.prompt(self.tokenizer, talk.question, message, talk.history)


class DeviceEngine:
    """The very files that the device runs, on ONNX Runtime and the CPU: see stage2.device.

    folder: `stage2` of a bundle. threads: of one call of ONNX Runtime; 0 is one per core. Raises BundleError where a
    part is missing, damaged, or does not fit the others.
    """

    side = SIDE

    def __init__(self, folder: Path, threads: int = 0) -> None:
        spec = Stage2Spec.read(folder)
        self._decoder = Decoder(folder / LLM, threads)
        self.width = self._decoder.spec.width
        self._encoder = ClipEncoder(folder, self.width, threads)
        self._asking = Asking(template(spec.template), self._decoder.tokenizer, spec.message)

    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See Engine.encode."""
        return [self._encoder.queries(self._encoder.features(with_crops(clip, self._encoder.crops))) for clip in clips]

    def reply(self, video: np.ndarray, talk: Conversation, sampling: Sampling, cancelled: Callable[[], bool]) -> Reply:
        """See Engine.reply."""
        prompt = self._asking.prompt(talk)
        embeds = [self._decoder.embed(prompt.before), video, self._decoder.embed(prompt.after)]
        try:
            state = self._decoder.prefill(np.concatenate(embeds), room=sampling.max_tokens)
        except UsageError as error:
            raise ApiError(400, str(error), "context_length_exceeded", "messages") from error
        endings = [*prompt.stops, *((token,) for token in self._decoder.spec.eos)]
        length = len(prompt.before) + QUERIES + len(prompt.after)
        sequence = _Sequence(self._decoder, state)
        return Reply(length, generate(sequence, self._asking.tokenizer, sampling, endings, cancelled))


class _Sequence(Continuation):
    def __init__(self, decoder: Decoder, state: State) -> None:
        self._decoder, self._state = decoder, state

    @property
    def logits(self) -> np.ndarray:
        assert self._state.logits is not None
        return self._state.logits

    @property
    def room(self) -> int:
        return self._state.capacity - self._state.length

    def push(self, token: int) -> None:
        self._state.feed(self._decoder.embed([token]))
