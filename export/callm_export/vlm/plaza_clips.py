"""Clips of the plaza for stage 2, as the cascade would hand them over, with their truth.

A group is one day of the plaza: every kind of anomaly once and the normal time between them or, one day in four, a day
without any. Only the frames that some window needs are drawn.

Of drafts stage 1 sees nothing: of them only the frames that stage 2 sees are drawn, and their crops lie on things that
move, by chance. They are made four times as fast, and to begin with, number counts for more than truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from callm_edge.decision.box import PEAKS, peak_points
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.evidence import JPEG_QUALITY
from callm_edge.plaza import ANOMALIES, FPS, HEIGHT, WIDTH, Plaza
from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.scorer import SCORED, WINDOW, Scorer
from callm_edge.stage2.pictures import shown
from callm_edge.stage2.ways import Ways
from callm_export.vlm.clip_set import ClipRecord, ClipSet, held
from callm_export.vlm.movers import Movers

ABNORMAL_SECONDS, NORMAL_SECONDS = 170.0, 62.0
SHORTEST_S, LONGEST_S = 2.0, 6.0
MARGIN = 2 * FPS  # frames between an anomaly and a normal clip: who is about to do it may be there already
SHOWN = 3  # of the 8 frames, those that have to show the anomaly well
TRIES = 200


@dataclass(frozen=True)
class Stretch:
    """A clip to be drawn: frames first .. last of its footage, both included, and what is wrong in it."""

    first: int
    last: int
    kind: str | None

    @property
    def frames(self) -> list[int]:
        """The frames that stage 2 sees."""
        return [self.first + at for at in shown(self.last - self.first + 1)]

    @property
    def held(self) -> list[int]:
        """The frames that its file holds."""
        return [self.first + at for at in held(self.last - self.first + 1, FPS)]


@dataclass(frozen=True)
class Split:
    """Days of the plaza for one purpose. first_seed: of its days. each: clips around every anomaly; normal: clips of
    a day in which nothing is wrong, twice as many on a day without anomalies."""

    first_seed: int
    each: int
    normal: int


DRAFT = "draft"
SPLITS = {
    "train": Split(100_000, 2, 7),
    "validation": Split(200_000, 1, 5),
    "held-out": Split(300_000, 1, 4),
    DRAFT: Split(400_000, 2, 7),
}


@dataclass(frozen=True)
class Day:
    """One day and what of it is drawn."""

    group: str
    plaza: Plaza
    stretches: tuple[Stretch, ...]


def day(split: str, number: int, kinds: Sequence[str] = ANOMALIES) -> Day:
    """The day `number`, from 0, of a split: always the same.

    kinds: of the anomalies that are shown, in turn, as many as there are kinds in all. Raises UsageError.
    """
    plan = SPLITS[split]
    seed = plan.first_seed + number
    if number % 4 == 3:
        plaza = normal_day(seed)
        return Day(f"plaza-{seed}", plaza, tuple(normal_stretches(plaza, 2 * plan.normal)))
    plaza = abnormal_day(seed, kinds)
    stretches = (*abnormal_stretches(plaza, plan.each), *normal_stretches(plaza, plan.normal))
    return Day(f"plaza-{seed}", plaza, stretches)


def days_for(split: str, clips: int) -> int:
    """How many days hold at least `clips` clips, half of them normal."""
    plan = SPLITS[split]
    number, abnormal, normal = 0, 0, 0
    while min(abnormal, normal) < clips / 2:
        shown = number % 4 != 3
        abnormal += len(ANOMALIES) * plan.each if shown else 0
        # On a crowded day not all normal clips find room.
        normal += plan.normal - 1 if shown else 2 * plan.normal - 2
        number += 1
    return number


def balanced(records: Sequence[ClipRecord], clips: int) -> list[ClipRecord]:
    """The first `clips` of them, half abnormal. Raises UserError where there are fewer."""
    parts = [[record for record in records if record.abnormal is wanted][: clips // 2] for wanted in (True, False)]
    if any(len(part) < clips // 2 for part in parts):
        raise UserError(
            f"There are not {clips // 2} abnormal and {clips // 2} normal clips",
            f"there are {len(parts[0])} and {len(parts[1])}",
            "Draw more days",
        )
    return [*parts[0], *parts[1]]


def abnormal_day(seed: int, kinds: Sequence[str] = ANOMALIES) -> Plaza:
    """A day with every kind of anomaly once, in an order of its own; of fewer kinds, some again."""
    order = np.random.default_rng((seed, 77)).permutation(len(kinds))
    return Plaza(seed, [kinds[at] for at in order], ABNORMAL_SECONDS)


def normal_day(seed: int) -> Plaza:
    return Plaza(seed, (), NORMAL_SECONDS)


def abnormal_stretches(plaza: Plaza, each: int) -> Iterator[Stretch]:
    """`each` clips around every anomaly that is shown, of random start and length, with pre- and post-roll."""
    rng = np.random.default_rng((plaza.seed, 78))
    shown = plaza.schedule[: len(ANOMALIES)]
    for kind, start, end in shown:
        areas = np.array([max((w * h for _, _, _, w, h in plaza.boxes(at)), default=0) for at in range(start, end)])
        # At the border of the picture a part of a thing is no thing yet.
        visible = np.zeros(plaza.frames, bool)
        visible[start:end] = areas >= 0.3 * areas.max()
        for _ in range(each):
            for _ in range(TRIES):
                pre, post = rng.uniform(0.3, 2.0), rng.uniform(0.3, 1.1)
                core = min(rng.uniform(0.4, 4.5), (end - start) / FPS, LONGEST_S - pre - post)
                begin = rng.uniform(start, end - core * FPS) - pre * FPS
                first, last = round(begin), round(begin + max(pre + core + post, SHORTEST_S) * FPS) - 1
                if first < SCORED or last >= plaza.frames - WINDOW + SCORED:
                    continue
                stretch = Stretch(first, last, kind)
                if sum(visible[stretch.frames]) >= SHOWN:
                    yield stretch
                    break


def normal_stretches(plaza: Plaza, most: int) -> Iterator[Stretch]:
    """Up to `most` clips of random length in which nothing is wrong, that do not overlap."""
    rng = np.random.default_rng((plaza.seed, 79))
    free = np.ones(plaza.frames, bool)
    free[: SCORED + 1] = free[-WINDOW:] = False
    for _, start, end in plaza.schedule:
        free[max(0, start - MARGIN) : end + MARGIN] = False
    for _ in range(most):
        for _ in range(TRIES):
            length = round(rng.uniform(SHORTEST_S, LONGEST_S) * FPS)
            first = int(rng.integers(0, plaza.frames - length))
            if free[first : first + length].all():
                free[first : first + length] = False
                yield Stretch(first, first + length - 1, None)
                break


class PlazaClips:
    """Draws clips of days of the plaza into a clip set.

    scorer: of stage 1, whose error peaks the clips bear; None for drafts. bundle_hash: of the bundle that it is of.
    ways: usual ones, by that bundle.
    """

    def __init__(self, clips: ClipSet, scorer: Scorer | None, bundle_hash: str = "", ways: Ways | None = None) -> None:
        self.clips, self._scorer, self._bundle_hash, self._ways = clips, scorer, bundle_hash, ways

    def draw(self, day: Day, progress: Callable[[], None] = lambda: None) -> list[ClipRecord]:
        """Draw, score and save clips of one day; the group is complete then. progress: is told of every frame."""
        group, plaza, stretches = day.group, day.plaza, day.stretches
        wanted = sorted({frame for stretch in stretches for frame in stretch.frames})
        # What stage 1 sees of each frame; of a draft nothing but the frame.
        before, after = (SCORED, WINDOW - SCORED - 1) if self._scorer else (0, 0)
        kept = {frame for stretch in stretches for frame in stretch.held}
        needed = kept | {at for frame in wanted for at in range(frame - before, frame + after + 1)}
        gray: dict[int, np.ndarray] = {}
        frames: dict[int, ClipFrame] = {}
        captions: dict[int, str] = {}
        waiting = list(wanted)
        order = sorted(needed)
        for at, (image, truth) in zip(order, plaza.frames_at(needed), strict=True):
            gray[at] = to_gray_256(image)
            if at in kept:
                done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                assert done
                frames[at] = ClipFrame(at, at / FPS, jpeg.tobytes())
                captions[at] = truth.caption
            while self._scorer and waiting and waiting[0] + after == at:
                frame = waiting.pop(0)
                frames[frame] = self._scored(self._scorer, frames[frame], gray)
                gray = {index: picture for index, picture in gray.items() if index > frame - before}
            progress()
        if self._scorer is None:
            frames = self._guessed(plaza, stretches, frames, Movers(list(gray.values())), gray)
        records = []
        for number, stretch in enumerate(stretches):
            name = f"{group}-{number:02d}"
            kept_frames = tuple(frames[frame] for frame in stretch.held)
            Clip(name, self._bundle_hash, 0.0, kept_frames, self._ways).save(self.clips.path(name))
            records.append(
                ClipRecord(
                    name=name,
                    group=group,
                    frames=tuple(stretch.frames),
                    fps=FPS,
                    abnormal=stretch.kind is not None,
                    kind=stretch.kind,
                    captions=tuple(dict.fromkeys(captions[frame] for frame in stretch.frames)),
                    size=(WIDTH, HEIGHT),
                    peaks=tuple(frames[frame].peaks for frame in stretch.frames),
                    boxes=tuple(plaza.boxes(frame) for frame in stretch.frames),
                )
            )
        self.clips.add(group, records)
        return records

    def _guessed(
        self,
        plaza: Plaza,
        stretches: Sequence[Stretch],
        frames: dict[int, ClipFrame],
        movers: Movers,
        gray: dict[int, np.ndarray],
    ) -> dict[int, ClipFrame]:
        rng = np.random.default_rng((plaza.seed, 80))
        found = dict(frames)
        for stretch in stretches:
            hit = rng.uniform()  # some clips show what is wrong in nearly all crops, others in hardly any
            for at in stretch.frames:
                boxes = plaza.boxes(at)
                peaks = movers.some_of(gray[at], (WIDTH, HEIGHT), PEAKS, rng)
                if boxes and rng.uniform() < hit:
                    _, x, y, width, height = boxes[int(rng.integers(len(boxes)))]
                    peak = x + width * rng.uniform(0.2, 0.8), y + height * rng.uniform(0.2, 0.8)
                    peaks[int(rng.integers(len(peaks)))] = peak
                found[at] = replace(found[at], peaks=tuple(peaks))
        return found

    def _scored(self, scorer: Scorer, frame: ClipFrame, gray: dict[int, np.ndarray]) -> ClipFrame:
        first = frame.index - SCORED
        scores = scorer.score(np.stack([gray[at] for at in range(first, first + WINDOW)])[None])
        peaks = peak_points(scores.error_map[0], (WIDTH, HEIGHT))
        return ClipFrame(frame.index, frame.time, frame.jpeg, float(scores.patch_psnr_db[0]), peaks)
