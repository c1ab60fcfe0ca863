"""What the kernel tests share: machines that execute kernels, one made of CPU, one a GPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callm_kernels import driver, sources
from callm_kernels.errors import NoDriverError
from callm_kernels.launch import Launch

sys.path.insert(0, str(Path(__file__).parent / "cuda_on_cpu"))

from harness import BASE, Harness, Memory, Order, Sanitizer, missing  # noqa: E402


class Cpu:
    """Executes launches of our kernels, exactly as the launchers plan them, and holds them to clean reports."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def run(
        self,
        name: str,
        launches: Sequence[Launch],
        memory: Memory,
        sanitizer: Sanitizer = "none",
        order: Order = "forward",
        seed: int = 1,
    ) -> list[np.ndarray]:
        """Memory after the launches of kernel file `name`, in the order it was put in."""
        outcome = self.harness.execute(
            sources.path(name), sources.ENTRIES[name], launches, memory, sanitizer, order, seed
        )
        assert outcome.code == 0, outcome.report
        return outcome.arrays


class Gpu:
    """Launches the same on a GPU, captured in a CUDA graph: which no launch may allocate or wait in."""

    def __init__(self) -> None:
        from callm_edge.stage1.tensorrt.cuda import Cuda

        self.cuda = Cuda.load()

    def run(
        self,
        name: str,
        launches: Sequence[Launch],
        memory: Memory,
        sanitizer: Sanitizer = "none",
        order: Order = "forward",
        seed: int = 1,
    ) -> list[np.ndarray]:
        """As Cpu.run; order and seed have no meaning here."""
        if sanitizer != "none":
            pytest.skip("the sanitizers watch kernels on the CPU")
        from callm_edge.stage1.tensorrt.cuda import DeviceBuffer, Stream
        from callm_kernels.module import Module

        buffers = [DeviceBuffer(self.cuda, array.nbytes) for array in memory.arrays]

        def resolve(address: int) -> int:
            return address if address < BASE else buffers[memory.index(address)].address + (address & 0xFFFFFFFF)

        arrays = [array.copy() for array in memory.arrays]
        for array in arrays:
            for field, (dtype, *_) in (array.dtype.fields or {}).items():
                if dtype == np.uint64:
                    array[field] = [resolve(int(address)) for address in array[field]]
        kind = self.cuda.api.cudaMemcpyKind
        for array, buffer in zip(arrays, buffers, strict=True):
            host = kind.cudaMemcpyHostToDevice
            self.cuda.call("cudaMemcpy", buffer.address, array.ctypes.data, array.nbytes, host)
        module, stream = Module(name), Stream(self.cuda)
        with stream.capture() as graphs:
            for launch in launches:
                arguments = tuple(
                    np.uint64(resolve(int(value))) if isinstance(value, np.uint64) else value
                    for value in launch.arguments
                )
                module.run(stream, replace(launch, arguments=arguments))
        stream.launch(graphs[0])
        stream.synchronize()
        for array, buffer in zip(arrays, buffers, strict=True):
            host = kind.cudaMemcpyDeviceToHost
            self.cuda.call("cudaMemcpy", array.ctypes.data, buffer.address, array.nbytes, host)
            buffer.close()
        graphs[0].close()
        stream.close()
        return arrays


@pytest.fixture(scope="session")
def harness(request: pytest.FixtureRequest) -> Harness:
    if why := missing():
        pytest.skip(f"kernels are executed on the CPU by a C++ compiler: {why}")
    cache = request.config.cache
    assert cache is not None
    return Harness(cache.mkdir("cuda_on_cpu"))


@pytest.fixture(scope="session")
def cpu(harness: Harness) -> Cpu:
    """All kernels, built once: the sources change rarely, so later runs find them in pytest's cache."""
    kinds: tuple[Sanitizer, ...] = ("none", "thread", "address")
    harness.build_all(
        [(sources.path(name), entries, kind) for name, entries in sources.ENTRIES.items() for kind in kinds]
    )
    return Cpu(harness)


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    try:
        driver.probe()
    except NoDriverError as error:
        pytest.skip(f"the same on a GPU: {error.what}")
    pytest.importorskip("cuda.core", reason="the extra 'gpu' is not installed")
    return Gpu()


@pytest.fixture(scope="session", params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def machine(request: pytest.FixtureRequest) -> Cpu | Gpu:
    """Every test of a kernel runs on the CPU, and where there is a GPU on that as well."""
    chosen: Cpu | Gpu = request.getfixturevalue(request.param)
    return chosen
