"""What happens on the plaza, in many words: the answers that the branch learns, and how its own are understood."""

from __future__ import annotations

import re

# A sentence each of who does what; keys are those of instructions.ANOMALIES.
WRONG: dict[str, tuple[str, ...]] = {
    "cyclist": (
        "A cyclist rides across the plaza.",
        "A cyclist rides among the pedestrians.",
        "Someone is riding a bicycle where people walk.",
        "A person on a bicycle rides through the scene. A cyclist should not be there.",
        "A cyclist crosses the plaza on a bicycle.",
    ),
    "vehicle": (
        "A small van drives across the plaza.",
        "A vehicle drives where people walk.",
        "A utility van drives among the pedestrians.",
        "A van crosses the pedestrian area. A vehicle should not be there.",
        "A vehicle, a small van, drives through the scene.",
    ),
    "runner": (
        "A person runs across the plaza while others walk.",
        "Someone is running.",
        "A person is running past the others.",
        "A runner crosses the plaza. Someone is running.",
        "One person runs through the scene.",
    ),
    "against-flow": (
        "A person goes against the flow of the others.",
        "Someone walks against the flow on the one-way walkway.",
        "Someone goes the wrong way along the walkway.",
        "Against the flow one person comes along the walkway.",
        "A pedestrian walks in the wrong direction, against the flow.",
    ),
    "thrown-object": (
        "A person throws an object across the plaza.",
        "Someone throws an object.",
        "A person is throwing things across the plaza.",
        "An object is thrown and flies through the air.",
        "Someone stands there and throws objects.",
    ),
    "loitering-group": (
        "A group of people stands around on the plaza for a long time.",
        "A group of people is loitering.",
        "Several people stand around in a group.",
        "A group stands together and does not walk on. It is loitering.",
        "People are loitering in a group on the plaza.",
    ),
    "fall": (
        "A person falls and lies on the ground.",
        "Someone has fallen to the ground.",
        "A person lies on the ground after a fall.",
        "Someone falls down and lies on the plaza.",
        "A person has fallen and is lying on the ground.",
    ),
}
# Neutral about the place, since other footage is learnt from too.
NORMAL: tuple[str, ...] = (
    "People walk across the plaza.",
    "Pedestrians walk along as usual.",
    "A few people walk along.",
    "People are walking, and nothing else happens.",
    "Several pedestrians are on their way on foot.",
)
NOTHING_WRONG: tuple[str, ...] = (
    "Nothing is abnormal. People walk as usual.",
    "Nothing. Pedestrians walk along.",
    "Nothing is abnormal, people just walk.",
)

# What an answer has to say to have named a kind. In the order of being asked: 'falls off a bicycle' is a cyclist's.
_NAMES: dict[str, str] = {
    "cyclist": r"cycl|bicycle|\bbik(e|ing)",
    "vehicle": r"vehicle|\bvan\b|\bcars?\b|truck|\bdriv",
    "skateboarder": r"skat",
    "wheelchair": r"wheelchair",
    "thrown-object": r"thr(ow|ew)|\bflies\b",
    "fall": r"\bfall|\bfell\b|\blies\b|\blying\b",
    "runner": r"\brun|\bran\b",
    "against-flow": r"against the flow|wrong (direction|way)",
    "loitering-group": r"loiter|stands? around|standing around|\bgroup\b",
    "fight": r"fight",
}


def named_kinds(text: str) -> tuple[str, ...]:
    """Kinds of anomaly that a sentence names, in the order of `_NAMES`; none where it names none."""
    lowered = text.lower()
    return tuple(kind for kind, pattern in _NAMES.items() if re.search(pattern, lowered))
