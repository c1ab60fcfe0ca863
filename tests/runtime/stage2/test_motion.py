"""Which frames a flow is between, and that it tells the ways apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.events.clip import ClipFrame
from callm_edge.stage2.flow import LONGEST_S
from callm_edge.stage2.motion import CHANNELS, FLOW, Motion, follower
from callm_edge.stage2.ways import Ways

RIGHT, DOWN, LEFT, UP = range(4)
GROUND = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 200, (180, 320), dtype=np.uint8), (0, 0), 2)


def walker(left: float, top: float) -> np.ndarray:
    """A textured block on textured ground."""
    image = GROUND.copy()
    block = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (48, 32), dtype=np.uint8), (0, 0), 1.5)
    image[round(top) : round(top) + 48, round(left) : round(left) + 32] = block
    return image


def frames(images: list[np.ndarray], fps: float = 25.0) -> list[ClipFrame]:
    jpegs = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for image in images]
    return [ClipFrame(at, at / fps, jpeg) for at, jpeg in enumerate(jpegs)]


@pytest.mark.parametrize(("way", "dx", "dy"), [(RIGHT, 2, 0), (DOWN, 0, 2), (LEFT, -2, 0), (UP, 0, -2)])
def test_each_way_has_a_channel(way: int, dx: int, dy: int) -> None:
    images = [walker(140 + dx * at, 60 + dy * at) for at in range(3)]
    cells = Motion(frames(images), [0], images[:1]).frame(0)
    assert (cells.shape, cells.dtype) == ((49, CHANNELS), np.float32)
    largest = cells[:, 4:FLOW].max(axis=0)
    assert largest.argmax() == way
    # 2 of 320 pixels in 40 ms are 0.156 widths a second.
    assert largest[way] == pytest.approx(3 * np.sqrt(2 * 25 / 320), rel=0.2)
    assert cells[:, 4 + way].argmax() in (2 * 7 + 3, 3 * 7 + 3), "where it walks"
    assert (cells[:, :4] <= cells[:, 4:FLOW] + 1e-6).all(), "a mean is no more than the largest"
    assert not cells[:, FLOW:].any(), "what is strange nobody knows"


def test_opposite_ways_do_not_cancel_out() -> None:
    def both(at: int) -> np.ndarray:
        image = walker(100 + 2 * at, 30)
        image[100:148] = walker(100 - 2 * at, 100)[100:148]
        return image

    images = [both(at) for at in range(3)]
    crop = Motion(frames(images), [0], images[:1]).crop(0, (116, 89))
    assert crop[:, 4 + RIGHT].max() > 0.8
    assert crop[:, 4 + LEFT].max() > 0.8


def test_a_crop_is_a_part_of_its_frame() -> None:
    images = [walker(140 + 2 * at, 60) for at in range(3)]
    motion = Motion(frames(images), [0], images[:1])
    there, elsewhere = motion.crop(0, (156, 84)), motion.crop(0, (30, 20))
    assert there[:, :4].mean() > 3 * motion.frame(0)[:, :4].mean()
    assert elsewhere.max() < 0.3


def test_who_goes_as_nobody_does_there_is_strange() -> None:
    usual = np.zeros((27, 48, 5), np.float32)
    usual[..., LEFT], usual[..., 4] = 0.02, 0.02 * 0.1  # all go to the left, at 0.1 widths a second
    films = [[walker(140 + way * 2 * at, 60) for at in range(3)] for way in (1, -1)]
    right, left = (Motion(frames(film), [0], film[:1], Ways(usual)).frame(0) for film in films)
    mean, largest = right[:, FLOW : FLOW + 5], right[:, FLOW + 5 :]
    # 0.156 widths a second, and the speeds of places that hardly anything crosses count a tenth.
    assert largest[:, RIGHT].max() == pytest.approx(np.sqrt(1.56), rel=0.2)
    assert largest[:, 4].max() == pytest.approx(np.sqrt(1.56), rel=0.2), "that fast it is beside what is usual"
    assert (mean <= largest + 1e-6).all()
    assert left[:, FLOW + 5 + LEFT].max() < 0.1, "that way is usual"
    assert left[:, -1].max() == pytest.approx(largest[:, 4].max(), rel=0.2)
    flow = Motion(frames(films[0]), [0], films[0][:1]).frame(0)[:, :FLOW]
    assert np.array_equal(right[:, :FLOW], flow), "which stays"


def test_it_does_not_depend_on_the_size_or_the_rate() -> None:
    images = [walker(140 + 2 * at, 60) for at in range(5)]
    small = Motion(frames(images), [0], images[:1]).frame(0)
    large = [cv2.resize(image, None, fx=2, fy=2) for image in images]
    doubled = Motion(frames(large), [0], large[:1]).frame(0)
    assert doubled[:, 4 + RIGHT].max() == pytest.approx(small[:, 4 + RIGHT].max(), rel=0.15)
    every_second = Motion(frames(images[::2], fps=12.5), [0], images[:1]).frame(0)
    assert every_second == pytest.approx(small)


def test_the_last_frame_moves_as_it_came() -> None:
    images = [walker(140 + 2 * at, 60) for at in range(3)]
    cells = Motion(frames(images), [2], images[2:]).frame(0)
    assert cells[:, 4:FLOW].max(axis=0).argmax() == RIGHT


def test_nothing_moves_where_frames_are_far_apart() -> None:
    images = [walker(140, 60), walker(160, 60)]
    assert not Motion(frames(images, fps=2), [0, 1], images).frame(1).any()
    assert not Motion(frames(images[:1]), [0], images[:1]).crop(0, (10, 10)).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (500, 20)])
def test_odd_sizes_do_no_harm(size: tuple[int, int]) -> None:
    images = [np.full((*size, 3), tone, np.uint8) for tone in (10, 90)]
    motion = Motion(frames(images), [0], images[:1])
    assert np.isfinite(motion.frame(0)).all()
    assert np.isfinite(motion.crop(0, (0, 0))).all()


@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=30), st.data())
def test_followers_are_near(gaps: list[float], data: st.DataObject) -> None:
    times = list(np.cumsum(gaps))
    at = data.draw(st.integers(0, len(times) - 1))
    other = follower(times, at)
    near = [one for one in range(len(times)) if one != at and abs(times[one] - times[at]) < LONGEST_S]
    assert (other is None) == (not near)
    if other is not None:
        assert other in near
        assert other > at or not any(one > at for one in near), "a later one if there is any"


def test_the_one_nearest_to_80_ms() -> None:
    assert follower([at / 25 for at in range(20)], 3) == 5
    assert follower([at / 10 for at in range(20)], 3) == 4
    assert follower([at / 25 for at in range(20)], 19) == 17
