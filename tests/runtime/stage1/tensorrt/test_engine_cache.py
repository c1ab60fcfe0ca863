"""Engines on disk: given out only whole and for their own key, with a reason for everything else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from callm_edge.errors import UserError
from callm_edge.stage1.tensorrt.engine_cache import EngineCache
from callm_edge.stage1.tensorrt.engine_key import EngineKey

KEY = EngineKey("a" * 64, "10.3.0", "8.7")
PROOF = {"conv_4_node": "fp16"}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_what_was_stored_comes_back_and_holds_nothing_of_ours(cache: EngineCache) -> None:
    stored = cache.store(KEY, b"engine", PROOF, 12.34)
    assert cache.load(KEY) == stored
    assert cache.engine_path(KEY).read_bytes() == b"engine"
    sidecar = json.loads(cache.engine_path(KEY).with_suffix(".json").read_text())
    assert sidecar["key"]["tensorrt"] == "10.3.0"
    assert sidecar["engine_sha256"] == stored.sha256
    assert sidecar["build_seconds"] == 12.3
    assert [p.name for p in cache.folder.iterdir() if p.name.startswith(".")] == []


def test_an_update_of_tensorrt_explains_the_rebuild(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.store(KEY, b"engine", PROOF, 1)
    cache.store(replace(KEY, tensorrt="9.9", compute_capability="7.2"), b"older", PROOF, 1)
    with caplog.at_level(logging.WARNING):
        assert cache.load(replace(KEY, tensorrt="10.13.2")) is None
    assert "the nearest was built for TensorRT 10.3.0 instead of 10.13.2" in caplog.text


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda engine, sidecar: sidecar.unlink(), "is missing"),
        (lambda engine, sidecar: engine.write_bytes(b"other"), "another sha256"),
        (lambda engine, sidecar: engine.write_bytes(b""), "another sha256"),
        (lambda engine, sidecar: sidecar.write_text("{"), "built again"),
        (lambda engine, sidecar: sidecar.write_text("[]"), "another schema"),
        (
            lambda engine, sidecar: sidecar.write_text(sidecar.read_text().replace('"schema": 1', '"schema": 2')),
            "schema",
        ),
        (lambda engine, sidecar: sidecar.write_text(sidecar.read_text().replace("10.3.0", "8.6.1")), "TensorRT 8.6.1"),
        (lambda engine, sidecar: sidecar.write_text(sidecar.read_text().replace('"proof"', '"prof"')), "proof"),
    ],
)
def test_a_damaged_or_foreign_engine_is_not_given_out(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, damage: object, reason: str
) -> None:
    cache.store(KEY, b"engine", PROOF, 1)
    engine = cache.engine_path(KEY)
    damage(engine, engine.with_suffix(".json"))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert cache.load(KEY) is None
    assert reason in caplog.text


HOLDER = """
import sys, time
from pathlib import Path
from callm_edge.stage1.tensorrt.engine_cache import EngineCache
with EngineCache(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_build_at_once_and_a_dead_one_frees_the_lock(cache: EngineCache) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cache.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        waited: list[float] = []

        def waiting() -> None:
            waited.append(time.monotonic())
            other.kill()

        with cache.lock(waiting):
            assert len(waited) == 1
    finally:
        other.kill()
        other.communicate()
    with cache.lock(lambda: pytest.fail("nobody holds it")):
        pass


def test_a_bundle_that_cannot_be_written_to_keeps_engines_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bundle").mkdir()
    assert EngineCache.beside(tmp_path / "bundle").folder == tmp_path / "bundle" / "engines"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert EngineCache.beside(tmp_path / "bundle").folder == tmp_path / "cache" / "callm-edge" / "engines"


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be kept"), EngineCache(tmp_path / "file" / "engines").lock():
        pass
