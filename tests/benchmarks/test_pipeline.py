"""The whole and its part are measured on the same film, and memory is read on the way."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import memory, pipeline  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402


def test_json(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["pipeline", "--seconds", "2", "--rounds", "1", "--bundle", str(tiny_bundle.folder), "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    pipeline.main()
    report = json.loads(capsys.readouterr().out)
    assert report["frames_per_second"]["whole"] > 0
    assert report["ratio"] > 0


def test_memory_is_read_every_so_many_frames(tiny_bundle: Bundle) -> None:
    seen = list(memory.watched(60, str(tiny_bundle.folder), every=20, threads=1))
    assert [count for count, _ in seen] == [20, 40, 60]
    assert all(size > 20 for _, size in seen)
