"""This process's memory: how much it held at most, and that what it frees goes back to the system."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE = 1 << 20


def hand_back_freed() -> bool:
    """Give every large block its own mapping, which goes back to the system as soon as it is freed; whether it took.

    glibc raises the size from which blocks get their own to that of the largest one freed, up to 32 MiB. The weights
    and pictures of a run then share the heaps of a dozen threads with small blocks that outlive them, and the holes
    stay resident. Stating a size turns that off (mallopt(3)). For programs of ours alone: it is the whole process's.
    On other C libraries it does nothing and returns False.
    """
    with suppress(AttributeError, OSError, TypeError):
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE))
    return False


def peak_rss_mb() -> float:
    """Most resident memory this process ever had, in MiB."""
    # getrusage would tell of whoever started this process where that was larger: Linux keeps the peak over exec.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, KiB on Linux
