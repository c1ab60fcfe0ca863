"""How a person looks: body, clothes, hair and bags, by chance from the seed, as hulls of spheres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from callm_edge.plaza.sprite import Colour

Tint = tuple[int, int, int]

_SKIN: tuple[Tint, ...] = (
    (150, 178, 222),
    (138, 165, 212),
    (118, 148, 198),
    (92, 124, 172),
    (66, 92, 138),
    (48, 66, 98),
)
_HAIR: tuple[Tint, ...] = (
    (26, 28, 32), (34, 42, 54), (40, 58, 84), (62, 92, 128), (92, 138, 176), (140, 144, 148), (30, 44, 92),
)  # fmt: skip
_TOPS: tuple[Tint, ...] = (
    (222, 224, 226), (186, 192, 196), (60, 56, 54), (112, 66, 38), (156, 104, 62), (52, 44, 150), (66, 62, 184),
    (60, 104, 62), (88, 132, 100), (58, 150, 206), (120, 168, 210), (150, 92, 118), (168, 132, 190), (110, 118, 62),
    (84, 96, 112), (196, 172, 140), (70, 120, 176), (46, 50, 72),
)  # fmt: skip
_BOTTOMS: tuple[Tint, ...] = (
    (54, 48, 46), (74, 56, 44), (104, 78, 56), (128, 104, 82), (88, 90, 92), (92, 116, 138), (140, 166, 186),
    (44, 44, 50), (62, 76, 70),
)  # fmt: skip
_COATS: tuple[Tint, ...] = ((58, 52, 48), (70, 96, 126), (124, 158, 186), (46, 40, 92), (84, 70, 54), (110, 112, 112))
_SHOES: tuple[Tint, ...] = ((34, 34, 36), (46, 58, 78), (200, 202, 204), (70, 72, 76))

# Spheres of the body, by name; parts are hulls of them.
SPHERES = (
    "hip_l", "hip_r", "knee_l", "knee_r", "ankle_l", "ankle_r", "heel_l", "heel_r", "toe_l", "toe_r", "shoulder_l",
    "shoulder_r", "elbow_l", "elbow_r", "wrist_l", "wrist_r", "hand_l", "hand_r", "waist_l", "waist_r", "side_l",
    "side_r", "neck", "chin", "skull", "face", "crown", "nape", "hem_fl", "hem_fr", "hem_bl", "hem_br", "pack_a",
    "pack_b", "pack_c", "pack_d", "bag_a", "bag_b", "chest_l", "chest_r", "fringe", "tail", "eye_l", "eye_r", "collar",
)  # fmt: skip
AT = {name: index for index, name in enumerate(SPHERES)}
# Too small to be missed in a shadow, or inside a larger part's.
_SHADOWLESS = {
    "neck chin",
    "crown",
    "crown fringe",
    "crown nape",
    "wrist_l hand_l",
    "wrist_r hand_r",
    "heel_l toe_l",
    "heel_r toe_r",
    "eye_l",
    "eye_r",
    "shoulder_l shoulder_r collar",
}


@dataclass(frozen=True)
class Part:
    """Something of one colour: its convex pieces, as indices of spheres, laid down dark first and then lit.

    pull: metres by which it counts as nearer to the camera than it is. fine: too small to be seen from afar.
    """

    hulls: tuple[np.ndarray, ...]
    dark: Colour
    lit: Colour
    pull: float
    fine: bool


def _tones(tint: Tint) -> tuple[Colour, Colour]:
    b, g, r = tint
    return (b * 0.66, g * 0.62, r * 0.60, 255.0), (b * 0.98, float(g), min(r * 1.02, 255.0), 255.0)


@dataclass(frozen=True)
class Looks:
    """One person's body and clothes; all by chance from the seed."""

    height_m: float
    girth: float  # 1 is average
    radii: np.ndarray  # (S,) metres
    parts: tuple[Part, ...]
    carry: int  # 0 swings both arms, 1 hand on a phone, 2 hands in pockets
    sway: float
    has_hem: float  # metres below the hip where coat or skirt ends; 0 without
    flare: float
    shoulders: float  # half width as a share of the height
    hips: float
    sorting: np.ndarray  # (parts, S) weights that average a part's spheres
    casting: tuple[np.ndarray, ...]  # spheres of the parts that throw a shadow worth drawing


