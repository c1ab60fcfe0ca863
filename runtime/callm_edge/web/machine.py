"""How busy and how warm this machine is, as far as it can be read without rights or libraries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from callm_edge.temperature import temperatures

PROC = Path("/proc")
# A Jetson's own GPU: tenths of a percent, under several names in the course of the releases.
GPU_LOADS = ("/sys/devices/platform/gpu.0/load", "/sys/devices/gpu.0/load", "/sys/devices/platform/17000000.gpu/load")


class Machine:
    """Reads the numbers of the time since the last reading. proc, gpu_loads: where; for tests."""

    def __init__(self, proc: Path = PROC, gpu_loads: tuple[str, ...] = GPU_LOADS) -> None:
        self._proc, self._gpu_loads = proc, gpu_loads
        self._before = self._ticks()

    def read(self) -> dict[str, Any]:
        """cpu, gpu: percent; memory_mb: of this process, free_mb: of the machine; temperatures: Celsius by zone.

        What cannot be read here is None, or left out of the temperatures.
        """
        now, cpu = self._ticks(), None
        if now and self._before and now[1] > self._before[1]:
            cpu = round(100 * (1 - (now[0] - self._before[0]) / (now[1] - self._before[1])), 1)
        self._before = now
        return {
            "cpu": cpu,
            "cores": os.cpu_count(),
            "gpu": self._gpu(),
            "memory_mb": self._memory("self/status", "VmRSS:"),
            "free_mb": self._memory("meminfo", "MemAvailable:"),
            "temperatures": {name: round(celsius, 1) for name, celsius in temperatures().items()},
        }

    def _ticks(self) -> tuple[int, int] | None:
        """(idle, all) of every core together; see proc_stat(5)."""
        try:
            first = (self._proc / "stat").read_text().splitlines()[0].split()
            ticks = [int(word) for word in first[1:9]]
            return ticks[3] + ticks[4], sum(ticks)
        except (OSError, ValueError, IndexError):
            return None

    def _gpu(self) -> float | None:
        for path in self._gpu_loads:
            try:
                return int(Path(path).read_text()) / 10
            except (OSError, ValueError):
                continue
        return None

    def _memory(self, file: str, key: str) -> float | None:
        try:
            for line in (self._proc / file).read_text().splitlines():
                if line.startswith(key):
                    return round(int(line.split()[1]) / 1024, 1)
        except (OSError, ValueError, IndexError):
            pass
        return None
