"""What a run does that goes on for months: a camera that never answers beside a good one, and a scene that changes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.cascade import Camera, Found
from callm_edge.decision.scene_drift import SceneLimits
from callm_edge.events.scene import SceneChange
from callm_edge.sources import Frame, Source
from callm_edge.stage1.scorer import WindowStream
from callm_edge.stage1.scores import Scores, psnr_db


def test_a_camera_that_never_answers_leaves_the_other_the_manager_and_the_end_alone(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(300)
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from callm_edge.cli import main; main()", "run", "--json", "--stride", "16"),
                *("--source", f"rtsp://user:s3cret@127.0.0.1:{silent.getsockname()[1]}/stream"),
                *("--source", "test:plaza?seconds=2", "--store", str(tmp_path / "store"), "--stage2", "off"),
            ],
            env={"PATH": "/usr/bin", "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said = manager.recv(4096).decode()
            assert said.startswith("READY=1")
            until = time.monotonic() + 300
            while "plaza?seconds=2 ended" not in said and time.monotonic() < until:
                said = manager.recv(4096).decode()
            assert said.startswith("WATCHDOG=1")
            assert "/stream connecting, test:plaza?seconds=2 ended; 50 frames" in said
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["frames"] == 50
    assert "s3cret" not in out + err + said


class Film(Source):
    """A textured scene, still but for noise, over which a hand lies from second 10 to 16."""

    name, fps = "gate", 10.0

    def __iter__(self) -> Iterator[Frame]:
        rng = np.random.default_rng(0)
        scene = np.kron(rng.integers(40, 200, (24, 32)), np.ones((8, 8))).astype(np.float32)
        for index in range(220):
            image = np.full_like(scene, 70) if 100 <= index < 160 else scene
            yield Frame(index, index / 10, np.clip(image + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8))


class Startled:
    """A scorer for which the middle of the film, and its beginning, is strange."""

    name = "startled"

    def __init__(self) -> None:
        self.windows = 0

    def stream(self) -> WindowStream:
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        self.windows += 1
        mse = np.array([0.4 if self.windows in range(40, 50) or self.windows in range(88, 96) else 0.004], np.float32)
        return Scores(mse, psnr_db(mse), mse, np.full((1, 128, 128), mse[0], np.float32))


def test_the_scene_is_told_apart_from_events_which_say_what_it_was() -> None:
    decision = Decision(
        statistic="frame", threshold_psnr_db=20.0, smoothing=1, release_db=0.0, gap_s=0.4, minimum_s=0.1
    )
    found = list(Camera(Film(), Startled(), decision, scene=SceneLimits()))
    changes = [item for item in found if isinstance(item, SceneChange)]
    assert [(change.source, change.kind) for change in changes] == [("gate", "covered"), ("gate", "normal")]
    events = [item.event for item in found if isinstance(item, Found)]
    assert [event.scene for event in events] == ["normal", "covered"]
    assert events[1].end_time < changes[0].since + 3, "the event was over before the alarm was sure"
    assert json.loads(events[1].to_json())["scene"] == "covered"
    assert not [item for item in Camera(Film(), Startled(), decision) if isinstance(item, SceneChange)]
