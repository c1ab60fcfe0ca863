"""clip_pack.cu, on the CPU thread by thread (and on a GPU where there is one), against its reference and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from harness import Memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callm_kernels.launchers.clip_pack import CLIP_MEAN, CLIP_STD, PICTURE, describe, plan
from callm_kernels.pictures import Format
from callm_kernels.reference.clip_pack import clip_pack
from callm_kernels.reference.pictures import to_rgb

SIZE = 24  # pixels of a picture: small, as every thread is executed
NV12 = (Format.NV12_LIMITED, Format.NV12_FULL)


class Clip:
    """Frames, each in memory that ends with its last row, and the boxes to be taken from them."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.records: list[np.void] = []
        self.wanted: list[np.ndarray] = []

    def add(self, format: Format, height: int, width: int, box=None, padding: int = 0, shift: int = 0, seed: int = 0):
        rng = np.random.default_rng(seed)
        shape = (height, width, 3) if format == Format.BGR else (height, width)
        picture = rng.integers(0, 256, shape, np.uint8)
        even = width + width % 2
        chroma = rng.integers(0, 256, ((height + 1) // 2, even), np.uint8) if format in NV12 else None
        pitch = (even if format in NV12 else width * format.pixel_bytes) + padding
        self.records.append(
            describe(
                picture=self._put(picture.reshape(height, -1), pitch, shift),
                chroma=0 if chroma is None else self._put(chroma, pitch, 2 * shift),
                pitch=pitch,
                width=width,
                height=height,
                format=format,
                box=box,
            )
        )
        self.wanted.append(clip_pack(picture, format, SIZE, CLIP_MEAN, CLIP_STD, box, chroma))
        return picture

    def _put(self, rows: np.ndarray, pitch: int, shift: int) -> int:
        padded = np.pad(rows, ((0, 0), (0, pitch - rows.shape[1])), constant_values=255).reshape(-1)
        end = (len(rows) - 1) * pitch + rows.shape[1]
        return self.memory.put(np.concatenate([np.zeros(shift, np.uint8), padded[:end]])) + shift

    def run(
        self, machine, sanitizer="none", max_width: int = 100, max_blocks: int = 1 << 16, order="forward"
    ) -> np.ndarray:
        count = len(self.records)
        output = self.memory.put(np.zeros((count, 3, SIZE, SIZE), np.float16))
        launch = plan(
            size=SIZE,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            max_width=max_width,
            pictures=self.memory.put(np.array(self.records, PICTURE)),
            count=count,
            output=output,
            max_blocks=max_blocks,
        )
        return machine.run("clip_pack", [launch], self.memory, sanitizer, order)[self.memory.index(output)]


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    """To half precision, around 2: 1e-3."""
    np.testing.assert_allclose(found.astype(np.float64), wanted, rtol=6e-4, atol=1e-4)


@pytest.mark.parametrize("sanitizer", ["none", "thread", "address"])
def test_a_clip_with_its_crops_in_one_launch(machine, sanitizer) -> None:
    clip = Clip()
    frames = 2 if sanitizer == "thread" else 8  # a launch can watch 8,000 threads, and clocks cost their number squared
    for i in range(frames):
        clip.add((Format.BGR, Format.GRAY)[i % 2], 40, 70, seed=i)
    for i in range(frames):
        clip.add(list(Format)[-1 - i % 4], 40, 71, box=(7 + i, 5, 33, 21 + i), padding=i, shift=i, seed=i)
    blocks = 2 if sanitizer == "thread" else 1 << 16
    assert_close(clip.run(machine, sanitizer, max_blocks=blocks), np.stack(clip.wanted))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(st.data(), st.sampled_from(list(Format)), st.integers(0, 33), st.integers(0, 17))
def test_any_box_pitch_and_alignment(machine, data, format, padding, shift) -> None:
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    clip = Clip()
    clip.add(format, height, width, box, padding, shift)
    assert_close(clip.run(machine, "address", max_width=box[2]), np.stack(clip.wanted))


def test_it_is_opencvs_resize_of_the_crop(machine) -> None:
    clip = Clip()
    picture = clip.add(Format.BGR, 60, 90, box=(10, 20, 40, 30))
    resized = cv2.resize(picture[20:50, 10:50], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    wanted = ((resized / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)).transpose(2, 0, 1)
    level = 1 / 255 / np.array(CLIP_STD)[:, None, None]  # OpenCV rounds to whole levels
    assert np.all(np.abs(clip.run(machine)[0] - wanted) <= 1.1 * level)


def test_limited_nv12_is_what_opencv_decodes_it_to() -> None:
    """Within 2 levels, its coefficients being shorter. Where luma is below black OpenCV cuts it off first."""
    rng = np.random.default_rng(0)
    luma, chroma = rng.integers(16, 256, (32, 48), np.uint8), rng.integers(0, 256, (16, 48), np.uint8)
    wanted = cv2.cvtColor(np.concatenate([luma, chroma]), cv2.COLOR_YUV2RGB_NV12)
    assert np.abs(to_rgb(luma, Format.NV12_LIMITED, chroma).astype(int) - wanted).max() <= 2


def test_full_range_nv12_is_jpegs() -> None:
    """Within 1 level of OpenCV's YCrCb, which is of full range."""
    rng = np.random.default_rng(0)
    luma, chroma = rng.integers(0, 256, (32, 48), np.uint8), rng.integers(0, 256, (16, 48), np.uint8)
    u, v = (chroma[:, i::2].repeat(2, axis=0).repeat(2, axis=1) for i in (0, 1))
    wanted = cv2.cvtColor(np.stack([luma, v, u], axis=2), cv2.COLOR_YCrCb2RGB)
    assert np.abs(to_rgb(luma, Format.NV12_FULL, chroma).astype(int) - wanted).max() <= 1


def test_order_and_number_of_blocks_do_not_matter(machine) -> None:
    results = []
    for order, blocks in (("forward", 1), ("reverse", 5), ("random", 64)):
        clip = Clip()
        clip.add(Format.BGR, 50, 70)
        clip.add(Format.NV12_LIMITED, 50, 70, box=(3, 3, 20, 20))
        results.append(clip.run(machine, order=order, max_blocks=blocks).tobytes())
    assert len(set(results)) == 1


def test_a_box_wider_than_announced_shows_as_nan_and_nothing_is_overrun(machine) -> None:
    clip = Clip()
    clip.add(Format.BGR, 20, 90)
    clip.add(Format.BGR, 20, 90, box=(0, 0, 20, 20))
    found = clip.run(machine, "address", max_width=30)
    assert np.isnan(found[0]).all()
    assert_close(found[1], clip.wanted[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"box": (60, 0, 5, 5)}, "does not lie within"),
        ({"box": (0, -1, 5, 5)}, "does not lie within"),
        ({"box": (0, 0, 0, 5)}, "does not lie within"),
        ({"pitch": 100}, "less than a row"),
        ({"format": Format.NV12_FULL}, "chroma is 0"),
        ({"picture": 0}, "picture is 0"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(change, said) -> None:
    right = {"picture": 1, "pitch": 192, "width": 64, "height": 48, "format": Format.BGR}
    describe(**right)
    with pytest.raises(ValueError, match=said):
        describe(**{**right, **change})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 30}, "multiple of 8"),
        ({"max_width": 9000}, "9000 pixels"),
        ({"count": 0}, "0 pictures"),
        ({"std": (1.0, 0.0, 1.0)}, "must be positive"),
        ({"output": 8}, "output .* multiple of 16"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(change, said) -> None:
    right = {
        "size": 224,
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "max_width": 1920,
        "pictures": 8,
        "count": 16,
        "output": 16,
    }
    plan(**right)
    with pytest.raises(ValueError, match=said):
        plan(**{**right, **change})
