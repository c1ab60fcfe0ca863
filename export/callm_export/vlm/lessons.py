"""Clips and what is asked and answered about them, put together: what a step of tuning learns from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from callm_edge.errors import UsageError, UserError
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, EXPLAIN_QUESTION, NO, YES, Turn
from callm_export.instructions import ANOMALIES, Instruction, pseudo_instructions, read_instructions
from callm_export.instructions import Clip as PseudoClip
from callm_export.instructions.pseudo import ABNORMAL_QUESTIONS, EXPLAIN_QUESTIONS
from callm_export.vlm.clip_set import ClipRecord, ClipSet
from callm_export.vlm.crops import crops_that_show, guided_points
from callm_export.vlm.wording import NORMAL, NOTHING_WRONG, WRONG

INSTRUCTIONS = "instructions.json"
OTHER_QUESTIONS = tuple(question for question in EXPLAIN_QUESTIONS if question != EXPLAIN_QUESTION)


@dataclass(frozen=True)
class Lesson:
    """A clip with all that is asked and answered about it."""

    record: ClipRecord
    instructions: tuple[Instruction, ...]


def instructions_of(records: Sequence[ClipRecord], seed: int = 0, each: int = 3) -> list[Instruction]:
    """What is asked and answered about clips of which it is known whether they are abnormal.

    Of each clip: the paper's two pseudo-instructions (instructions/pseudo.py), and `each` times either question of the
    cascade, the second mostly after the answer to the first, as the device asks it. Words vary; half of the questions
    are asked as the cascade asks them. Of normal clips it is learnt too that nothing is wrong when asked what is, but
    not in the cascade's words: it asks what is wrong only after a yes, which is not to be denied. The same seed gives
    the same instructions. Raises UsageError where nothing says what is wrong in an abnormal clip.
    """
    rng = random.Random(seed)

    def asked(own: str, others: Sequence[str]) -> str:
        return own if rng.random() < 0.5 else rng.choice(others)

    found: list[Instruction] = []
    for number, record in enumerate(records):
        clip = PseudoClip(record.name, record.captions or (rng.choice(NORMAL),), record.abnormal)
        found += pseudo_instructions([replace(clip, sentence=_wrong(record, rng))], seed=seed + number)
        for repeat in range(each):
            verdict = Turn(asked(ABNORMAL_QUESTION, ABNORMAL_QUESTIONS), f"{YES if record.abnormal else NO}.")
            wrong = _wrong(record, rng)
            if wrong:
                why = Turn(asked(EXPLAIN_QUESTION, EXPLAIN_QUESTIONS), wrong)
            else:
                why = Turn(rng.choice(OTHER_QUESTIONS), rng.choice(NOTHING_WRONG))
            for turns in ((verdict,), (verdict, why) if repeat else (why,)):
                found.append(Instruction(record.name, "Video", turns))
    return found


def _wrong(record: ClipRecord, rng: random.Random) -> str | None:
    """What is wrong, in a sentence; None of normal clips."""
    if not record.abnormal:
        return None
    sentences = WRONG.get(record.kind or "") or ANOMALIES.get(record.kind or "") or record.captions
    if not sentences:
        raise UsageError(
            f"The clip {record.name} is abnormal",
            "nothing says how",
            "Give its kind or a sentence with --abnormal, or a captioner",
        )
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
    """A clip as kept (see Features.load) -> what the branch learns from.

    Returns (F (1 + crops), tokens, width) float32, frames and crops, and (crops, F) bool, whether each crop shows what
    is abnormal. With the probability `guided`, guided crops take the place of others in a random half of the frames
    that have one.
    """
    showing = crops_that_show(record)
    crops, count = showing.shape
    chosen = np.arange(count * (1 + crops))
    if rng.random() < guided:
        for at, point in enumerate(guided_points(record)):
            if point is not None and rng.random() < 0.5:
                rank = int(rng.integers(crops))
                chosen[count * (1 + rank) + at] = count * (1 + crops) + at
                showing[rank, at] = True
    return np.asarray(features[chosen], np.float32), showing
