"""How the language model is asked: templates, the sentence about the frames, token ids around the video, stop tokens.

The 32 video queries stand where a template says `<ImageHere>`. A prompt is therefore two lists of token ids, `before`
and `after` the video; tuning puts 32 placeholders between them, answering the 32 embeddings.

Templates: `v0`, `v1` and `v2` are Video-LLaMA's own (first release; Vicuna; LLaMA-2-chat), token by token as the
published code writes them; `chatml` is for `mini` (SmolLM2-Instruct).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from callm_edge.errors import UsageError
from callm_edge.names import nearest

QUERIES = 32
FRAMES = 8
VIDEO_MARK = "<ImageHere>"
YES, NO = "Yes", "No"
# The two questions of the cascade, in the words of the tuning data.
ABNORMAL_QUESTION = "Is there any abnormal event in this video? Answer yes or no."
EXPLAIN_QUESTION = "What is abnormal in this video?"
SYSTEM = (
    "You are able to understand the visual content that the user provides."
    " Follow the instructions carefully and explain your answers in detail."
)
Medium = Literal["Video", "Image"]


class TextTokenizer(Protocol):
    """What prompts need of a tokenizer. size: ids it gives out; the id `size` is free for the video placeholder."""

    size: int

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids, nothing added around them; with `special` false, no part of the text is a special token."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def id(self, token: str) -> int: ...


@dataclass(frozen=True)
class Turn:
    """A question and, unless it is the last one, what was answered."""

    question: str
    answer: str | None = None


@dataclass(frozen=True)
class Part:
    """A stretch of a prompt: plain text, a special token (`mark`), the video, or what the model said (`answer`)."""

    kind: Literal["text", "mark", "video", "answer"]
    text: str


@dataclass(frozen=True)
class Prompt:
    """Token ids on both sides of the video. stops: token sequences that end an answer. text: the same to read."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    stops: tuple[tuple[int, ...], ...]
    text: str

    def token_ids(self, placeholder: int, queries: int = QUERIES) -> list[int]:
        """One list, with `queries` times the id `placeholder` where the video goes."""
        return [*self.before, *[placeholder] * queries, *self.after]


@dataclass(frozen=True)
class Template(ABC):
    """A way of wrapping turns. system: what stands before all turns. joined: see `encode`."""

    name: str
    system: str
    joined: bool = True

    @abstractmethod
    def parts(self, turns: Sequence[Turn], message: str, medium: Medium) -> list[Part]:
        """The whole conversation; where the last turn has no answer it ends where the model is to go on."""

    @abstractmethod
    def stops(self, tokenizer: TextTokenizer) -> tuple[tuple[int, ...], ...]:
        """Token sequences of which each ends an answer."""

    def prompt(
        self,
        tokenizer: TextTokenizer,
        question: str,
        message: str = "",
        history: Sequence[Turn] = (),
        medium: Medium = "Video",
    ) -> Prompt:
        """Ask `question` after the answered turns of `history`. message: see `frames_message`.

        Raises UsageError where the question is empty.
        """
        if not question.strip():
            raise UsageError("The question is empty", "", "Ask something, such as: what is in his hand?")
        if any(turn.answer is None for turn in history):
            raise ValueError("every earlier turn needs its answer")
        parts = self.parts([*history, Turn(question)], message, medium)
        where = next(i for i, part in enumerate(parts) if part.kind == "video")
        before = [*self.opening(tokenizer), *self.encode(parts[:where], tokenizer)]
        after = self.encode(parts[where + 1 :], tokenizer)
        return Prompt(tuple(before), tuple(after), self.stops(tokenizer), "".join(part.text for part in parts))

    def opening(self, tokenizer: TextTokenizer) -> list[int]:
        """Ids that stand before everything."""
        return [tokenizer.id("<s>")]

    def encode(self, parts: Sequence[Part], tokenizer: TextTokenizer) -> list[int]:
        """Token ids of parts without a video.

        Where `joined`, plain text and answers that touch are one string to the tokenizer, as the published code has
        it; else each part is a string of its own, so that a longer conversation begins with the ids of a shorter one.
        Words of a user never become special tokens.
        """
        ids: list[int] = []
        text = ""
        for part in (*parts, Part("mark", "")):
            if part.kind != "mark" and self.joined:
                text += part.text
                continue
            if text:
                ids += tokenizer.encode(text, special=False)
                text = ""
            if part.kind == "mark":
                ids += [tokenizer.id(part.text)] if part.text else []
            elif part.text:
                ids += tokenizer.encode(part.text, special=False)
        return ids

    def answer_ids(self, tokenizer: TextTokenizer, answer: str) -> list[int]:
        """Ids of an answer's first words where the model is to go on."""
        return tokenizer.encode(answer, special=False)

    def cleaned(self, text: str) -> str:
        """A decoded answer without what models add around it."""
        return text.strip()

    def with_system(self, system: str) -> Template:
        return replace(self, system=system)