def draw_looks(rng: np.random.Generator, sporty: bool = False) -> Looks:
    """Choose a person. sporty: dressed and built to run or cycle."""
    woman = rng.random() < 0.5
    height = float(np.clip(rng.normal(1.66 if woman else 1.78, 0.065), 1.48, 1.98))
    girth = float(np.clip(rng.normal(0.96 if woman else 1.06, 0.10), 0.82, 1.34))
    if sporty:
        girth = min(girth, 1.0)
    elif rng.random() < 0.06:  # a child or teenager
        height, girth = float(rng.uniform(1.28, 1.5)), 0.84
    skin = _SKIN[rng.integers(len(_SKIN))]
    hair = _HAIR[rng.integers(len(_HAIR))]
    top = _TOPS[rng.integers(len(_TOPS))]
    bottom = _BOTTOMS[rng.integers(len(_BOTTOMS))]
    shoes = _SHOES[rng.integers(len(_SHOES))]
    if sporty:
        top = _TOPS[rng.choice((5, 6, 9, 12, 0, 4))]
        bottom, shoes = (48, 44, 42), _SHOES[2]
    outfit = rng.choice(4, p=(0.58, 0.16, 0.12, 0.14)) if woman else rng.choice(4, p=(0.82, 0.18, 0.0, 0.0))
    outfit = 0 if sporty else int(outfit)  # 0 top and trousers, 1 coat, 2 skirt, 3 dress
    if outfit == 1:
        top = _COATS[rng.integers(len(_COATS))]
    short_sleeve = sporty or (outfit != 1 and rng.random() < 0.45)
    shorts = sporty or (outfit == 0 and rng.random() < 0.12)
    bare_legs = outfit in (2, 3)
    long_hair = woman and rng.random() < 0.7
    backpack, handbag = (not sporty) and rng.random() < 0.26, (not sporty) and outfit != 1 and rng.random() < 0.28
    cap = rng.random() < 0.1
    hem = {0: 0.0, 1: 0.26, 2: 0.30, 3: 0.26}[outfit]

    g = girth
    radius = dict.fromkeys(SPHERES, 0.05)
    for side in "lr":
        radius |= {
            f"hip_{side}": 0.083 * g, f"knee_{side}": 0.056 * g, f"ankle_{side}": 0.042 * g, f"heel_{side}": 0.042,
            f"toe_{side}": 0.037, f"shoulder_{side}": 0.056 * g, f"elbow_{side}": 0.043 * g, f"wrist_{side}": 0.034 * g,
            f"hand_{side}": 0.036, f"waist_{side}": 0.088 * g, f"side_{side}": 0.092 * g, f"chest_{side}": 0.088 * g,
        }  # fmt: skip
    radius |= {
        "neck": 0.052,
        "chin": 0.066,
        "skull": 0.085,
        "face": 0.080,
        "crown": 0.096,
        "nape": 0.070,
        "tail": 0.062,
    }
    radius |= {
        "fringe": 0.078,
        "pack_a": 0.07,
        "pack_b": 0.07,
        "pack_c": 0.085,
        "pack_d": 0.085,
        "bag_a": 0.05,
        "bag_b": 0.075,
    }
    radius |= {"eye_l": 0.012, "eye_r": 0.012, "collar": 0.05 * g}
    radius |= dict.fromkeys(("hem_fl", "hem_fr", "hem_bl", "hem_br"), 0.045)
    if short_sleeve:
        radius["wrist_l"] = radius["wrist_r"] = 0.031
    if not woman:
        radius["shoulder_l"] = radius["shoulder_r"] = 0.066 * g

    parts: list[tuple[str, Tint, float]] = []
    calf: Tint = skin if (bare_legs or shorts) else bottom
    for side in "lr":
        parts.append((f"heel_{side} toe_{side}", shoes, 0.0))
        # Two segments of one cloth are one part: a dark rim between them would make a jointed doll.
        thigh: Tint = skin if bare_legs else bottom
        upper, lower = f"hip_{side} knee_{side}", f"knee_{side} ankle_{side}"
        parts += [(f"{upper}, {lower}", thigh, 0.03)] if calf == thigh else [(upper, thigh, 0.03), (lower, calf, 0.02)]
        upper, lower = f"shoulder_{side} elbow_{side}", f"elbow_{side} wrist_{side}"
        parts += [(upper, top, 0.06), (lower, skin, 0.04)] if short_sleeve else [(f"{upper}, {lower}", top, 0.06)]
        parts.append((f"wrist_{side} hand_{side}", skin, 0.03))
    parts.append(("side_l side_r hip_l hip_r", bottom, 0.05))
    torso = "collar shoulder_l shoulder_r chest_l chest_r waist_l waist_r"
    parts.append((torso + " side_l side_r" if outfit == 1 or rng.random() < 0.5 else torso, top, 0.08))
    if outfit == 1:
        parts.append(("waist_l waist_r hem_fl hem_fr hem_bl hem_br", top, 0.10))
    elif outfit == 2:
        parts.append(("side_l side_r hem_fl hem_fr hem_bl hem_br", bottom, 0.07))
    elif outfit == 3:
        parts.append(("waist_l waist_r hem_fl hem_fr hem_bl hem_br", top, 0.07))
    parts.append(("neck chin", skin, 0.0))
    parts.append(("skull face chin", skin, 0.0))
    parts += [(f"eye_{side}", (skin[0] // 2, skin[1] // 2, skin[2] // 2), 0.0) for side in "lr"]
    cap_tint = _TOPS[rng.integers(len(_TOPS))] if cap else hair
    parts.append(("crown fringe" if cap else "crown", cap_tint, -0.02 if not cap else 0.02))
    parts.append(("crown nape", hair, -0.02))
    if long_hair:
        parts.append(("nape tail", hair, 0.02))
    if backpack:
        pack = _TOPS[rng.integers(len(_TOPS))] if rng.random() < 0.5 else _BOTTOMS[rng.integers(4)]
        parts.append(("pack_a pack_b pack_c pack_d", pack, 0.03))
    if handbag:
        parts.append(("bag_a bag_b", _COATS[rng.integers(len(_COATS))], 0.02))
    carry = 0 if sporty else int(rng.choice(3, p=(0.76, 0.14, 0.10)))
    outlines = [names for names, _, _ in parts]
    members = [tuple(np.array([AT[n] for n in hull.split()]) for hull in names.split(",")) for names in outlines]
    sorting = np.zeros((len(members), len(SPHERES)))
    for index, hulls in enumerate(members):
        spheres = np.concatenate(hulls)
        np.add.at(sorting[index], spheres, 1 / len(spheres))
    return Looks(
        height_m=height,
        girth=girth,
        radii=np.array([radius[name] for name in SPHERES]) * (height / 1.74),
        parts=tuple(
            Part(hulls, *_tones(tint), pull, "eye" in names)
            for hulls, (names, tint, pull) in zip(members, parts, strict=True)
        ),
        carry=carry,
        sway=float(rng.uniform(0.8, 1.25)),
        has_hem=hem,
        flare=0.02 if outfit == 1 else 0.05,
        shoulders=0.092 if woman else 0.103,
        hips=0.056 if woman else 0.050,
        sorting=sorting,
        casting=tuple(
            hull for names, hulls in zip(outlines, members, strict=True) if names not in _SHADOWLESS for hull in hulls
        ),
    )
