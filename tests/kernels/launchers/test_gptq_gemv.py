"""gptq_gemv.cu, on the CPU thread by thread (and on a GPU where there is one), against its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Memory

from callm_kernels.launchers.gptq_gemv import check_g_idx, plan
from callm_kernels.reference.gptq_gemv import dequantize, gptq_gemv, pack


class Layer:
    """A linear layer as a checkpoint holds it, and its input."""

    def __init__(
        self, m: int, k: int, n: int, group: int, zero_offset: int = 1, symmetric: bool = False, seed=0
    ) -> None:
        rng = np.random.default_rng(seed)
        quantized = rng.integers(0, 16, (k, n))
        zeros = np.full((k // group, n), 8) if symmetric else rng.integers(0, 16, (k // group, n))
        self.qweight, self.qzeros = pack(quantized, zeros, zero_offset)
        self.scales = rng.uniform(0.002, 0.02, (k // group, n)).astype(np.float16)
        self.x = rng.normal(0, 1, (m, k)).astype(np.float16)
        self.group, self.zero_offset, self.shape = group, zero_offset, (m, k, n)

    def run(self, machine, sanitizer="none", order="forward", seed: int = 1) -> np.ndarray:
        memory = Memory()
        m, k, n = self.shape
        y = memory.put(np.full((m, n), np.nan, np.float16))
        arguments: dict[str, Any] = {
            name: memory.put(getattr(self, name)) for name in ("x", "qweight", "qzeros", "scales")
        }
        launch = plan(
            **arguments,
            y=y,
            batch=m,
            in_features=k,
            out_features=n,
            group_size=self.group,
            zero_offset=self.zero_offset,
        )
        return machine.run("gptq_gemv", [launch], memory, sanitizer, order, seed)[memory.index(y)]

    def check(self, y: np.ndarray) -> None:
        """The result's rounding to half, and float32 sums of terms up to 16 |x| scale."""
        wanted = gptq_gemv(self.x, self.qweight, self.qzeros, self.scales, self.group, self.zero_offset)
        terms = np.abs(self.x.astype(np.float64)).sum(axis=1, keepdims=True) * 32 * self.scales.max()
        assert np.all(np.abs(y - wanted) <= 2.0**-11 * np.abs(wanted) + 1e-7 * terms + 1e-7)


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_the_product_is_that_of_the_reference(machine, m, sanitizer) -> None:
    layer = Layer(m, 128, 40, 32)
    layer.check(layer.run(machine, sanitizer))


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize(("zero_offset", "symmetric"), [(1, False), (1, True), (0, False)])
@pytest.mark.parametrize(("k", "n"), [(128, 8), (384, 72), (1152, 32), (2688, 24)])
def test_groups_zero_points_and_shapes(machine, group, zero_offset, symmetric, k, n) -> None:
    layer = Layer(2, k, n, group, zero_offset, symmetric, seed=k)
    layer.check(layer.run(machine, "address"))


def test_the_order_does_not_change_the_bits(machine) -> None:
    layer = Layer(3, 768, 72, 64)
    runs = {layer.run(machine, order=order, seed=seed).tobytes() for order, seed in
            (("forward", 1), ("reverse", 1), ("random", 1), ("random", 2))}  # fmt: skip
    assert len(runs) == 1


def test_every_weight_is_taken_exactly(machine) -> None:
    """x picks one weight at a time: its 4 bits, its zero point and its scale, without a rounding in between."""
    layer = Layer(4, 64, 16, 32)
    layer.scales[:] = 1
    weights = dequantize(layer.qweight, layer.qzeros, layer.scales, 32)
    for first in range(0, 64, 4):
        layer.x[:] = 0
        layer.x[range(4), range(first, first + 4)] = 1
        assert np.array_equal(layer.run(machine), weights[first : first + 4])


def test_a_nan_in_one_token_stays_in_that_token(machine) -> None:
    layer = Layer(2, 64, 16, 32)
    layer.x[1, 5] = np.nan
    y = layer.run(machine)
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()


def test_act_order_is_refused_by_name() -> None:
    check_g_idx(np.arange(256) // 64, 64)
    with pytest.raises(ValueError, match="desc_act=True"):
        check_g_idx(np.random.default_rng(0).permutation(np.arange(256) // 64), 64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 5}, "5 rows of x"),
        ({"group_size": 16}, "groups of 16"),
        ({"in_features": 96}, "not a multiple of the group size"),
        ({"out_features": 12}, "not a multiple of 8"),
        ({"zero_offset": 2}, "zero offset of 2"),
        ({"qweight": 24}, "qweight .* multiple of 16"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(change, said) -> None:
    right: dict[str, Any] = dict.fromkeys(("x", "qweight", "qzeros", "scales", "y"), 16)
    right |= {"batch": 1, "in_features": 128, "out_features": 64, "group_size": 64}
    plan(**right)
    with pytest.raises(ValueError, match=said):
        plan(**{**right, **change})
