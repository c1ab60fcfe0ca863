"""An exported event is a clip, and brings back what was said of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.export import export, load
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict

EVENT = Event("ab12", "gate", 10, 20, 15, 1.0, 2.0, 18.0, 21.5, (1, 2, 3, 4))
CLIP = Clip(
    "ab12",
    "cafe",
    21.5,
    (ClipFrame(9, 0.9, b"jpeg 9"), ClipFrame(10, 1.0, b"jpeg 10", 18.25, ((3.0, 4.5), (1.0, 2.0)))),
)
VERDICT = Verdict("ab12", True, 0.97, "A man rides a bicycle.", "device", "no server", {"encode": 40.0})


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path / "store")


def test_all_of_it_comes_back(store: EventStore, tmp_path: Path) -> None:
    store.add(EVENT, b"a picture", "plaza", CLIP, wants_verdict=True)
    store.decide(VERDICT)
    path = tmp_path / "event.zip"
    export(store.get("ab12"), path)
    assert Clip.load(path) == CLIP
    recorded = load(path)
    assert (recorded.clip, recorded.event, recorded.verdict, recorded.bundle) == (CLIP, EVENT, VERDICT, "plaza")
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("export.json"))["bundle_hash"] == "cafe"
        assert file.read("scores.csv").decode().splitlines() == [
            "frame,time_s,smoothed_psnr_db,peak_x,peak_y",
            "9,0.900,,,",
            "10,1.000,18.2500,3.0,4.5",
        ]
        assert file.read("thumbnail.jpg") == b"a picture"
        assert file.testzip() is None


def test_a_bare_clip_and_an_event_without_verdict(store: EventStore, tmp_path: Path) -> None:
    store.add(EVENT, None, "plaza", CLIP)
    stored = store.get("ab12")
    assert stored.clip is not None
    assert load(stored.clip).event is None
    export(stored, tmp_path / "event.zip")
    assert load(tmp_path / "event.zip").verdict is None


def test_what_cannot_be_exported_or_read_is_a_sentence(store: EventStore, tmp_path: Path) -> None:
    store.add(EVENT, None, "plaza", None)
    with pytest.raises(UserError, match="cannot be exported"):
        export(store.get("ab12"), tmp_path / "event.zip")
    assert not (tmp_path / "event.zip").exists()
    CLIP.save(tmp_path / "later.zip")
    with zipfile.ZipFile(tmp_path / "later.zip", "a") as file:
        file.writestr("export.json", '{"schema_version": 99}')
    with pytest.raises(UserError, match="schema 99"):
        load(tmp_path / "later.zip")
