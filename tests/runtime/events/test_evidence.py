import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.events.evidence import EvidenceRing
from callm_edge.sources.source import Frame


def frame(index: int, tone: int = 0, gray: bool = False) -> Frame:
    return Frame(index, index / 25, np.full((24, 32) if gray else (24, 32, 3), tone, np.uint8))


def test_oldest_frames_leave_first() -> None:
    ring = EvidenceRing(frames=3, max_bytes=1 << 20)
    for index in range(5):
        ring.add(frame(index, tone=index * 40))
    assert ring.get(1) is None
    assert [kept.index for kept in ring.span(0, 10)] == [2, 3, 4]
    assert ring.evicted == 2
    image = ring.get(3)
    assert image is not None
    assert image.shape == (24, 32, 3)
    assert abs(int(image.mean()) - 120) <= 2


@given(st.integers(1, 9), st.integers(1, 6000), st.lists(st.integers(0, 20), max_size=30))
def test_both_bounds_always_hold(frames: int, max_bytes: int, indices: list[int]) -> None:
    ring = EvidenceRing(frames, max_bytes)
    for index in indices:
        ring.add(frame(index))
        held = ring.span(0, 20)
        assert len(ring) == len(held) <= frames
        assert ring.bytes <= max_bytes
        assert (ring.bytes > 0) == (len(ring) > 0)


def test_span_gives_its_stretch_even_when_the_ring_moves_on() -> None:
    ring = EvidenceRing(2, 1 << 20)
    ring.add(frame(0))
    ring.add(frame(1))
    span = ring.span(0, 1)
    ring.add(frame(2))
    ring.add(frame(3))
    assert [kept.index for kept in span] == [0, 1]


def test_a_frame_added_twice_counts_once() -> None:
    ring = EvidenceRing(4, 1 << 20)
    ring.add(frame(7))
    once = ring.bytes
    ring.add(frame(7))
    assert (len(ring), ring.bytes, ring.evicted) == (1, once, 0)


def test_what_stage_1_says_is_kept_with_its_frame() -> None:
    ring = EvidenceRing(2, 1 << 20)
    for index in range(3):
        ring.add(frame(index))
        ring.note(index - 1, 20.0 + index, ((1.0, 2.0), (3.0, 4.0)))
    first, second = ring.span(0, 9)
    assert (first.index, first.score_db, first.peaks) == (1, 22.0, ((1.0, 2.0), (3.0, 4.0)))
    assert (second.index, second.time, second.score_db, second.peaks) == (2, 2 / 25, None, ())
    ring.note(0, 1.0, ((0.0, 0.0),))  # it has left: nothing happens
    assert len(ring) == 2


def test_gray_comes_back_as_bgr() -> None:
    ring = EvidenceRing(1, 1 << 20)
    ring.add(frame(0, 90, gray=True))
    image = ring.get(0)
    assert image is not None
    assert image.shape == (24, 32, 3)


@pytest.mark.parametrize(("frames", "max_bytes"), [(0, 10), (10, 0)])
def test_a_ring_without_room_is_refused(frames: int, max_bytes: int) -> None:
    with pytest.raises(ValueError, match="needs room"):
        EvidenceRing(frames, max_bytes)
