"""The harness itself: it finds planted faults, in kernels made for it and in our own, and leaves right ones alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import HERE, Harness, Memory, Outcome, Sanitizer

from callm_kernels import sources
from callm_kernels.launch import Launch
from callm_kernels.launchers import gptq_gemv, ingest
from callm_kernels.pictures import Format

FAULTS = HERE / "planted_faults.cu"
KERNELS = [line[7 : line.index(")")] for line in FAULTS.read_text().splitlines() if line.startswith("KERNEL(")]

RACE, OUTSIDE, ENGINE = "data race", "buffer-overflow", "CUDA ON CPU"


@pytest.fixture(scope="module")
def faults(harness: Harness) -> Harness:
    harness.build_all([(FAULTS, KERNELS, kind) for kind in ("none", "thread", "address")])
    return harness


def launch(faults: Harness, kernel: str, sanitizer: Sanitizer, order: Any = "forward") -> Outcome:
    memory = Memory()
    arguments = (np.uint64(memory.put(np.zeros(256, np.float32))), np.uint64(memory.put(np.zeros(1, np.uint32))))
    return faults.execute(FAULTS, KERNELS, [Launch(kernel, (2, 1), 64, 256, arguments)], memory, sanitizer, order)


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
@pytest.mark.parametrize("kernel", ["barrier_right", "syncwarp_right", "fence_right", "blocks_add_atomically"])
def test_what_is_right_passes(faults, kernel, sanitizer) -> None:
    outcome = launch(faults, kernel, sanitizer)
    assert outcome.code == 0, outcome.report


@pytest.mark.parametrize(
    ("kernel", "sanitizer", "said"),
    [
        ("barrier_missing", "thread", RACE),
        ("barrier_missing_before_reuse", "thread", RACE),
        ("syncwarp_missing", "thread", RACE),
        ("shuffle_is_no_barrier", "thread", RACE),
        ("fence_missing_before", "thread", RACE),
        ("fence_missing_after", "thread", RACE),
        ("fence_before_the_write", "thread", RACE),
        ("blocks_add_plainly", "thread", RACE),
        ("global_out_of_bounds", "address", OUTSIDE),
        ("read_out_of_bounds", "address", OUTSIDE),
        ("shared_out_of_bounds", "address", "out of bounds"),
        ("dynamic_out_of_bounds", "address", OUTSIDE),
        ("misaligned", "address", "misaligned address"),
        ("barrier_divergent", "none", "barrier reached by a part of the block: 40 threads wait, 24 have ended"),
        ("barrier_at_two_places", "none", "one block waits in two barriers"),
        ("shuffle_after_exit", "none", "waits for lanes that never come"),
        ("shuffle_divergent", "none", "lanes of a warp diverged"),
    ],
)
@pytest.mark.parametrize("order", ["forward", "random"])
def test_a_planted_fault_is_found_in_any_order(faults, kernel, sanitizer, said, order) -> None:
    outcome = launch(faults, kernel, sanitizer, order)
    assert outcome.code != 0
    assert said in outcome.report
    if said == RACE:
        assert "block (" in outcome.report, "the report names CUDA threads"


def test_a_missing_fence_gives_the_right_answer_without_the_sanitizer(faults) -> None:
    """Why the sanitizer is needed: no result shows it."""
    right, wrong = (launch(faults, kernel, "none") for kernel in ("fence_right", "fence_missing_before"))
    assert np.array_equal(right.arrays[0], wrong.arrays[0])


def test_shared_memory_read_before_it_is_written_is_nan(faults) -> None:
    values = launch(faults, "shared_not_written", "none").arrays[0][:128].reshape(2, 64)
    assert np.isnan(values[:, 63]).all()
    assert (values[:, :63] == 1).all()


# Our own kernels with one line broken: file, what is replaced, by what, under which sanitizer it shows, and as what.
MUTATIONS = {
    "barrier before the ticket": (
        "psnr_threshold",
        "    __syncthreads();\n    if (threadIdx.x == 0) {\n        __threadfence();",
        "    if (threadIdx.x == 0) {\n        __threadfence();",
        "thread",
        RACE,
    ),
    "fence before the ticket": ("psnr_threshold", "__threadfence();\n        last", "last", "thread", RACE),
    "bound of the columns": ("psnr_threshold", "row < height && column < width", "row < height", "address", OUTSIDE),
    "barrier after the row": ("ingest", "        __syncthreads();  // before", "        // before", "thread", RACE),
    "head of a misaligned row": ("pictures.cuh", "head = min((16 - lead) & 15, bytes)", "head = 0", "address", "misal"),
    "tail of a row": ("pictures.cuh", "int vectors = (bytes - head) / 16", "int vectors = (bytes - head + 15) / 16",
                      "address", OUTSIDE),
    "barrier before the last sum": ("gptq_gemv", "        }\n    __syncthreads();", "        }", "thread", RACE),
}  # fmt: skip


@pytest.fixture(scope="module")
def mutants(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str, Sanitizer]]:
    """Each broken source in a folder of its own, and built."""
    found: dict[str, tuple[Path, str, Sanitizer]] = {}
    for name, (file, old, new, sanitizer, _) in MUTATIONS.items():
        # Of one path every time, so that the builds stay in the cache.
        folder = harness.folder / "mutants" / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sources.FOLDER, folder)
        broken = folder / (file if "." in file else f"{file}.cu")
        text = broken.read_text()
        assert text.count(old) == 1, f"{broken.name} has changed: bring MUTATIONS up to date"
        broken.write_text(text.replace(old, new))
        kernel = "ingest" if file == "pictures.cuh" else file
        found[name] = (folder / f"{kernel}.cu", kernel, sanitizer)  # type: ignore[assignment]
    harness.build_all([(path, sources.ENTRIES[kernel], kind) for path, kernel, kind in found.values()])
    return found


def work(kernel: str) -> tuple[Launch, Memory]:
    """A launch that walks the lines which MUTATIONS breaks."""
    memory = Memory()
    if kernel == "ingest":
        picture = memory.put(np.zeros(1 + 10 * 49, np.uint8)) + 1
        ring = memory.put(np.zeros((32, 16, 16), np.uint8))
        record = ingest.describe(picture=picture, ring=ring, pitch=49, width=49, height=10, format=Format.GRAY, slot=0)
        cameras = memory.put(np.array([record], ingest.CAMERA))
        return ingest.plan(size=16, max_row_bytes=49, cameras=cameras, count=1, max_blocks=2), memory
    if kernel == "gptq_gemv":
        arrays = {
            "x": np.zeros((2, 64), np.float16),
            "qweight": np.zeros((8, 32), np.int32),
            "qzeros": np.zeros((2, 4), np.int32),
            "scales": np.zeros((2, 32), np.float16),
            "y": np.zeros((2, 32), np.float16),
        }
        put: dict[str, Any] = {name: memory.put(array) for name, array in arrays.items()}
        return gptq_gemv.plan(**put, batch=2, in_features=64, out_features=32, group_size=32), memory
    from callm_kernels.launchers.psnr_threshold import PsnrThreshold, plan

    height, width = 80, 80
    arrays = {
        "frames": np.zeros((1, height, width), np.uint8),
        "reconstructions": np.zeros((1, height, width), np.float16),
        "thresholds_psnr_db": np.zeros(1, np.float32),
        "workspace": np.zeros(PsnrThreshold.workspace_bytes(1, height, width), np.uint8),
        "mse": np.zeros(1, np.float32),
        "psnr_db": np.zeros(1, np.float32),
        "patch_mse": np.zeros(1, np.float32),
        "flags": np.zeros(1, np.uint8),
        "error_map": np.zeros((1, height // 2, width // 2), np.float32),
    }
    put = {name: memory.put(array) for name, array in arrays.items()}
    stride = height * width
    return plan(
        height=height,
        width=width,
        frame_dtype="uint8",
        batch=1,
        frame_stride=stride,
        reconstruction_stride=stride,
        **put,
    ), memory


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_line_broken_in_our_own_kernels_is_found(harness, mutants, name) -> None:
    path, kernel, sanitizer = mutants[name]
    one, memory = work(kernel)
    outcome = harness.execute(path, sources.ENTRIES[kernel], [one], memory, sanitizer)
    assert outcome.code != 0
    assert MUTATIONS[name][4] in outcome.report


@pytest.mark.parametrize("kernel", ["psnr_threshold", "ingest", "gptq_gemv"])
@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_and_unbroken_they_pass(cpu, kernel, sanitizer) -> None:
    one, memory = work(kernel)
    cpu.run(kernel, [one], memory, sanitizer)


def test_arguments_of_the_wrong_width_or_number_are_refused(faults) -> None:
    memory = Memory()
    g = np.uint64(memory.put(np.zeros(256, np.float32)))
    for arguments, said in (((g,), "wrong number"), ((g, np.int32(0)), "wrong width")):
        outcome = faults.execute(FAULTS, KERNELS, [Launch("fence_right", (1, 1), 64, 0, arguments)], memory)
        assert outcome.code
        assert said in outcome.report