@dataclass(frozen=True)
class HashTemplate(Template):
    """Turns between '###', as Vicuna v0 was tuned. tag: what wraps the video, or None for the medium's name."""

    tag: str | None = None

    def parts(self, turns: Sequence[Turn], message: str, medium: Medium) -> list[Part]:
        parts = [Part("text", f"{self.system}###")]
        for number, turn in enumerate(turns):
            parts.append(Part("text", "Human: "))
            if number == 0:
                parts += _wrapped(self.tag or medium, "" if self.tag else f" {message}")
                parts.append(Part("text", " "))
            parts.append(Part("text", f"{turn.question}###Assistant:"))
            if turn.answer is not None:
                parts += [Part("text", " "), Part("answer", turn.answer), Part("text", "###")]
        return parts

    def stops(self, tokenizer: TextTokenizer) -> tuple[tuple[int, ...], ...]:
        # The tokenizer has '###' as one token at a word's beginning, and as '##', '#' elsewhere.
        alone = tokenizer.encode("###", special=False)
        return tuple(alone), tuple(tokenizer.encode("\n###", special=False)[-2:])

    def cleaned(self, text: str) -> str:
        return text.split("###")[0].split("Assistant:")[-1].strip()


@dataclass(frozen=True)
class LlamaTwoTemplate(Template):
    """[INST] turns of LLaMA-2-chat."""

    def parts(self, turns: Sequence[Turn], message: str, medium: Medium) -> list[Part]:
        parts: list[Part] = []
        for number, turn in enumerate(turns):
            if number:
                parts.append(Part("mark", "<s>"))
            parts.append(Part("text", "[INST] "))
            if number == 0:
                parts.append(Part("text", f"<<SYS>>\n{self.system}\n<</SYS>>\n\n"))
                parts += _wrapped(medium, f" {message}")
                parts.append(Part("text", " "))
            parts.append(Part("text", f"{turn.question} [/INST]"))
            if turn.answer is not None:
                parts += [Part("text", " "), Part("answer", turn.answer), Part("text", " "), Part("mark", "</s>")]
        return parts

    def stops(self, tokenizer: TextTokenizer) -> tuple[tuple[int, ...], ...]:
        return ((tokenizer.id("</s>"),),)

    def cleaned(self, text: str) -> str:
        return text.split("</s>")[0].split("ASSISTANT:")[-1].strip()


@dataclass(frozen=True)
class ChatMlTemplate(Template):
    """<|im_start|> turns of SmolLM2-Instruct."""

    joined: bool = False

    def parts(self, turns: Sequence[Turn], message: str, medium: Medium) -> list[Part]:
        end = [Part("mark", "<|im_end|>"), Part("text", "\n")]
        parts = [Part("mark", "<|im_start|>"), Part("text", f"system\n{self.system}"), *end]
        for number, turn in enumerate(turns):
            parts += [Part("mark", "<|im_start|>"), Part("text", "user\n")]
            if number == 0:
                parts += _wrapped(medium, f" {message}")
            parts += [Part("text", turn.question), *end]
            parts += [Part("mark", "<|im_start|>"), Part("text", "assistant\n")]
            if turn.answer is not None:
                parts += [Part("answer", turn.answer), *end]
        return parts

    def stops(self, tokenizer: TextTokenizer) -> tuple[tuple[int, ...], ...]:
        return ((tokenizer.id("<|im_end|>"),), (tokenizer.id("<|endoftext|>"),))

    def opening(self, tokenizer: TextTokenizer) -> list[int]:
        return []

    def cleaned(self, text: str) -> str:
        return text.split("<|im_end|>")[0].strip()


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        HashTemplate(
            "v0",
            "Give the following image/video: <Vision>VisionContent</Vision>. You will be able to see the image/video"
            " once I provide it to you. Please answer my questions.",
            tag="Vision",
        ),
        HashTemplate("v1", SYSTEM),
        LlamaTwoTemplate("v2", SYSTEM),
        # Short: the device reads these tokens before every answer.
        ChatMlTemplate("chatml", "You watch a surveillance camera."),
    )
}


def template(name: str) -> Template:
    """The template of that name. Raises UsageError."""
    if name not in TEMPLATES:
        raise UsageError(
            f"There is no prompt template '{name}'", f"known are {', '.join(TEMPLATES)}", nearest(name, TEMPLATES)
        )
    return TEMPLATES[name]


def frames_message(times_s: Sequence[float]) -> str:
    """What Video-LLaMA is told of the frames. times_s: seconds from the clip's beginning, one per frame.

    Ends in a space; a question follows it after one more, as in the published prompts.
    """
    listed = ", ".join(str(round(time, 1)) for time in times_s)
    return f"The video contains {len(times_s)} frames sampled at {listed} seconds. "


def frame_indices(frames: int, count: int = FRAMES) -> list[int]:
    """Indices of `count` uniform frames of a clip, `numpy.arange(0, n, n / count)` cut to integers.

    A clip shorter than `count` frames gives each of its frames once. Raises UsageError for an empty clip.
    """
    if frames < 1:
        raise UsageError("The clip has no frames", "", "Give the event more pre- and post-roll")
    count = min(count, frames)
    return [i * frames // count for i in range(count)]


def placeholder_runs(ids: Sequence[int], placeholder: int) -> Iterator[tuple[int, int]]:
    """(start, length) of every run of placeholders in `ids`."""
    start = None
    for at, token in enumerate((*ids, -1)):
        if token == placeholder and start is None:
            start = at
        elif token != placeholder and start is not None:
            yield start, at - start
            start = None


def _wrapped(tag: str, behind: str) -> list[Part]:
    return [Part("text", f"<{tag}>"), Part("video", VIDEO_MARK), Part("text", f"</{tag}>{behind}")]
