"""A film from the file to its events, and a camera from the glass to the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import footage  # noqa: E402
from callm_bench.setting import Setting  # noqa: E402
from callm_bench.stages import whole  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402
from callm_edge.plaza import FPS  # noqa: E402


def setting(bundle: Bundle, folder: Path) -> Setting:
    return Setting(bundle, folder, presets=(bundle.manifest.preset,), quick=True, rounds=1, threads=1)


def test_from_the_file_to_the_events_and_from_the_glass_to_the_verdict(tiny_cascade: Bundle, tmp_path: Path) -> None:
    rows = whole.measure(setting(tiny_cascade, tmp_path)).rows
    assert rows[whole.RUN]["per_second"] > 0
    assert rows[whole.RUN]["rss_mb"] > 20
    assert rows["glass to score"]["p50_ms"] > 7 * 1000 / FPS - 60  # frames in flight before it is known
    # An event ends after EVENT_S, and its verdict comes after that.
    assert rows["glass to event"]["p50_ms"] >= 1000 * whole.EVENT_S - 100
    assert rows["glass to verdict"]["p50_ms"] > rows["glass to event"]["p50_ms"]
    assert 0 < rows["event to verdict"]["p50_ms"] < rows["glass to verdict"]["p50_ms"]
    assert whole.ratio_to_stage1(rows, whole.RUN) == 1
    assert whole.ratio_to_stage1(rows, "absent") is None


def test_without_a_branch_there_is_no_verdict(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    footage.film(path, footage.images(20))
    measured = whole.glass(setting(tiny_bundle, tmp_path), path)
    assert "glass to score" in measured.rows
    assert measured.skipped["glass to verdict"] == "the bundle 'tiny' has no stage 2"
