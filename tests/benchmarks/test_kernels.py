"""The kernel bench, as far as it goes without a GPU: the work it plans, the torch versions, and what it computes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest

from callm_bench import kernels, roofline
from callm_kernels.errors import NoDriverError
from callm_kernels.launch import Launch


class Recorder:
    """Stands for the loaded code: keeps what would have been launched."""

    launched: list[Launch] = []

    def __init__(self, name: str, device: int = 0) -> None:
        self.code = name

    def run(self, stream: Any, launch: Launch) -> None:
        self.launched.append(launch)


class FakeGpu:
    """Gives addresses, and counts the bytes behind them."""

    stream = None

    def __init__(self) -> None:
        self.next, self.held = 1 << 20, 0

    def empty(self, size_bytes: int) -> int:
        address, self.next = self.next, self.next + -(-size_bytes // 256) * 256
        self.held += size_bytes
        return address

    def put(self, array: np.ndarray) -> int:
        return self.empty(array.nbytes)

    def copy(self, source: int, target: int, size_bytes: int) -> None:
        assert size_bytes <= kernels.COPY_BYTES


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> kernels.Timed:
    for launcher in (kernels.psnr_threshold, kernels.ingest, kernels.clip_pack, kernels.gptq_gemv):
        monkeypatch.setattr(launcher, "Module", Recorder)
    gpu = FakeGpu()
    return {**kernels.copies(gpu), **kernels.launches(gpu)}  # type: ignore[arg-type]


def test_every_work_of_the_roofline_is_launched_beside_a_copy_of_its_bytes(timed) -> None:
    names = {kernels.name_of(work) for work in roofline.works()}
    assert names | {f"{name} | copy" for name in names} | {"empty", "copy"} == set(timed)
    Recorder.launched = []
    for name in timed:
        timed[name]()
    entries = [launch.entry for launch in Recorder.launched]
    assert len(entries) == len(names)
    assert {"psnr_threshold_u8_x16", "ingest", "clip_pack", "gptq_gemv_m1", "gptq_gemv_m4"} == set(entries)


def test_the_figures_follow_from_the_times(timed) -> None:
    took = {id(call): 0.5 + at for at, call in enumerate(timed.values())}
    stages = kernels.measure(timed, lambda call: took[id(call)], rounds=5)
    work = roofline.score(1)
    name = kernels.name_of(work)
    assert stages[name]["n"] == 5
    assert stages[name]["p50_ms"] == stages[name]["p99_ms"]
    achieved = kernels.bandwidths(stages)
    assert achieved[name] == pytest.approx(work.bytes_moved / stages[name]["p50_ms"] / 1e6, abs=0.06)
    ratio = stages[f"{name} | copy"]["p50_ms"] / stages[name]["p50_ms"]
    assert kernels.ratios(stages)[f"{name}: copy / fused"] == pytest.approx(ratio, abs=0.006)


def test_the_torch_versions_do_the_same_work(monkeypatch) -> None:
    """On the CPU, with the one layer that is small enough for it."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(roofline, "LAYERS", roofline.LAYERS[:1])
    calls = kernels.baselines("cpu", contextlib.nullcontext())
    assert {name.partition(" | ")[0] for name in calls} == {kernels.name_of(work) for work in roofline.works()}
    small = kernels.name_of(roofline.gptq_gemv(1, 576, 1536, 64))
    assert torch.allclose(calls[f"{small} | unfused"](), calls[f"{small} | library"]())
    assert list(calls[f"{kernels.name_of(roofline.score(1))} | unfused"]()) == [False], "a good reconstruction"
    assert calls[f"{kernels.name_of(roofline.score(1))} | library"]() < 1e-6
    calls[f"{kernels.name_of(roofline.ingest(1, 1920, 1080, 3))} | unfused"]()
    assert calls[f"{kernels.name_of(roofline.clip_pack(8, 1280, 720, 160))} | unfused"]().shape == (16, 3, 224, 224)


def test_bytes_are_counted_once() -> None:
    assert roofline.score(1, error_map=False).bytes_moved == 3 * 65536 + 2 * 4 * 1024
    assert roofline.ingest(1, 1920, 1080, 1).bytes_moved == 512 * 1920 + 2 * 65536
    assert roofline.ingest(1, 320, 240, 3).bytes_moved == 240 * 320 * 3 + 2 * 65536, "no row is read twice"
    assert roofline.gptq_gemv(1, 4096, 4096, 128).bytes_moved == 8 * 2**20 + 32 * 4096 * 5 // 2 + 2 * 8192
    assert roofline.Work("", "", 68_000).microseconds(68.0) == pytest.approx(1.0)


def test_the_roofline_is_labelled_as_computed(capsys) -> None:
    kernels.main(["--roofline", "--json"])
    table = json.loads(capsys.readouterr().out)["roofline_computed"]
    assert set(table[0]["computed_us"]) == set(roofline.BANDWIDTH_GBPS)
    kernels.main(["--roofline"])
    assert "COMPUTED" in capsys.readouterr().out


def test_without_a_gpu_nothing_is_measured_and_it_says_so(monkeypatch, capsys) -> None:
    def absent(device: int) -> None:
        raise NoDriverError("No NVIDIA driver on this machine", "libcuda.so.1 cannot be loaded", "Install it")

    monkeypatch.setattr(kernels.driver, "gpu", absent)
    with pytest.raises(SystemExit) as left:
        kernels.main([])
    assert "Nothing was measured. No NVIDIA driver" in str(left.value)
    assert capsys.readouterr().out == ""
