"""Where a kernel's code comes from, on machines that have everything, something, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from callm_kernels import cache, compilers, driver, image, prebuilt, sources
from callm_kernels.compilers import CompileError, Nvcc, Nvrtc
from callm_kernels.errors import KernelError, NoCodeError, NoDriverError


class Fake:
    """A compiler that gives its target as code, and counts."""

    def __init__(self, version: tuple[int, int] = (13, 0)) -> None:
        self.version, self.calls = version, 0
        self.toolkit = f"fake {version[0]}.{version[1]}"

    def architectures(self) -> list[str]:
        return ["sm_87", "sm_110"]

    def compile(self, name: str, target: str) -> bytes:
        self.calls += 1
        return f"{name} for {target} by {self.toolkit}".encode()


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's cache nor what `make kernels` left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "prebuilt")


def here(monkeypatch: pytest.MonkeyPatch, *compilers_here: object) -> None:
    """Compilers that are here; in a string's place one that is not, and why."""
    monkeypatch.setattr(image, "available", lambda: [one for one in compilers_here if not isinstance(one, str)])
    monkeypatch.setattr(image, "absent", lambda: [one for one in compilers_here if isinstance(one, str)])


def test_code_is_built_once_and_found_in_the_cache(monkeypatch) -> None:
    fake = Fake()
    here(monkeypatch, fake)
    first, second = (image.find("ingest", "sm_87", (13, 0)) for _ in range(2))
    assert first == second
    assert (first.kind, first.data, first.origin) == ("cubin", b"ingest for sm_87 by fake 13.0", "built")
    assert fake.calls == 1


def test_source_architecture_and_toolkit_each_make_another_build(monkeypatch, tmp_path) -> None:
    fake = Fake()
    here(monkeypatch, fake)
    image.find("ingest", "sm_87", (13, 0))
    image.find("ingest", "sm_110", (13, 0))
    image.find("clip_pack", "sm_87", (13, 0))
    assert fake.calls == 3
    here(monkeypatch, newer := Fake((13, 1)))
    image.find("ingest", "sm_87", (13, 1))
    assert newer.calls == 1
    for path in sources.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "common.cuh").write_text((tmp_path / "common.cuh").read_text() + "// changed\n")
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    here(monkeypatch, fake)
    image.find("ingest", "sm_87", (13, 0))
    assert fake.calls == 4, "a header that a kernel includes is a part of it"


def test_what_was_built_ahead_of_time_comes_first(monkeypatch) -> None:
    fake = Fake()
    here(monkeypatch, fake)
    prebuilt.build(fake, ["sm_87", "compute_75"])
    built = fake.calls
    assert built == 2 * len(sources.ENTRIES)
    found = image.find("ingest", "sm_87", (13, 0))
    assert (found.origin, found.data) == ("prebuilt", b"ingest for sm_87 by fake 13.0")
    assert fake.calls == built


def test_a_gpu_newer_than_the_toolkit_runs_ptx(monkeypatch) -> None:
    prebuilt.build(Fake(), ["sm_87", "compute_75"])
    here(monkeypatch, "NVRTC needs the extra 'gpu'")
    found = image.find("ingest", "sm_150", (15, 0))
    assert (found.kind, found.data) == ("ptx", b"ingest for compute_75 by fake 13.0")


def test_code_of_another_source_damaged_code_or_a_damaged_index_is_passed_over(monkeypatch) -> None:
    prebuilt.build(Fake(), ["sm_87"])
    here(monkeypatch)
    path = prebuilt.FOLDER / "ingest.sm_87.cubin"
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(NoCodeError, match="ingest.sm_87.cubin is damaged"):
        image.find("ingest", "sm_87", (13, 0))
    monkeypatch.setattr(sources, "FLAGS", ("-std=c++20",))
    with pytest.raises(NoCodeError, match="another version of the source"):
        image.find("ingest", "sm_87", (13, 0))
    (prebuilt.FOLDER / "index.json").write_text("{")
    with pytest.raises(NoCodeError, match="cannot be read"):
        image.find("ingest", "sm_87", (13, 0))


def test_nothing_newer_than_the_driver_is_loaded(monkeypatch) -> None:
    """JetPack 6 runs CUDA 12: it does not load what CUDA 13 built."""
    prebuilt.build(Fake((13, 0)), ["sm_87", "compute_75"])
    here(monkeypatch, Fake((13, 5)))
    with pytest.raises(NoCodeError) as raised:
        image.find("ingest", "sm_87", (12, 6))
    assert "the driver runs CUDA 12.6" in raised.value.why
    assert "fake 13.5 is newer than the driver" in raised.value.why
    assert "ingest.sm_87.cubin was built by fake 13.0, newer than the driver" in raised.value.why
    assert "CUDA 12" in raised.value.fix
    here(monkeypatch, Fake((12, 6)))
    assert image.find("ingest", "sm_87", (12, 6)).toolkit == "fake 12.6"


def test_no_compiler_and_no_code_is_one_sentence_with_every_reason(monkeypatch) -> None:
    here(monkeypatch, "NVRTC needs the extra 'gpu'", "nvcc is neither on PATH nor in /usr/local/cuda/bin")
    with pytest.raises(NoCodeError) as raised:
        image.find("ingest", "sm_87", (13, 0))
    text = str(raised.value)
    for part in ("'ingest' for sm_87", "NVRTC needs the extra", "nvcc is neither", "make kernels"):
        assert part in text
    assert "\n" not in text


