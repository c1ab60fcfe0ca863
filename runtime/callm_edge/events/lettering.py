"""Text and boxes on pictures for people: a real typeface, as OpenCV's stroke fonts are hard to read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

Colour = tuple[int, int, int]  # BGR, 0..255

# Okabe and Ito's palette: told apart with every common form of colour blindness.
INK, PALE, PAPER = (245, 245, 245), (165, 160, 155), (32, 28, 26)
ALARM, CALM, NOTICE = (0, 120, 240), (233, 180, 86), (66, 228, 240)


@lru_cache(maxsize=16)
def _font(size: int, bold: bool) -> Any:
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


@lru_cache(maxsize=512)
def _mask(text: str, size: int, bold: bool) -> np.ndarray:
    """(h, w) uint16 coverage 0..255 of `text` set in one line; h depends on the size alone, so that lines align."""
    from PIL import Image, ImageDraw

    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    page = Image.new("L", (max(1, round(font.getlength(text)) + 1), ascent + descent))
    ImageDraw.Draw(page).text((0, 0), text, fill=255, font=font)
    return np.asarray(page, np.uint16)


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of `text` in pixels."""
    return round(_font(size, bold).getlength(text))


def line_height(size: int) -> int:
    """Pixels from the top of the tallest letter to the bottom of the lowest."""
    return sum(_font(size, False).getmetrics())


def shorten(text: str, width: int, size: int, bold: bool = False) -> str:
    """`text`, or its two ends around an ellipsis where it is wider than `width`; names differ most at their ends."""
    if text_width(text, size, bold) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        tail = kept // 2
        short = text[: kept - tail] + "…" + (text[-tail:] if tail else "")
        if text_width(short, size, bold) <= width:
            return short
    return ""


def draw_text(
    image: np.ndarray,
    text: str,
    at: tuple[int, int],
    size: int,
    colour: Colour = INK,
    bold: bool = False,
    anchor: Literal["left", "right"] = "left",
) -> int:
    """Set one line of text into `image` ((H, W, 3) uint8 BGR, in place) and give its width in pixels.

    at: x of the left (or right) end and y of the top of the line; what lies outside the picture is cut off.
    """
    mask = _mask(text, size, bold)
    height, width = mask.shape
    x, y = (at[0] - width if anchor == "right" else at[0]), at[1]
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, image.shape[1]), min(y + height, image.shape[0])
    if left < right and top < bottom:
        cover = mask[top - y : bottom - y, left - x : right - x, None]
        region = image[top:bottom, left:right]
        region[:] = (region * (255 - cover) + np.array(colour, np.uint16) * cover + 127) // 255
    return width


def draw_box(image: np.ndarray, box: tuple[int, int, int, int], colour: Colour) -> None:
    """A thin outline of `box` (x, y, w, h) with a dark rim, so that it reads on any picture; in place."""
    import cv2

    height, width = image.shape[:2]
    # Kept inside by the rim's width: a box at the border must not lose a side.
    x0, y0 = min(max(box[0], 1), width - 2), min(max(box[1], 1), height - 2)
    x1 = min(max(box[0] + box[2] - 1, x0), width - 2)
    y1 = min(max(box[1] + box[3] - 1, y0), height - 2)
    for tone, thickness in ((PAPER, 4), (colour, 2)):
        cv2.rectangle(image, (x0, y0), (x1, y1), tone, thickness, cv2.LINE_AA)
