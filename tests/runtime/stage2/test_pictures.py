"""What stage 2 sees: the frames, and what stage 1 points at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.stage2.pictures import clip_pictures, crop, crop_points, shown, with_crops
from callm_edge.stage2.prompts import frame_indices


def test_frames_come_first_and_crops_show_the_peak() -> None:
    image = np.zeros((240, 360, 3), np.uint8)
    image[100:110, 200:210] = (0, 0, 255)
    pictures = clip_pictures([image] * 8, [((205.0, 105.0), (50.0, 200.0))] * 8, crops=2)
    assert pictures.shape == (24, 224, 224, 3)
    assert pictures.dtype == np.uint8
    red = (pictures[..., 0] > 128).mean(axis=(1, 2))
    assert (red[8:16] > 5 * red[:8]).all(), "a crop is larger"
    assert not red[16:].any(), "the second peak is elsewhere"
    assert pictures[8, 112, 112].tolist() == [255, 0, 0]


def test_a_frame_without_a_peak_takes_its_neighbours() -> None:
    images = [np.full((100, 100), 10 * at, np.uint8) for at in range(3)]
    images[2][80:, 80:] = 255
    pictures = clip_pictures(images, [(), ((5.0, 5.0),), ()], 1, side=32)
    assert pictures[5].max() < 100
    assert clip_pictures(images, [(), ((90.0, 90.0),), ()], 1, side=32)[5].max() == 255
    assert clip_pictures(images, [()] * 3, 1, side=32).shape == (6, 32, 32, 3)


def test_points_by_rank() -> None:
    sizes = [(100, 80)] * 3
    first, second, third = crop_points([((1, 1), (2, 2)), (), ((3, 3),)], sizes, 3)
    assert first == [(1, 1), (1, 1), (3, 3)]
    assert second == [(2, 2), (2, 2), (3, 3)], "who has one peak only shows it again"
    assert third == first
    assert crop_points([(), (), ()], sizes, 1) == [[(50, 40)] * 3]
    assert crop_points([(), (), ()], sizes, 0) == []


@given(st.integers(0, 4), st.integers(0, 4))
def test_another_number_of_crops(given_crops: int, wanted: int) -> None:
    pictures = np.arange(8 * (1 + max(1, given_crops)))[:, None]
    found = with_crops(pictures, wanted)[:, 0]
    assert len(found) == 8 * (1 + wanted)
    assert found[:8].tolist() == list(range(8))
    assert all(found[8 + at] % 8 == at % 8 for at in range(8 * wanted)), "crops stay with their frames"
    assert found[: 8 * (1 + min(given_crops, wanted))].tolist() == list(range(8 * (1 + min(given_crops, wanted))))


@given(
    st.integers(1, 50), st.integers(1, 50), st.floats(-100, 100, allow_nan=False), st.floats(-100, 100, allow_nan=False)
)
def test_a_crop_lies_inside(height: int, width: int, x: float, y: float) -> None:
    cut = crop(np.zeros((height, width, 3), np.uint8), (x, y))
    assert cut.shape[0] == cut.shape[1] == max(1, round(0.4 * min(height, width)))


def test_clips_shorter_than_8_frames_work() -> None:
    assert clip_pictures([np.zeros((20, 30, 3), np.uint8)], [()]).shape == (4, 224, 224, 3)
    with pytest.raises(ValueError, match="stack"):
        clip_pictures([], [])


@given(st.integers(1, 400))
def test_eight_frames_are_shown_of_any_clip(frames: int) -> None:
    assert len(shown(frames)) == 8
    assert shown(frames) == sorted(shown(frames))
    assert sorted(set(shown(frames))) == frame_indices(frames)
