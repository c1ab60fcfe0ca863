import cv2
import numpy as np
import pytest

from callm_edge.events.event import Event
from callm_edge.events.lettering import ALARM, draw_text, shorten, text_width
from callm_edge.events.thumbnail import thumbnail


def event(source: str = "gate") -> Event:
    return Event("a", source, 0, 9, 4, 0.0, 0.9, 18.2, 20.0, (0, 0, 1, 1))


@pytest.mark.parametrize(
    "shape", [(240, 360), (1080, 1920, 3), (1920, 1080, 3), (31, 47, 3), (40, 2000, 3), (2000, 40)]
)
@pytest.mark.parametrize("box", [(10, 10, 20, 20), (-5, -5, 30, 30), (20, 25, 4000, 4000), (0, 0, 1, 1)])
def test_fits_and_has_a_caption_strip(shape: tuple[int, ...], box: tuple[int, int, int, int]) -> None:
    image = np.full(shape, 128, np.uint8)
    before = image.copy()
    picture = cv2.imdecode(np.frombuffer(thumbnail(image, box, event("x" * 200)), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape[:2]) <= 480
    assert max(picture.shape[:2]) >= 300
    strip = picture[-8:]
    assert strip.mean() < 60, "the caption stands on dark paper"
    assert np.array_equal(image, before)


def test_the_box_is_drawn_where_it_is() -> None:
    image = np.full((240, 360, 3), 128, np.uint8)
    picture = cv2.imdecode(np.frombuffer(thumbnail(image, (90, 60, 60, 60), event()), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    orange = (np.abs(picture.astype(int) - ALARM).sum(2) < 120)[:320]
    rows, columns = np.nonzero(orange)
    assert abs(columns.min() - 120) <= 3
    assert abs(columns.max() - 200) <= 3
    assert abs(rows.min() - 80) <= 3
    assert abs(rows.max() - 160) <= 3


def test_long_names_keep_both_ends() -> None:
    short = shorten("camera-at-the-western-entrance", 120, 14)
    assert short.startswith("cam")
    assert short.endswith("nce")
    assert "…" in short
    assert text_width(short, 14) <= 120
    assert shorten("gate", 120, 14) == "gate"


def test_text_outside_the_picture_is_cut() -> None:
    page = np.zeros((10, 20, 3), np.uint8)
    draw_text(page, "wide text", (-5, -4), 14)
    assert page.any()
    untouched = np.zeros((10, 20, 3), np.uint8)
    draw_text(untouched, "text", (100, 100), 14)
    assert not untouched.any()
