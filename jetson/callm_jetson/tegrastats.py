"""A line of NVIDIA's tegrastats, understood: where sysfs does not give the sensors, it does."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RAM = re.compile(r"RAM (\d+)/(\d+)MB")
_GPU = re.compile(r"GR3D_FREQ (\d+)%")
_CPU = re.compile(r"CPU \[([^\]]*)\]")
_TEMPERATURE = re.compile(r"\b([A-Za-z][\w-]*)@(-?\d+(?:\.\d+)?)C")
_RAIL = re.compile(r"\b(V[A-Z0-9_]+) (\d+)(?:mW)?/(\d+)(?:mW)?")


@dataclass(frozen=True)
class Stats:
    """ram_mb: (used, total). cpu_percent: mean over the cores that are on. gpu_percent: None where it says nothing.

    celsius: by sensor. watts: by rail, now.
    """

    ram_mb: tuple[int, int]
    cpu_percent: float
    gpu_percent: int | None
    celsius: dict[str, float]
    watts: dict[str, float]

    @property
    def total_watts(self) -> float | None:
        """The module's: its input rail, or the sum of all where it has none; None without rails."""
        for name in ("VDD_IN", "VIN"):
            if name in self.watts:
                return self.watts[name]
        return sum(self.watts.values()) if self.watts else None


def parse(line: str) -> Stats | None:
    """None for a line that is none of tegrastats'."""
    ram = _RAM.search(line)
    if ram is None:
        return None
    cores = _CPU.search(line)
    loads = [int(core.split("%")[0]) for core in (cores[1] if cores else "").split(",") if "%" in core]
    gpu = _GPU.search(line)
    return Stats(
        (int(ram[1]), int(ram[2])),
        sum(loads) / len(loads) if loads else 0.0,
        int(gpu[1]) if gpu else None,
        {name.lower(): float(value) for name, value in _TEMPERATURE.findall(line)},
        {name: int(now) / 1000 for name, now, _ in _RAIL.findall(line)},
    )
