"""This process's memory: how much it held at most, and how many heaps it is spread over."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

M_ARENA_MAX = -8  # of glibc's malloc.h
HEAPS = 2


def share_heaps() -> bool:
    """Let all threads allocate from the same few heaps; whether the C library took it.

    glibc gives the threads of a process up to eight heaps a core. What one thread freed no other can use, and the
    weights and pictures of a run, which pass through a dozen threads, leave holes in each that stay resident
    (mallopt(3), M_ARENA_MAX). Giving large blocks mappings of their own (M_MMAP_THRESHOLD) saves more, but costs
    a sixth of the frames of a 1080p video: every picture is then mapped anew. For programs of ours alone: it is the
    whole process's. On other C libraries it does nothing and returns False.
    """
    with suppress(AttributeError, OSError, TypeError):
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS))
    return False


def peak_rss_mb() -> float:
    """Most resident memory this process ever had, in MiB."""
    # getrusage would tell of whoever started this process where that was larger: Linux keeps the peak over exec.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, KiB on Linux