def test_a_damaged_cache_entry_is_built_anew(tmp_path) -> None:
    assert cache.get("k", lambda: b"code", tmp_path) == b"code"
    path = tmp_path / "k.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.get("k", lambda: b"again", tmp_path) == b"again"
    assert cache.get("k", lambda: b"never", tmp_path) == b"again"


def test_many_processes_that_want_the_same_code_build_it_once(tmp_path) -> None:
    calls = []

    def build() -> bytes:
        calls.append(1)
        time.sleep(0.05)
        return b"code"

    threads = [threading.Thread(target=cache.get, args=("k", build, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert cache.get("k", lambda: b"code", tmp_path / "file" / "folder") == b"code"


@pytest.mark.parametrize("kind", [Nvrtc, Nvcc])
def test_every_compiler_here_builds_every_kernel(kind, request) -> None:
    try:
        compiler = kind()
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        pytest.skip(f"{kind.__name__} is not here: {error}")
    folder = request.config.cache.mkdir("kernels")  # outlives the test run, as building takes seconds
    for name in sources.ENTRIES if kind is Nvrtc else ["selftest"]:
        key = cache.key(sources.content_hash(name), "sm_87", compiler.toolkit)
        cubin = cache.get(key, lambda name=name: compiler.compile(name, "sm_87"), folder)
        assert cubin.startswith(b"\x7fELF")
        assert all(entry.encode() in cubin for entry in sources.ENTRIES[name])
    ptx = compiler.compile("selftest", "compute_75")
    assert b".visible .entry selftest" in ptx
    assert {"sm_87", "sm_110"} <= set(compiler.architectures())


@pytest.mark.parametrize("kind", [Nvrtc, Nvcc])
def test_a_source_that_does_not_compile_shows_the_compilers_words(kind, monkeypatch, tmp_path) -> None:
    try:
        compiler = kind()
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        pytest.skip(f"{kind.__name__} is not here: {error}")
    (tmp_path / "broken.cu").write_text("__global__ void broken() { nonsense; }")
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    with pytest.raises(CompileError, match='identifier "nonsense" is undefined'):
        compiler.compile("broken", "sm_87")


def test_what_is_absent_is_said_in_the_compilers_place(monkeypatch) -> None:
    compilers._search.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    try:
        assert compilers.available() == ()
        assert compilers.absent() == (
            "NVRTC needs the extra 'gpu' (pip install 'callm-edge[gpu]')",
            "nvcc is neither on PATH nor in /usr/local/cuda/bin",
        )
    finally:
        compilers._search.cache_clear()


@pytest.fixture
def no_driver() -> None:
    try:
        driver.probe()
    except NoDriverError:
        return
    pytest.skip("there is a driver and a GPU here")


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize(
    "use",
    [
        "from callm_kernels.launchers.psnr_threshold import PsnrThreshold as K",
        "from callm_kernels.launchers.ingest import Ingest as K",
        "from callm_kernels.launchers.clip_pack import ClipPack as K",
        "from callm_kernels.launchers.gptq_gemv import GptqGemv as K",
        "from callm_kernels.selftest import check as K",
    ],
)
def test_without_a_driver_there_is_one_clear_sentence_at_once(use) -> None:
    """In a process of its own: what is asked of cuda.core without a driver may hang."""
    code = f"{use}\nfrom callm_kernels.errors import KernelError\ntry: K()\nexcept KernelError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith(
        ("No NVIDIA driver on this machine: libcuda.so.1 cannot be loaded. ", "The NVIDIA", "No GPU")
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.usefixtures("no_driver")
def test_the_selftest_fails_with_that_sentence() -> None:
    done = subprocess.run([sys.executable, "-m", "callm_kernels.selftest"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "driver" in done.stderr
    assert "Traceback" not in done.stderr


class FakeCuda:
    """libcuda.so.1 as ctypes shows it, for one Orin."""

    def __init__(self, count: int = 1, init: int = 0) -> None:
        self.count, self.init = count, init

    def cuInit(self, flags) -> int:  # noqa: N802
        return self.init

    def cuDriverGetVersion(self, version) -> int:  # noqa: N802
        version._obj.value = 13020
        return 0

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802
        count._obj.value = self.count
        return 0

    def cuDeviceGetName(self, name, length, device) -> int:  # noqa: N802
        name.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def cuGetErrorString(self, result, text) -> int:  # noqa: N802
        text._obj.value = b"unknown error"
        return 0


def test_the_driver_is_asked_for_version_and_gpus(monkeypatch) -> None:
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: FakeCuda())
    found, gpu = driver.gpu(0)
    assert found.version == (13, 2)
    assert (gpu.name, gpu.architecture) == ("Orin", "sm_87")
    with pytest.raises(NoDriverError, match="No CUDA device 1: the driver shows 1"):
        driver.gpu(1)


@pytest.mark.parametrize(
    ("cuda", "said"),
    [(FakeCuda(count=0), "No GPU: the NVIDIA driver is there but shows none"),
     (FakeCuda(init=999), "the driver does not start: unknown error")],
)  # fmt: skip
def test_a_driver_without_a_gpu_is_told_apart(monkeypatch, cuda, said) -> None:
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: cuda)
    with pytest.raises(KernelError, match=said):
        driver.probe()


def test_importing_the_launchers_touches_neither_cuda_nor_a_compiler() -> None:
    code = (
        "import sys\n"
        "import callm_kernels.launchers.psnr_threshold, callm_kernels.launchers.ingest, callm_kernels.selftest\n"
        "import callm_kernels.launchers.clip_pack, callm_kernels.launchers.gptq_gemv, callm_kernels.report\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('cuda', 'torch', 'cv2')])"
    )
    environment = {**os.environ, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr
