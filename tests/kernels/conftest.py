"""What the kernel tests share: kernels executed on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from callm_kernels import sources
from callm_kernels.launch import Launch

sys.path.insert(0, str(Path(__file__).parent / "cuda_on_cpu"))

from harness import Harness, Memory, Order, Sanitizer, missing  # noqa: E402


class Cpu:
    """Executes launches of our kernels, exactly as the launchers plan them, and holds them to clean reports."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def run(
        self,
        name: str,
        launches: Sequence[Launch],
        memory: Memory,
        sanitizer: Sanitizer = "none",
        order: Order = "forward",
        seed: int = 1,
    ) -> list[np.ndarray]:
        """Memory after the launches of kernel file `name`, in the order it was put in."""
        outcome = self.harness.execute(
            sources.path(name), sources.ENTRIES[name], launches, memory, sanitizer, order, seed
        )
        assert outcome.code == 0, outcome.report
        return outcome.arrays


@pytest.fixture(scope="session")
def harness(request: pytest.FixtureRequest) -> Harness:
    if why := missing():
        pytest.skip(f"kernels are executed on the CPU by a C++ compiler: {why}")
    cache = request.config.cache
    assert cache is not None
    return Harness(cache.mkdir("cuda_on_cpu"))


@pytest.fixture(scope="session")
def cpu(harness: Harness) -> Cpu:
    """All kernels, built once: the sources change rarely, so later runs find them in pytest's cache."""
    kinds: tuple[Sanitizer, ...] = ("none", "thread", "address")
    harness.build_all(
        [(sources.path(name), entries, kind) for name, entries in sources.ENTRIES.items() for kind in kinds]
    )
    return Cpu(harness)
