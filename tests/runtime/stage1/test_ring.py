"""The mirrored ring against a plain list."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.stage1.ring import MirroredRing


@given(st.lists(st.one_of(st.integers(0, 255), st.none()), max_size=90))
def test_every_window_is_the_last_16_frames(pushed: list[int | None]) -> None:
    """None stands for a gap in the footage."""
    ring, naive = MirroredRing(size=4), list[np.ndarray]()
    for value in pushed:
        if value is None:
            ring.clear()
            naive.clear()
            continue
        frame = np.full((4, 4), value, np.uint8)
        ring.push(frame)
        naive.append(frame)
        window = ring.window()
        if len(naive) < 16:
            assert window is None
        else:
            assert window is not None
            np.testing.assert_array_equal(window, np.stack(naive[-16:]))


def test_a_window_is_a_view() -> None:
    ring = MirroredRing(size=4)
    for _ in range(40):
        ring.push(np.zeros((4, 4), np.uint8))
        window = ring.window()
        assert window is None or window.base is not None
