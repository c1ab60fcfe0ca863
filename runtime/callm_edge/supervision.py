"""What systemd is told of a run (sd_notify(3)): ready, alive, stopping. Silent where no service manager asks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from callm_edge.sources.source import SourceState

if TYPE_CHECKING:
    from callm_edge.cascade import Camera
    from callm_edge.errors import UserError
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Summary

# A camera whose pictures lie there untaken for so long hangs in stage 1; one that is away is no fault of ours.
STUCK_S = 30.0
# A camera that is away is tried again and again. One that is stalled for so long is not: its reader hangs in a driver
# or a decoder, which only a new process gets out of.
STALLED_S = 120.0


def notify(text: str) -> bool:
    """Send ``text`` to the service manager; False where there is none. Never raises: a run is not to fail on this."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            # An abstract name is written with '@' where the kernel wants a zero byte.
            link.sendto(text.encode(), "\0" + path[1:] if path[0] == "@" else path)
    except OSError:
        return False
    return True


def supervision() -> Supervision | None:
    """The report that keeps systemd informed; None where there is no systemd to tell."""
    return Supervision() if os.environ.get("NOTIFY_SOCKET") else None


class Supervision:
    """A report. It withholds the watchdog's sign of life where a camera, or what reads it, hangs."""

    def __init__(self) -> None:
        interval_us = os.environ.get("WATCHDOG_USEC", "")
        # Half of what is allowed, as sd_watchdog_enabled(3) advises.
        self._every_s = int(interval_us) / 2e6 if interval_us.isdigit() else 10.0
        self._next = 0.0
        self._progress: dict[str, tuple[int, float]] = {}
        self._stalled: dict[str, float] = {}  # since when, by camera

    def started(self, cameras: Sequence[Camera]) -> None:
        notify(f"READY=1\nSTATUS=watching {len(cameras)} camera{'s' if len(cameras) > 1 else ''}")

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        now = time.monotonic()
        stuck = [camera.source.name for camera in cameras if self._stuck(camera, now)]
        if now < self._next or stuck:
            return  # systemd starts the service anew when it hears nothing
        self._next = now + self._every_s
        states = ", ".join(f"{camera.source.name} {camera.source.state.value}" for camera in cameras)
        frames = sum(camera.counts.frames for camera in cameras)
        notify(f"WATCHDOG=1\nSTATUS={states}; {frames} frames")

    def finished(self, summary: Summary) -> None:
        notify("STOPPING=1")

    def event(self, event: Event) -> None:
        pass

    def verdict(self, verdict: Verdict) -> None:
        pass

    def scene(self, change: SceneChange) -> None:
        pass

    def failed(self, what: str, error: UserError) -> None:
        pass

    def _stuck(self, camera: Camera, now: float) -> bool:
        if camera.source.state is not SourceState.STALLED:
            self._stalled.pop(camera.source.name, None)
        elif now - self._stalled.setdefault(camera.source.name, now) > STALLED_S:
            return True
        frames, since = self._progress.get(camera.source.name, (-1, now))
        if camera.counts.frames != frames or not camera.source.waiting:
            self._progress[camera.source.name] = (camera.counts.frames, now)
            return False
        return now - since > STUCK_S
