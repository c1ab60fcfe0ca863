"""Where somebody is at every frame: paths, speeds, stops, and the actors that follow them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from callm_edge.plaza.camera import FPS, HEIGHT, WIDTH, half_width, project
from callm_edge.plaza.looks import Looks
from callm_edge.plaza.person import CHANNELS, GESTURE, HEADING, PHASE, RUN, STRIDE, X, Y, bounds, pose, stride_m
from callm_edge.plaza.vehicles import Missile, Van, bicycle_outline, rider_grips, van_outline

Point = tuple[float, float]

# A head comes into sight long before the feet do: paths towards the camera end this near the mast, metres.
NEAR_Y = 2.3


@dataclass(frozen=True)
class Ride:
    """A cyclist: the rider's looks and the frame's tint (BGR)."""

    rider: Looks
    tint: tuple[int, int, int]


Body = Looks | Ride | Van | Missile


@dataclass(frozen=True)
class Actor:
    """Somebody or something during its whole stay.

    body: what is drawn. start: first frame. rows: (n, len(CHANNELS)) poses, one a frame; wheels use "phase" as metres
    travelled, a missile uses "stride" as metres above the ground and "phase" as spin in radians. kind: anomaly or "".
    labelled: half-open range of frames in which the actor is anomalous. room: metres that others keep from its middle.
    """

    body: Body
    start: int
    rows: np.ndarray
    kind: str = ""
    labelled: tuple[int, int] = (0, 0)
    room: float = 0.31

    @property
    def end(self) -> int:
        return self.start + len(self.rows)

    def shifted(self, frames: int) -> Actor:
        """The same actor, ``frames`` later."""
        a, b = self.labelled
        return Actor(self.body, self.start + frames, self.rows, self.kind, (a + frames, b + frames), self.room)

    def rectangles(self) -> np.ndarray:
        """Picture rectangle at every frame of the stay: (n, 4) x0, y0, x1, y1 float pixels, not clipped."""
        rows, body = self.rows, self.body
        if isinstance(body, Missile):
            at, depth = project(rows[:, [X, Y, STRIDE]])
            reach = (body.radius * (2.4 if body.bottle else 1.0) * 494 / depth + 1)[:, None]
            return np.concatenate((at - reach, at + reach), axis=1)
        if isinstance(body, Looks):
            return bounds(pose(rows, [body] * len(rows)), [body] * len(rows))
        outlines = []
        for row in rows:
            place = (float(row[X]), float(row[Y]), float(row[HEADING]))
            outlines.append(van_outline(body, *place) if isinstance(body, Van) else bicycle_outline(*place))
        at, _ = project(np.array(outlines))
        wheels = np.concatenate((at.min(axis=1), at.max(axis=1)), axis=1)
        if isinstance(body, Van):
            return wheels
        looks = [body.rider] * len(rows)
        rider = bounds(pose(rows, looks, rider_grips(rows[:, PHASE])), looks)
        return np.concatenate(
            (np.minimum(wheels[:, :2], rider[:, :2]), np.maximum(wheels[:, 2:], rider[:, 2:])), axis=1
        )


def clip_box(rectangle: np.ndarray) -> tuple[int, int, int, int] | None:
    """x, y, w, h of a rectangle clipped to the picture; None where less than 4 x 4 pixels remain."""
    x0, y0 = max(0, int(np.floor(rectangle[0]))), max(0, int(np.floor(rectangle[1])))
    x1, y1 = min(WIDTH, int(np.ceil(rectangle[2]))), min(HEIGHT, int(np.ceil(rectangle[3])))
    return (x0, y0, x1 - x0, y1 - y0) if x1 - x0 >= 4 and y1 - y0 >= 4 else None


def in_sight(rectangles: np.ndarray) -> np.ndarray:
    """(n,) bool: which of (n, 4) rectangles ``clip_box`` would keep."""
    return np.array([clip_box(rectangle) is not None for rectangle in rectangles])


def edge(y: float, right: bool, margin: float = 0.9) -> Point:
    """A point just outside the left or right border of the picture at ``y`` metres."""
    x = half_width(y) + margin
    return (x if right else -x, y)


def smooth(path: list[Point], radius_m: float = 0.9, side_m: float = 0.0) -> np.ndarray:
    """A walkable curve through ``path``: (n, 2) points every 5 cm, corners rounded, moved sideways by ``side_m``."""
    points = np.array(path, np.float64)
    steps = np.hypot(*np.diff(points, axis=0).T)
    length = np.concatenate(([0.0], np.cumsum(steps)))
    at = np.arange(0.0, length[-1], 0.05)
    curve = np.stack([np.interp(at, length, points[:, axis]) for axis in (0, 1)], axis=-1)
    half = max(1, round(radius_m / 0.05))
    kernel = np.hanning(2 * half + 3)[1:-1]
    kernel /= kernel.sum()
    # Mirrored through the end points, or the ends would shrink inwards.
    before, after = 2 * curve[0] - curve[half:0:-1], 2 * curve[-1] - curve[-2 : -half - 2 : -1]
    padded = np.concatenate((before, curve, after))
    curve = np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)], axis=-1)
    if side_m:
        tangent = np.gradient(curve, axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
        curve = curve + side_m * np.stack((tangent[:, 1], -tangent[:, 0]), axis=-1)
    return curve


def _turn_towards(heading: np.ndarray, target: float, weight: np.ndarray) -> np.ndarray:
    difference = (target - heading + np.pi) % (2 * np.pi) - np.pi
    return heading + difference * weight


def walk(
    curve: np.ndarray,
    speed: float,
    height_m: float,
    rng: np.random.Generator,
    stop: tuple[float, int, float] | None = None,
    run: float = 0.0,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Follow a curve on foot.

    curve: (n, 2) from ``smooth``. speed: m/s. stop: (metres along the curve, frames to stand, radians to look to).
    Returns rows (frames, len(CHANNELS)) and the half-open frame range, relative to the first, of standing still.
    """
    steps = np.hypot(*np.diff(curve, axis=0).T)
    length = np.concatenate(([0.0], np.cumsum(steps)))
    total = float(length[-1])
    pace = speed / FPS
    still = (0, 0)
    if stop is None:
        travelled = np.arange(0.0, total, pace)
    else:
        # Slowing down and starting again take half a second each.
        brake = 12
        ramp = np.cumsum(pace * (1 - (np.arange(1, brake + 1) / brake)))
        before = np.arange(0.0, max(stop[0] - ramp[-1], pace), pace)
        slow = before[-1] + ramp
        stand = np.full(stop[1], slow[-1])
        again = slow[-1] + np.cumsum(pace * np.arange(1, brake + 1) / brake)
        after = np.arange(again[-1] + pace, max(total, again[-1] + 2 * pace), pace)
        travelled = np.concatenate((before, slow, stand, again, after))
        still = (len(before) + brake, len(before) + brake + stop[1])
    n = len(travelled)
    rows = np.zeros((n, len(CHANNELS)))
    rows[:, X] = np.interp(travelled, length, curve[:, 0])
    rows[:, Y] = np.interp(travelled, length, curve[:, 1])
    tangent = np.gradient(curve, axis=0)
    angle = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    rows[:, HEADING] = np.interp(travelled, length, angle)
    current = np.gradient(travelled) * FPS if n > 1 else np.zeros(n)
    moving = np.clip(current / 0.6, 0, 1)
    long = stride_m(current, height_m) * (1 + 0.35 * run)
    rows[:, PHASE] = rng.random() + np.cumsum(current / np.maximum(long, 0.3) + (1 - moving) * 0.16) / FPS
    rows[:, STRIDE] = long * moving
    rows[:, RUN] = run
    if stop is not None:
        weight = np.zeros(n)
        weight[still[0] : still[1]] = 1.0
        weight = np.convolve(np.pad(weight, 9, mode="edge"), np.ones(19) / 19, "valid")
        rows[:, HEADING] = _turn_towards(rows[:, HEADING], stop[2], weight)
    return rows, still


