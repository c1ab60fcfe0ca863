"""Scores -> events, as a table of cases and as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.bundle import Decision
from callm_edge.decision.hysteresis import Hysteresis, Scored, Smoother, smoothed
from callm_edge.events.event import Event

# At 10 fps: events survive gaps of 3 frames, and need 2 frames.
DECISION = Decision(threshold_psnr_db=20.0, release_db=1.0, gap_s=0.3, minimum_s=0.2, smoothing=1)
OVER, BETWEEN, UNDER = 25.0, 20.5, 15.0  # of the threshold; BETWEEN keeps an event open but starts none


def events(scores: list[float], decision: Decision = DECISION, first: int = 0) -> list[Event]:
    hysteresis = Hysteresis(decision, "gate", fps=10)
    ended = [hysteresis.push(Scored(first + i, (first + i) / 10, score)) for i, score in enumerate(scores)]
    return [event for event in (*ended, hysteresis.finish()) if event]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("", []),
        ("oooooo", []),
        ("bbbbbb", []),
        ("oouuoo", [(2, 3)]),
        ("ouo", []),
        ("uuu", [(0, 2)]),
        ("ouuooouuo", [(1, 7)]),
        ("ouuooooouuo", [(1, 2), (8, 9)]),
        ("oubbbo", [(1, 4)]),
        ("obbuubb", [(3, 6)]),
        ("uobobobooooo", [(0, 6)]),
        ("uoooooooou", []),
    ],
)
def test_table(pattern: str, wanted: list[tuple[int, int]]) -> None:
    scores = [{"o": OVER, "b": BETWEEN, "u": UNDER}[letter] for letter in pattern]
    assert [(event.start_frame, event.end_frame) for event in events(scores)] == wanted


def test_an_event_tells_its_peak_and_times() -> None:
    (event,) = events([OVER, 19.0, 12.0, 18.0, OVER])
    assert (event.source, event.peak_frame, event.peak_psnr_db, event.threshold_psnr_db) == ("gate", 2, 12.0, 20.0)
    assert (event.start_time, event.end_time) == (0.1, 0.3)


def test_frames_that_were_not_scored_end_an_event_by_their_number() -> None:
    hysteresis = Hysteresis(DECISION, "gate", fps=10)
    for frame in (0, 1):
        assert hysteresis.push(Scored(frame, 0.0, UNDER)) is None
    ended = hysteresis.push(Scored(50, 5.0, OVER))
    assert ended is not None
    assert (ended.start_frame, ended.end_frame) == (0, 1)


@given(st.lists(st.sampled_from([OVER, BETWEEN, UNDER]), max_size=80))
def test_events_are_ordered_apart_and_hold_a_flag(scores: list[float]) -> None:
    found = events(scores)
    for event in found:
        assert event.start_frame <= event.peak_frame <= event.end_frame
        assert scores[event.start_frame] == UNDER
        assert min(scores[event.start_frame : event.end_frame + 1]) == event.peak_psnr_db
    for before, after in zip(found, found[1:], strict=False):
        assert after.start_frame - before.end_frame > 3
    assert len({event.id for event in found}) == len(found)


@given(st.lists(st.floats(0, 60), min_size=1, max_size=50), st.integers(1, 9))
def test_smoothing_a_trace_equals_smoothing_frame_by_frame(scores: list[float], length: int) -> None:
    smoother = Smoother(length)
    np.testing.assert_allclose(smoothed(np.array(scores), length), [smoother.push(s) for s in scores], atol=1e-9)


def test_an_event_without_end_is_cut_into_events_of_the_longest_length() -> None:
    decision = DECISION.model_copy(update={"maximum_s": 2.0})
    found = events([UNDER] * 50, decision)
    assert [(event.start_frame, event.end_frame) for event in found] == [(0, 19), (20, 39), (40, 49)]
    found = events([UNDER] * 15 + [BETWEEN] * 30, decision)
    assert [(event.start_frame, event.end_frame) for event in found] == [(0, 19)]


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_at_a_stride_times_stay_times(stride: int) -> None:
    hysteresis = Hysteresis(DECISION, "gate", fps=10, stride=stride)
    scores = [UNDER if 32 <= frame < 96 else OVER for frame in range(160)]
    ended = [hysteresis.push(Scored(f, f / 10, scores[f])) for f in range(0, 160, stride)]
    (event,) = (event for event in (*ended, hysteresis.finish()) if event)
    assert (event.start_frame, event.end_frame) == (32, 96 - stride)
