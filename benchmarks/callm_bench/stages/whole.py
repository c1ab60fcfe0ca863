"""The whole: a film from the file to its events, and a camera from the glass to the verdict."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from callm_bench import footage
from callm_bench.setting import Setting
from callm_bench.timing import Measured, Row, row_of
from callm_edge.cascade import Camera, Found, ScoredFrame
from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.events.scene import SceneChange
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.plaza import FPS
from callm_edge.sources import open_source
from callm_edge.sources.paced import PacedSource
from callm_edge.stage1.choose import open_backend
from callm_edge.stage2.choose import open_branch
from callm_edge.watch import Summary, Watch

EVENT_S = 1.5  # length at which the events of `glass` end: nobody waits for one that lasts
FLAGS_ALL = 1e6  # dB

RUN = "file to events, callm-edge run"


def measure(setting: Setting, progress: Callable[[str], None] = lambda what: None) -> Measured:
    """Both."""
    measured = Measured()
    path = setting.folder / "whole.mp4"
    seconds, runs = (4, 1) if setting.quick else (16, 3)
    footage.film(path, footage.images(seconds * FPS))
    progress("callm-edge run on a film")
    measured.rows[RUN] = run(setting, path, runs)
    progress("a camera, from the glass to the verdict")
    measured.add(glass(setting, path))
    return measured


def run(setting: Setting, path: Path, runs: int) -> Row:
    """`callm-edge run` as a user starts it; a call is a frame, n is runs."""
    command = [sys.executable, "-m", "callm_edge", "run", "--source", str(path), "--bundle", str(setting.bundle.folder)]
    command += [
        "--threads",
        str(setting.threads),
        "--stage2",
        "off",
        "--store",
        str(setting.folder / "store"),
        "--json",
    ]
    summaries = []
    for _ in range(runs):
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        summaries.append(json.loads(lines[-1]))
    row = row_of([1 / float(summary["fps"]) for summary in summaries])
    row["rss_mb"] = max(float(summary["rss_mb"]) for summary in summaries)
    return row | {"note": f"decoding, evidence, decision and store included; {summaries[0]['frames']} frames a run"}


def glass(setting: Setting, path: Path) -> Measured:
    """A film played as by a camera, at 25 frames/s, everything flagged: how old is a frame when something is known?"""
    endless = setting.bundle.decision.model_copy(update={"threshold_psnr_db": FLAGS_ALL, "maximum_s": EVENT_S})
    backend = open_backend(setting.bundle, threads=setting.threads)
    camera = _Camera(PacedSource(open_source(str(path))), backend, endless)
    heard = _Heard()
    with EventStore(setting.folder / "glass") as store:
        Watch([camera], store, open_branch=open_branch(setting.bundle, threads=setting.threads)).run(heard)
    measured = Measured()
    if camera.seconds:
        note = f"the 7 frames that the window needs after it take {7 * 1000 // FPS} ms of it"
        measured.rows["glass to score"] = row_of(camera.seconds) | {"note": note}
    found = {
        "glass to event": (heard.event_s, "event", f"from the first frame of events that end after {EVENT_S} s"),
        "event to verdict": (heard.verdict_s, "event", "from the report of the event, the store's queue included"),
        "glass to verdict": (heard.whole_s, "event", f"the sum: {EVENT_S} s of it is the event itself"),
    }
    for name, (seconds, unit, note) in found.items():
        if seconds:
            measured.rows[name] = row_of(seconds, unit) | {"note": note}
        elif "verdict" in name and setting.bundle.stage2_path is None:
            measured.skipped[name] = f"the bundle '{setting.bundle.name}' has no stage 2"
        else:
            measured.skipped[name] = "; ".join(heard.failures) or "no event ended within the film"
    return measured


class _Camera(Camera):
    """Notes how old each frame is when its score is known, in seconds."""

    def __iter__(self) -> Iterator[ScoredFrame | Found | SceneChange]:
        self.seconds: list[float] = []
        for item in super().__iter__():
            if isinstance(item, ScoredFrame):
                self.seconds.append(time.time() - item.frame.time)
            yield item


class _Heard:
    """Who is told of the run: notes when."""

    def __init__(self) -> None:
        self.event_s: list[float] = []
        self.verdict_s: list[float] = []
        self.whole_s: list[float] = []
        self.failures: list[str] = []
        self._events: dict[str, tuple[Event, float]] = {}

    def started(self, cameras: Sequence[Camera]) -> None:
        pass

    def event(self, event: Event) -> None:
        now = time.time()
        self._events[event.id] = (event, now)
        self.event_s.append(now - event.start_time)

    def verdict(self, verdict: Verdict) -> None:
        event, told = self._events[verdict.event_id]
        now = time.time()
        self.verdict_s.append(now - told)
        self.whole_s.append(now - event.start_time)

    def scene(self, change: SceneChange) -> None:
        pass

    def failed(self, what: str, error: UserError) -> None:
        self.failures.append(f"{what}: {error}")

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        pass

    def finished(self, summary: Summary) -> None:
        pass


def ratio_to_stage1(rows: dict[str, Row], stage1: str) -> float | None:
    """Frames per second of the whole run against those of stage 1 alone."""
    if RUN not in rows or stage1 not in rows:
        return None
    return round(float(np.divide(rows[RUN]["per_second"], rows[stage1]["per_second"])), 3)
