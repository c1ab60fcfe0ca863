"""The scene-drift alarm over the plaza: tampered with in every way that it is to tell, and left alone."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.decision.scene_drift import EVERY_S, SceneDrift, SceneLimits
from callm_edge.decision.scene_view import Difference, View, gray_of
from callm_edge.events.scene import SceneChange
from callm_edge.plaza import ANOMALIES, Plaza
from callm_edge.sources import Frame

Tamper = Callable[[np.ndarray], np.ndarray]


def drawn(seed: int, anomalies: tuple[str, ...], seconds: float) -> list[np.ndarray]:
    """The plaza's frames that the alarm looks at: 5 a second."""
    plaza = Plaza(seed, anomalies, seconds)
    return [image for image, _ in plaza.frames_at(set(range(0, plaza.frames, 5)))]


@pytest.fixture(scope="module")
def day() -> list[np.ndarray]:
    return drawn(3, ("cyclist",), 10.0)


def watched(drift: SceneDrift, images: Iterable[np.ndarray], start: float = 0.0) -> list[SceneChange]:
    pushed = (drift.push(Frame(0, start + EVERY_S * at, image)) for at, image in enumerate(images))
    return [change for change in pushed if change]


def moved(dx: float, dy: float) -> Tamper:
    def warp(image: np.ndarray) -> np.ndarray:
        size = image.shape[1], image.shape[0]
        return cv2.warpAffine(image, np.float32([[1, 0, dx], [0, 1, dy]]), size, borderMode=cv2.BORDER_REPLICATE)

    return warp


def turned(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.warpAffine(
        image,
        cv2.getRotationMatrix2D((width / 2, height / 2), 8, 1.0),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
    )


def mirrored(image: np.ndarray) -> np.ndarray:
    """Another view that looks much like this one: shops above, stones below."""
    return cv2.flip(image, 1)


@functools.cache
def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)


def blurred(image: np.ndarray) -> np.ndarray:
    """Of the lens: the sensor's noise stays sharp."""
    return np.clip(cv2.GaussianBlur(image, (0, 0), 6) + noise(image.shape), 0, 255).astype(np.uint8)


@functools.cache
def palm(shape: tuple[int, ...]) -> np.ndarray:
    blob = cv2.ellipse(np.full(shape, 60, np.uint8), (300, 200), (250, 160), 20, 0, 360, (70, 90, 130), -1)
    return np.clip(cv2.GaussianBlur(blob, (0, 0), 25) + noise(shape), 0, 255).astype(np.uint8)


def hand(image: np.ndarray) -> np.ndarray:
    return palm(image.shape)


def black(image: np.ndarray) -> np.ndarray:
    return np.full_like(image, 4)


def lit(gain: float) -> Tamper:
    return lambda image: np.clip(image * gain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "tamper"),
    [
        ("moved", moved(12, 0)),
        ("moved", moved(-150, 40)),
        ("moved", turned),
        ("moved", mirrored),
        ("defocused", blurred),
        ("covered", black),
        ("covered", hand),
        ("light", lit(0.5)),
        ("light", lit(1.8)),
    ],
)
def test_each_kind_is_told_from_the_others_and_so_is_its_end(kind: str, tamper: Tamper, day: list[np.ndarray]) -> None:
    drift = SceneDrift("gate")
    changes = watched(drift, [*day, *map(tamper, day[:25]), *day[:25]])
    assert [(change.kind, change.before) for change in changes] == [(kind, "normal"), ("normal", kind)]
    began, ended = changes
    assert began.since == pytest.approx(10.0, abs=1.2)
    assert ended.since == pytest.approx(15.0, abs=1.2)
    assert began.strength > 1
    assert (ended.strength, ended.adopted, began.source) == (0, False, "gate")


@pytest.mark.parametrize("seed", [0, 1])
def test_no_alarm_over_a_normal_day_or_an_anomalous_one_or_one_that_grows_dark(seed: int) -> None:
    at = 4 * seed % len(ANOMALIES)
    images = drawn(seed, ANOMALIES[at:] + ANOMALIES[:at], 14.0)
    assert not watched(SceneDrift("gate"), images)
    dusk = [lit(1 - 0.5 * index / (4 * len(images)))(image) for index, image in enumerate(images * 4)]
    assert not watched(SceneDrift("gate"), dusk), "half of the light goes within a minute"


