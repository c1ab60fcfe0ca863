"""Ordinary people: who comes when, on which of the plaza's few paths, alone, in pairs, or stopping for a chat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from callm_edge.plaza.camera import FPS, half_width
from callm_edge.plaza.looks import draw_looks
from callm_edge.plaza.scene import LANE_GAP, lane_y
from callm_edge.plaza.tracks import NEAR_Y, Actor, Point, clash, edge, smooth, talk, walk

_TICK = 8  # frames between looks at how full the plaza is
_WARM_UP = 30 * FPS  # frames lived before the first picture, so that the plaza does not start empty


def lane_path(rng: np.random.Generator, backwards: bool = False) -> list[Point]:
    """Along the one-way walkway; backwards only for who breaks its rule."""
    side = float(rng.uniform(-0.55, 0.55))
    reach = half_width(12.5) + 1.0
    points = [(x, float(lane_y(x)) + side) for x in (-reach, -3.0, 3.0, reach)]
    return points[::-1] if backwards else points


def front_path(rng: np.random.Generator) -> list[Point]:
    """From side to side between the camera and the walkway."""
    right = bool(rng.random() < 0.5)
    a, b = rng.uniform(6.4, 9.6, 2)
    return [edge(float(a), not right), (0.0, float(a + b) / 2), edge(float(b), right)]


def back_path(rng: np.random.Generator) -> list[Point]:
    """From side to side between the benches and the planters."""
    right = bool(rng.random() < 0.5)
    a, b = rng.uniform(16.2, 17.8, 2)
    return [edge(float(a), not right), edge(float(b), right)]


def window_path(rng: np.random.Generator) -> list[Point]:
    """From side to side along the shop windows."""
    right = bool(rng.random() < 0.5)
    a, b = rng.uniform(20.7, 21.7, 2)
    return [edge(float(a), not right), edge(float(b), right)]


def crossing_path(rng: np.random.Generator) -> list[Point]:
    """Between the near border and the back, through the gap in the bollards."""
    gap = float(rng.uniform(LANE_GAP[0] + 0.5, LANE_GAP[1] - 0.5))
    start = float(rng.uniform(-3.2, 4.2))
    right = bool(rng.random() < 0.6)
    y = float(rng.uniform(16.3, 17.7))
    points = [
        (start, NEAR_Y),
        (start * 0.7 + gap * 0.3, 7.0),
        (gap, 11.0),
        (gap, 14.4),
        (gap + (2.0 if right else -2.0), y),
        edge(y, right),
    ]
    return points if rng.random() < 0.5 else points[::-1]


def corner_path(rng: np.random.Generator) -> list[Point]:
    """Between the near border and one side, in front of the walkway."""
    right = bool(rng.random() < 0.5)
    y = float(rng.uniform(7.6, 9.8))
    start = float(rng.uniform(-2.0, 2.0))
    points = [(start, NEAR_Y), (start, 5.0), (start + (2.0 if right else -2.0), y - 1.2), edge(y, right)]
    return points if rng.random() < 0.5 else points[::-1]


_PATHS = (lane_path, front_path, back_path, window_path, crossing_path, corner_path)
_SHARES = (0.25, 0.22, 0.16, 0.09, 0.20, 0.08)


def _party(rng: np.random.Generator, start: int) -> list[Actor]:
    """One person, or two who belong together, entering at ``start``."""
    which = int(rng.choice(len(_PATHS), p=_SHARES))
    path = _PATHS[which](rng)
    speed = float(np.clip(rng.normal(1.35, 0.16), 1.0, 1.7))
    together = which != 3 and rng.random() < 0.24
    chat = together and which in (1, 2, 5) and rng.random() < 0.45
    actors = []
    sides = (-0.36, 0.36) if together else (0.0,)
    stop_at, dwell = float(rng.uniform(0.42, 0.58)), int(rng.integers(4 * FPS, 8 * FPS))
    for side in sides:
        if which == 0:
            side *= 0.9
        looks = draw_looks(rng)
        curve = smooth(path, side_m=side)
        stop = None
        if chat:
            middle = round(stop_at * len(curve))
            tangent = curve[middle] - curve[middle - 1]
            # side_m is to the right of the way: the right one looks left and the left one right.
            facing = float(np.arctan2(tangent[1], tangent[0])) + (np.pi / 2 if side > 0 else -np.pi / 2)
            stop = (stop_at * len(curve) * 0.05, dwell, facing)
        rows, still = walk(curve, speed, looks.height_m, rng, stop)
        if chat:
            talk(rows, still, rng)
        actors.append(Actor(looks, start, rows))
    return actors


def crowd(seed: int, frames: int, incidents: Sequence[Actor]) -> Iterator[Actor]:
    """Yield ordinary people in order of their first frame, which may be below 0.

    They keep clear of each other and of ``incidents``; how many are about drifts slowly between a few and a dozen.
    """
    rng = np.random.default_rng((seed, 1))
    level, swing = float(rng.uniform(10.0, 12.0)), float(rng.uniform(1.0, 2.2))
    period, offset = float(rng.uniform(25, 45)) * FPS, float(rng.uniform(0, 2 * np.pi))
    present: list[Actor] = []
    for frame in range(-_WARM_UP, frames, _TICK):
        present = [actor for actor in present if actor.end > frame]
        busy = [actor for actor in incidents if actor.start < frame + 40 * FPS and actor.end > frame]
        wanted = level + swing * np.sin(2 * np.pi * frame / period + offset)
        for _ in range(4):
            if len(present) >= wanted:
                break
            party = _party(rng, frame + int(rng.integers(0, _TICK)))
            if not any(clash(one, other) for one in party for other in (*present, *busy)):
                present += party
                yield from sorted(party, key=lambda actor: actor.start)
                break
