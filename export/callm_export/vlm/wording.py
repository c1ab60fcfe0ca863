"""What happens on the plaza, in many words: the answers that the branch learns, and how its own are understood."""

from __future__ import annotations

import re

# Sentences of who does what; keys are those of instructions.ANOMALIES. All begin with 'A', and the next word tells the
# kind: greedy decoding then says what is most probable. Where sentences of several kinds begin alike ('A person'), it
# says what has the most such sentences.
WRONG: dict[str, tuple[str, ...]] = {
    "cyclist": (
        "A cyclist rides across the plaza.",
        "A cyclist rides among the pedestrians.",
        "A cyclist rides a bicycle where people walk.",
        "A cyclist rides through the scene and should not be there.",
        "A cyclist crosses the plaza on a bicycle.",
    ),
    "vehicle": (
        "A van drives across the plaza.",
        "A van drives where people walk.",
        "A van drives among the pedestrians.",
        "A van crosses the pedestrian area. A vehicle should not be there.",
        "A van, a small vehicle, drives through the scene.",
    ),
    "runner": (
        "A runner crosses the plaza while others walk.",
        "A runner is faster than the others.",
        "A runner runs past the others.",
        "A runner crosses the plaza. Someone is running.",
        "A runner runs through the scene.",
    ),
    "against-flow": (
        "A wrong-way pedestrian goes against the flow of the others.",
        "A wrong-way pedestrian walks against the flow on the one-way walkway.",
        "A wrong-way pedestrian comes along the walkway.",
        "A wrong-way walker goes against the flow.",
        "A wrong-way pedestrian walks where all others come from.",
    ),
    "thrown-object": (
        "A thrown object flies across the plaza.",
        "A thrown object flies through the air.",
        "A thrown object: someone throws things across the plaza.",
        "A thrown object crosses the scene.",
        "A thrown object: someone stands there and throws it.",
    ),
    "loitering-group": (
        "A group of people stands around on the plaza for a long time.",
        "A group of people is loitering.",
        "A group of several people stands around.",
        "A group stands together and does not walk on. It is loitering.",
        "A group of people loiters on the plaza.",
    ),
    "fall": (
        "A fallen person lies on the ground.",
        "A fallen person lies on the ground after a fall.",
        "A fallen person is lying there.",
        "A fallen person lies on the plaza.",
        "A fallen person is on the ground.",
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
    "against-flow": r"against the flow|wrong[ -](direction|way)",
    "loitering-group": r"loiter|stands? around|standing around|\bgroup\b",
    "fight": r"fight",
}


def named_kinds(text: str) -> tuple[str, ...]:
    """Kinds of anomaly that a sentence names, in the order of `_NAMES`; none where it names none."""
    lowered = text.lower()
    return tuple(kind for kind, pattern in _NAMES.items() if re.search(pattern, lowered))
