"""ingest.cu, on the CPU thread by thread (and on a GPU where there is one), against its reference and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from harness import Memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callm_kernels.launchers.ingest import CAMERA, MAX_ROW_BYTES, describe, plan
from callm_kernels.pictures import Format
from callm_kernels.reference.ingest import ingest

SIZE = 32  # pixels of a frame: small, as every thread is executed


def picture_of(format: Format, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth, so that a wrong tap differs by more than rounding does; with all values from 0 to 255 in it."""
    rng = np.random.default_rng(seed)
    shape = (height, width, 3) if format == Format.BGR else (height, width)
    coarse = rng.integers(0, 256, (max(height // 4, 2), max(width // 4, 2), *shape[2:]), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(shape)


class Cameras:
    """Pictures with a pitch, each in memory that ends with its last row, and their rings."""

    def __init__(self, size: int = SIZE) -> None:
        self.size, self.memory = size, Memory()
        self.records: list[np.void] = []
        self.wanted: list[np.ndarray] = []
        self.rings: list[int] = []

    def add(self, picture: np.ndarray, format: Format, slot: int, padding: int = 0, shift: int = 0) -> None:
        """padding: bytes between rows. shift: bytes before the picture, which makes its rows misaligned."""
        height, width = picture.shape[:2]
        rows = picture.reshape(height, -1)
        pitch = rows.shape[1] + padding
        flat = np.pad(rows, ((0, 0), (0, padding)), constant_values=255).reshape(-1)[
            : (height - 1) * pitch + rows.shape[1]
        ]
        ring = np.random.default_rng(1).integers(0, 256, (32, self.size, self.size), np.uint8)
        self.rings.append(self.memory.put(ring))
        address = self.memory.put(np.concatenate([np.zeros(shift, np.uint8), flat])) + shift
        self.records.append(
            describe(
                picture=address, ring=self.rings[-1], pitch=pitch, width=width, height=height, format=format, slot=slot
            )
        )
        ingest(picture, format, ring, slot)
        self.wanted.append(ring)

    def run(self, machine, sanitizer="none", max_row_bytes: int = 1024, max_blocks: int = 1 << 16, order="forward"):
        cameras = self.memory.put(np.array(self.records, CAMERA))
        launch = plan(
            size=self.size, max_row_bytes=max_row_bytes, cameras=cameras, count=len(self.records), max_blocks=max_blocks
        )
        arrays = machine.run("ingest", [launch], self.memory, sanitizer, order)
        return [arrays[self.memory.index(ring)] for ring in self.rings]


def assert_same_ring(found: np.ndarray, wanted: np.ndarray, slot: int) -> None:
    """Within rounding in the two slots of the frame, and exactly elsewhere."""
    written = [slot, slot + 16] if slot >= 0 else []
    others = [i for i in range(32) if i not in written]
    assert np.array_equal(found[others], wanted[others])
    for i in written:
        assert np.abs(found[i].astype(int) - wanted[i]).max() <= 1
        assert (found[i] != wanted[i]).mean() < 0.02


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
def test_many_cameras_of_all_kinds_in_one_launch(machine, sanitizer) -> None:
    cameras = Cameras()
    slots = [0, 15, 7, -1, 3, 4]
    kinds = [Format.GRAY, Format.BGR, Format.NV12_LIMITED, Format.BGR, Format.NV12_FULL, Format.BGR]
    sizes = [(36, 64), (50, 37), (90, 160), (20, 20), (8, 10), (32, 32)]
    if sanitizer == "thread":  # a launch can watch 8,000 threads, and clocks cost their number squared
        slots, kinds, sizes = slots[1:4], kinds[1:4], sizes[1:4]
    for i, (slot, format, size) in enumerate(zip(slots, kinds, sizes, strict=True)):
        cameras.add(picture_of(format, *size, seed=i), format, slot, padding=5 * i, shift=i)
    found = cameras.run(machine, sanitizer, max_blocks=2 if sanitizer == "thread" else 1 << 16)
    for ring, wanted, slot in zip(found, cameras.wanted, slots, strict=True):
        assert_same_ring(ring, wanted, slot)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.integers(1, 120), st.integers(1, 120), st.sampled_from(list(Format)), st.integers(0, 40), st.integers(0, 17),
    st.integers(0, 15),
)  # fmt: skip
def test_any_size_pitch_and_alignment(machine, height, width, format, padding, shift, slot) -> None:
    cameras = Cameras()
    cameras.add(picture_of(format, height, width), format, slot, padding, shift)
    assert_same_ring(cameras.run(machine, "address")[0], cameras.wanted[0], slot)


@pytest.mark.parametrize(("height", "width"), [(360, 640), (270, 480), (64, 48), (256, 256)])
def test_bgr_and_gray_match_opencv_within_one_level(machine, height, width) -> None:
    cameras = Cameras(64)
    bgr = picture_of(Format.BGR, height, width)
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    cameras.add(bgr, Format.BGR, 2)
    cameras.add(gray, Format.GRAY, 2)
    wanted = cv2.resize(gray, (64, 64), interpolation=cv2.INTER_LINEAR)
    for ring in cameras.run(machine, max_row_bytes=2000):
        assert np.abs(ring[2].astype(int) - wanted).max() <= 1
        assert np.array_equal(ring[2], ring[18])


def test_nv12_matches_the_gray_of_what_opencv_decodes_it_to(machine) -> None:
    """Luma alone gives the gray of the decoded colours: where none of them is clipped, to rounding."""
    rng = np.random.default_rng(0)
    luma = cv2.resize(rng.integers(70, 180, (10, 12), np.uint8), (96, 80), interpolation=cv2.INTER_LINEAR)
    chroma = rng.integers(118, 138, (40, 96), np.uint8)
    bgr = cv2.cvtColor(np.concatenate([luma, chroma]), cv2.COLOR_YUV2BGR_NV12)
    wanted = cv2.resize(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    cameras = Cameras()
    cameras.add(luma, Format.NV12_LIMITED, 0)
    assert (
        np.abs(cameras.run(machine)[0][0].astype(int) - wanted).max() <= 2
    )  # each of three colours was rounded before


def test_order_and_number_of_blocks_do_not_matter(machine) -> None:
    rings = []
    for order, blocks in (("forward", 1), ("reverse", 5), ("random", 64)):
        cameras = Cameras()
        cameras.add(picture_of(Format.BGR, 50, 70), Format.BGR, 1)
        rings.append(cameras.run(machine, order=order, max_blocks=blocks)[0].tobytes())
    assert len(set(rings)) == 1


def test_a_picture_wider_than_announced_is_skipped_and_nothing_is_overrun(machine) -> None:
    cameras = Cameras()
    cameras.add(picture_of(Format.GRAY, 20, 60), Format.GRAY, 0)
    cameras.wanted[0] = np.random.default_rng(1).integers(0, 256, (32, SIZE, SIZE), np.uint8)
    assert np.array_equal(cameras.run(machine, "address", max_row_bytes=40)[0], cameras.wanted[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"picture": 0}, "picture is 0"),
        ({"ring": 2}, "ring .* multiple of 4"),
        ({"pitch": 191}, "less than a row, which has 192"),
        ({"height": 0}, "64 x 0 pixels"),
        ({"slot": 16}, "slot 16"),
        ({"width": MAX_ROW_BYTES, "pitch": 1 << 20}, "at most"),
        ({"format": 9}, "9 is not a valid Format"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(change, said) -> None:
    right = {"picture": 1, "ring": 4, "pitch": 192, "width": 64, "height": 48, "format": Format.BGR, "slot": 0}
    describe(**right)
    with pytest.raises(ValueError, match=said):
        describe(**{**right, **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [({"size": 30}, "multiple of 4"), ({"max_row_bytes": 1 << 20}, "at most"), ({"count": 0}, "0 cam")],
)
def test_a_launch_that_cannot_be_is_refused(change, said) -> None:
    with pytest.raises(ValueError, match=said):
        plan(**{"size": 256, "max_row_bytes": 5760, "cameras": 8, "count": 1, **change})
