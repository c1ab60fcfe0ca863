"""An instruction -> token ids and labels: which tokens are learnt, per template.

The published code's habits are kept to the token, odd ones too, so that tuning goes on where the released checkpoints
left off: v1 also learns the '###' before a question, because it leaves two tokens of each question unmasked and counts
the beginning-of-sequence token of every sentence; v2 marks its questions one token short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from callm_edge.errors import UserError
from callm_edge.stage2.prompts import (
    QUERIES,
    ChatMlTemplate,
    HashTemplate,
    LlamaTwoTemplate,
    Part,
    Template,
    TextTokenizer,
    Turn,
    placeholder_runs,
)
from callm_export.instructions.instruction import Instruction

IGNORED = -100
LONGEST = 512  # tokens, of the published code
HEADER = "\n\n"  # before the first '###': the tuning data has no system text


@dataclass(frozen=True)
class Example:
    """token_ids: with the video's placeholders in place. labels: the same ids where learnt, else -100."""

    token_ids: tuple[int, ...]
    labels: tuple[int, ...]


def example(
    instruction: Instruction,
    template: Template,
    tokenizer: TextTokenizer,
    message: str = "",
    longest: int = LONGEST,
) -> Example:
    """Ids and labels of an instruction, cut to `longest` tokens.

    message: about the frames, see `frames_message`; only videos have it. The tokenizer's first free id (`size`) is the
    placeholder. Raises UserError where the cut leaves no room for the video or nothing to learn.
    """
    if instruction.caption_only and not isinstance(template, ChatMlTemplate):
        ids, labels = _caption(instruction, template, tokenizer)
    elif isinstance(template, HashTemplate):
        ids, labels = _hashes(instruction, tokenizer, message)
    elif isinstance(template, LlamaTwoTemplate):
        ids, labels = _llama_two(instruction, tokenizer, message)
    elif isinstance(template, ChatMlTemplate):
        ids, labels = _chatml(instruction, template, tokenizer, message)
    else:
        raise TypeError(f"no label masks are known for the template '{template.name}'")
    ids, labels = ids[:longest], labels[:longest]
    runs = list(placeholder_runs(ids, tokenizer.size))
    # What v1 learns before the video is its '###' only.
    learnt = sum(label != IGNORED for label in labels[sum(runs[0]) :]) if runs else 0
    if [length for _, length in runs] != [QUERIES] or not learnt:
        seen = sum(length for _, length in runs)
        raise UserError(
            f"The instruction about {instruction.media} does not fit",
            f"of its first {longest} tokens {seen} stand for the video, {learnt} are learnt",
            "Shorten its first question, or allow longer ones",
        )
    return Example(tuple(ids), tuple(labels))


def collate(examples: Sequence[Example], padding: int = 0) -> dict[str, np.ndarray]:
    """Examples -> token_ids, labels (B, T) int64 and attention_mask (B, T) bool, padded on the right."""
    width = max(len(example.token_ids) for example in examples)
    ids = np.full((len(examples), width), padding, np.int64)
    labels = np.full((len(examples), width), IGNORED, np.int64)
    mask = np.zeros((len(examples), width), bool)
    for row, one in enumerate(examples):
        count = len(one.token_ids)
        ids[row, :count], labels[row, :count], mask[row, :count] = one.token_ids, one.labels, True
    return {"token_ids": ids, "labels": labels, "attention_mask": mask}


def _questions(instruction: Instruction, message: str) -> list[list[Part]]:
    """Parts of each question, the first with the video in it, as the published data sets build them."""
    first = instruction.turns[0].question
    video = [Part("text", f"<{instruction.medium}>"), Part("video", ""), Part("text", f"</{instruction.medium}>")]
    if instruction.medium == "Video":
        head = [*video, Part("text", f" {message}{first}")]
    elif instruction.media_last:
        head = [Part("text", f"{first}\n"), *video]
    else:
        head = [*video, Part("text", f"\n{first}")]
    return [head, *([Part("text", turn.question)] for turn in instruction.turns[1:])]


