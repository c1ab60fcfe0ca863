"""The long run in short: does anything grow? `python -m callm_bench.soak [--minutes 30] [--stride 16]`.

Four cameras over the plaza, unpaced; one of them flaps: its connection breaks off again and again, and often cannot be
made. All that they see is an event, cut every 30 s. Events go into a store with a small bound, to a broker that is not
there, to a webhook that nobody answers, to a file, and to metrics that are scraped. Memory, threads, file handles and
queues are sampled; what grows beyond its bound is said, and the exit code is then 1.

The footage is a loop, drawn once at half size: drawing is not what is looked at, and takes longer than scoring.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from callm_edge.bundle import Bundle
from callm_edge.cascade import Camera
from callm_edge.config.settings import SinkSettings
from callm_edge.decision.scene_drift import SceneLimits
from callm_edge.events.event import Event
from callm_edge.events.retention import Limits, Retention
from callm_edge.events.store import EventStore
from callm_edge.plaza import Plaza
from callm_edge.reports import Reports
from callm_edge.sinks.choose import open_sinks
from callm_edge.sinks.prometheus import Prometheus
from callm_edge.sinks.sink import Sink
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.live import FeedLost, LiveSource
from callm_edge.sources.source import Frame
from callm_edge.stage1.choose import open_backend
from callm_edge.watch import Summary, Watch

FPS, LOOP_S = 25, 8.0
CAMERAS = 4
EVENT_S = 30.0
STEADY_FRAMES = (200, 2000)  # that a connection of the flapping camera lasts
REFUSED = 0.3  # part of its connections that cannot be made
STORE_MB = 20
BUFFER, OUT, OUTBOX = 4, 64, 257  # bounds of the queues; of an outbox with the message that is under way


@dataclass(frozen=True)
class Bounds:
    """What may grow between the end of the first third and the end: the median of the last samples over that."""

    memory_mb: float = 24.0
    threads: int = 1
    handles: int = 2


@dataclass(frozen=True)
class Sample:
    """seconds: since the start. frames: of all cameras. waiting: of cameras; sinks: messages that wait in them."""

    seconds: float
    frames: int
    memory_mb: float
    threads: int
    handles: int
    waiting: int
    sinks: int


class Loop(LiveSource):
    """`count` frames of a looped film, as fast as they are taken. flaps: see the module; seed: when."""

    def __init__(self, name: str, images: Sequence[np.ndarray], count: int, flaps: bool, seed: int = 0) -> None:
        super().__init__(name, live=False, buffer_frames=BUFFER, backoff=Backoff(first_s=0.02, limit_s=0.5))
        self.fps, self.connections = float(FPS), 0
        self._images, self._count, self._flaps, self._rng = images, count, flaps, random.Random(seed)

    def _connect(self) -> _LoopFeed:
        self.connections += 1
        if self._flaps and self._rng.random() < REFUSED:
            raise FeedLost("refused")
        lasts = self._rng.randint(*STEADY_FRAMES) if self._flaps else self._count
        return _LoopFeed(self._images, self._captured, self._count, lasts)


class _LoopFeed:
    live = False
    fps: float | None = float(FPS)

    def __init__(self, images: Sequence[np.ndarray], at: int, count: int, lasts: int) -> None:
        self._images, self._at, self._count, self._until = images, at, count, at + lasts

    def read(self) -> Frame | None:
        if self._at >= self._count:
            return None
        if self._at >= self._until:
            raise FeedLost("broke off")
        index, self._at = self._at, self._at + 1
        return Frame(index, index / FPS, self._images[index % len(self._images)])

    def close(self) -> None:
        pass


class Sampler(Sink):
    """A report that looks at the process every so many seconds, and scrapes its metrics as Prometheus would."""

    def __init__(self, sinks: Sequence[Sink], every_s: float) -> None:
        self.samples: list[Sample] = []
        self.events = 0
        self.summary: Summary | None = None
        self._sinks, self._every_s, self._next = sinks, every_s, 0.0
        self._ports = [sink.port for sink in sinks if isinstance(sink, Prometheus)]

    def event(self, event: Event) -> None:
        self.events += 1

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        if seconds < self._next:
            return
        self._next = seconds + self._every_s
        for port in self._ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                answer.read()
        self.samples.append(
            Sample(
                round(seconds, 1),
                sum(camera.counts.frames for camera in cameras),
                round(_memory_mb(), 1),
                threading.active_count(),
                sum(1 for _ in Path("/proc/self/fd").iterdir()),
                max(camera.source.waiting for camera in cameras),
                max((sink.waiting for sink in self._sinks), default=0),
            )
        )

    def finished(self, summary: Summary) -> None:
        self.summary = summary


def soak(minutes: float, stride: int, folder: Path, every_s: float = 2.0, bundle: str = "plaza") -> Soaked:
    """Run it, below `folder`. minutes: of footage of each camera."""
    count = max(1, round(minutes * 60 * FPS))
    images = _film(min(LOOP_S, minutes * 60))
    loaded = Bundle.load(bundle)
    backend = open_backend(loaded, threads=1)
    sources = [Loop(f"camera {n}", images, count, flaps=n == CAMERAS, seed=n) for n in range(1, CAMERAS + 1)]
    everything = loaded.decision.model_copy(update={"threshold_psnr_db": 90.0, "minimum_s": 0.0, "maximum_s": EVENT_S})
    cameras = [
        Camera(source, backend, everything, stride, loaded.hash, loaded.name, scene=SceneLimits()) for source in sources
    ]
    # Ports that nobody listens at: the network is away for all of the run.
    settings = SinkSettings.model_validate(
        {
            "jsonl": {"file": folder / "events.jsonl"},
            "mqtt": {"host": "127.0.0.1", "port": 1},
            "webhook": [{"url": "http://127.0.0.1:1/", "retries": 1}],
        }
    )
    limits = Limits(max_bytes=STORE_MB << 20, max_age_s=None, keep_free_bytes=0)
    with EventStore(folder / "store") as store, Retention(store, limits):
        others = open_sinks(settings)
        sinks = [*others, Prometheus(port=0, sinks=others)]
        sampler = Sampler(sinks, every_s)
        failures: dict[str, int] = {}
        try:
            watch = Watch(cameras, store)
            failed = watch.run(Reports([*sinks, sampler], failures=failures))
        finally:
            for sink in sinks:
                sink.close()
        stored = len(store)
    assert sampler.summary is not None  # the run ended
    return Soaked(
        sampler.samples,
        {source.name: camera.counts.frames for source, camera in zip(sources, cameras, strict=True)},
        count,
        sources[-1].connections,
        sampler.events,
        stored,
        failed,
        failures,
        sampler.summary.seconds,
    )


@dataclass(frozen=True)
class Soaked:
    """What was seen. frames: by camera; count: that each should have. failed: cameras; failures: of reports."""

    samples: Sequence[Sample]
    frames: dict[str, int]
    count: int
    connections: int
    events: int
    stored: int
    failed: int
    failures: dict[str, int]
    seconds: float

    def complaints(self, bounds: Bounds) -> list[str]:
        """A sentence for everything beyond its bound."""
        found = []
        if self.failed or self.failures:
            found.append(f"{self.failed} cameras failed, and reports: {self.failures}")
        if short := {name: frames for name, frames in self.frames.items() if frames != self.count}:
            found.append(f"frames are missing: {short} of {self.count}")
        if self.stored != self.events:
            found.append(f"{self.events} events were told, {self.stored} are stored")
        if self.connections < 2:
            found.append("the flapping camera did not flap")
        early, late = self._parts()
        for name, allowed in asdict(bounds).items():
            before, after = (float(np.median([getattr(sample, name) for sample in part])) for part in (early, late))
            if after - before > allowed:
                found.append(f"{name} grew from {before:g} to {after:g}, allowed are {allowed:g}")
        deepest = {name: max(getattr(sample, name) for sample in self.samples) for name in ("waiting", "sinks")}
        for name, bound in (("waiting", BUFFER), ("sinks", OUTBOX)):
            if deepest[name] > bound:
                found.append(f"{name}: {deepest[name]} wait, the bound is {bound}")
        return found

    def _parts(self) -> tuple[Sequence[Sample], Sequence[Sample]]:
        """Samples around the end of the first third, when every buffer is full, and those of the last sixth."""
        n = len(self.samples)
        return self.samples[n // 3 : n // 3 + max(1, n // 6)], self.samples[-max(1, n // 6) :]

    def rows(self, count: int = 10) -> Sequence[Sample]:
        """Some of the samples, evenly."""
        at = np.unique(np.linspace(0, len(self.samples) - 1, count).round().astype(int))
        return [self.samples[index] for index in at]


def _film(seconds: float) -> list[np.ndarray]:
    frames = (image for image, _ in Plaza(7, ("cyclist",), seconds))
    return [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in frames]


def _memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0, help="of footage, of each camera")
    parser.add_argument("--stride", type=int, default=16, help="score every n-th window")
    parser.add_argument("--bundle", default="plaza")
    parser.add_argument("--memory-mb", type=float, default=Bounds.memory_mb, help="that may be added")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        soaked = soak(options.minutes, options.stride, Path(folder), bundle=options.bundle)
    complaints = soaked.complaints(Bounds(memory_mb=options.memory_mb))
    if options.json:
        print(json.dumps({**asdict(soaked), "complaints": complaints}))
    else:
        _show(soaked, complaints, time.perf_counter() - began)
    sys.exit(1 if complaints else 0)


def _show(soaked: Soaked, complaints: Sequence[str], seconds: float) -> None:
    console = Console(highlight=False, width=120)
    table = Table("seconds", "frames", "memory MB", "threads", "handles", "frames waiting", "messages waiting")
    for row in soaked.rows():
        table.add_row(*(str(value) for value in asdict(row).values()))
    console.print(table)
    console.print(
        f"{sum(soaked.frames.values())} frames of {CAMERAS} cameras in {soaked.seconds:.0f} s ({seconds:.0f} s with "
        f"drawing), {soaked.events} events, {soaked.connections} connections of the flapping camera"
    )
    for text in complaints:
        console.print(f"Beyond its bound: {text}")


if __name__ == "__main__":
    main()
