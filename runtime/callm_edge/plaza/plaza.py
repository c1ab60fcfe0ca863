"""The plaza as footage: plans who comes and what goes wrong, then draws frame after frame with its ground truth."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from callm_edge.errors import UsageError
from callm_edge.plaza import person
from callm_edge.plaza.camera import FPS, HEIGHT, WIDTH, pixels_per_metre, project, shadow_points
from callm_edge.plaza.crowd import crowd
from callm_edge.plaza.incidents import BUILDERS, labelled_range
from callm_edge.plaza.light import Light
from callm_edge.plaza.looks import Looks
from callm_edge.plaza.person import HEADING, PHASE, STRIDE, X, Y
from callm_edge.plaza.scene import scene
from callm_edge.plaza.sprite import Sprite, paint
from callm_edge.plaza.tracks import Actor, Ride, clip_box
from callm_edge.plaza.vehicles import (
    Missile,
    Van,
    bicycle_outline,
    bicycle_strokes,
    missile_sprite,
    rider_grips,
    shadow_hull,
    van_outline,
    van_sprite,
)

ANOMALIES: tuple[str, ...] = tuple(BUILDERS)

_FIRST_S = 8.0
_GAP_S = 8.0
_ANGLES = np.linspace(0, 2 * np.pi, 9)[:-1]
_SHADOW_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES) * 0.6), axis=-1)

Box = tuple[str, int, int, int, int]

_CAPTIONS = {
    "cyclist": "A cyclist rides across the plaza among the pedestrians.",
    "vehicle": "A small utility van drives across the pedestrian plaza.",
    "runner": "A person runs across the plaza while others walk.",
    "against-flow": "Against the flow a person walks along the one-way walkway.",
    "thrown-object": "A person throws objects across the plaza.",
    "loitering-group": "A group of people stands around on the plaza for a long time.",
    "fall": "A person falls and lies on the ground of the plaza.",
}


@dataclass(frozen=True)
class Truth:
    """What is true of one frame.

    anomalous: an anomalous person or thing is in the picture. boxes: (kind, x, y, w, h) of each of them, pixels,
    clipped to the picture. caption: one plain sentence.
    """

    anomalous: bool
    boxes: tuple[Box, ...]
    caption: str


class Plaza:
    """Synthetic surveillance footage of one plaza, 640x360 at 25 frames/s, the same bits for the same arguments.

    seed: chooses people, timing, weather and noise, never the camera or the scene. anomalies: names from
    ``ANOMALIES``, shown one after another and again from the start as the length allows, with at least 8 s of
    normal footage around each. seconds: length. Raises UsageError for a name that is not in ``ANOMALIES``, a negative
    seed, and a length that holds no frame.
    """

    fps = FPS
    width, height = WIDTH, HEIGHT

    def __init__(self, seed: int = 0, anomalies: Sequence[str] = (), seconds: float = 60.0) -> None:
        for name in anomalies:
            if name not in BUILDERS:
                near = difflib.get_close_matches(name, ANOMALIES, n=1, cutoff=0.4)
                hint = f"Did you mean '{near[0]}'? " if near else ""
                raise UsageError(
                    f"the plaza has no anomaly '{name}'",
                    "it is not one that it can show",
                    f"{hint}It knows: {', '.join(ANOMALIES)}.",
                )
        if seed < 0:
            raise UsageError(f"the plaza's seed is {seed}", "it must not be negative", "Give 0 or more.")
        self.frames = round(seconds * FPS) if np.isfinite(seconds) else 0
        if self.frames < 1:
            raise UsageError(
                f"a plaza of {seconds} seconds has no frame", "it needs at least 0.04 s", "Give a longer time."
            )
        self.seed = seed
        self.seconds = seconds
        self._incidents, self._schedule = self._plan(tuple(anomalies))
        self._rectangles = [actor.rectangles() for actor in self._incidents]

    @property
    def schedule(self) -> tuple[tuple[str, int, int], ...]:
        """(kind, start frame, end frame) of every anomaly, half open: labelled frames only."""
        return self._schedule

    def _plan(self, names: tuple[str, ...]) -> tuple[tuple[Actor, ...], tuple[tuple[str, int, int], ...]]:
        rng = np.random.default_rng((self.seed, 0))
        actors: list[Actor] = []
        schedule: list[tuple[str, int, int]] = []
        start = round((_FIRST_S + float(rng.uniform(0, 0.6))) * FPS)
        while names and start < self.frames:
            name = names[len(schedule) % len(names)]
            party = BUILDERS[name](rng)
            first, last = labelled_range(party)
            end = start + last - first
            if end > self.frames and schedule:
                break
            actors += [actor.shifted(start - first) for actor in party]
            schedule.append((name, start, min(end, self.frames)))
            start = end + round((_GAP_S + float(rng.uniform(0.2, 2.5))) * FPS)
        return tuple(actors), tuple(schedule)

    def boxes(self, index: int) -> tuple[Box, ...]:
        """What is anomalous in frame ``index``: kind, x, y, w, h pixels of everything in sight."""
        boxes: list[Box] = []
        for actor, rectangles in zip(self._incidents, self._rectangles, strict=True):
            visible = max(actor.start, actor.labelled[0]) <= index < min(actor.end, actor.labelled[1])
            box = clip_box(rectangles[index - actor.start]) if visible else None
            if box:
                boxes.append((actor.kind, *box))
        return tuple(boxes)

    def __iter__(self) -> Iterator[tuple[np.ndarray, Truth]]:
        """Yield (360, 640, 3) BGR uint8 frames, each a fresh array, with their ground truth."""
        return self._live(None)

    def frames_at(self, indices: Container[int]) -> Iterator[tuple[np.ndarray, Truth]]:
        """The same for some frames only, in order of time: the others are lived through, but not drawn."""
        return self._live(indices)

    def _live(self, drawn: Container[int] | None) -> Iterator[tuple[np.ndarray, Truth]]:
        light = Light(self.seed, scene())
        coming = crowd(self.seed, self.frames, self._incidents)
        waiting = next(coming, None)
        walkers: list[Actor] = []
        for index in range(self.frames):
            while waiting is not None and waiting.start <= index:
                walkers.append(waiting)
                waiting = next(coming, None)
            walkers = [actor for actor in walkers if actor.end > index]
            about = [actor for actor in (*walkers, *self._incidents) if actor.start <= index < actor.end]
            if drawn is not None and index not in drawn:
                continue
            boxes = self.boxes(index)
            picture, people = _draw(about, index, light)
            yield light.finish(picture, index), Truth(bool(boxes), boxes, _caption(boxes, people))


def _caption(boxes: tuple[Box, ...], people: int) -> str:
    if boxes:
        return _CAPTIONS[boxes[0][0]]
    if people == 0:
        return "The plaza is empty."
    if people == 1:
        return "One person walks across the plaza."
    return "A few people walk across the plaza." if people < 5 else "Several people walk across the plaza."


def _draw(about: list[Actor], index: int, light: Light) -> tuple[np.ndarray, int]:
    """The noiseless picture, and how many people on foot are in it."""
    shadows: list[np.ndarray] = []
    contacts: list[tuple[float, float, float]] = []
    things: list[Sprite] = []

    on_foot = [actor for actor in about if isinstance(actor.body, Looks)]
    people = 0
    if on_foot:
        looks = [actor.body for actor in on_foot if isinstance(actor.body, Looks)]
        rows = np.stack([actor.rows[index - actor.start] for actor in on_foot])
        points = person.pose(rows, looks)
        bodies = person.sprites(points, looks, rows[:, [X, Y]])
        _cast(points, looks, shadows, contacts)
        things += bodies
        people = sum(body.box() is not None for body in bodies)
    for actor in about:
        row = actor.rows[index - actor.start]
        place = (float(row[X]), float(row[Y]), float(row[HEADING]))
        body = actor.body
        if isinstance(body, Van):
            things.append(van_sprite(body, *place, float(row[PHASE]), index))
            outline = van_outline(body, *place)
            shadows.append(shadow_hull(outline))
            under, _ = project(outline * (1, 1, 0))
            shadows.append(under.astype(np.float32)[_convex(under)])
        elif isinstance(body, Ride):
            points = person.pose(row[None], [body.rider], rider_grips(row[PHASE : PHASE + 1]))
            rider = person.sprites(points, [body.rider], row[None, [X, Y]])[0]
            _cast(points, [body.rider], shadows, contacts)
            behind, front = bicycle_strokes(*place, float(row[PHASE]), (*map(float, body.tint), 255.0))  # type: ignore[arg-type]
            outline = bicycle_outline(*place)
            wheels, _ = project(outline)
            for wheel in (outline[:13], outline[13:]):
                shadows.append(shadow_hull(wheel))
            low = np.minimum(wheels.min(axis=0), rider.bounds[:2])
            high = np.maximum(wheels.max(axis=0), rider.bounds[2:])
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            things.append(Sprite(place[1], box, [*behind, *rider.strokes, *front]))
        elif isinstance(body, Missile):
            position = row[[X, Y, STRIDE]]
            things.append(missile_sprite(body, position, float(row[PHASE])))
            ring = position + body.radius * np.array([(np.cos(a), np.sin(a), 0.0) for a in _ANGLES])
            shadows.append(shadow_hull(ring))
    frame = light.ground(shadows, contacts)
    occluders = scene().occluders
    for thing in sorted(things, key=lambda sprite: -sprite.y):
        x0, _, x1, y1 = thing.bounds
        thing.light = light.sun_at((x0 + x1) / 2, y1 - 2)
        paint(frame, thing, occluders)
    return frame, people


def _convex(points: np.ndarray) -> np.ndarray:
    """Indices of the convex outline of (n, 2) points."""
    outline: np.ndarray = cv2.convexHull(points.astype(np.float32), returnPoints=False)
    return outline.reshape(-1)


def _cast(
    points: np.ndarray, looks: list[Looks], shadows: list[np.ndarray], contacts: list[tuple[float, float, float]]
) -> None:
    """Collect the sun shadows of posed bodies, part by part, and the dark spots under their feet."""
    at, depth = project(shadow_points(points))
    scale = pixels_per_metre(depth)
    radius = np.stack([look.radii for look in looks]) * scale
    rings = (at[:, :, None, :] + radius[..., None, None] * _SHADOW_CIRCLE).astype(np.float32)
    feet, _ = project(points * (1, 1, 0))
    soles = [person.sphere(name) for name in ("ankle_l", "ankle_r")]
    for row, look in enumerate(looks):
        own = rings[row]
        shadows += [cv2.convexHull(own[spheres].reshape(-1, 2))[:, 0] for spheres in look.casting]
        for sole in soles:
            if points[row, sole, 2] < 0.25:
                contacts.append((float(feet[row, sole, 0]), float(feet[row, sole, 1]), 0.13 * float(scale[row, sole])))
