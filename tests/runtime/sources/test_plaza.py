from __future__ import annotations

import time

import numpy as np
import pytest

from callm_edge.plaza import ANOMALIES
from callm_edge.sources import SourceState, open_source
from callm_edge.sources.plaza import PlazaFrame, PlazaSource


def test_every_frame_comes_with_its_truth() -> None:
    source = open_source(f"test:plaza?seed=3&anomaly={ANOMALIES[0]}&seconds=1")
    assert isinstance(source, PlazaSource)
    assert not source.live
    count = 0
    for frame in source:
        count += 1
        assert frame.index == count - 1
        assert frame.time == pytest.approx(frame.index / source.plaza.fps)
        assert frame.image.shape == (source.plaza.height, source.plaza.width, 3)
        assert isinstance(frame, PlazaFrame)
        assert frame.truth.boxes == source.plaza.boxes(frame.index)
    assert count == source.plaza.frames == round(source.plaza.fps)
    assert source.dropped == 0
    assert source.state is SourceState.ENDED


def test_the_same_text_gives_the_same_frames() -> None:
    first, second = (list(open_source("test:plaza?seed=5&seconds=0.2")) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_in_real_time_it_is_a_camera() -> None:
    source = open_source("test:plaza?seconds=0.6", realtime=True)
    assert isinstance(source, PlazaSource)
    assert source.live
    start = time.monotonic()
    frames = list(source)
    assert time.monotonic() - start >= 0.5
    assert abs(frames[-1].time - time.time()) < 2
    assert all(isinstance(frame, PlazaFrame) for frame in frames)
    assert frames[-1].index == source.plaza.frames - 1
