"""Clips to learn from or to be judged on, in a folder: what the cascade would hand to stage 2, and what is known of it.

    clips/<name>.zip     the 8 uniform frames, their error peaks, and the frame after each (callm_edge.events.clip)
    records/<group>.json what is known of the clips of a group; it appears once all its clips are there

So making clips can be interrupted at any moment and goes on with the next group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.events.clip import Point
from callm_edge.stage2.motion import STEP_S
from callm_edge.stage2.pictures import shown

Box = tuple[str, int, int, int, int]


class ClipRecord(BaseModel):
    """What is known of one clip.

    name: of its file. group: clips of one group share their footage. frames: 0-based indices in the footage of the
    8 frames that stage 2 sees. fps: of the footage. abnormal: whether something is wrong.
    kind: key of `instructions.ANOMALIES`, or None. captions: in plain words, best first.
    size: (width, height) of the footage, pixels. peaks: stage 1's error peaks in each frame, x and y in pixels, the
    largest first.
    boxes: (kind, x, y, w, h) pixels of what is abnormal in each frame; empty where nobody marked it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    group: str
    frames: tuple[int, ...]
    fps: float
    abnormal: bool
    kind: str | None = None
    captions: tuple[str, ...] = ()
    size: tuple[int, int]
    peaks: tuple[tuple[Point, ...], ...]
    boxes: tuple[tuple[Box, ...], ...] = ()

    @property
    def times_s(self) -> tuple[float, ...]:
        """Seconds of each frame from the clip's beginning."""
        return tuple((frame - self.frames[0]) / self.fps for frame in self.frames)


_RECORDS = TypeAdapter(list[ClipRecord])


class ClipSet:
    """The clips of a folder. Raises UserError where what lies there is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def groups(self) -> set[str]:
        """Groups that are complete."""
        return {path.stem for path in (self.folder / "records").glob("*.json")}

    def add(self, group: str, records: Sequence[ClipRecord]) -> None:
        """Declare a group complete, once its clips are saved."""
        atomic.write_bytes(self._records(group), _RECORDS.dump_json(list(records)))

    def records(self) -> list[ClipRecord]:
        """All clips, by group and name."""
        found: list[ClipRecord] = []
        for group in sorted(self.groups()):
            path = self._records(group)
            try:
                found += _RECORDS.validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                raise UserError(f"{path} cannot be read", str(error), "Delete it: its clips are made again") from error
        return found

    def replace(self, records: Sequence[ClipRecord]) -> None:
        """Write down what is known of clips by now. Their groups have to be given whole."""
        for group in {record.group for record in records}:
            self.add(group, [record for record in records if record.group == group])

    def path(self, name: str) -> Path:
        return self.folder / "clips" / f"{name}.zip"

    def _records(self, group: str) -> Path:
        return self.folder / "records" / f"{group}.json"


def held(count: int, fps: float) -> list[int]:
    """Which of a stretch's `count` frames its file holds: those that stage 2 sees and, of each, the one 80 ms later.

    So the device, which has all frames of an event, sees the same of both. All where that would be nearly all.
    """
    seen, step = shown(count), max(1, round(STEP_S * fps))
    pairs = [at for first in seen for at in (first, first + step)]
    apart = all(one < other for one, other in zip(pairs, [*pairs[1:], count], strict=True))
    return pairs if apart else list(range(count))
