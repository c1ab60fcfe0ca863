"""psnr_threshold.cu, on the CPU thread by thread (and on a GPU where there is one), against its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callm_kernels.launchers.psnr_threshold import PsnrThreshold, plan
from callm_kernels.reference.psnr_threshold import psnr_threshold

SHAPES = [(32, 32), (48, 144), (34, 50), (64, 30 + 32), (40, 272)]


class Case:
    """A batch of windows on the device; the scored frames lie a stride apart, as in windows of several frames."""

    def __init__(self, frames: np.ndarray, reconstructions: np.ndarray, thresholds: np.ndarray, gap: int = 0) -> None:
        self.frames, self.reconstructions, self.thresholds = frames, reconstructions, thresholds
        batch, height, width = frames.shape
        self.memory = put = Memory()
        self.plan: dict[str, Any] = {
            "height": height,
            "width": width,
            "frame_dtype": frames.dtype.name,
            "batch": batch,
            "frames": put.put(_with_gaps(frames, gap)),
            "frame_stride": height * width + gap,
            "reconstructions": put.put(_with_gaps(reconstructions, gap)),
            "reconstruction_stride": height * width + gap,
            "thresholds_psnr_db": put.put(thresholds.astype(np.float32)),
            "workspace": put.put(np.zeros(PsnrThreshold.workspace_bytes(batch, height, width), np.uint8)),
            "mse": put.put(np.full(batch, -1, np.float32)),
            "psnr_db": put.put(np.full(batch, -1, np.float32)),
            "patch_mse": put.put(np.full(batch, -1, np.float32)),
            "flags": put.put(np.full(batch, 7, np.uint8)),
            "error_map": put.put(np.full((batch, height // 2, width // 2), -1, np.float32)),
        }

    def results(self, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
        names = ("mse", "psnr_db", "patch_mse", "flags", "error_map")
        return {name: arrays[self.memory.index(self.plan[name])] for name in names if self.plan[name]}

    def check(self, arrays: list[np.ndarray]) -> None:
        """float32 accumulation: a few 1e-7 of the largest term."""
        found = self.results(arrays)
        for i, (frame, reconstruction, threshold) in enumerate(
            zip(self.frames, self.reconstructions, self.thresholds, strict=True)
        ):
            wanted = psnr_threshold(frame, reconstruction, float(threshold))
            for name, tolerance in (("mse", 2e-6), ("patch_mse", 2e-6), ("psnr_db", 1e-6)):
                np.testing.assert_allclose(found[name][i], getattr(wanted, name), rtol=tolerance, atol=1e-12)
            assert found["flags"][i] == wanted.flag
            if "error_map" in found:
                # Normalising rounds to 1e-7, which counts twice the difference it is squared with.
                tolerance = 1e-6 * wanted.error_map + 3e-7 * np.sqrt(wanted.error_map) + 1e-12
                with np.errstate(invalid="ignore"):
                    off = np.abs(found["error_map"][i] - wanted.error_map)
                assert np.all((off <= tolerance) | ~np.isfinite(wanted.error_map))
                assert np.array_equal(np.isfinite(found["error_map"][i]), np.isfinite(wanted.error_map))


def _with_gaps(batch: np.ndarray, gap: int) -> np.ndarray:
    """(B, H, W) -> flat, with `gap` elements between, and none after the last: reading there is out of bounds."""
    padded = np.pad(batch.reshape(len(batch), -1), ((0, 0), (0, gap)))
    return padded.reshape(-1)[: padded.size - gap]


def case(
    shape: tuple[int, int], dtype: str = "uint8", batch: int = 2, seed: int = 0, gap: int = 0, noise: float = 0.1
) -> Case:
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 256, (batch, *shape), np.uint8)
    frames = gray if dtype == "uint8" else (gray / 127.5 - 1).astype(np.float16)
    reconstructions = gray / 127.5 - 1 + rng.normal(0, noise, gray.shape) * np.arange(1, batch + 1)[:, None, None]
    return Case(frames, reconstructions.astype(np.float16), np.linspace(18, 26, batch), gap)


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_scores_are_those_of_the_reference(machine, shape, dtype, sanitizer) -> None:
    one = case(shape, dtype)
    one.check(machine.run("psnr_threshold", [plan(**one.plan)], one.memory, sanitizer))


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_a_whole_frame(machine, dtype) -> None:
    one = case((256, 256), dtype, batch=1)
    launch = plan(**one.plan)
    assert launch.entry.endswith("x16")
    one.check(machine.run("psnr_threshold", [launch], one.memory))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.integers(16, 60), st.integers(16, 150), st.sampled_from(["uint8", "float16"]), st.integers(1, 3),
    st.integers(0, 9), st.integers(0, 2**16),
)  # fmt: skip
def test_any_even_shape_any_batch_any_stride(machine, half_height, half_width, dtype, batch, gap, seed) -> None:
    one = case((2 * half_height, 2 * half_width), dtype, batch, seed, gap)
    one.check(machine.run("psnr_threshold", [plan(**one.plan)], one.memory, "address"))


@pytest.mark.parametrize("shape", [(48, 144), (34, 50)])
def test_the_same_input_gives_the_same_bits_whatever_the_order_and_the_number_of_blocks(machine, shape) -> None:
    one = case(shape)
    runs = [
        one.results(
            machine.run("psnr_threshold", [plan(**one.plan, max_blocks=blocks)], one.memory, order=order, seed=seed)
        )
        for blocks in (1, 2, 64)
        for order, seed in (("forward", 1), ("reverse", 1), ("random", 1), ("random", 2))
    ]
    for other in runs[1:]:
        for name, values in runs[0].items():
            assert values.tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_vector_and_single_loads_give_the_same_bits(machine, dtype) -> None:
    aligned, shifted = case((40, 96), dtype), case((40, 96), dtype, gap=1)
    launches = [plan(**one.plan) for one in (aligned, shifted)]
    assert [launch.entry[-3:] for launch in launches] == ["x16", "_x1"]
    first, second = (
        one.results(machine.run("psnr_threshold", [launch], one.memory))
        for one, launch in zip((aligned, shifted), launches, strict=True)
    )
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("sanitizer", ["none", "thread"])
def test_one_workspace_serves_one_launch_after_another_with_other_batches(machine, sanitizer) -> None:
    one = case((48, 80), batch=3)
    launches = [plan(**{**one.plan, "batch": batch}) for batch in (3, 1, 2, 3)]
    arrays = machine.run("psnr_threshold", launches, one.memory, sanitizer)
    one.check(arrays)
    regions = arrays[one.memory.index(one.plan["workspace"])].reshape(3, -1)
    assert not regions[:, :16].any(), "every ticket is back at 0"


def test_the_error_map_is_optional(machine) -> None:
    one = case((32, 64))
    one.plan["error_map"] = 0
    one.check(machine.run("psnr_threshold", [plan(**one.plan)], one.memory, "address"))


def test_a_perfect_reconstruction_has_the_psnr_of_the_floor(machine) -> None:
    frames = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (1, 32, 48))
    one = Case(frames, (frames / 127.5 - 1).astype(np.float16), np.array([100.0]))
    found = one.results(machine.run("psnr_threshold", [plan(**one.plan)], one.memory))
    assert found["mse"][0] == 0
    assert found["patch_mse"][0] == 0
    assert found["psnr_db"][0] == pytest.approx(106.0206, abs=1e-4)
    assert found["flags"][0] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["reconstruction", "frame"])
@pytest.mark.parametrize("shape", [(40, 80), (42, 50)])
def test_what_is_no_finite_number_is_flagged(machine, value, where, shape) -> None:
    one = case(shape, "float16")
    broken = (one.frames if where == "frame" else one.reconstructions).copy()
    broken[1, shape[0] - 1, 3] = value  # 42 rows: in the mean and in the map, but in no tile
    pair = (broken, one.reconstructions) if where == "frame" else (one.frames, broken)
    one = Case(*pair, np.array([0.0, 0.0]))
    arrays = machine.run("psnr_threshold", [plan(**one.plan)], one.memory)
    one.check(arrays)
    found = one.results(arrays)
    assert list(found["flags"]) == [0, 1]
    assert not np.isfinite(found["mse"][1])
    assert np.isfinite(found["patch_mse"][1]) == (shape[0] == 42)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_in_a_tile_hides_behind_a_larger_one(machine, value) -> None:
    """A NaN among the tiles wins over every number, wherever its tile comes in the order."""
    for at in (0, 70, 143):
        one = case((64, 144), "float16", batch=1, noise=2.0)
        one.reconstructions[0, 20, at] = value
        one = Case(one.frames, one.reconstructions, one.thresholds)
        found = one.results(machine.run("psnr_threshold", [plan(**one.plan)], one.memory))
        assert np.isnan(found["patch_mse"][0]) == np.isnan(value)
        assert not np.isfinite(found["patch_mse"][0])


def test_the_flag_is_the_comparison_with_each_cameras_threshold(machine) -> None:
    one = case((32, 32), batch=4, noise=0.0)
    level = one.results(machine.run("psnr_threshold", [plan(**one.plan)], one.memory))["psnr_db"]
    thresholds = [np.nextafter(level[0], np.float32(np.inf)), level[1], np.float32("nan"), np.float32("-inf")]
    one = Case(one.frames, one.reconstructions, np.array(thresholds))
    flags = one.results(machine.run("psnr_threshold", [plan(**one.plan)], one.memory))["flags"]
    assert list(flags) == [1, 0, 1, 0], "at the threshold is normal; no threshold is no permission"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"height": 33}, "must be even"),
        ({"width": 16}, "32 at least"),
        ({"height": 2048, "width": 2048}, "more than 12288 cells"),
        ({"batch": 0}, "a batch of 0"),
        ({"batch": 70000}, "a batch of 70000"),
        ({"frames": 0}, "frames is 0"),
        ({"workspace": 8}, "multiple of 16"),
        ({"mse": 2}, "mse .* multiple of 4"),
        ({"reconstructions": 1}, "reconstructions .* multiple of 2"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(change, said) -> None:
    with pytest.raises(ValueError, match=said):
        plan(**{**case((32, 32)).plan, **change})
