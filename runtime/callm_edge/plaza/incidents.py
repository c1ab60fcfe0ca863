"""The seven things that should not happen on this plaza, each as a few actors with their ground truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from callm_edge.plaza.camera import FPS
from callm_edge.plaza.crowd import back_path, crossing_path, front_path, lane_path
from callm_edge.plaza.looks import draw_looks
from callm_edge.plaza.person import CHANNELS, FALL, HEADING, PHASE, STRIDE, THROW, X, Y, joint, pose
from callm_edge.plaza.tracks import Actor, Missile, Point, Ride, Van, edge, in_sight, roll, smooth, talk, walk

_ALWAYS = (-(1 << 40), 1 << 40)


def _tint(rng: np.random.Generator, tints: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
    return tints[int(rng.integers(len(tints)))]


def _cyclist(rng: np.random.Generator) -> list[Actor]:
    path = (front_path, back_path, crossing_path, front_path)[int(rng.integers(4))](rng)
    rows = roll(smooth(path, radius_m=2.2), float(rng.uniform(3.6, 5.0)))
    tint = _tint(rng, ((48, 48, 190), (170, 96, 40), (60, 140, 70), (40, 40, 42), (40, 170, 220)))
    return [Actor(Ride(draw_looks(rng, sporty=bool(rng.random() < 0.5)), tint), 0, rows, "cyclist", _ALWAYS, 1.0)]


def _vehicle(rng: np.random.Generator) -> list[Actor]:
    right = bool(rng.random() < 0.5)
    y = float(rng.uniform(8.0, 9.4) if rng.random() < 0.6 else rng.uniform(16.8, 17.1))
    path = [edge(y, not right, 2.4), edge(y + float(rng.uniform(-0.25, 0.25)), right, 2.4)]
    van = Van(
        _tint(rng, ((214, 218, 220), (206, 210, 206), (150, 196, 222))),
        _tint(rng, ((48, 120, 235), (90, 150, 60), (190, 110, 50))),
    )
    return [Actor(van, 0, roll(smooth(path), float(rng.uniform(2.2, 3.2))), "vehicle", _ALWAYS, 1.9)]


def _runner(rng: np.random.Generator) -> list[Actor]:
    path = (front_path, crossing_path, back_path)[int(rng.integers(3))](rng)
    looks = draw_looks(rng, sporty=bool(rng.random() < 0.6))
    rows, _ = walk(smooth(path), float(rng.uniform(4.2, 5.4)), looks.height_m, rng, run=1.0)
    return [Actor(looks, 0, rows, "runner", _ALWAYS, 0.5)]


def _against_flow(rng: np.random.Generator) -> list[Actor]:
    looks = draw_looks(rng)
    rows, _ = walk(smooth(lane_path(rng, backwards=True)), float(rng.uniform(1.2, 1.6)), looks.height_m, rng)
    return [Actor(looks, 0, rows, "against-flow", _ALWAYS)]


def _flight(start: np.ndarray, velocity: np.ndarray, bottle: bool, rng: np.random.Generator) -> np.ndarray:
    """Fly, bounce and roll out of the picture: rows with x, y, height in "stride" and spin in "phase"."""
    position, speed = start.copy(), velocity.copy()
    spin, rate = 0.0, float(rng.uniform(9, 14))
    rest = 0.07
    rows = []
    for _ in range(12 * FPS):
        row = np.zeros(len(CHANNELS))
        row[X], row[Y], row[STRIDE], row[PHASE] = position[0], position[1], position[2], spin
        rows.append(row)
        for _ in range(4):
            dt = 1 / (4 * FPS)
            speed[2] -= 9.81 * dt
            position += speed * dt
            spin += rate * dt
            if position[2] < rest and speed[2] < 0:
                position[2] = rest
                speed[2] *= -(0.32 if bottle else 0.55)
                if speed[2] < 0.4:
                    speed[2] = 0.0
                speed[:2] *= 0.97
    return np.array(rows)


def _thrown_object(rng: np.random.Generator) -> list[Actor]:
    right = bool(rng.random() < 0.5)
    sign = 1.0 if right else -1.0
    spot = (-sign * float(rng.uniform(1.2, 2.6)), float(rng.uniform(7.8, 9.6)))
    facing = float(rng.uniform(-0.16, 0.22)) if right else np.pi - float(rng.uniform(-0.16, 0.22))
    looks = draw_looks(rng)
    throws = int(rng.integers(2, 4))
    period = 44
    curve = smooth(
        [edge(spot[1] + 0.4, not right), spot, (spot[0] - sign * 1.0, spot[1] + 1.0), edge(spot[1] + 1.0, not right)],
        0.7,
    )
    along = float(np.argmin(np.hypot(curve[:, 0] - spot[0], curve[:, 1] - spot[1]))) * 0.05
    rows, still = walk(curve, 1.35, looks.height_m, rng, (along, throws * period + 26, facing))
    bottle = bool(rng.random() < 0.5)
    missile = Missile(
        bottle,
        _tint(rng, ((70, 120, 50), (60, 90, 130)) if bottle else ((40, 120, 240), (225, 228, 230), (60, 60, 210))),
        0.065 if bottle else 0.13,
    )
    actors = []
    for index in range(throws):
        wind = still[0] + 14 + index * period
        rows[wind : wind + 14, THROW] = np.linspace(0, 1, 14)
        rows[wind + 14 : wind + 22, THROW] = np.linspace(1, 1.7, 8)
        rows[wind + 22 : wind + 34, THROW] = np.linspace(1.7, 2.0, 12)
        release = wind + 19
        hand = joint(pose(rows[release : release + 1], [looks]), "hand_r")[0]
        angle = rows[release, HEADING] + float(rng.uniform(-0.1, 0.1))
        forward = float(rng.uniform(5.2, 6.8))
        velocity = np.array((np.cos(angle) * forward, np.sin(angle) * forward, float(rng.uniform(2.6, 4.2))))
        flight = _flight(hand, velocity, bottle, rng)
        item = Actor(missile, release, flight, "thrown-object", _ALWAYS, 0.25)
        seen = in_sight(item.rectangles())
        # Gone for good once it has left the picture.
        last = int(np.flatnonzero(seen)[-1]) + 2 if seen.any() else 1
        actors.append(Actor(missile, release, flight[:last], "thrown-object", _ALWAYS, 0.25))
    labelled = (still[0] + 14, still[0] + 14 + (throws - 1) * period + 34)
    # A throw that has run out is no throw: the arm hangs again.
    rows[rows[:, THROW] >= 2.0, THROW] = 0.0
    return [Actor(looks, 0, rows, "thrown-object", labelled, 0.5), *actors]


def _loitering_group(rng: np.random.Generator) -> list[Actor]:
    middle = ((-1.2, 8.8), (0.9, 8.4), (-2.4, 9.2), (5.6, 9.4))[int(rng.integers(4))]
    count = int(rng.integers(4, 7))
    long = int(rng.integers(13 * FPS, 18 * FPS))
    ring = 0.62 + 0.09 * count
    turn = float(rng.uniform(0, 2 * np.pi))
    comers = []
    for index in range(count):
        angle = turn + index * 2 * np.pi / count + float(rng.uniform(-0.12, 0.12))
        spot = (middle[0] + ring * np.cos(angle), middle[1] + ring * np.sin(angle) * 0.9)
        inward = float(np.arctan2(middle[1] - spot[1], middle[0] - spot[0]))
        # Each comes and leaves on the own side of the ring, so that nobody walks through the others.
        outward = (spot[0] + 1.6 * np.cos(angle), spot[1] + 0.9 * np.sin(angle))
        right = bool(np.cos(angle) > 0)
        y = float(np.clip(spot[1] + 1.1 * np.sin(angle), 6.4, 10.2))
        looks = draw_looks(rng)
        path: list[Point] = [edge(y, right), outward, spot, outward, edge(y + 0.3, right)]
        curve = smooth(path, 0.4)
        along = float(np.argmin(np.hypot(curve[:, 0] - spot[0], curve[:, 1] - spot[1]))) * 0.05
        arrival, departure = int(rng.integers(0, 3 * FPS)), int(rng.integers(0, 2 * FPS))
        speed = float(rng.uniform(1.15, 1.5))
        rows, still = walk(curve, speed, looks.height_m, rng, (along, long + departure + 3 * FPS - arrival, inward))
        talk(rows, still, rng, 0.65)
        comers.append((looks, rows, still, arrival))
    gathered = 3 * FPS
    labelled = (gathered, gathered + long)
    return [
        Actor(looks, arrival - still[0], rows, "loitering-group", labelled, 0.34)
        for looks, rows, still, arrival in comers
    ]


def _fall(rng: np.random.Generator) -> list[Actor]:
    right = bool(rng.random() < 0.5)
    a, b = (float(v) for v in rng.uniform(7.4, 9.6, 2))
    x = float(rng.uniform(-2.2, 2.2))
    looks = draw_looks(rng)
    curve = smooth([edge(a, not right), (x, (a + b) / 2), edge(b, right)])
    along = float(np.argmin(np.abs(curve[:, 0] - x))) * 0.05
    lying, rise = int(rng.integers(5 * FPS, 8 * FPS)), 46
    middle = min(round(along / 0.05), len(curve) - 2)
    tangent = curve[middle + 1] - curve[middle]
    rows, still = walk(
        curve,
        float(rng.uniform(1.2, 1.6)),
        looks.height_m,
        rng,
        (along, lying + rise + 26, float(np.arctan2(tangent[1], tangent[0]))),
    )
    way = 1.0 if rng.random() < 0.7 else -1.0
    start = still[0] - 6
    drop = 18
    # Gravity: slow at first, hard at the end.
    rows[start : start + drop, FALL] = way * np.linspace(0, 1, drop) ** 2.0
    rows[start + drop : start + drop + lying, FALL] = way
    up = np.linspace(0, 1, rise)
    rows[start + drop + lying : start + drop + lying + rise, FALL] = way * (1 - up * up * (3 - 2 * up))
    # The feet of somebody who is down do not step.
    rows[start + 4 : start + drop + lying + rise - 8, STRIDE] *= 0.2
    return [Actor(looks, 0, rows, "fall", (start + 2, start + drop + lying + rise - 4), 0.85)]


BUILDERS: dict[str, Callable[[np.random.Generator], list[Actor]]] = {
    "cyclist": _cyclist,
    "vehicle": _vehicle,
    "runner": _runner,
    "against-flow": _against_flow,
    "thrown-object": _thrown_object,
    "loitering-group": _loitering_group,
    "fall": _fall,
}


def labelled_range(actors: list[Actor]) -> tuple[int, int]:
    """Half-open frame range from the first to the last frame in which an anomalous actor is in sight."""
    frames = [np.arange(actor.start, actor.end)[_labelled_in_sight(actor)] for actor in actors]
    seen = np.concatenate(frames)
    return int(seen.min()), int(seen.max()) + 1


def _labelled_in_sight(actor: Actor) -> np.ndarray:
    at = np.arange(actor.start, actor.end)
    seen: np.ndarray = in_sight(actor.rectangles()) & (at >= actor.labelled[0]) & (at < actor.labelled[1])
    return seen
