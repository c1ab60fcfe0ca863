"""Resident memory of this process, now and at its peak (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

_PROCESS = Path("/proc/self")


def resident_mb() -> float:
    """Now, in MB."""
    return int((_PROCESS / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def release() -> None:
    """Give freed memory back to the kernel: else what is measured next would be served out of it and cost nothing."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


class Peak:
    """How far resident memory rises above where it stood when this was made."""

    def __init__(self) -> None:
        self._before_mb: float | None = None
        release()
        try:
            # 5 sets the high-water mark back to what is resident now: proc(5).
            (_PROCESS / "clear_refs").write_text("5")
            self._before_mb = resident_mb()
        except OSError:
            return

    def mb(self) -> float | None:
        """MB above the beginning; None where the kernel does not tell."""
        if self._before_mb is None:
            return None
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(max(0.0, int(line.split()[1]) / 1024 - self._before_mb), 1)
        return None
