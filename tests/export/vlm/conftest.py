"""Clip sets made without stage 1, and a branch small enough to learn in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.events.clip import Clip, ClipFrame
from callm_export.vlm.clip_set import ClipRecord, ClipSet

SIZE = (64, 48)
MakeClips = Callable[[dict[str, str | None]], ClipSet]


def record_of(name: str, kind: str | None, group: str | None = None) -> ClipRecord:
    boxes = (((kind, 10, 8, 12, 20),) if kind else (),) * 8
    return ClipRecord(
        name=name,
        group=group or name,
        frames=tuple(range(0, 40, 5)),
        fps=10.0,
        abnormal=kind is not None,
        kind=kind,
        captions=("People walk by.",),
        size=SIZE,
        peaks=(((50.0, 40.0),), (), *(((16.0, 18.0), (50.0, 40.0)),) * 6),
        boxes=boxes,
    )


@pytest.fixture
def make_clips(tmp_path: Path) -> MakeClips:
    """Clips by name, each of a kind or normal, in a fresh folder."""

    def make(kinds: dict[str, str | None]) -> ClipSet:
        clips = ClipSet(tmp_path / f"clips{len(list(tmp_path.iterdir()))}")
        rng = np.random.default_rng(0)
        for name, kind in kinds.items():
            record = record_of(name, kind)
            frames = []
            for at, index in enumerate(record.frames):
                image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
                jpeg = cv2.imencode(".jpg", image)[1].tobytes()
                frames.append(ClipFrame(index, index / 10, jpeg, peaks=record.peaks[at]))
            Clip(name, "", 0.0, tuple(frames)).save(clips.path(name))
            clips.add(record.group, [record])
        return clips

    return make
