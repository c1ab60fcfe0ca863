"""The one small picture of an event that lists, live pages and messages show."""

from __future__ import annotations

import numpy as np

from callm_edge.events.clock import clock_text
from callm_edge.events.event import Event
from callm_edge.events.lettering import ALARM, INK, PALE, PAPER, draw_box, draw_text, line_height, shorten, text_width

MAX_SIDE = 480
MARGIN = 10
CONTEXT = 3.0  # the view is this many times the box: enough to see where it is and what stands around it
QUALITY = 88


def thumbnail(image: np.ndarray, box: tuple[int, int, int, int], event: Event) -> bytes:
    """JPEG of the surroundings of `box` with the box drawn in and a caption below; no side over 480 pixels.

    image: (H, W, 3) BGR or (H, W) gray uint8, the event's peak frame. It is not written to.
    box: x, y, w, h in pixels of `image`; parts outside the picture are ignored.
    """
    import cv2

    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    left, top, width, height = _view(image.shape[1], image.shape[0], box)
    strip = MARGIN + line_height(15) + line_height(14) + MARGIN - 2
    scale = min(MAX_SIDE / width, (MAX_SIDE - strip) / height)
    shown = max(1, round(width * scale)), max(1, round(height * scale))
    view = cv2.resize(
        image[top : top + height, left : left + width],
        shown,
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    )
    drawn = (
        round((box[0] - left) * scale),
        round((box[1] - top) * scale),
        round(box[2] * scale),
        round(box[3] * scale),
    )
    draw_box(view, drawn, ALARM)

    # A tall narrow view still gets a strip that holds the time and the dB.
    page = np.full((shown[1] + strip, max(shown[0], 300), 3), PAPER, np.uint8)
    inset = (page.shape[1] - shown[0]) // 2
    page[: shown[1], inset : inset + shown[0]] = view
    _caption(page, shown[1], event)
    done, jpeg = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"a picture of shape {page.shape} cannot be written as JPEG")
    return jpeg.tobytes()


def _view(width: int, height: int, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """x, y, w, h of the part of a width x height picture to show: of its shape, around the box, never magnified."""
    share = max(CONTEXT * box[2] / width, CONTEXT * box[3] / height, MAX_SIDE / max(width, height))
    if share >= 0.8:  # nearly all of it: then all of it, which is easier to recognise
        return 0, 0, width, height
    w, h = max(1, round(width * share)), max(1, round(height * share))
    x = min(max(box[0] + box[2] // 2 - w // 2, 0), width - w)
    y = min(max(box[1] + box[3] // 2 - h // 2, 0), height - h)
    return x, y, w, h


def _caption(page: np.ndarray, top: int, event: Event) -> None:
    right, y = page.shape[1] - MARGIN, top + MARGIN - 1
    peak = f"{event.peak_psnr_db:.1f} dB"
    room = right - MARGIN - text_width(peak, 15, bold=True) - 2 * MARGIN
    draw_text(page, shorten(event.source, room, 15, bold=True), (MARGIN, y), 15, INK, bold=True)
    draw_text(page, peak, (right, y), 15, ALARM, bold=True, anchor="right")
    y += line_height(15)
    below = f"{event.threshold_psnr_db - event.peak_psnr_db:.1f} dB below threshold"
    when = clock_text(event.start_time, decimals=1)
    if text_width(when, 14) + text_width(below, 14) + 2 * MARGIN < right - MARGIN:
        draw_text(page, below, (right, y), 14, PALE, anchor="right")
    draw_text(page, when, (MARGIN, y), 14, PALE)
