"""What is strange is so beside what is usual at the same place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.stage2.strangeness import STRANGE, Strangeness
from callm_edge.stage2.ways import Ways

RIGHT, DOWN, LEFT, UP, SPEED = range(5)


def ways(speed: float = 0.1) -> Ways:
    """To the right above and to the left below, at `speed`, a tenth of the time; in the middle nobody goes."""
    usual = np.zeros((27, 48, 5), np.float32)
    for rows, way in ((slice(0, 10), RIGHT), (slice(17, 27), LEFT)):
        usual[rows, :, way], usual[rows, :, 4] = 0.1 * speed, 0.1 * speed**2
    return Ways(usual)


def flow(way: int, speed: float = 0.1) -> np.ndarray:
    found = np.zeros((90, 160, 4), np.float32)
    found[..., way] = speed
    return found


def test_a_way_is_strange_where_nobody_takes_it() -> None:
    found = Strangeness(ways()).of(flow(RIGHT))
    assert found.shape == (90, 160, STRANGE)
    above, middle, below = found[5:20], found[43:47], found[70:85]
    assert above[..., RIGHT].max() == 0
    assert below[..., RIGHT].min() == pytest.approx(1, rel=0.15)
    assert middle[..., RIGHT].min() > 0.5, "where nobody goes every way is strange"
    assert not found[..., [DOWN, LEFT, UP]].any(), "nothing moves that way"


@given(st.floats(0.005, 0.5), st.floats(0.2, 5))
def test_speed_is_told_beside_the_usual_one(usual: float, times: float) -> None:
    found = Strangeness(ways(usual)).of(flow(RIGHT, usual * times))[5:20]
    assert found[..., SPEED] == pytest.approx(times, rel=0.15)


def test_where_nothing_was_ever_seen_to_move_all_is_strange() -> None:
    found = Strangeness(Ways(np.zeros((27, 48, 5), np.float32))).of(flow(UP))
    assert np.isfinite(found).all()
    assert (found[..., UP] > 0).all()
