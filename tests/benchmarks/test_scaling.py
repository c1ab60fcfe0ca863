"""Curves of what grows, and where they bend."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import scaling  # noqa: E402
from callm_bench.setting import Setting  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402


@pytest.mark.parametrize(
    ("x", "y", "rising", "at"),
    [
        ([1, 2, 4, 8, 16], [10, 20, 21, 21, 21], True, 2),  # saturates with two cameras
        ([1, 2, 4, 8], [10, 5.5, 5.1, 5.0], False, 2),  # cheaper up to stride 2
        ([1, 2, 3], [1, 2, 3], True, None),  # a line has no knee
        ([1, 2], [1, 5], True, None),  # nor have two points
        ([1, 2, 4], [3, 3, 3], True, None),  # nor has what never changes
        ([1, 2, 4, 8], [1, 1, 1, 8], True, None),  # it bends the other way: nothing flattens out
    ],
)
def test_the_knee(x: list[float], y: list[float], rising: bool, at: float | None) -> None:
    assert scaling.knee(x, y, rising) == at


def test_curves_of_a_tiny_bundle(tiny_bundle: Bundle, tmp_path: Path) -> None:
    found = scaling.measure(Setting(tiny_bundle, tmp_path, quick=True, rounds=1, threads=1))
    assert set(found) == {"cameras", "stride", "batch", "threads"}
    for curve in found.values():
        assert curve["title"]
        assert all(len(values) == len(curve["values"]) for values in curve["series"].values())
    assert found["cameras"]["values"] == list(scaling.QUICK_CAMERAS)
    assert min(found["cameras"]["series"]["frames/s, all cameras"]) > 0
    assert found["threads"]["values"] == [1]


def test_the_time_of_a_stride_is_shared_by_its_frames(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "_in_turn", lambda calls, setting: [0.016 for call in calls if call() is not None])
    curve = scaling.stride(Setting(tiny_bundle, tmp_path, quick=True, threads=1))
    assert curve["values"] == [1, 2, 4, 8]
    assert list(curve["series"]) == ["shared, ms for a frame", "onnxruntime, ms for a frame"]
    for each in curve["series"].values():
        assert each == [16.0, 8.0, 4.0, 2.0]
