from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from callm_edge.errors import SourceError
from callm_edge.sources import SourceState, open_source
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.camera import CameraSource, open_capture

QUICK = Backoff(first_s=0.01, limit_s=0.02)
IMAGE = np.zeros((48, 64, 3), np.uint8)


class FakeCapture:
    """A camera that gives the pictures of ``reads``, then none any more."""

    def __init__(self, reads: list[bool], opened: bool = True) -> None:
        self.settings: dict[int, float] = {}
        self.released = 0
        self._reads = iter(reads)
        self._opened = opened

    def isOpened(self) -> bool:  # noqa: N802
        return self._opened

    def set(self, prop: int, value: float, /) -> bool:
        self.settings[prop] = value
        return True

    def get(self, prop: int, /) -> float:
        return 30.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        good = next(self._reads, False)
        return good, IMAGE.copy() if good else None

    def release(self) -> None:
        self.released += 1


def camera(*captures: FakeCapture, max_attempts: int | None = None) -> CameraSource:
    script = iter(captures)
    return CameraSource(
        0, capture=lambda device: next(script), backoff=QUICK, max_attempts=max_attempts, buffer_frames=64
    )


def test_a_camera_is_asked_for_mjpg_and_a_short_queue() -> None:
    capture = FakeCapture([True] * 5)
    before = time.time()
    source = camera(capture)
    frames = iter(source)
    first = next(frames)
    assert before <= first.time <= time.time()
    assert first.image.shape == (48, 64, 3)
    assert (source.live, source.fps, source.name) == (True, 30.0, "camera 0")
    assert capture.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert capture.settings[cv2.CAP_PROP_BUFFERSIZE] == 1
    source.close()


def test_a_missed_picture_is_no_loss_of_the_camera(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "callm_edge")
    gone = FakeCapture([], opened=False)
    source = camera(FakeCapture([True, False, False, True, False, True]), gone, max_attempts=1)
    indices: list[int] = []
    with pytest.raises(SourceError, match="No connection to camera 0 after 1 attempt: the camera cannot be opened"):
        indices.extend(f.index for f in source)
    assert sum("stalled" in r.message for r in caplog.records) == 1


def test_an_unplugged_camera_stalls_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "callm_edge")
    first, away, second = FakeCapture([True] * 3), FakeCapture([], opened=False), FakeCapture([True] * 2)
    source = camera(first, away, second, FakeCapture([], opened=False), max_attempts=2)
    seen = []
    for frame in source:
        seen.append(frame.index)
        if len(seen) == 5:
            break
    assert seen == [0, 1, 2, 3, 4]
    assert (first.released, away.released) == (1, 1)
    states = [r.message for r in caplog.records if r.name == "callm_edge.sources"]
    assert states[:4] == [
        "camera 0: live",
        "camera 0: stalled (the camera gives no pictures)",
        "camera 0: connecting",
        "camera 0: live",
    ]


def test_a_camera_that_is_not_there_is_an_error_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    opener: Callable[[int | str], FakeCapture] = lambda device: FakeCapture([], opened=False)  # noqa: E731
    source = CameraSource(97, capture=opener)
    with pytest.raises(SourceError, match="Camera 97 cannot be opened"):
        list(source)
    assert source.state is SourceState.ENDED
    # The real thing: no device of that number exists.
    assert not open_capture(97).isOpened()
    with pytest.raises(SourceError, match=r"/dev/video97 cannot be opened"):
        list(open_source("/dev/video97"))
    assert capfd.readouterr().err == ""
