"""The way of a frame: source -> ring -> stage 1 -> decision -> event, for one camera."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from callm_edge.bundle import Decision
from callm_edge.decision.box import peak_points
from callm_edge.decision.hysteresis import Hysteresis, Scored, Smoother
from callm_edge.decision.scene_drift import SceneDrift, SceneLimits
from callm_edge.decision.schedule import Schedule
from callm_edge.decision.zones import Zones
from callm_edge.events.clip import Clip
from callm_edge.events.clock import is_unix_time
from callm_edge.events.event import Event
from callm_edge.events.evidence import EvidenceRing
from callm_edge.events.scene import SceneChange
from callm_edge.events.thumbnail import thumbnail
from callm_edge.latencies import Latencies
from callm_edge.sources import Frame, Source
from callm_edge.stage1.backend import Backend, Stream
from callm_edge.stage1.ring import SCORED, WINDOW
from callm_edge.stage1.scores import Scores
from callm_edge.stage2.ways import Ways

DEFAULT_FPS = 25.0  # of a source that does not say: only gap and minimum length of events depend on it
EVIDENCE_SECONDS, EVIDENCE_BYTES = 60, 64 << 20
PRE_ROLL_S = 2.0  # of a clip, before the event; after it comes what was captured until the event was known to be over


@dataclass(frozen=True)
class ScoredFrame:
    """A frame with its score, for whoever draws, records or calibrates.

    statistic_db: of the bundle's statistic, as it came; score_db: after smoothing, what the threshold is held against.
    error_map: (128, 128) float32. flagged: below the threshold. event_active: within an open event.
    """

    frame: Frame
    statistic_db: float
    score_db: float
    error_map: np.ndarray
    flagged: bool
    event_active: bool


@dataclass(frozen=True)
class Found:
    """An event that ended, with its picture (JPEG) and its clip, where the frames were still in memory."""

    event: Event
    thumbnail: bytes | None
    clip: Clip | None = None


@dataclass
class Counts:
    """What happened so far. skipped: windows of a live source left unscored because stage 1 was late.

    stage1: of a window. behind: from the capture of a live source's scored frame until its score was known, which holds
    the 7 frames after it that its window needs.
    """

    frames: int = 0
    windows: int = 0
    skipped: int = 0
    events: int = 0
    stage1_seconds: float = 0.0
    stage1: Latencies = field(default_factory=Latencies)
    behind: Latencies = field(default_factory=Latencies)


class Camera:
    """Scores one source and finds its events.

    A live source that is faster than stage 1 loses scores, not frames: a late window is left out, so that the windows
    that are scored never have gaps in them, which would look like things that move too fast.
    stride: score every n-th window. bundle_hash, bundle: what a clip and the store say of the bundle that scored it.
    zones: where errors do not count. schedule: when they do; outside of it nothing is flagged.
    scene: what the scene-drift alarm allows; None for no alarm. ways: usual ones, that clips bear.
    active: an event is open now.
    """

    def __init__(
        self,
        source: Source,
        backend: Backend,
        decision: Decision,
        stride: int = 1,
        bundle_hash: str = "",
        bundle: str = "",
        zones: Zones | None = None,
        schedule: Schedule | None = None,
        scene: SceneLimits | None = None,
        ways: Ways | None = None,
    ) -> None:
        self.source, self.decision, self.bundle, self.counts = source, decision, bundle, Counts()
        self.active = False
        self._backend, self._stride, self._bundle_hash = backend, stride, bundle_hash
        self._zones, self._schedule, self._ways = zones, schedule, ways
        self.drift = SceneDrift(source.name, scene) if scene else None

    def __iter__(self) -> Iterator[ScoredFrame | Found | SceneChange]:
        """Run to the end of the source. Raises SourceError where it fails."""
        stream, smoother = self._backend.stream(), Smoother(self.decision.smoothing)
        hysteresis: Hysteresis | None = None
        evidence: EvidenceRing | None = None
        recent: deque[Frame] = deque(maxlen=WINDOW - SCORED)
        last_index, in_row = -1, 0
        for frame in self.source:
            if hysteresis is None or evidence is None:
                fps = self.source.fps or DEFAULT_FPS
                hysteresis = Hysteresis(self.decision, self.source.name, fps, self._stride)
                evidence = EvidenceRing(round(EVIDENCE_SECONDS * fps), EVIDENCE_BYTES)
            if frame.index != last_index + 1 and last_index >= 0:
                stream.clear()
                recent.clear()
                in_row = 0
            last_index, in_row = frame.index, in_row + 1
            self.counts.frames += 1
            stream.push(frame.image)
            recent.append(frame)
            evidence.add(frame)
            if self.drift and (change := self.drift.push(frame)):
                yield change
            if in_row < WINDOW or self.counts.frames % self._stride:
                continue
            if self.source.live and self.source.waiting:
                self.counts.skipped += 1
                continue
            scored = self._score(stream, recent[0], smoother)
            at, size = scored.frame, _size(scored.frame.image)
            evidence.note(at.index, scored.score_db, peak_points(scored.error_map, size))
            counted = self._schedule is None or self._schedule.includes(at.time)
            decisive_db = scored.score_db if counted else math.inf
            event = hysteresis.push(Scored(at.index, at.time, decisive_db, scored.error_map, size))
            self.active = hysteresis.active
            if event:
                yield self._found(event, evidence)
            yield replace(scored, flagged=scored.flagged and counted, event_active=hysteresis.active)
        self.active = False
        if hysteresis and evidence and (event := hysteresis.finish()):
            yield self._found(event, evidence)

    def _score(self, stream: Stream, frame: Frame, smoother: Smoother) -> ScoredFrame:
        began = time.perf_counter()
        scores = stream.score()
        assert scores is not None  # a whole window was pushed
        if self._zones:
            scores = self._zones.apply(scores, _size(frame.image))
        seconds = time.perf_counter() - began
        self.counts.stage1_seconds += seconds
        self.counts.stage1.add(seconds)
        if is_unix_time(frame.time):
            self.counts.behind.add(max(0.0, time.time() - frame.time))
        self.counts.windows += 1
        statistic = statistic_db(scores, self.decision.statistic)[0]
        score = smoother.push(float(statistic))
        flagged = score < self.decision.threshold_psnr_db
        return ScoredFrame(frame, float(statistic), score, scores.error_map[0], flagged, False)

    def _found(self, event: Event, evidence: EvidenceRing) -> Found:
        self.counts.events += 1
        if self.drift:
            event = replace(event, scene=self.drift.during(event.start_time))
        image = evidence.get(event.peak_frame)
        picture = thumbnail(image, event.box, event) if image is not None else None
        # What was captured after the event, until it was known to be over, is its post-roll.
        first = event.start_frame - round(PRE_ROLL_S * (self.source.fps or DEFAULT_FPS))
        frames = tuple(evidence.span(first, sys.maxsize))
        clip = Clip(event.id, self._bundle_hash, event.threshold_psnr_db, frames, self._ways) if frames else None
        return Found(event, picture, clip)


def statistic_db(scores: Scores, statistic: str) -> np.ndarray:
    """(B,) float32: the PSNR that decides, of the worst tile ('tile') or of the frame ('frame')."""
    return scores.patch_psnr_db if statistic == "tile" else scores.psnr_db


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]
