"""A disk that is really full: events stay, their clips do not, and all goes on once there is room again."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.pictures import NO_ROOM
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.worker import VerdictWorker

DISK = 2 << 20
JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


class Judge:
    name = "device"

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        return Verdict(clip.event_id, False, 0.1, "", self.name, "test", {})

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield "?"


def add(store: EventStore, name: str, size: int = 300_000) -> None:
    event = Event(name, "gate", 0, 9, 5, 0.0, 1.0, 18.0, 21.5, (0, 0, 8, 8))
    # What follows a JPEG's end is no trouble to its readers.
    clip = Clip(name, "hash", 21.5, (ClipFrame(0, 0.0, JPEG + os.urandom(size)),))
    store.add(event, JPEG, "plaza", clip, wants_verdict=True)


def add_many(store: EventStore, events: int) -> None:
    for number in range(events):
        add(store, f"more{number}", 1000)


def fill(disk: Path) -> Path:
    """A file that takes all room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return ballast


def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_full_disk_costs_clips_and_no_event(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EventStore(disk) as store, caplog.at_level(logging.INFO):
        store.pictures.keep_free_bytes = DISK // 4
        for number in range(10):
            add(store, f"e{number}")
        assert len(store) == 10
        with_clip = [one for one in store.list() if one.clip]
        without = [one for one in store.list() if not one.clip]
        assert with_clip, "the first ones fitted"
        assert without, "the last ones did not"
        assert {one.failed for one in without} == {NO_ROOM}
        assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
        assert sorted(store.waiting()) == sorted(one.event.id for one in with_clip)
        assert not list(disk.rglob(".*")), "nothing half written is left to fill the disk"
        for one in with_clip[-2:]:
            store.pictures.remove(one.event.id)
        add(store, "later")
        assert store.get("later").clip
        assert "has room again" in caplog.text


def test_a_disk_without_room_for_a_row_says_so_and_stage_2_waits_for_room(disk: Path) -> None:
    with EventStore(disk) as store:
        add(store, "first", 1000)
        ballast = fill(disk)
        # The database may have room left in a page that it holds already.
        with pytest.raises(UserError, match="disk is full"):
            add_many(store, 1000)
        verdicts: list[Verdict] = []
        failures: list[str] = []
        worker = VerdictWorker(store, Judge, verdicts.append, lambda event_id, error: failures.append(event_id))
        worker.start()
        eventually(lambda: bool(failures))
        assert not verdicts, "a verdict that is not stored is not said"
        ballast.unlink()
        eventually(lambda: bool(verdicts))
        worker.stop(30)
        assert [verdict.event_id for verdict in verdicts] == ["first"]
        assert failures == [""], "said once, and not as a failure of the event"
        assert store.get("first").verdict
