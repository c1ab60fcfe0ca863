"""What `callm-edge doctor` launches gives the answer that it is held against."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Memory

from callm_kernels import selftest


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
def test_the_kernel_gives_the_expected_answer(machine, sanitizer) -> None:
    memory = Memory()
    out = memory.put(np.full(selftest.THREADS, np.nan, np.float32))
    assert np.array_equal(machine.run("selftest", [selftest.plan(out)], memory, sanitizer)[0], selftest.expected())


@pytest.mark.gpu
def test_it_passes_on_a_gpu(gpu) -> None:
    assert "its answer is right" in str(selftest.check())


def test_a_wrong_answer_is_an_error(monkeypatch) -> None:
    from callm_kernels.driver import Driver, Gpu
    from callm_kernels.errors import KernelError

    orin = Gpu("Orin", "sm_87")
    monkeypatch.setattr(selftest.driver, "gpu", lambda device: (Driver((13, 2), (orin,)), orin))
    monkeypatch.setattr(selftest, "Module", lambda name, device: type("Loaded", (), {"code": "cubin"})())
    wrong = selftest.expected().copy()
    wrong[[3, 40]] += 1
    monkeypatch.setattr(selftest, "_launch", lambda module, device: wrong)
    with pytest.raises(KernelError, match="wrong answer on Orin: 2 of 64 values are off"):
        selftest.check()
    monkeypatch.setattr(selftest, "_launch", lambda module, device: selftest.expected())
    assert str(selftest.check()).startswith("A kernel ran on Orin (sm_87, driver for CUDA 13.2, cubin)")
