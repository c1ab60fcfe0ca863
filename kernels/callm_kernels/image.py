"""Finds the code of a kernel for a GPU: built ahead of time, in the cache, or built now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from callm_kernels import architectures, cache, prebuilt, sources
from callm_kernels.compilers import Compiler, absent, available
from callm_kernels.errors import NoCodeError


@dataclass(frozen=True)
class Image:
    """data: what the driver loads. toolkit: who built it, "NVRTC 13.0" and the like. origin: "prebuilt" or "built"."""

    kind: Literal["cubin", "ptx"]
    data: bytes
    toolkit: str
    origin: Literal["prebuilt", "built"]


def find(name: str, architecture: str, driver_version: tuple[int, int]) -> Image:
    """Code of kernel file `name` for `architecture` ("sm_87") that a driver for CUDA `driver_version` can load.

    First what `make kernels` built, where it was built from this very source; then the cache and the compilers here;
    last PTX built ahead of time, for GPUs newer than the toolkit that built it. A driver loads code of its own major
    version of CUDA and of earlier ones, so anything newer is passed over.

    Raises NoCodeError: none of these, with all the reasons. CompileError: our source does not compile.
    """
    passed_over: list[str] = []
    kinds: tuple[Literal["cubin", "ptx"], ...] = ("cubin", "ptx")
    for kind in kinds:
        target = architecture if kind == "cubin" else architectures.PTX
        if kind == "ptx" and (built := _build(name, architecture, driver_version, passed_over)):
            return built
        record = prebuilt.find(name, target)
        if isinstance(record, str):
            passed_over.append(record)
        elif record.toolkit_version[0] > driver_version[0]:
            passed_over.append(f"{record.path.name} was built by {record.toolkit}, newer than the driver")
        else:
            return Image(kind, record.path.read_bytes(), record.toolkit, "prebuilt")
    raise NoCodeError(
        f"No code of the kernel '{name}' for {architecture}",
        f"the driver runs CUDA {driver_version[0]}.{driver_version[1]}; " + "; ".join(passed_over),
        f"Run `make kernels` where nvcc of CUDA {driver_version[0]} is installed, or install its NVRTC here",
    )


def _build(name: str, architecture: str, driver_version: tuple[int, int], passed_over: list[str]) -> Image | None:
    passed_over += absent()
    for compiler in available():
        if compiler.version[0] > driver_version[0]:
            passed_over.append(f"{compiler.toolkit} is newer than the driver")
        elif architecture not in compiler.architectures():
            passed_over.append(f"{compiler.toolkit} does not know {architecture}")
        else:
            return Image("cubin", build(name, architecture, compiler), compiler.toolkit, "built")
    return None


def build(name: str, architecture: str, compiler: Compiler) -> bytes:
    """A cubin, from the cache where this compiler has built this source before."""
    key = cache.key(sources.content_hash(name), architecture, compiler.toolkit)
    return cache.get(key, lambda: compiler.compile(name, architecture))
