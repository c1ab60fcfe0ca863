"""The video-language branch on this device: ONNX Runtime for the vision half, the int4 decoder for the words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.decoder import Decoder, State
from callm_edge.stage2.ledger import Ledger
from callm_edge.stage2.prompts import NO, YES, Prompt, Turn, frames_message, template
from callm_edge.stage2.spec import LLM, Stage2Spec
from callm_edge.stage2.view import ClipView

ANSWER_TOKENS = 96  # of a free question


class DeviceBranch:
    """See Branch.

    folder: `stage2` of a bundle. threads: of ONNX Runtime; 0 is one per core. Raises BundleError where a part is
    missing, damaged, or does not fit the others.
    """

    name = "device"

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self._spec = Stage2Spec.read(folder)
        self._decoder = Decoder(folder / LLM, threads)
        self._encoder = ClipEncoder(folder, self._decoder.spec.width, threads)
        self._template = template(self._spec.template)
        self._answers = [self._template.answer_ids(self._decoder.tokenizer, answer) for answer in (YES, NO)]

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        """See Branch.judge."""
        ledger = Ledger()
        seen = self._see(clip, ledger)
        probability = self._probability(seen, ledger)
        abnormal = probability >= self._spec.threshold
        pieces: list[str] = []
        if abnormal:
            second = self._read(seen, self._spec.explain_question, ledger, (self._spec.answered_yes,))
            for piece in one_line(self._generate(second, self._spec.max_tokens)):
                pieces.append(piece)
                say(piece)
            ledger.step("decode")
        explanation, reason = self._template.cleaned("".join(pieces)), "this device alone is asked"
        return Verdict(clip.event_id, abnormal, round(probability, 6), explanation, self.name, reason, ledger.steps)

    def probability(self, clip: Clip) -> float:
        """Of the answer yes to the first question: what the threshold is held against."""
        ledger = Ledger()
        return self._probability(self._see(clip, ledger), ledger)

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        """See Branch.ask."""
        ledger = Ledger()
        seen = self._see(clip, ledger)
        yield from self._generate(self._read(seen, question, ledger), ANSWER_TOKENS)

    def _see(self, clip: Clip, ledger: Ledger) -> _Seen:
        """What of a prompt is the same for every question: all up to the end of the video, read once."""
        view = ClipView(clip, self._encoder.crops)
        pictures = view.pictures()
        ledger.step("pictures")
        motion = view.motion() if self._encoder.moving else None
        ledger.step("motion")
        features = self._encoder.features(pictures, motion)
        ledger.step("encode")
        video = self._encoder.queries(features)
        ledger.step("qformer")
        seen = _Seen(frames_message(view.times_s) if self._spec.message else "")
        before = self._prompt(seen, self._spec.abnormal_question).before
        seen.state = self._decoder.prefill(np.concatenate([self._decoder.embed(before), video]), room=0)
        ledger.step("prefill")
        return seen

    def _probability(self, seen: _Seen, ledger: Ledger) -> float:
        first = self._read(seen, self._spec.abnormal_question, ledger)
        probability = self._decoder.answer_probability(first, *self._answers)
        ledger.step("answer")
        return probability

    def _read(self, seen: _Seen, question: str, ledger: Ledger, history: tuple[Turn, ...] = ()) -> State:
        after = self._prompt(seen, question, history).after
        # A conversation goes on where its first question ended.
        known = len(seen.asked) if seen.asked and after[: len(seen.asked)] == seen.asked else 0
        state = self._decoder.prefill(self._decoder.embed(after[known:]), after=seen.first if known else seen.state)
        if not seen.asked:
            seen.asked, seen.first = after, state
        ledger.step("prefill")
        return state

    def _generate(self, state: State, tokens: int) -> Iterator[str]:
        return self._decoder.generate(state, tokens, self._template.stops(self._decoder.tokenizer))

    def _prompt(self, seen: _Seen, question: str, history: tuple[Turn, ...] = ()) -> Prompt:
        return self._template.prompt(self._decoder.tokenizer, question, seen.message, history)


def one_line(pieces: Iterable[str]) -> Iterator[str]:
    """The first line of a text that comes in pieces, and no further one asked for: verdicts are read as lines."""
    begun = False
    for piece in pieces:
        line, broken, _ = (piece if begun else piece.lstrip()).partition("\n")
        begun = begun or bool(line)
        if line:
            yield line
        if broken and begun:
            return


@dataclass
class _Seen:
    """A clip as read so far. state: up to the end of the video. asked: token ids of the first question about it, first:
    the state behind them."""

    message: str
    state: State | None = None
    asked: tuple[int, ...] = ()
    first: State | None = None
