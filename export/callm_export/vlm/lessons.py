"""Clips and what is asked and answered about them, put together: what a step of tuning learns from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from callm_edge.errors import UserError
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, EXPLAIN_QUESTION, NO, YES, Turn
from callm_export.instructions import Instruction, read_instructions
from callm_export.instructions.instruction import DESCRIBE
from callm_export.instructions.pseudo import ABNORMAL_QUESTIONS, EXPLAIN_QUESTIONS
from callm_export.vlm.clip_set import ClipRecord, ClipSet
from callm_export.vlm.crops import crops_that_show
from callm_export.vlm.wording import NORMAL, NOTHING_WRONG, WRONG

INSTRUCTIONS = "instructions.json"


@dataclass(frozen=True)
class Lesson:
    """A clip with all that is asked and answered about it."""

    record: ClipRecord
    instructions: tuple[Instruction, ...]


def plaza_instructions(records: Sequence[ClipRecord], seed: int = 0, each: int = 4) -> list[Instruction]:
    """`each` conversations of the cascade's two questions about every clip, and half as many descriptions.

    Words of questions and answers vary; half of the questions are asked as the cascade asks them. Descriptions carry
    the injected judgement ("This is abnormal. ..."). Of normal clips it is learnt too that nothing is wrong when asked
    what is.
    """
    rng = random.Random(seed)
    found = []
    for record in records:
        for _ in range(each):
            asked = ABNORMAL_QUESTION if rng.random() < 0.5 else rng.choice(ABNORMAL_QUESTIONS)
            why = EXPLAIN_QUESTION if rng.random() < 0.5 else rng.choice(EXPLAIN_QUESTIONS)
            answers = (f"{YES}.", _wrong(record, rng)) if record.abnormal else (f"{NO}.", rng.choice(NOTHING_WRONG))
            turns = [Turn(asked, answers[0]), Turn(why, answers[1])]
            # The second question is also asked alone: as a free one about a stored event is.
            found.append(Instruction(record.name, "Video", tuple(turns if rng.random() < 0.7 else turns[1:])))
        for _ in range(each // 2):
            if record.abnormal:
                told = f"{rng.choice(NORMAL)} This is abnormal. {_wrong(record, rng)}"
            else:
                told = f"{rng.choice(NORMAL)} This is normal."
            found.append(Instruction(record.name, "Video", (Turn(DESCRIBE["Video"], told),)))
    return found


def _wrong(record: ClipRecord, rng: random.Random) -> str:
    sentences = WRONG.get(record.kind or "", record.captions)
    if not sentences:
        raise UserError(f"The clip {record.name} is abnormal", "neither its kind nor a caption says how")
    return rng.choice(sentences)


def read_lessons(clips: ClipSet) -> list[Lesson]:
    """Lessons of a clip set with its instructions.json. Raises UserError where an instruction's clip is absent."""
    records = {record.name: record for record in clips.records()}
    found: dict[str, list[Instruction]] = {}
    path = clips.folder / INSTRUCTIONS
    for instruction in read_instructions(path):
        name = Path(instruction.media).stem if instruction.media.endswith(".zip") else instruction.media
        if name not in records:
            raise UserError(
                f"{path} speaks of the clip '{name}'", "the folder holds no such clip", "Run callm-edge caption again"
            )
        found.setdefault(name, []).append(instruction)
    return [Lesson(records[name], tuple(instructions)) for name, instructions in found.items()]


def pictures_of(
    features: np.ndarray, record: ClipRecord, rng: np.random.Generator, guided: float
) -> tuple[np.ndarray, np.ndarray]:
    """A clip as kept, (3 F, tokens, width), -> what the branch learns from.

    Returns (2 F, tokens, width) float32, frames and crops, and (F,) bool, whether each crop shows what is abnormal.
    With the probability `guided` a random half of the crops are guided ones (see features.py).
    """
    count = len(features) // 3
    chosen = np.arange(2 * count)
    showing = crops_that_show(record)
    swapped = np.zeros(count, bool)
    if rng.random() < guided:
        swapped = rng.random(count) < 0.5
        chosen[count:] += count * swapped
    return np.asarray(features[chosen], np.float32), np.where(swapped, showing[1], showing[0])
