"""A camera's usual ways come back as they were, and what is none is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.stage2.ways import SHAPE, Ways


def usual(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE, np.float32)


@given(st.integers(0, 1000))
def test_they_come_back_as_they_were(seed: int) -> None:
    ways = Ways(usual(seed))
    again = Ways.from_bytes(ways.to_bytes())
    assert again == ways
    assert hash(again) == hash(ways)
    assert again != Ways(usual(seed + 1))


def saved(array: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.save(memory, array, allow_pickle=True)
    return memory.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array",
        Ways(usual()).to_bytes()[:200],
        Ways(usual()).to_bytes()[:-1],
        saved(usual()[:-1]),
        saved(usual().astype(np.float64)),
        saved(usual() * np.float32(np.nan)),
        saved(-usual()),
        saved(np.array([{"code": "runs"}], object)),
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Ways.from_bytes(data)
