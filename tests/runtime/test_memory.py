import platform
import subprocess
import sys

import pytest

from callm_edge.memory import peak_rss_mb

# Eight threads that live at the same time, each of which allocates; prints how many heaps glibc then has.
HEAPS = """
import ctypes, sys, threading
from callm_edge.memory import share_heaps

if sys.argv[1] == "yes":
    assert share_heaps()
together = threading.Barrier(8)

def work():
    together.wait()
    block = b"x" * 100_000
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.stderr.flush()
ctypes.CDLL(None).malloc_stats()
"""


def heaps(share: str) -> int:
    done = subprocess.run([sys.executable, "-c", HEAPS, share], capture_output=True, text=True, check=True)
    return done.stderr.count("Arena ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has several heaps")
class TestShareHeaps:
    def test_many_threads_have_two_heaps(self):
        assert heaps("no") > 2
        assert heaps("yes") <= 2


def test_the_peak_stays_when_memory_is_freed():
    block = b"x" * (64 << 20)
    held = peak_rss_mb()
    del block
    assert peak_rss_mb() > held - 1 > 64  # the kernel counts by the hundred pages
