"""What figures depend on: the machine, its clocks and load, the versions, the commit. No host name, no paths."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from callm_edge import __version__
from callm_edge.power_meter import open_meter

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "transformers", "av", "tensorrt")
BUSY = 0.5  # load per core from which a report says that the machine was busy


def environment(threads: int = 0) -> dict[str, Any]:
    """threads: of one computation; 0 is one per core."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    meter = open_meter()
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "mhz": _mhz(),
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")) or None,
        "virtual": "hypervisor" in _text(Path("/proc/cpuinfo")),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _said("nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,power.limit", "--format=csv,noheader"),
        "power_mode": _said("nvpmodel", "-q"),
        "power_meter": f"{meter.name}, {meter.scope}" if meter else None,
        "load": load(),
        "threads": threads or os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "callm_edge": __version__,
        "commit": commit(),
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": versions,
    }


def load() -> float:
    """Processes that wanted to run, mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def is_busy(surroundings: dict[str, Any]) -> bool:
    """Whether other programs had a good part of the machine when the run began."""
    return float(surroundings["load"]) > BUSY * int(surroundings["cores"])


def cpu_name() -> str:
    """Model of the processor."""
    text = _text(Path("/proc/cpuinfo"))
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def commit() -> str | None:
    """Short hash of the checkout this runs from, '+' behind it where files differ; None outside of one."""
    here = Path(__file__).parent
    found = _said("git", "-C", str(here), "rev-parse", "--short", "HEAD")
    if found is None:
        return None
    return found + ("+" if _said("git", "-C", str(here), "status", "--porcelain", "--untracked-files=no") else "")


def _mhz() -> int | None:
    found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return round(max(map(float, found))) if found else None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return " ".join(done.stdout.split()) or None if done.returncode == 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
