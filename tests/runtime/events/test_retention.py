"""Bounds that hold, in the right order, and a full disk that costs pictures and no events."""

from __future__ import annotations

import errno
import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callm_edge.events import retention
from callm_edge.events import store as store_module
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.retention import Limits, Retention, Swept
from callm_edge.events.store import EventStore


def add(store: EventStore, name: str, waits: bool = False, size: int = 1000) -> None:
    event = Event(name, "gate", 0, 9, 5, 0.0, 1.0, 18.0, 21.5, (0, 0, 8, 8))
    clip = Clip(name, "hash", 21.5, (ClipFrame(0, 0.0, b"x" * size),))
    assert store.add(event, b"y" * 50, "plaza", clip, waits)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (*(folder / "clips").iterdir(), *(folder / "thumbnails").iterdir()))


def test_the_oldest_clips_go_first_and_those_that_wait_for_a_verdict_last(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        for name, waits in (("a", True), ("b", False), ("c", False)):
            add(store, name, waits)
        one = (tmp_path / "clips" / "a.zip").stat().st_size
        swept = Retention(store, Limits(max_bytes=2 * one + 150)).sweep()
        assert swept == Swept(0, 1, one)
        assert kept(tmp_path) == ["a.jpg", "a.zip", "b.jpg", "c.jpg", "c.zip"]
        assert store.get("b").clip is None, "the event itself stays in the list"
        Retention(store, Limits(max_bytes=one + 150)).sweep()
        assert kept(tmp_path) == ["a.jpg", "a.zip", "b.jpg", "c.jpg"]
        Retention(store, Limits(max_bytes=50)).sweep()
        assert kept(tmp_path) == ["a.jpg"]
        assert Retention(store, Limits(max_bytes=50)).sweep() == Swept()


def test_old_events_are_forgotten_whole_and_what_a_crash_left_is_tidied_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with EventStore(tmp_path) as store:
        for name, days, waits in (("old", 40, False), ("old-and-waiting", 40, True), ("new", 0, True)):
            clock = SimpleNamespace(time=lambda days=days: now - 86400 * days, monotonic=time.monotonic)
            monkeypatch.setattr(store_module, "time", clock)
            add(store, name, waits)
        for name, hours in (("lost", 2), ("just-now", 0)):
            path = tmp_path / "clips" / f"{name}.zip"
            path.write_bytes(b"z" * 10)
            os.utime(path, (now - 3600 * hours,) * 2)
        assert Retention(store, Limits(max_age_s=30 * 86400)).sweep() == Swept(1, 1, 10)
        assert list(store.ids()) == ["new", "old-and-waiting"], "the queue has bounds of its own"
    pictures = ["new.jpg", "new.zip", "old-and-waiting.jpg", "old-and-waiting.zip"]
    assert kept(tmp_path) == ["just-now.zip", *pictures]


def test_pictures_make_room_on_the_disk(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        for name in "abc":
            add(store, name)
        Retention(store, Limits(keep_free_bytes=5000), free_bytes=lambda folder: 4500).sweep()
        assert kept(tmp_path) == ["a.jpg", "b.jpg", "b.zip", "c.jpg", "c.zip"]


def test_a_full_disk_costs_the_pictures_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with EventStore(tmp_path) as store, caplog.at_level(logging.INFO):
        with monkeypatch.context() as patch:
            patch.setattr("callm_edge.events.pictures.write_bytes", full)
            add(store, "a", waits=True)
            add(store, "b", waits=True)
        assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
        assert "is full" in caplog.text
        assert store.get("a").failed == "its clip was not stored: the disk is full"
        assert list(store.waiting()) == []
        add(store, "c", waits=True)
        assert "has room again" in caplog.text
        assert list(store.waiting()) == ["c"]


def test_less_room_than_is_to_stay_free_is_a_full_disk(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store, Retention(store, Limits(keep_free_bytes=1 << 62)):
        add(store, "a")
        assert store.get("a").clip is None
    assert kept(tmp_path) == []


def test_the_thread_sweeps_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.02)
    with EventStore(tmp_path) as store, Retention(store, Limits(max_bytes=50)):
        add(store, "a")
        add(store, "b")
        end = time.monotonic() + 30
        while kept(tmp_path) != ["b.jpg"]:
            assert time.monotonic() < end
            time.sleep(0.01)
