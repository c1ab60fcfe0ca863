"""Weak supervision: captions of a frozen captioner, with what the paper injects ("This is abnormal. ...")."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from callm_edge.errors import UsageError
from callm_edge.names import nearest
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, EXPLAIN_QUESTION, NO, YES, Turn
from callm_export.instructions.instruction import DESCRIBE, Instruction

# What is wrong, in the words of the paper where it has any. Keys are the plaza's kinds and what else Ped2, Avenue and
# ShanghaiTech label.
ANOMALIES: dict[str, tuple[str, ...]] = {
    "cyclist": ("A cyclist should not be there.", "Someone is riding a bicycle."),
    "vehicle": ("A vehicle should not be there.", "A vehicle drives where people walk."),
    "runner": ("Someone is running.", "A person runs past the others."),
    "against-flow": ("Someone walks against the flow.", "A person walks in the wrong direction."),
    "thrown-object": ("Someone throws an object.", "An object flies through the air."),
    "loitering-group": ("A group of people is loitering.", "People stand around in a group."),
    "fall": ("Someone falls to the ground.", "A person has fallen."),
    "skateboarder": ("A skateboarder should not be there.", "Someone is riding a skateboard."),
    "wheelchair": ("A wheelchair is on the walkway.", "Someone is moving in a wheelchair."),
    "fight": ("People are fighting.",),
}
# Ways of asking the same, so that a tuned model hears the meaning and not the words.
ABNORMAL_QUESTIONS = (
    ABNORMAL_QUESTION,
    "Is there an anomaly in the video? Answer yes or no.",
    "Does anything unusual happen here? Answer yes or no.",
    "Is this abnormal? Answer yes or no.",
)
EXPLAIN_QUESTIONS = (EXPLAIN_QUESTION, "What happens?", "Why?", "What is it that should not be there?")


@dataclass(frozen=True)
class Clip:
    """What is weakly known of a clip.

    media: its path or name. captions: of the captioner, best first; may be empty. abnormal: whether something is wrong.
    kind: key of ANOMALIES, or None. sentence: what is wrong in plain words, instead of the kind's own.
    """

    media: str
    captions: tuple[str, ...] = ()
    abnormal: bool = False
    kind: str | None = None
    sentence: str | None = None


def pseudo_instructions(clips: Sequence[Clip], seed: int = 0, own_words: float = 0.5) -> Iterator[Instruction]:
    """Two instructions of each clip: the cascade's two questions, and a description with the injected judgement.

    own_words: share of questions asked as the cascade asks them; the rest is asked in other words. The same seed gives
    the same instructions. Raises UsageError where a kind is unknown or an abnormal clip tells nothing of itself.
    """
    rng = random.Random(seed)
    for clip in clips:
        wrong = _wrong(clip, rng)
        asked = ABNORMAL_QUESTION if rng.random() < own_words else rng.choice(ABNORMAL_QUESTIONS)
        if clip.abnormal:
            why = EXPLAIN_QUESTION if rng.random() < own_words else rng.choice(EXPLAIN_QUESTIONS)
            turns: tuple[Turn, ...] = (Turn(asked, f"{YES}."), Turn(why, wrong))
        else:
            turns = (Turn(asked, f"{NO}."),)
        yield Instruction(clip.media, "Video", turns)
        caption = _sentence(rng.choice(clip.captions)) if clip.captions else ""
        judged = f"This is abnormal. {wrong}" if clip.abnormal else "This is normal."
        yield Instruction(clip.media, "Video", (Turn(DESCRIBE["Video"], f"{caption} {judged}".strip()),))


def _wrong(clip: Clip, rng: random.Random) -> str:
    if not clip.abnormal:
        return ""
    if clip.sentence:
        return _sentence(clip.sentence)
    if clip.kind is None and clip.captions:
        return _sentence(clip.captions[0])
    if clip.kind is None:
        raise UsageError(f"The clip {clip.media} is abnormal", "neither a kind, a sentence nor a caption says how")
    if clip.kind not in ANOMALIES:
        raise UsageError(
            f"The clip {clip.media} is of the unknown kind '{clip.kind}'",
            f"known are {', '.join(ANOMALIES)}",
            nearest(clip.kind, ANOMALIES) or "Say what is wrong in a sentence instead",
        )
    return rng.choice(ANOMALIES[clip.kind])


def _sentence(text: str) -> str:
    """Captioners give 'a man riding a bike'; answers are sentences."""
    text = text.strip()
    if not text:
        return text
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