def _hashes(instruction: Instruction, tokenizer: TextTokenizer, message: str) -> tuple[list[int], list[int]]:
    sentences: list[list[Part]] = []
    for turn, question in zip(instruction.turns, _questions(instruction, message), strict=True):
        sentences.append([Part("text", "###Human: "), *question, Part("text", "\n")])
        sentences.append([Part("text", f"###Assistant: {turn.answer}\n")])
    whole = [Part("text", HEADER), *(part for sentence in sentences for part in sentence), Part("text", "###")]
    ids = _with_start(whole, tokenizer)
    labels = list(ids)
    at = len(_with_start([Part("text", HEADER)], tokenizer))
    labels[:at] = [IGNORED] * at
    for number, sentence in enumerate(sentences):
        count = len(_with_start(sentence, tokenizer))
        if number % 2 == 0:
            _mask(labels, at + 2, at + count)
        at += count
    return ids, labels


def _llama_two(instruction: Instruction, tokenizer: TextTokenizer, message: str) -> tuple[list[int], list[int]]:
    start, end = Part("mark", "<s>"), Part("mark", "</s>")
    whole: list[Part] = []
    rounds: list[tuple[int, int]] = []
    for number, (turn, question) in enumerate(zip(instruction.turns, _questions(instruction, message), strict=True)):
        # The system text of the tuning data is one space.
        system = [Part("text", "<<SYS>>\n \n<</SYS>>\n\n")] if number == 0 else []
        asked = [*([start] if number else []), Part("text", "[INST] "), *system, *question, Part("text", " [/INST]")]
        answered = [Part("text", f" {turn.answer} ")]
        rounds.append(
            (
                len(_with_start([*asked, *answered], tokenizer)),
                len(_with_start([*asked, Part("text", " ")], tokenizer)) - 2,
            )
        )
        whole += [*asked, *answered, end]
    ids = _with_start(whole, tokenizer)
    labels = list(ids)
    labels[0], at = IGNORED, 1
    for length, asked_length in rounds:
        _mask(labels, at, at + asked_length)
        at += length
    _mask(labels, at, len(labels))
    return ids, labels


def _caption(instruction: Instruction, template: Template, tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
    """MiniGPT-4's alignment: a request without a conversation around it; learnt is the caption and what ends it."""
    asked, medium = instruction.turns[0].question, instruction.medium
    if isinstance(template, LlamaTwoTemplate):
        before, after, mark = f"[INST] <<SYS>>\n \n<</SYS>>\n\n<{medium}>", f"</{medium}> {asked} [/INST] ", "</s>"
        caption = template.encode([Part("text", instruction.caption), Part("mark", mark)], tokenizer)
    else:
        before, after = f"###Human: <{medium}>", f"</{medium}> {asked} ###Assistant: "
        caption = tokenizer.encode(f"{instruction.caption}###", special=False)
    head = _with_start([Part("text", before), Part("video", ""), Part("text", after)], tokenizer)
    return [*head, *caption], [*[IGNORED] * len(head), *caption]


def _chatml(
    instruction: Instruction, template: Template, tokenizer: TextTokenizer, message: str
) -> tuple[list[int], list[int]]:
    """Learnt are the answers, each with the token that ends it: what the model is to say, and no more."""
    # A question stands behind the video here, also where LLaVA puts it before: the device always asks so.
    said = message if instruction.medium == "Video" else ""
    turns = [Turn(turn.question, turn.answer) for turn in instruction.turns]
    parts = template.parts(turns, said, instruction.medium)
    ids, labels = template.opening(tokenizer), [IGNORED] * len(template.opening(tokenizer))
    for number, part in enumerate(parts):
        new = [tokenizer.size] * QUERIES if part.kind == "video" else template.encode([part], tokenizer)
        ends_answer = part.kind == "mark" and number > 0 and parts[number - 1].kind == "answer"
        ids += new
        labels += new if part.kind == "answer" or ends_answer else [IGNORED] * len(new)
    return ids, labels


def _with_start(parts: Sequence[Part], tokenizer: TextTokenizer) -> list[int]:
    """Ids behind <s>; text that touches is one string, and the video is its placeholders."""
    ids, text = [tokenizer.id("<s>")], ""
    for part in (*parts, Part("mark", "")):
        if part.kind in ("text", "answer"):
            text += part.text
            continue
        ids += tokenizer.encode(text, special=False) if text else []
        text = ""
        if part.kind == "video":
            ids += [tokenizer.size] * QUERIES
        elif part.text:
            ids.append(tokenizer.id(part.text))
    return ids


def _mask(labels: list[int], start: int, stop: int) -> None:
    for at in range(start, min(stop, len(labels))):
        labels[at] = IGNORED
