from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.errors import SourceError
from callm_edge.sources import SourceState, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 4), number, np.uint8))
    return tmp_path


def test_a_recording_plays_at_its_own_pace(folder: Path) -> None:
    source = open_source(str(folder), realtime=True)
    assert source.live
    start = time.time()
    frames = list(source)
    assert frames[-1].time - start >= 9 / 25 - 0.05
    assert frames[-1].index == 9
    assert source.fps == 25
    assert source.state is SourceState.ENDED


def test_a_late_reader_misses_frames(folder: Path) -> None:
    source = open_source(str(folder), realtime=True)
    frames = iter(source)
    next(frames)
    time.sleep(0.6)
    rest = list(frames)
    assert source.dropped > 0
    assert rest[-1].index == 9
    assert 1 + len(rest) + source.dropped == 10


def test_a_broken_recording_is_an_error_not_a_lost_connection(folder: Path) -> None:
    (folder / "5.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match=r"5\.png"):
        list(open_source(str(folder), realtime=True))
