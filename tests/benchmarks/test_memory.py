"""A run's memory is read on the way."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import memory  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402


def test_memory_is_read_every_so_many_frames(tiny_bundle: Bundle) -> None:
    seen = list(memory.watched(60, str(tiny_bundle.folder), every=20, threads=1))
    assert [count for count, _ in seen] == [20, 40, 60]
    assert all(size > 20 for _, size in seen)