def test_no_alarm_over_the_walkway(ped2: Path) -> None:
    clips = [folder for part in ("train", "test") for folder in sorted((ped2 / part).iterdir())[:2]]
    for clip in clips:
        drift, files = SceneDrift("walkway"), sorted(path for path in clip.iterdir() if path.suffix != ".txt")
        seen = [drift.push(Frame(at, at / 10, cv2.imread(str(path)))) for at, path in enumerate(files)]
        assert len(seen) > 50
        assert not any(seen), clip.name


def test_what_does_not_last_is_not_reported_but_known(day: list[np.ndarray]) -> None:
    drift = SceneDrift("gate")
    assert not watched(drift, [*day, *map(hand, day[:8]), *day[:10]])
    assert drift.during(9.0) == "covered", "an event of that time says so"
    assert drift.during(13.0) == "normal"


def test_a_new_view_is_adopted_once_it_settled_and_a_covered_one_never(day: list[np.ndarray]) -> None:
    limits = SceneLimits(settle_s=8.0)
    new = list(map(moved(60, 20), day))
    drift = SceneDrift("gate", limits)
    assert [change.kind for change in watched(drift, [*day, *new])] == ["moved"]
    settled = watched(drift, [*new, *new], 20.0)
    assert [(change.kind, change.adopted) for change in settled] == [("normal", True)]
    assert settled[0].since == pytest.approx(21.5, abs=1.5), "the alarm came after some 3 s, and 8 s later this"
    assert [change.kind for change in watched(drift, day, 40.0)] == ["moved"], "now the old view is the strange one"

    drift = SceneDrift("gate", limits)
    assert [change.kind for change in watched(drift, [*day, *map(hand, day + day)])] == ["covered"]


def test_a_camera_that_turns_on_does_not_settle(day: list[np.ndarray]) -> None:
    drift = SceneDrift("gate", SceneLimits(settle_s=8.0))
    turning = [moved(40 + 3 * at, 0)(image) for at, image in enumerate(day + day)]
    assert [change.kind for change in watched(drift, [*day, *turning])] == ["moved"]


def test_a_run_that_begins_covered(day: list[np.ndarray]) -> None:
    changes = watched(SceneDrift("gate"), [*map(black, day[:25]), *day])
    assert [(change.kind, change.adopted) for change in changes] == [("covered", False), ("normal", False)]


def test_a_wall_without_detail_tells_of_light_and_cover_alone() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(80, 160, 320, dtype=np.float32), (240, 1))
    wall = [np.clip(ramp + rng.normal(0, 2, ramp.shape), 0, 255).astype(np.uint8) for _ in range(40)]
    assert not watched(SceneDrift("wall"), wall)
    assert [change.kind for change in watched(SceneDrift("wall"), [*wall, *map(lit(0.5), wall)])] == ["light"]
    assert [change.kind for change in watched(SceneDrift("wall"), [*wall, *map(black, wall)])] == ["covered"]


def test_a_clock_that_is_set_back_and_a_camera_that_was_away(day: list[np.ndarray]) -> None:
    drift = SceneDrift("gate")
    assert not watched(drift, day, 1000.0)
    assert not watched(drift, day[:20], 500.0)
    assert not watched(drift, day[:20], 9000.0)
    assert [change.kind for change in watched(drift, map(black, day[:25]), 9004.0)] == ["covered"]


def test_most_frames_cost_nothing(day: list[np.ndarray]) -> None:
    drift, images = SceneDrift("gate"), day[:20]
    watched(drift, images)
    times = []
    for index in range(100):
        began = time.thread_time()
        drift.push(Frame(index, 100 + index / 25, images[index % 20]))
        times.append(time.thread_time() - began)
    assert np.mean(times) < 0.001, "seconds a frame at 25 frames a second; a wide bound, the machine may be slow"


@pytest.mark.parametrize("shape", [(1080, 1920, 3), (9, 7, 3), (1, 1), (480, 640), (480, 640, 1)])
def test_any_picture_will_do(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    gray = gray_of(image)
    assert (gray.shape, gray.dtype) == ((256, 256), np.float32)
    same = Difference.between(View.of(gray), View.of(gray))
    assert (same.gain, same.shift) == (1.0, pytest.approx(0, abs=1e-3))
    assert not watched(SceneDrift("any", SceneLimits(hold_s=99)), [image] * 30)
