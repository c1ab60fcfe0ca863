"""A camera at this machine, through V4L2."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from callm_edge.errors import SourceError
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.live import FeedLost, LiveSource
from callm_edge.sources.source import Frame

# A camera that wakes up or changes its exposure may miss a picture or two; more in a row means it is gone.
_MISSES_UNTIL_LOST = 3


class Capture(Protocol):
    """The part of cv2.VideoCapture that a camera needs."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def set(self, prop: int, value: float, /) -> bool: ...
    def get(self, prop: int, /) -> float: ...
    def read(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


def open_capture(device: int | str) -> Capture:
    """The camera at ``device`` through OpenCV; it is not opened where there is none."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2.VideoCapture(device, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)


class CameraSource(LiveSource):
    """Frames of the camera ``device``, its index or its path, with the Unix time at which they were read.

    capture: opens the device; cv2.VideoCapture unless told.
    The rest: see LiveSource. A camera that is absent at the start is an error at once; one that is unplugged later is
    waited for.
    """

    def __init__(
        self,
        device: int | str,
        *,
        capture: Callable[[int | str], Capture] = open_capture,
        buffer_frames: int = 2,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        stall_s: float = 2.0,
    ) -> None:
        super().__init__(
            f"camera {device}" if isinstance(device, int) else device,
            buffer_frames=buffer_frames,
            backoff=backoff,
            max_attempts=max_attempts,
            stall_s=stall_s,
        )
        self.device = device
        self._open = capture

    def _connect(self) -> _CameraFeed:
        capture = self._open(self.device)
        if capture.isOpened():
            return _CameraFeed(capture)
        capture.release()
        if self._captured:
            raise FeedLost("the camera cannot be opened")
        raise SourceError(f"{self.name[0].upper()}{self.name[1:]} cannot be opened", *_diagnosis(self.device))


class _CameraFeed:
    live = True

    def __init__(self, capture: Capture) -> None:
        import cv2

        self._capture = capture
        # Raw pictures of two cameras overload one USB 2 bus, and a deep driver queue hands out pictures of the past.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else None

    def read(self) -> Frame:
        for _ in range(_MISSES_UNTIL_LOST):
            good, image = self._capture.read()
            if good and image is not None:
                return Frame(0, time.time(), np.asarray(image))
        raise FeedLost("the camera gives no pictures")

    def close(self) -> None:
        self._capture.release()


def _diagnosis(device: int | str) -> tuple[str, str]:
    """Why the camera did not open, and what to do about it."""
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    present = sorted((str(p) for p in Path("/dev").glob("video[0-9]*")), key=lambda p: (len(p), p))
    if present and not path.exists():
        return f"{path} does not exist", f"Cameras here are {', '.join(present)}"
    if not path.exists():
        return "this machine has no camera", "Plug one in, or try without: --source test:plaza"
    try:
        with path.open("rb"):
            pass
    except PermissionError:
        return f"no permission to read {path}", "Add your user to the group 'video' and log in again"
    except OSError as error:
        return error.strerror or str(error), "Close the program that uses the camera"
    return f"{path} gives no pictures", f"See what it can do with: v4l2-ctl -d {path} --list-formats"
