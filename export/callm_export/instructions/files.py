"""Instruction files in the three published forms.

LLaVA: `[{"id", "image" or "video", "conversations": [{"from": "human" or "gpt", "value"}]}]`, with `<image>` in the
first question. VideoChat: `[{"video", "QA": [{"q", "a"}]}]`. MiniGPT-4: `{"annotations": [{"image_id", "caption"}]}`.
The form is told from the records, so files may be mixed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.stage2.prompts import Medium, Turn
from callm_export.instructions.instruction import DESCRIBE, Instruction

Form = Literal["llava", "videochat", "minigpt4"]
IMAGE_TAG = "<image>"
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")


class _MalformedError(Exception):
    """A record is not of its form; the text says how."""


def read_instructions(path: Path) -> list[Instruction]:
    """All instructions of a .json file, whichever form each record has.

    Raises UserError that names the record where one has no known form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"There are no instructions at {path}", error.strerror or str(error)) from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON", str(error)) from error
    records = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise UserError(f"{path} is no instruction file", "it is neither a list nor one under 'annotations'")
    found = []
    for number, record in enumerate(records):
        try:
            found.append(_instruction(record))
        except _MalformedError as error:
            raise UserError(
                f"Record {number} of {path} is no instruction", str(error), "See docs/video_llama.md"
            ) from None
    return found


def write_instructions(path: Path, instructions: Sequence[Instruction], form: Form) -> None:
    """Write a .json file, atomically.

    Raises UserError where a form cannot hold an instruction: MiniGPT-4's has one caption of a picture, VideoChat's
    only videos.
    """
    writer = {"llava": _llava, "videochat": _videochat, "minigpt4": _minigpt4}[form]
    records = []
    for number, instruction in enumerate(instructions):
        try:
            records.append(writer(instruction, number))
        except _MalformedError as error:
            raise UserError(
                f"Instruction {number} ({instruction.media}) does not fit the form '{form}'",
                str(error),
                "Write another",
            ) from None
    content = {"annotations": records} if form == "minigpt4" else records
    atomic.write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _instruction(record: Any) -> Instruction:
    if not isinstance(record, dict):
        raise _MalformedError("it is not an object")
    if "conversations" in record:
        return _from_llava(record)
    if "QA" in record:
        return _from_videochat(record)
    if "caption" in record:
        return _from_minigpt4(record)
    raise _MalformedError(
        f"it has none of 'conversations', 'QA', 'caption', only {', '.join(map(repr, record)) or 'nothing'}"
    )


def _from_llava(record: dict[str, Any]) -> Instruction:
    key = "video" if "video" in record else "image"
    media = _text(record, key)
    medium: Medium = "Video" if key == "video" or media.lower().endswith(VIDEO_SUFFIXES) else "Image"
    sentences = record["conversations"]
    if not isinstance(sentences, list):
        raise _MalformedError("'conversations' is not a list")
    spoken = [(_speaker(sentence), _text(sentence, "value")) for sentence in sentences]
    # As the published code has it: what precedes the first question is left out.
    while spoken and spoken[0][0] != "human":
        spoken.pop(0)
    if len(spoken) % 2 or any(speaker != ("human", "gpt")[number % 2] for number, (speaker, _) in enumerate(spoken)):
        raise _MalformedError("human and gpt do not take turns")
    if not spoken:
        raise _MalformedError("nothing is asked")
    first = spoken[0][1]
    last = first.endswith(IMAGE_TAG) and first != IMAGE_TAG
    questions = [first.replace(IMAGE_TAG, "").strip("\n"), *(text for _, text in spoken[2::2])]
    answers = [text for _, text in spoken[1::2]]
    return Instruction(media, medium, _turns(questions, answers), last)


def _from_videochat(record: dict[str, Any]) -> Instruction:
    pairs = record["QA"]
    if not isinstance(pairs, list) or not pairs:
        raise _MalformedError("'QA' is not a list with something in it")
    turns = _turns([_text(pair, "q") for pair in pairs], [_text(pair, "a") for pair in pairs])
    return Instruction(_text(record, "video"), "Video", turns)


def _from_minigpt4(record: dict[str, Any]) -> Instruction:
    media = _text(record, "image_id")
    medium: Medium = "Video" if media.lower().endswith(VIDEO_SUFFIXES) else "Image"
    return Instruction(media, medium, (Turn(DESCRIBE[medium], _text(record, "caption")),), caption_only=True)


def _llava(instruction: Instruction, number: int) -> dict[str, Any]:
    spoken = []
    for place, turn in enumerate(instruction.turns):
        question = turn.question
        if place == 0:
            question = f"{question}\n{IMAGE_TAG}" if instruction.media_last else f"{IMAGE_TAG}\n{question}"
        spoken += [{"from": "human", "value": question}, {"from": "gpt", "value": turn.answer}]
    return {"id": str(number), instruction.medium.lower(): instruction.media, "conversations": spoken}


def _videochat(instruction: Instruction, number: int) -> dict[str, Any]:
    if instruction.medium != "Video":
        raise _MalformedError("it is about a picture")
    return {"video": instruction.media, "QA": [{"q": turn.question, "a": turn.answer} for turn in instruction.turns]}


def _minigpt4(instruction: Instruction, number: int) -> dict[str, Any]:
    if len(instruction.turns) != 1 or instruction.turns[0].question != DESCRIBE[instruction.medium]:
        raise _MalformedError("it asks more than for a description")
    return {"image_id": instruction.media, "caption": instruction.caption}


def _turns(questions: Sequence[str], answers: Sequence[str]) -> tuple[Turn, ...]:
    return tuple(Turn(question, answer) for question, answer in zip(questions, answers, strict=True))


def _speaker(sentence: Any) -> str:
    return _text(sentence, "from").lower()


def _text(record: Any, key: str) -> str:
    value = record.get(key) if isinstance(record, dict) else None
    # MiniGPT-4's own file has numbers for image ids in places.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _MalformedError(f"{key!r} is missing or no text")
    return value
