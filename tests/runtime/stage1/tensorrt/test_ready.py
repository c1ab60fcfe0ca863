"""From a graph to a proven engine, through the fakes of both versions of TensorRT."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from callm_edge.errors import UserError
from callm_edge.stage1.tensorrt.engine_cache import EngineCache
from callm_edge.stage1.tensorrt.engine_key import BuildFlags
from callm_edge.stage1.tensorrt.precision_proof import MislabelledEngineError
from callm_edge.stage1.tensorrt.ready import ReadyEngine, ready_engine

Graph = Callable[..., Path]
SINGLE = "Row major linear FP32 format"


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def ready(trt: ModuleType, graph: Path, cache: EngineCache, **more: object) -> ReadyEngine:
    return ready_engine(trt, graph, "8.7", cache, **more)  # type: ignore[arg-type]


def set_version(trt: ModuleType, version: str) -> None:
    trt.VERSION = trt.__version__ = version


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1", "11.4.0.106"])
def test_built_once_proven_and_found_again(
    trt: ModuleType, half_graph: Graph, cache: EngineCache, version: str
) -> None:
    set_version(trt, version)
    first = ready(trt, half_graph(), cache)
    assert first.built
    assert len(first.proof) == 8
    assert set(first.proof.values()) == {"fp16"}
    description = json.loads(first.path.read_bytes())
    assert description["outputs"] == ["reconstruction"], "the score is the fused kernel's, and costs no layer"
    assert description["shapes"][1] == [1, 16, 256, 256]
    again = ready(trt, half_graph(), cache)
    assert not again.built
    assert (again.sha256, again.proof) == (first.sha256, first.proof)
    assert trt.Builder.builds == 1


def test_a_mislabelled_engine_is_refused_and_gets_no_name(
    trt: ModuleType, half_graph: Graph, cache: EngineCache
) -> None:
    trt.Builder.writes = staticmethod(lambda name: SINGLE)
    with pytest.raises(MislabelledEngineError, match="does not run in fp16"):
        ready(trt, half_graph(), cache)
    assert list(cache.folder.glob("*.engine")) == []


def test_one_single_precision_convolution_among_eight_is_enough(
    trt: ModuleType, half_graph: Graph, cache: EngineCache
) -> None:
    half = "Half"
    trt.Builder.writes = staticmethod(lambda name: SINGLE if name.startswith("convtranspose_12") else half)
    with pytest.raises(MislabelledEngineError, match="convtranspose_12"):
        ready(trt, half_graph(), cache)


def test_a_mislabelled_engine_in_the_cache_is_built_again(
    trt: ModuleType, half_graph: Graph, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    first = ready(trt, half_graph(), cache)
    forged = first.path.read_bytes().replace(b"Channel major FP16 format where channel % 8 == 0", SINGLE.encode())
    cache.store(first.key, forged, dict(first.proof), 1)
    with caplog.at_level(logging.WARNING):
        second = ready(trt, half_graph(), cache)
    assert second.built
    assert "does not run in fp16" in caplog.text


def test_fused_names_are_proven_by_the_absence_of_single_precision(
    trt: ModuleType, half_graph: Graph, cache: EngineCache
) -> None:
    trt.Builder.fuses_names = True
    assert all(text.startswith("fp16 (") for text in ready(trt, half_graph(), cache).proof.values())
    assert not ready(trt, half_graph(), cache).built, "such a proof holds when the engine is loaded again"


def test_a_single_precision_graph_is_refused_before_the_build(
    trt: ModuleType, half_graph: Graph, cache: EngineCache
) -> None:
    with pytest.raises(UserError, match="UINT8 is not supported|older version|not a half precision graph"):
        ready(trt, half_graph(half=False), cache)
    assert trt.Builder.builds == 0


def test_an_fp16_graph_is_no_int8_graph(trt: ModuleType, half_graph: Graph, cache: EngineCache) -> None:
    with pytest.raises(UserError, match="not quantized"):
        ready(trt, half_graph(), cache, flags=BuildFlags(precision="int8"))


def test_a_file_that_is_no_graph_is_told_in_words(trt: ModuleType, cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\x07nonsense")
    with pytest.raises(UserError, match="cannot read"):
        ready(trt, tmp_path / "x.onnx", cache)


def test_an_update_of_tensorrt_builds_anew_and_says_why(
    trt: ModuleType, half_graph: Graph, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    ready(trt, half_graph(), cache)
    set_version(trt, "10.13.2")
    with caplog.at_level(logging.WARNING):
        assert ready(trt, half_graph(), cache).built
    assert "TensorRT 10.3.0 instead of 10.13.2" in caplog.text
    assert len(list(cache.folder.glob("*.engine"))) == 2


def test_an_engine_that_does_not_load_is_built_again(
    trt: ModuleType, half_graph: Graph, cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    first = ready(trt, half_graph(), cache)
    cache.store(first.key, b"not an engine", dict(first.proof), 1)
    with caplog.at_level(logging.WARNING):
        assert ready(trt, half_graph(), cache).built
    assert "cannot load" in caplog.text


def test_a_failed_build_tells_what_tensorrt_said(trt: ModuleType, half_graph: Graph, cache: EngineCache) -> None:
    trt.Builder.fails = True
    with pytest.raises(UserError, match="no implementation found"):
        ready(trt, half_graph(), cache)


def test_timing_caches_are_kept_and_combined(trt: ModuleType, half_graph: Graph, cache: EngineCache) -> None:
    first = ready(trt, half_graph(seed=0), cache)
    ready(trt, half_graph(seed=1), cache)
    path = cache.timing_cache_path(first.key)
    assert path.name == "timing-10.3.0-sm87.cache"
    assert json.loads(path.read_bytes()) == ["sm_87", ["built1", "built2"]]


def test_timings_that_another_process_wrote_meanwhile_are_not_lost(
    trt: ModuleType, half_graph: Graph, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache.timing_cache_path(ready(trt, half_graph(seed=0), cache).key)
    build = trt.Builder.build_serialized_network

    def meanwhile(self: object, network: object, config: object) -> object:
        path.write_bytes(b'["sm_87", ["theirs"]]')
        return build(self, network, config)

    monkeypatch.setattr(trt.Builder, "build_serialized_network", meanwhile)
    ready(trt, half_graph(seed=1), cache)
    assert json.loads(path.read_bytes())[1] == ["built1", "built2", "theirs"]


@pytest.mark.parametrize("stored", [b"damaged", b'["sm_110", ["x"]]'])
def test_a_useless_timing_cache_is_begun_anew(
    trt: ModuleType, half_graph: Graph, cache: EngineCache, stored: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    first = ready(trt, half_graph(seed=0), cache)
    path = cache.timing_cache_path(first.key)
    path.write_bytes(stored)
    with caplog.at_level(logging.WARNING):
        ready(trt, half_graph(seed=1), cache)
    assert "timing cache" in caplog.text
    assert json.loads(path.read_bytes()) == ["sm_87", ["built2"]]


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        self.calls.append(("phase", name, parent, steps))

    def step(self, name: str, done: int) -> None:
        self.calls.append(("step", name, done))

    def finish(self, name: str) -> None:
        self.calls.append(("finish", name))


def test_the_build_reports_its_progress(trt: ModuleType, half_graph: Graph, cache: EngineCache) -> None:
    heard = Heard()
    ready(trt, half_graph(), cache, progress=heard)
    assert heard.calls[:3] == [
        ("phase", "Building", None, 2),
        ("phase", "Timing kernels", "Building", 3),
        ("step", "Timing kernels", 1),
    ]
    assert heard.calls[-1] == ("finish", "Building")


def test_ctrl_c_ends_the_build_and_leaves_nothing(trt: ModuleType, half_graph: Graph, cache: EngineCache) -> None:
    class Stops(Heard):
        def step(self, name: str, done: int) -> None:
            super().step(name, done)
            raise KeyboardInterrupt

    stops = Stops()
    with pytest.raises(KeyboardInterrupt):
        ready(trt, half_graph(), cache, progress=stops)
    assert [call for call in stops.calls if call[0] == "step"] == [("step", "Timing kernels", 1)]
    assert list(cache.folder.glob("*.engine")) == []
    assert ready(trt, half_graph(), cache).built, "the lock is free again"


def test_progress_bars_follow_the_phases() -> None:
    from io import StringIO

    from rich.console import Console
    from rich.progress import Progress

    from callm_edge.stage1.tensorrt.progress import ProgressBars

    with Progress(console=Console(file=StringIO())) as bars:
        shown = ProgressBars(bars)
        shown.phase("Building", None, 2)
        shown.phase("Timing", "Building", 3)
        shown.step("Timing", 2)
        assert [(task.description, task.completed, task.total) for task in bars.tasks] == [
            ("Building", 0, 2),
            ("  Timing", 2, 3),
        ]
        shown.finish("Timing")
        assert [task.description for task in bars.tasks] == ["Building"]
