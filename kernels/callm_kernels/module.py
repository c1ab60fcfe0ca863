"""A kernel's code, loaded on one GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callm_kernels import driver, image, sources
from callm_kernels.errors import KernelError
from callm_kernels.launch import Launch

if TYPE_CHECKING:
    from cuda.core import Kernel


class Module:
    """All entry points of one .cu file, ready to be launched on one device. Used by launchers.

    code: what was loaded, for people: "cubin built here by NVRTC 13.0".
    """

    def __init__(self, name: str, device: int = 0) -> None:
        """Find or build the code for the device's architecture, and load all of it now.

        Loading waits for the device and may allocate, so it must not happen later, within the capture of a graph.
        Makes the device current for the calling thread. Raises KernelError.
        """
        found, gpu = driver.gpu(device)  # before cuda.core is touched: see driver.py
        code = image.find(name, gpu.architecture, found.version)
        self.code = (
            f"{code.kind} {'built ahead of time' if code.origin == 'prebuilt' else 'built here'} by {code.toolkit}"
        )
        try:
            from cuda.core import Device, ObjectCode
        except ImportError as error:
            raise KernelError(
                "Kernels on the GPU need the extra 'gpu'",
                f"the module '{error.name}' is not installed",
                "Run: pip install 'callm-edge[gpu]'",
            ) from None
        Device(device).set_current()
        load = ObjectCode.from_ptx if code.kind == "ptx" else ObjectCode.from_cubin
        try:
            loaded = load(code.data, name=name)
            self._kernels: dict[str, Kernel] = {entry: loaded.get_kernel(entry) for entry in sources.ENTRIES[name]}
        except Exception as error:
            raise KernelError(
                f"The driver does not load the code of '{name}'",
                f"{gpu.name} ({gpu.architecture}), driver for CUDA {found.version[0]}.{found.version[1]}, "
                f"code by {code.toolkit}: {error}",
                "Bring the driver up to date, or remove the code built ahead of time and install NVRTC of its version",
            ) from error

    def run(self, stream: Any, launch: Launch) -> None:
        """Enqueue one launch on `stream` (see CudaStream). Neither allocates nor waits, so it can be captured."""
        from cuda.core import LaunchConfig
        from cuda.core import launch as enqueue

        config = LaunchConfig(grid=launch.grid, block=launch.block, shmem_size=launch.shared_bytes)
        enqueue(stream, config, self._kernels[launch.entry], *launch.arguments)
