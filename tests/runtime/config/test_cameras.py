"""What the settings say of stage 1 reaches the backends."""

from __future__ import annotations

import os
from typing import Any

import pytest

from callm_edge.bundle import Bundle
from callm_edge.config import cameras
from callm_edge.config.cameras import Cameras
from callm_edge.config.flags import with_flags
from callm_edge.config.settings import RunSettings
from callm_edge.stage1.choose import open_backend


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How each backend was asked for."""
    calls: list[dict[str, Any]] = []

    def note(bundle: Bundle, name: str, threads: int, progress: object, batch: int) -> object:
        calls.append({"name": name, "threads": threads, "batch": batch})
        return open_backend(bundle, name, threads, batch=batch)

    monkeypatch.setattr(cameras, "open_backend", note)
    return calls


def settings(bundle: Bundle, count: int, **flags: Any) -> RunSettings:
    uris = tuple(f"test:plaza?seed={seed}" for seed in range(count))
    return with_flags(RunSettings(), {"sources": uris, "bundle": str(bundle.folder), **flags})


def test_a_batch_is_asked_for(tiny_bundle: Bundle, opened: list[dict[str, Any]]) -> None:
    Cameras(settings(tiny_bundle, 2, batch=4, backend="onnxruntime"))
    assert [(call["name"], call["batch"]) for call in opened] == [("onnxruntime", 4)]


def test_many_cameras_take_one_thread_each(tiny_bundle: Bundle, opened: list[dict[str, Any]]) -> None:
    cores = os.cpu_count() or 1
    Cameras(settings(tiny_bundle, cores))
    Cameras(settings(tiny_bundle, cores, threads=3))
    if cores > 1:
        Cameras(settings(tiny_bundle, cores - 1))
    assert [call["threads"] for call in opened] == [1, 3, 0][: len(opened)]
