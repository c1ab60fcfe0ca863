"""`callm-edge calibrate` as a user meets it: footage, and what was marked as a false alarm since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from callm_edge.bundle import Bundle
from callm_edge.commands.calibrate import calibrate
from callm_edge.errors import UsageError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore
from callm_edge.stage2.ways import SHAPE, Ways

LIVE = 1_772_100_000.0


def pictures(count: int, noise: float, seed: int = 0) -> Sequence[np.ndarray]:
    """A gray gradient with so much noise on it: the more, the worse any network draws it."""
    rng = np.random.default_rng(seed)
    ground = np.linspace(60, 190, 64)[None, :] * np.ones((48, 1))
    return [(ground + rng.normal(0, noise, ground.shape)).clip(0, 255).astype(np.uint8) for _ in range(count)]


def clip(event_id: str, noise: float, count: int = 40) -> Clip:
    """Calm, then noisy from frame 20 on."""
    images = [*pictures(20, 1.0), *pictures(count - 20, noise)] if count > 20 else pictures(count, noise)
    frames = (ClipFrame(i, LIVE + i / 25, cv2.imencode(".jpg", image)[1].tobytes()) for i, image in enumerate(images))
    return Clip(event_id, "an older one", 20.0, tuple(frames))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "normal").mkdir()
    for number, image in enumerate(pictures(150, 1.0)):
        cv2.imwrite(str(tmp_path / "normal" / f"{number:03d}.png"), image)
    return tmp_path


def store(folder: Path, clips: dict[str, Clip | None], bundle: str) -> Path:
    """Events an hour apart, all of them marked."""
    with EventStore(folder / "store") as events:
        for number, (name, frames) in enumerate(clips.items()):
            begin = LIVE + 3600 * number
            event = Event(name, "gate", 20, 39, 30, begin, begin + 1, 17.0, 20.0, (0, 0, 9, 9))
            events.add(event, None, bundle, frames)
            events.mark_false_alarm(name)
    return folder / "store"


def call(folder: Path, bundle: Bundle, *more: object) -> Result:
    words = [
        "--source",
        folder / "normal",
        "--bundle",
        bundle.folder,
        "--out",
        folder / "out",
        "--backend",
        "onnxruntime",
    ]
    return CliRunner().invoke(calibrate, [str(word) for word in (*words, *more)])


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output + repr(result.exception)
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_marked_events_enter_by_the_bundle_under_calibration(folder: Path, tiny_bundle: Bundle) -> None:
    plain = answer(call(folder, tiny_bundle, "--json"))
    assert "false_alarms" not in plain
    clips = {"a": clip("a", 60.0), "b": clip("b", 70.0), "gone": None, "short": clip("short", 60.0, count=12)}
    where = store(folder, clips, tiny_bundle.name)
    marked = answer(call(folder, tiny_bundle, "--json", "--store", where, "--watched-hours", "0.001"))
    about = marked["false_alarms"]
    assert (about["marked"], about["unused"]) == (2, 2)
    assert about["lowered_db"] > 0
    assert marked["threshold_psnr_db"] == pytest.approx(plain["threshold_psnr_db"] - about["lowered_db"], abs=1e-3)
    written = Bundle.load(folder / "out")
    assert written.decision.threshold_psnr_db == marked["threshold_psnr_db"]
    assert written.manifest.calibration["false_alarms"] == about


def test_without_watched_hours_the_store_says_how_long(folder: Path, tiny_bundle: Bundle) -> None:
    where = store(folder, {"a": clip("a", 60.0), "b": clip("b", 60.0), "c": None}, tiny_bundle.name)
    result = call(folder, tiny_bundle, "--store", where)
    assert result.exit_code == 0, result.output
    assert "2 events marked as false alarms in 2.0 h of watching" in " ".join(result.stderr.split())
    assert Bundle.load(folder / "out").manifest.calibration["false_alarms"]["watched_hours"] == 2.0


def test_events_of_another_bundle_are_left_out_and_said(folder: Path, tiny_bundle: Bundle) -> None:
    where = store(folder, {"a": clip("a", 60.0)}, "another")
    result = call(folder, tiny_bundle, "--store", where)
    assert result.exit_code == 0, result.output
    assert "No event that this bundle found is marked as a false alarm (1 cannot be used)" in " ".join(
        result.stderr.split()
    )


def test_watched_hours_without_a_store_are_refused(folder: Path, tiny_bundle: Bundle) -> None:
    refused = call(folder, tiny_bundle, "--watched-hours", 3).exception
    assert isinstance(refused, UsageError)
    assert "--store" in refused.fix


def test_the_usual_ways_are_learnt_too(tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "normal").mkdir()
    ground = pictures(1, 9.0)[0]
    for number in range(420):
        cv2.imwrite(str(tmp_path / "normal" / f"{number:03d}.png"), np.roll(ground, number % 48, axis=1))
    found = answer(call(tmp_path, tiny_bundle, "--json", "--fps", 10))
    assert found["ways_from"] == 105 - 4, "every 0.4 s, of the frames that a window scores"
    ways = Bundle.load(tmp_path / "out").ways
    assert ways is not None
    right, _, left, _, _ = ways.usual.mean((0, 1))
    assert right > 5 * left


def test_too_little_footage_shows_no_ways_and_says_so(folder: Path, tiny_bundle: Bundle) -> None:
    result = call(folder, tiny_bundle)
    assert "Which ways are usual was not learnt" in " ".join(result.stderr.split())
    assert "keeps those it had" not in " ".join(result.stderr.split())
    assert Bundle.load(folder / "out").ways is None


def test_too_little_footage_leaves_the_ways_of_before_and_says_so(folder: Path, tiny_bundle: Bundle) -> None:
    ways = Ways(np.random.default_rng(0).random(SHAPE, np.float32))
    result = call(folder, tiny_bundle.with_ways(ways))
    assert "keeps those it had" in " ".join(result.stderr.split())
    assert Bundle.load(folder / "out").ways == ways
