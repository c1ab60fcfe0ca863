from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import SourceError
from callm_edge.sources import SourceState, open_source
from callm_edge.sources.folder import FolderSource, natural_key

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (48, 64, 3)).astype(np.uint8)
GRAY = np.ascontiguousarray(COLOUR[..., 0])


def test_frames_come_in_natural_order_with_time(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1, 100):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((4, 4), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._img1.png").write_text("no image either")
    source = open_source(str(tmp_path))
    frames = list(source)
    assert [int(f.image[0, 0]) for f in frames] == [1, 2, 9, 10, 100]
    assert [(f.index, f.time) for f in frames] == [(i, i / 25) for i in range(5)]
    assert (source.fps, source.live, source.state) == (25, False, SourceState.ENDED)
    assert [f.time for f in FolderSource(tmp_path, fps=10)][1] == pytest.approx(0.1)


@given(st.lists(st.tuples(st.sampled_from(["a", "B", "img_"]), st.integers(0, 10**12)), unique=True))
def test_numbers_in_names_count_by_value(parts: list[tuple[str, int]]) -> None:
    ordered = sorted((f"{text}{number}.jpg" for text, number in parts), key=natural_key)
    assert ordered == [f"{text}{number}.jpg" for text, number in sorted(parts, key=lambda p: (p[0].lower(), p[1]))]


@given(st.lists(st.text()))
def test_any_names_have_one_order(names: list[str]) -> None:
    ordered = sorted(names, key=natural_key)
    backwards = names[::-1]
    assert ordered == sorted(backwards, key=natural_key)
    assert sorted(names) == sorted(ordered)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "JPG"])
def test_every_format_in_gray_and_colour(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"1.{suffix}"), GRAY)
    cv2.imwrite(str(tmp_path / f"2.{suffix}"), COLOUR)
    gray, colour = (f.image for f in FolderSource(tmp_path))
    assert (gray.shape, gray.dtype) == ((48, 64), np.uint8)
    assert (colour.shape, colour.dtype) == ((48, 64, 3), np.uint8)
    if suffix.lower() not in ("jpg", "jpeg"):
        assert np.array_equal(gray, GRAY)
        assert np.array_equal(colour, COLOUR)


def test_deep_and_transparent_pictures_become_plain(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), GRAY.astype(np.uint16) << 8)
    cv2.imwrite(str(tmp_path / "2.tif"), COLOUR.astype(np.uint16) << 8)
    cv2.imwrite(str(tmp_path / "3.png"), np.dstack([COLOUR, np.full_like(GRAY, 7)]))
    deep, deep_colour, transparent = (f.image for f in FolderSource(tmp_path))
    assert np.array_equal(deep, GRAY)
    assert np.abs(deep_colour.astype(int) - COLOUR).max() <= 1
    assert np.array_equal(transparent, COLOUR)


def test_the_size_may_change_on_the_way(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), GRAY)
    cv2.imwrite(str(tmp_path / "2.png"), GRAY[:-1, :-3])
    assert [f.image.shape for f in FolderSource(tmp_path)] == [(48, 64), (47, 61)]


@pytest.mark.usefixtures("silent_stderr")
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_an_unreadable_image_is_named(tmp_path: Path, suffix: str, keep: float) -> None:
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.{suffix}"), COLOUR)
    bad = tmp_path / f"2.{suffix}"
    bad.write_bytes(bad.read_bytes()[: int(bad.stat().st_size * keep)])
    source = FolderSource(tmp_path)
    frames = iter(source)
    assert next(frames).index == 0
    with pytest.raises(SourceError, match=f"2.{suffix}") as caught:
        next(frames)
    assert ("empty" if keep == 0 else "damaged") in caught.value.why
    assert source.state is SourceState.ENDED


def test_a_folder_that_lost_its_images_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        list(FolderSource(tmp_path))
    with pytest.raises(SourceError, match="cannot be read"):
        list(FolderSource(tmp_path / "gone"))