def talk(rows: np.ndarray, still: tuple[int, int], rng: np.random.Generator, lively: float = 0.6) -> None:
    """Let somebody who stands during ``still`` speak with the hands now and then."""
    frame = still[0] + 10
    while frame < still[1] - 20:
        spell = int(rng.integers(25, 70))
        if rng.random() < lively:
            stop = min(frame + spell, still[1] - 8)
            ramp = np.clip(np.minimum(np.arange(stop - frame), np.arange(stop - frame)[::-1]) / 8, 0, 1)
            rows[frame:stop, GESTURE] = ramp * rng.uniform(0.6, 1.0)
        frame += spell


def roll(curve: np.ndarray, speed: float) -> np.ndarray:
    """Follow a curve on wheels at ``speed`` m/s: rows (frames, len(CHANNELS)); "phase" holds the metres travelled."""
    steps = np.hypot(*np.diff(curve, axis=0).T)
    length = np.concatenate(([0.0], np.cumsum(steps)))
    travelled = np.arange(0.0, float(length[-1]), speed / FPS)
    rows = np.zeros((len(travelled), len(CHANNELS)))
    rows[:, X] = np.interp(travelled, length, curve[:, 0])
    rows[:, Y] = np.interp(travelled, length, curve[:, 1])
    tangent = np.gradient(curve, axis=0)
    rows[:, HEADING] = np.interp(travelled, length, np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0])))
    rows[:, PHASE] = travelled
    return rows


def clash(one: Actor, two: Actor) -> bool:
    """Whether two actors would walk into each other, looked at five times a second."""
    start, end = max(one.start, two.start), min(one.end, two.end)
    if start >= end:
        return False
    a = one.rows[start - one.start : end - one.start : 5, :2]
    b = two.rows[start - two.start : end - two.start : 5, :2]
    room = one.room + two.room
    gap = a - b
    return bool((gap[:, 0] ** 2 + gap[:, 1] ** 2 < room * room).any())
