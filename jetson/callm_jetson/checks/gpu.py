"""The GPU: driver, CUDA, TensorRT, code for its architecture, and a kernel whose answer is checked."""

from __future__ import annotations

import importlib
import importlib.util
import json

from callm_jetson.checks.check import Check
from callm_jetson.machine import Machine

NO_GPU = "no NVIDIA GPU: stage 1 runs on the CPU"


def _driver() -> tuple[object | None, str]:
    """(the driver's answer, '') or (None, why there is none)."""
    from callm_kernels import driver
    from callm_kernels.errors import KernelError

    try:
        return driver.probe(), ""
    except KernelError as error:
        return None, ": ".join(part for part in (error.what, error.why) if part)


def driver(machine: Machine) -> Check:
    """A Jetson without a driver is broken; another machine may have no GPU at all."""
    found, why = _driver()
    if found is not None:
        version = ".".join(str(part) for part in found.version)  # type: ignore[attr-defined]
        gpus = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in found.gpus)  # type: ignore[attr-defined]
        return Check("driver", "ok", f"{gpus}, runs CUDA {version}")
    if machine.jetson:
        return Check("driver", "failed", why, "Flash the board; on a Thor with apply_binaries.sh --openrm")
    if machine.paths("/proc/driver/nvidia/gpus/*"):
        return Check(
            "driver", "failed", why, "Install the library of the driver that is loaded: libcuda1 / libnvidia-compute"
        )
    return Check("driver", "skipped", NO_GPU)


def cuda(machine: Machine) -> Check:
    """The toolkit's runtime, or that of the wheels."""
    if _driver()[0] is None:
        return Check("cuda", "skipped", NO_GPU)
    for path in machine.paths("/usr/local/cuda*/version.json"):
        try:
            return Check("cuda", "ok", f"{json.loads(path.read_text())['cuda']['version']} in {path.parent}")
        except (OSError, ValueError, KeyError):
            continue
    if importlib.util.find_spec("cuda") is not None:
        return Check("cuda", "ok", "from Python packages")
    return Check("cuda", "warning", "no CUDA runtime found", "On a Jetson: sudo apt-get install nvidia-jetpack")


def tensorrt(machine: Machine) -> Check:
    """Whether TensorRT's Python module is there and says a version."""
    if _driver()[0] is None:
        return Check("tensorrt", "skipped", NO_GPU)
    try:
        module = importlib.import_module("tensorrt")
    except ImportError as error:
        fix = "On a Jetson: sudo apt-get install python3-libnvinfer, then deploy again"
        return Check("tensorrt", "warning", f"not importable ({error}): stage 1 runs without it", fix)
    return Check("tensorrt", "ok", str(module.__version__))


def architecture(machine: Machine) -> Check:
    """Code for this GPU is there, or can be made: else the first launch fails although all imports work."""
    found, _ = _driver()
    if found is None:
        return Check("architecture code", "skipped", NO_GPU)
    from callm_kernels import compilers, prebuilt, sources

    lacking = []
    for gpu in found.gpus:  # type: ignore[attr-defined]
        for name in sources.ENTRIES:
            answer = prebuilt.find(name, gpu.architecture)
            if isinstance(answer, str):
                lacking.append(f"{name}: {answer}")
    architectures = ", ".join(sorted({gpu.architecture for gpu in found.gpus}))  # type: ignore[attr-defined]
    if not lacking:
        return Check("architecture code", "ok", f"built ahead for {architectures}")
    if compilers.available():
        return Check("architecture code", "ok", f"compiled here at first use for {architectures}")
    return Check(
        "architecture code",
        "failed",
        f"none for {architectures} and no compiler here; {lacking[0]}",
        "Run: make kernels on the workstation and deploy again, or pip install 'callm-edge[gpu]' here",
    )


def kernel(machine: Machine) -> Check:
    """The kernels' own self test: a launch on this GPU, its answer held against the CPU reference."""
    if _driver()[0] is None:
        return Check("kernel launch", "skipped", NO_GPU)
    try:
        selftest = importlib.import_module("callm_kernels.selftest")
    except ImportError:
        return Check("kernel launch", "skipped", "this callm-edge brings no self test of its kernels")
    try:
        return Check("kernel launch", "ok", str(selftest.check()))
    except Exception as error:  # the kernels' family of errors, or the CUDA bindings' own
        what = ": ".join(part for part in (getattr(error, "what", ""), getattr(error, "why", "")) if part)
        return Check(
            "kernel launch", "failed", what or str(error), getattr(error, "fix", "") or "Run: callm-edge doctor"
        )
