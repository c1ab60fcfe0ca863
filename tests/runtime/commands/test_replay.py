"""`events export` and `replay`, with a real bundle."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from callm_edge.bundle import Bundle
from callm_edge.commands.events import events
from callm_edge.commands.replay import replay
from callm_edge.errors import UsageError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore

EVENT = Event("ab12cd34ef", "gate", 8, 10, 9, 0.32, 0.4, 18.0, 21.5, (1, 2, 3, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8)
    frames = tuple(
        ClipFrame(at, at / 25, cv2.imencode(".jpg", picture)[1].tobytes(), 12.0 if 8 <= at < 13 else None)
        for at, picture in enumerate(noise)
    )
    with EventStore(tmp_path / "store") as store:
        store.add(EVENT, None, "plaza", Clip(EVENT.id, "cafe", 21.5, frames))
    return tmp_path


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(replay, [*arguments, "--backend", "onnxruntime", "--json"], catch_exceptions=False)
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_an_exported_event_and_a_stored_one_replay_alike(folder: Path) -> None:
    out = folder / "out.zip"
    arguments = ["export", "ab12", "--store", str(folder / "store"), "-o", str(out)]
    assert CliRunner().invoke(events, arguments, catch_exceptions=False).output == f"{out}\n"
    from_file, from_store = run(str(out)), run("ab12", "--store", str(folder / "store"))
    assert from_file == from_store
    assert (from_file["event_id"], from_file["source"], from_file["bundle"]) == (EVENT.id, "gate", "plaza")
    assert (from_file["same_bundle"], from_file["recorded_bundle_hash"]) == (False, "cafe")
    assert from_file["bundle_hash"] == Bundle.load("plaza").hash
    assert from_file["compared"] == 5 - 2, "of 5 windows the first two fill the smoothing"
    assert from_file["flagged_now"] == 3, "noise is no plaza"
    other = run(str(out), "--bundle", "ped2", "--threshold", "-50")
    assert (other["bundle"], other["flagged_now"], other["flips"]) == ("ped2", 0, other["compared"])


def test_people_get_lines_and_a_bare_clip_needs_a_bundle(folder: Path) -> None:
    clip = str(folder / "store" / "clips" / f"{EVENT.id}.zip")
    with pytest.raises(UsageError, match="--bundle"):
        run(clip)
    arguments = [clip, "--bundle", "plaza", "--backend", "onnxruntime"]
    lines = CliRunner().invoke(replay, arguments, catch_exceptions=False).output.splitlines()
    assert [line.split()[0] for line in lines] == [
        "event",
        "bundle",
        "scores",
        "lowest",
        "threshold",
        "flagged",
        "events",
    ]
