import platform
import subprocess
import sys

import pytest

from callm_edge.memory import peak_rss_mb

# A process that frees large blocks between small ones that stay, and prints what it holds before and after, in MB.
HOLES = """
import gc, sys
from pathlib import Path
from callm_edge.memory import hand_back_freed

def held():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 1_000_000

if sys.argv[1] == "yes":
    assert hand_back_freed()
filled = b"x" * (8 << 20)  # freed, it moves the size from which a block gets its own mapping
del filled
before = held()
large, small = [], []
for _ in range(50):
    large.append(b"x" * (4 << 20))
    small.append(b"x" * 100_000)  # too large for the holes there are
del large
gc.collect()
print(held() - before)
"""


def grown_mb(hand_back: str) -> int:
    done = subprocess.run([sys.executable, "-c", HOLES, hand_back], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
class TestHandBackFreed:
    def test_what_is_freed_goes_back_though_small_blocks_between_stay(self):
        assert grown_mb("no") > 100, "the C library hands it back by itself: is this still needed?"
        assert grown_mb("yes") < 20


def test_the_peak_stays_when_memory_is_freed():
    block = b"x" * (64 << 20)
    held = peak_rss_mb()
    del block
    assert peak_rss_mb() > held - 1 > 64  # the kernel counts by the hundred pages
