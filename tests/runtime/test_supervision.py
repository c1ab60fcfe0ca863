"""What a service manager hears, on a real notification socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callm_edge import supervision
from callm_edge.sources import SourceState
from callm_edge.supervision import notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield link


def camera(frames: int, waiting: int, state: SourceState = SourceState.LIVE) -> Any:
    source = SimpleNamespace(name="gate", state=state, waiting=waiting)
    return SimpleNamespace(source=source, counts=SimpleNamespace(frames=frames))


def test_a_run_says_ready_alive_and_stopping(manager: socket.socket, tmp_path: Path) -> None:
    code = "from callm_edge.cli import main; main()"
    arguments = ["run", "--source", "test:plaza?seconds=2", "--headless", "--json", "--store", str(tmp_path / "e")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    manager.setblocking(False)
    heard = []
    while True:
        try:
            heard.append(manager.recv(4096).decode())
        except BlockingIOError:
            break
    assert heard[0] == "READY=1\nSTATUS=watching 1 camera"
    assert any(text.startswith("WATCHDOG=1\nSTATUS=test:plaza?seconds=2 ") for text in heard[1:-1])
    assert heard[-1] == "STOPPING=1"


def test_a_camera_that_hangs_silences_the_watchdog_and_one_that_is_away_does_not(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(supervision, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    report = supervision.supervision()
    assert report is not None

    def heard(frames: int, waiting: int, seconds: float, state: SourceState = SourceState.LIVE) -> bool:
        now[0] += seconds
        report.tick([camera(frames, waiting, state)], 0.0)
        manager.setblocking(False)
        try:
            return manager.recv(4096).startswith(b"WATCHDOG=1")
        except BlockingIOError:
            return False

    assert heard(1, 0, 0)
    assert not heard(1, 0, 5), "not oftener than half of what systemd allows"
    assert heard(1, 0, 5)
    assert heard(1, 0, 600), "no pictures come: the camera is away"
    assert heard(2, 3, 11)
    assert heard(2, 3, 11)
    assert not heard(2, 3, 31), "pictures wait, and nobody takes them"
    assert heard(3, 3, 11), "it moves again"
    for _ in range(4):
        assert heard(3, 0, 100, SourceState.STALLED), "the connection is lost"
        assert heard(3, 0, 500, SourceState.CONNECTING), "and is tried again"
    assert heard(3, 0, 100, SourceState.STALLED)
    assert not heard(3, 0, 121, SourceState.STALLED), "it is not tried again: the reader hangs"


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert supervision.supervision() is None
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not notify("READY=1")


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"callm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + name)
        link.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("READY=1")
        assert link.recv(100) == b"READY=1"
