"""Things on wheels and things that fly: a bicycle with its rider's grips, a utility van, a ball and a bottle."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from callm_edge.plaza.camera import pixels_per_metre, project, shadow_points
from callm_edge.plaza.sprite import Colour, Sprite

Stroke = tuple[str, np.ndarray, Colour, float]

_WHEEL_M = 0.34
_REAR, _FRONT = (-0.52, 0.0, _WHEEL_M), (0.56, 0.0, _WHEEL_M)
_BRACKET, _SEAT, _HEAD = (-0.06, 0.0, 0.29), (-0.22, 0.0, 0.86), (0.36, 0.0, 0.88)
_CRANK_M = 0.17
_VAN_WHEEL_M = 0.31


def to_world(local: np.ndarray, x: float, y: float, heading: float) -> np.ndarray:
    """Body frame (forward, right, up) to world: (..., 3) metres each."""
    cos, sin = np.cos(heading), np.sin(heading)
    out = np.empty(np.shape(local))
    out[..., 0] = x + local[..., 0] * cos + local[..., 1] * sin
    out[..., 1] = y + local[..., 0] * sin - local[..., 1] * cos
    out[..., 2] = local[..., 2]
    return out


def _ring(middle: tuple[float, float, float], radius: float, turn: float = 0.0, count: int = 26) -> np.ndarray:
    """A circle in the plane of travel: (count + 1, 3) body frame."""
    angle = turn + np.linspace(0, 2 * np.pi, count + 1)
    return np.stack(
        (middle[0] + radius * np.cos(angle), np.full(count + 1, middle[1]), middle[2] + radius * np.sin(angle)), axis=-1
    )


def rider_grips(travel_m: np.ndarray) -> dict[str, np.ndarray]:
    """Where a rider's pelvis, hands and feet are after ``travel_m`` (N,) metres: (N, 3) in the bicycle's body frame."""
    n = len(travel_m)
    # 5.2 m a turn of the pedals is a middle gear.
    crank = -2 * np.pi * travel_m / 5.2
    grips = {"pelvis": np.tile((-0.20, 0.0, 0.97), (n, 1))}
    for side, name, offset in ((-1.0, "l", 0.0), (1.0, "r", np.pi)):
        foot = np.empty((n, 3))
        foot[:, 0] = _BRACKET[0] + _CRANK_M * np.cos(crank + offset) - 0.06
        foot[:, 1] = side * 0.11
        foot[:, 2] = _BRACKET[2] + _CRANK_M * np.sin(crank + offset) + 0.09
        grips[f"foot_{name}"] = foot
        grips[f"hand_{name}"] = np.tile((0.36, side * 0.24, 1.02), (n, 1))
    return grips


def bicycle_strokes(
    x: float, y: float, heading: float, travel_m: float, tint: Colour
) -> tuple[list[Stroke], list[Stroke]]:
    """Strokes behind and in front of the rider."""
    scale = float(pixels_per_metre(np.array(y * 0.9 + 2.0)))

    def line(points: object, colour: Colour, width_m: float) -> Stroke:
        at, _ = project(to_world(np.asarray(points, np.float64), x, y, heading))
        return ("line", at.astype(np.float32), colour, max(0.5, width_m * scale))

    dark: Colour = (34, 34, 36, 255)
    metal: Colour = (168, 170, 172, 255)
    strokes: list[Stroke] = []
    turn = -travel_m / _WHEEL_M
    for hub in (_REAR, _FRONT):
        for spoke in range(7):
            angle = turn + spoke * np.pi / 7
            reach = np.array((np.cos(angle), 0.0, np.sin(angle))) * _WHEEL_M * 0.95
            strokes.append(line([np.array(hub) - reach, np.array(hub) + reach], (120, 122, 124, 150), 0.006))
        strokes.append(line(_ring(hub, _WHEEL_M - 0.03), metal, 0.016))
        strokes.append(line(_ring(hub, _WHEEL_M), dark, 0.045))
    for path in (
        (_REAR, _BRACKET, _HEAD), (_BRACKET, _SEAT), (_REAR, _SEAT), ((-0.19, 0, 0.80), _HEAD), (_HEAD, _FRONT),
        (_HEAD, (0.35, 0, 1.0)),
    ):  # fmt: skip
        strokes.append(line(path, tint, 0.042))
    crank = -2 * np.pi * travel_m / 5.2
    for side, offset in ((-0.09, 0.0), (0.09, np.pi)):
        end = (_BRACKET[0] + _CRANK_M * np.cos(crank + offset), side, _BRACKET[2] + _CRANK_M * np.sin(crank + offset))
        strokes.append(line([(_BRACKET[0], side, _BRACKET[2]), end], dark, 0.025))
    strokes.append(line([(-0.36, 0, 0.89), (-0.10, 0, 0.90)], dark, 0.07))
    bar = [line([(0.30, -0.26, 1.0), (0.38, -0.1, 1.0), (0.38, 0.1, 1.0), (0.30, 0.26, 1.0)], dark, 0.03)]
    return strokes, bar


def bicycle_outline(x: float, y: float, heading: float) -> np.ndarray:
    """Points that span the bicycle: (N, 3) world metres."""
    both = np.concatenate((_ring(_REAR, _WHEEL_M, count=12), _ring(_FRONT, _WHEEL_M, count=12)))
    return to_world(both, x, y, heading)


@dataclass(frozen=True)
class Van:
    """A small electric utility van; measures in metres, tints BGR."""

    body: tuple[int, int, int]
    stripe: tuple[int, int, int]
    length: float = 3.0
    width: float = 1.4
    height: float = 1.82


def _profile(van: Van) -> np.ndarray:
    """Side outline, counter-clockwise from the lower rear: (N, 2) forward, up."""
    half, top = van.length / 2, van.height
    return np.array(
        (
            (-half, 0.26), (half - 0.02, 0.26), (half, 0.62), (half - 0.05, 0.92), (half - 0.30, 1.02),
            (half - 0.78, top - 0.10),
            (half - 0.95, top), (-half + 0.10, top), (-half, top - 0.10),
        )
    )  # fmt: skip


def van_outline(van: Van, x: float, y: float, heading: float) -> np.ndarray:
    """Points that span the van: (N, 3) world metres."""
    outline = np.concatenate(
        (_profile(van), [(-van.length / 2 + 0.3, 0.0), (van.length / 2 - 0.3, 0.0), (0.2, van.height + 0.16)])
    )
    sides = [np.insert(outline, 1, side * van.width / 2, axis=1) for side in (-1.0, 1.0)]
    return to_world(np.concatenate(sides), x, y, heading)


def van_sprite(van: Van, x: float, y: float, heading: float, travel_m: float, frame: int) -> Sprite:
    """The van as strokes, with turning wheels and a beacon that flashes with ``frame``."""
    outline, _ = project(van_outline(van, x, y, heading))
    low, high = outline.min(axis=0), outline.max(axis=0)
    sprite = Sprite(y - van.width * 0.3, (float(low[0]), float(low[1]), float(high[0]), float(high[1])))
    scale = float(pixels_per_metre(np.array(y * 0.9 + 2.0)))
    half, wide, top = van.length / 2, van.width / 2, van.height
    eye = np.array((0.0, 0.0, 5.2))

    def draw(
        kind: str, local: object, tint: tuple[float, float, float], tone: float = 1.0, width_m: float = 0.0
    ) -> None:
        at, _ = project(to_world(np.asarray(local, np.float64), x, y, heading))
        colour = (min(255.0, tint[0] * tone), min(255.0, tint[1] * tone), min(255.0, tint[2] * tone), 255.0)
        sprite.strokes.append((kind, at.astype(np.float32), colour, max(0.5, width_m * scale)))

    def seen(local_point: tuple[float, float, float], local_normal: tuple[float, float, float]) -> float:
        """Light on a face that turns to the camera, 0 where it turns away."""
        point, tip = to_world(np.array([local_point, np.add(local_point, local_normal)]), x, y, heading)
        normal = (tip - point) / max(float(np.linalg.norm(tip - point)), 1e-6)
        if float(normal @ (eye - point)) <= 0:
            return 0.0
        sun = np.array((-0.50, -0.27, 0.82))
        return 0.60 + 0.44 * max(0.0, float(normal @ sun))

    glass = (66.0, 58.0, 48.0)
    tyre = (30.0, 30.0, 32.0)
    # Underside and far wheels first: they show only below the sills.
    draw(
        "hull",
        [(f, s * wide * 0.9, u) for f in (-half + 0.15, half - 0.15) for s in (-1, 1) for u in (0.12, 0.3)],
        (26, 26, 28),
    )
    near = 1.0 if seen((0, wide, 1), (0, 1, 0)) else -1.0
    for hub in (-half + 0.58, half - 0.56):
        draw("poly", _ring((hub, -near * wide * 0.92, _VAN_WHEEL_M), _VAN_WHEEL_M), tyre, 0.8)

    profile = _profile(van)
    for index in range(len(profile)):
        (f0, u0), (f1, u1) = profile[index], profile[(index + 1) % len(profile)]
        light = seen(((f0 + f1) / 2, 0.0, (u0 + u1) / 2), (float(u1 - u0), 0.0, float(f0 - f1)))
        if not light:
            continue
        draw("poly", [(f0, -wide, u0), (f1, -wide, u1), (f1, wide, u1), (f0, wide, u0)], van.body, light)
        if index == 4:  # windscreen
            a, b = 0.08, 0.94
            corners = [
                (f0 + (f1 - f0) * t, s * wide * 0.9, u0 + (u1 - u0) * t) for t, s in ((a, -1), (b, -1), (b, 1), (a, 1))
            ]
            draw("poly", corners, glass, light * 1.15)
            draw(
                "poly",
                [corners[0], corners[1], tuple(np.add(np.multiply(corners[1], 0.6), np.multiply(corners[2], 0.4)))],
                (118, 108, 96),
                light,
            )
        if index == 6:
            for f in (-0.9, -0.3, 0.3):
                draw("line", [(f, -wide * 0.85, top), (f, wide * 0.85, top)], van.body, light * 0.86, 0.03)
        if index == 2:  # bonnet front: lamps
            for side in (-1, 1):
                draw(
                    "poly",
                    [
                        (half, side * wide * 0.92, 0.66),
                        (half, side * wide * 0.55, 0.66),
                        (half - 0.04, side * wide * 0.55, 0.86),
                        (half - 0.04, side * wide * 0.92, 0.86),
                    ],
                    (225, 238, 240),
                )
        if index == 1:
            draw(
                "poly",
                [
                    (half, -wide * 0.45, 0.36),
                    (half, wide * 0.45, 0.36),
                    (half, wide * 0.45, 0.52),
                    (half, -wide * 0.45, 0.52),
                ],
                (60, 62, 64),
            )
        if index == 8:  # rear: window, lamps, plate
            draw(
                "poly",
                [
                    (-half, -wide * 0.8, 1.05),
                    (-half, wide * 0.8, 1.05),
                    (-half, wide * 0.8, 1.58),
                    (-half, -wide * 0.8, 1.58),
                ],
                glass,
                light,
            )
            draw("line", [(-half, 0, 0.3), (-half, 0, 1.7)], van.body, light * 0.7, 0.02)
            for side in (-1, 1):
                draw(
                    "poly",
                    [
                        (-half, side * wide * 0.95, 0.62),
                        (-half, side * wide * 0.82, 0.62),
                        (-half, side * wide * 0.82, 0.92),
                        (-half, side * wide * 0.95, 0.92),
                    ],
                    (40, 40, 190),
                )

    for flank in (-1.0, 1.0):
        light = seen((0, flank * wide, 0.9), (0, flank, 0))
        if not light:
            continue

        def flat(points: object, side: float = flank) -> np.ndarray:
            return np.insert(np.asarray(points, np.float64), 1, side * wide, axis=1)

        draw("poly", flat(profile), van.body, light)
        draw("poly", flat([(-half, 0.26), (half, 0.26), (half, 0.40), (-half, 0.40)]), (70, 72, 74), light)
        draw("poly", flat([(-half, 0.66), (half - 0.02, 0.66), (half - 0.04, 0.84), (-half, 0.84)]), van.stripe, light)
        window = [(half - 1.42, 1.02), (half - 0.38, 1.02), (half - 0.88, top - 0.16), (half - 1.42, top - 0.16)]
        draw("poly", flat(window), glass, light)
        head = _ring((half - 0.98, flank * wide, 1.30), 0.12, count=14)
        draw("poly", head, (96, 118, 150), 0.75)
        draw(
            "poly",
            flat([(half - 1.2, 1.03), (half - 0.76, 1.03), (half - 0.84, 1.2), (half - 1.1, 1.2)]),
            (70, 96, 60),
            0.8,
        )
        draw("line", flat([(half - 1.42, 1.5), (half - 1.0, top - 0.2)]), (110, 104, 96), 1.0, 0.02)
        for f in (half - 0.36, half - 1.46):
            draw("line", flat([(f, 0.42), (f, 1.02)]), van.body, light * 0.72, 0.02)
        draw("line", flat([(half - 1.46, 1.0), (half - 1.46, top - 0.08)]), van.body, light * 0.72, 0.02)
        draw("line", flat([(half - 1.36, 0.94), (half - 1.22, 0.94)]), (50, 50, 52), 1.0, 0.03)
        draw(
            "poly",
            flat([(-half + 0.3, 1.02), (half - 1.62, 1.02), (half - 1.62, top - 0.22), (-half + 0.3, top - 0.22)]),
            van.body,
            light * 0.93,
        )
        draw(
            "poly",
            flat([(-half + 0.62, 1.18), (-half + 1.02, 1.18), (-half + 1.02, top - 0.38), (-half + 0.62, top - 0.38)]),
            van.stripe,
            light * 0.9,
        )
        turn = -travel_m / _VAN_WHEEL_M
        for hub in (-half + 0.58, half - 0.56):
            middle = (hub, flank * (wide + 0.01), _VAN_WHEEL_M)
            draw("poly", _ring((hub, flank * wide, _VAN_WHEEL_M + 0.02), _VAN_WHEEL_M + 0.06), (44, 44, 46), light)
            draw("poly", _ring(middle, _VAN_WHEEL_M), tyre)
            draw("poly", _ring(middle, _VAN_WHEEL_M * 0.62), (150, 152, 154), light)
            for spoke in range(5):
                angle = turn + spoke * 2 * np.pi / 5
                rim = (hub + 0.17 * np.cos(angle), middle[1], _VAN_WHEEL_M + 0.17 * np.sin(angle))
                draw("line", [middle, rim], (70, 72, 74), 1.0, 0.045)
            draw("poly", _ring(middle, 0.05, count=10), (60, 60, 62))
    beacon = (40.0, 170.0, 255.0) if frame % 20 < 9 else (24.0, 96.0, 170.0)
    draw(
        "hull",
        [(0.2 + 0.09 * np.cos(a), 0.09 * np.sin(a), u) for a in np.linspace(0, 5.5, 8) for u in (top, top + 0.13)],
        beacon,
    )
    return sprite


@dataclass(frozen=True)
class Missile:
    """What is thrown. bottle: a bottle, else a ball. tint: BGR. radius: metres."""

    bottle: bool
    tint: tuple[int, int, int]
    radius: float


def missile_sprite(missile: Missile, position: np.ndarray, spin: float) -> Sprite:
    """position: (3,) metres. spin: radians turned so far."""
    at, depth = project(position)
    size = missile.radius * float(pixels_per_metre(depth))
    reach = size * (2.4 if missile.bottle else 1.0)
    x, y = float(at[0]), float(at[1])
    sprite = Sprite(float(position[1]), (x - reach - 1, y - reach - 1, x + reach + 1, y + reach + 1))
    b, g, r = missile.tint
    angle = np.linspace(0, 2 * np.pi, 14)[:-1]
    circle = np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    middle = np.array((x, y))

    def add(points: np.ndarray, tone: float) -> None:
        colour = (min(255.0, b * tone), min(255.0, g * tone), min(255.0, r * tone), 255.0)
        sprite.strokes.append(("hull", points.astype(np.float32), colour, 0.0))

    if missile.bottle:
        axis, across = np.array((np.cos(spin), np.sin(spin))), np.array((-np.sin(spin), np.cos(spin)))
        add(np.array([middle + axis * size * f + across * size * s for f in (-2.0, 0.8) for s in (-0.9, 0.9)]), 0.8)
        add(np.array([middle + axis * size * f + across * size * s for f in (0.8, 2.3) for s in (-0.32, 0.32)]), 0.8)
        add(np.array([middle + axis * size * f + across * size * s for f in (-1.8, 0.8) for s in (-0.7, 0.1)]), 1.35)
        add(np.array([middle + axis * size * f + across * size * s for f in (-1.1, 0.0) for s in (-0.85, 0.85)]), 2.2)
    else:
        add(middle + circle * size, 0.62)
        add(middle + circle * size * 0.76 + np.array((-0.18, -0.2)) * size, 1.05)
        patch = middle + np.array((np.cos(spin), np.sin(spin))) * size * 0.45
        sprite.strokes.append(
            ("hull", (patch + circle * size * 0.34).astype(np.float32), (60.0, 60.0, 62.0, 255.0), 0.0)
        )
    return sprite


def shadow_hull(points: np.ndarray) -> np.ndarray:
    """Picture outline of the shadow of a convex thing: (N, 3) world metres in, (M, 2) float32 pixels out."""
    at, _ = project(shadow_points(points))
    hull: np.ndarray = cv2.convexHull(at.astype(np.float32))
    return hull.reshape(-1, 2)
