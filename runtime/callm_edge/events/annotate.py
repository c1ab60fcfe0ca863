"""The annotated video: what the camera saw, where the error was, and how the score ran."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from callm_edge.atomic import replacing
from callm_edge.errors import UserError
from callm_edge.events.lettering import (
    ALARM,
    CALM,
    INK,
    PALE,
    PAPER,
    draw_box,
    draw_text,
    line_height,
    shorten,
    text_width,
)
from callm_edge.stage1.scores import PEAK, TILE

STRIP = 90  # pixels below the picture
MIN_WIDTH = 640
TRACE_S = 10.0  # how much of the past the trace shows
TILE_FROM, TILE_FULL = 0.7, 1.0  # mean error of a tile, in multiples of the threshold's: at 1 the frame is flagged
HEAT_FROM, HEAT_FULL = 0.5, 4.0  # error around a pixel, in the same multiples
FRAME_STATISTIC = 12.0  # a tile on a moving person errs about this much more than the frame's mean
HEAT_OPACITY = 0.6
EVENT_SHADE = (38, 40, 70)
SUBPIXEL = 4  # bits after the point in OpenCV's drawing coordinates


class _NoFramesError(Exception):
    """Leaves the temporary file behind its context, which then removes it."""


class AnnotatedVideo:
    """An H.264 video in `path`, written through `write` inside a `with` block.

    The file has its name only once the block ended well; after an error, or without a single frame, there is none.

    path: ends in .mp4; an existing file is replaced.
    fps: frames per second of the video, above 0.
    size: width, height of the pictures to come; one of another size is scaled to it.
    tile_statistic: True where the scores are of the worst tile, False where they are of the frame. It sets where the
        heat begins: a frame's mean hides errors that a tile shows.
    frames: how many frames were written so far.
    Raises UserError where the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int], tile_statistic: bool = True) -> None:
        if not fps > 0 or min(size) < 1:
            raise ValueError(f"no video has {fps} frames per second and {size} pixels")
        self.path, self.fps, self.frames = path, fps, 0
        scale = max(1.0, MIN_WIDTH / size[0])
        # H.264 with 4:2:0 colour halves both sides.
        self._width, self._height = _even(size[0] * scale), _even(size[1] * scale)
        self._source_size = size
        self._heat_unit = 1.0 if tile_statistic else FRAME_STATISTIC
        self._trace: deque[tuple[float | None, bool, bool]] = deque(maxlen=max(2, round(TRACE_S * fps)))
        self._range: tuple[float, float] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> AnnotatedVideo:
        import av

        with ExitStack() as stack:
            try:
                temporary = stack.enter_context(replacing(self.path))
                self._file = stack.enter_context(
                    av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"})
                )
            except OSError as error:
                raise self._unwritable(error) from error
            self._stream: Any = self._file.add_stream(
                "libx264" if "libx264" in av.codecs_available else "mpeg4",
                rate=Fraction(self.fps).limit_denominator(1001),
            )
            context = self._stream.codec_context
            context.width, context.height, context.pix_fmt = self._width, self._height + STRIP, "yuv420p"
            context.colorspace, context.color_range = 6, 1  # BT.601, limited: what cv2's I420 conversion writes
            if context.name == "libx264":
                context.options = {"preset": "superfast", "crf": "22"}
            else:
                context.bit_rate = 2_000_000
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with suppress(_NoFramesError), self._stack:
            if not self.frames:
                raise _NoFramesError
            self._mux(None)

    def write(
        self,
        image: np.ndarray,
        score_db: float | None,
        threshold_db: float,
        error_map: np.ndarray | None,
        flagged: bool,
        box: tuple[int, int, int, int] | None,
        event_active: bool,
        caption: str = "",
    ) -> None:
        """Append one frame.

        image: (H, W, 3) BGR or (H, W) gray uint8; not written to.
        score_db, threshold_db: PSNR; no score while the first window fills, which leaves a gap in the trace.
        error_map: (128, 128) float32 squared error of stage 1, drawn as heat where it is notable.
        flagged: this frame is past the threshold. event_active: it belongs to an event.
        box: x, y, w, h in pixels of `image`.
        caption: what stands left of the score, such as `gate · frame 1204`; by default the frame's number here.
        Raises UserError where the disk is full.
        """
        page = self.render(image, score_db, threshold_db, error_map, flagged, box, event_active, caption)
        self._mux(page)
        self.frames += 1

    def render(
        self,
        image: np.ndarray,
        score_db: float | None,
        threshold_db: float,
        error_map: np.ndarray | None,
        flagged: bool,
        box: tuple[int, int, int, int] | None,
        event_active: bool,
        caption: str = "",
    ) -> np.ndarray:
        """The next frame of the video as (H + 90, W, 3) uint8 BGR, without encoding it; arguments as in `write`."""
        import cv2

        page = np.empty((self._height + STRIP, self._width, 3), np.uint8)
        picture = page[: self._height]
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if image.shape[:2] == picture.shape[:2]:
            picture[:] = image
        else:
            shrinks = image.shape[1] > self._width
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            picture[:] = cv2.resize(image, (self._width, self._height), interpolation=how)
        if error_map is not None:
            _heat(picture, error_map, self._heat_unit * PEAK**2 * 10 ** (-threshold_db / 10))
        if box is not None:
            x, y = self._width / image.shape[1], self._height / image.shape[0]
            scaled = (round(box[0] * x), round(box[1] * y), round(box[2] * x), round(box[3] * y))
            draw_box(picture, scaled, ALARM if flagged else INK)
        score = None if score_db is None or not np.isfinite(score_db) else float(score_db)
        self._trace.append((score, bool(flagged), bool(event_active)))
        self._draw_strip(page[self._height :], score, threshold_db, caption or f"frame {self.frames}")
        return page

    def _draw_strip(self, strip: np.ndarray, score: float | None, threshold_db: float, caption: str) -> None:
        import cv2

        strip[:] = PAPER
        top, bottom = 8 + line_height(14) + 3, STRIP - 6
        low, high = self._scale(threshold_db)
        length = self._trace.maxlen or 2
        step = (self._width - 1) / (length - 1)
        start = length - len(self._trace)  # the newest stands at the right end from the first frame on

        def level(value: float) -> float:
            return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - top)

        active = np.array([entry[2] for entry in self._trace], bool)
        for first, last in _runs(active):
            left, right = round((start + first - 0.5) * step), round((start + last + 0.5) * step)
            strip[top - 3 :, max(left, 0) : right + 1] = EVENT_SHADE

        y = round(level(threshold_db))
        for x in range(0, self._width, 12):
            strip[y, x : x + 6] = PALE
        scores = np.array([np.nan if entry[0] is None else entry[0] for entry in self._trace])
        known = ~np.isnan(scores)
        x_at = (start + np.arange(len(scores))) * step
        y_at = bottom - (np.clip(scores, low, high) - low) / (high - low) * (bottom - top)
        points = np.zeros((len(scores), 2), np.int32)
        points[known] = np.round(np.stack([x_at, y_at], 1)[known] * (1 << SUBPIXEL))
        flags = known & np.array([entry[1] for entry in self._trace], bool)
        for mask, colour in ((known, CALM), (flags, ALARM)):
            lines = [points[first : last + 1, None] for first, last in _runs(mask)]
            # Two thin lines half a pixel apart look as one of two pixels, which OpenCV draws five times slower.
            for shift in (-4, 4):
                moved = [line + np.array([0, shift], np.int32) for line in lines]
                cv2.polylines(strip, moved, False, colour, 1, cv2.LINE_AA, SUBPIXEL)

        x = 10
        number = "no score" if score is None else f"{score:.1f} dB"
        limit = f"threshold {threshold_db:.1f} dB"
        room = self._width - 20 - text_width(limit, 13) - text_width(number, 14, True) - 40
        x += draw_text(strip, shorten(caption, room, 14), (x, 7), 14, INK)
        x += draw_text(strip, "  ·  ", (x, 7), 14, PALE)
        draw_text(strip, number, (x, 7), 14, ALARM if self._trace[-1][1] else CALM, bold=score is not None)
        draw_text(strip, limit, (self._width - 10, 8), 13, PALE, anchor="right")

    def _scale(self, threshold_db: float) -> tuple[float, float]:
        """Lowest and highest dB of the trace: what is in sight, glided to, so that the trace never jumps."""
        seen = [entry[0] for entry in self._trace if entry[0] is not None]
        low = max(min([threshold_db - 3, *(value - 0.5 for value in seen)]), threshold_db - 25)
        high = min(max([threshold_db + 3, *(value + 0.5 for value in seen)]), threshold_db + 25)
        if self._range is not None:
            low, high = (old + 0.15 * (new - old) for old, new in zip(self._range, (low, high), strict=True))
        self._range = low, high
        return low, high

    def _mux(self, page: np.ndarray | None) -> None:
        import av
        import cv2

        frame = None
        if page is not None:
            planes = cv2.cvtColor(page, cv2.COLOR_BGR2YUV_I420)
            frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")
            frame.pts = self.frames
        try:
            self._file.mux(self._stream.encode(frame))
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"The video {self.path} cannot be written",
            error.strerror or str(error),
            "Name a folder that you may write to and that has room",
        )


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last position of every unbroken stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(first), int(last) - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def _ramp(values: np.ndarray, start: float, full: float) -> np.ndarray:
    return np.clip((values - start) / (full - start), 0, 1)


def _heat(picture: np.ndarray, error_map: np.ndarray, unit: float) -> None:
    """Blend the notable part of `error_map` over `picture`, in place.

    unit: squared error that counts as 1. The scale is the threshold's and not the frame's own, so that a normal frame
    stays clean instead of showing its largest noise in full colour.
    """
    import cv2

    errors = np.ascontiguousarray(error_map, np.float32) / unit
    tile = cv2.blur(errors, (TILE // 2, TILE // 2))  # a cell of the map is 2 x 2 pixels
    near = cv2.GaussianBlur(errors, (0, 0), 2.5)
    # The tile says where, as the decision does; the finer blur gives the heat the shape of what is there.
    heat = _ramp(tile, TILE_FROM, TILE_FULL) * _ramp(near, HEAT_FROM, HEAT_FULL)
    x, y, w, h = cv2.boundingRect((heat > 0).astype(np.uint8))
    if not w:
        return
    # Blending only where there is heat, with one cell around it for a soft edge, keeps this cheap.
    x0, y0, x1, y1 = max(x - 1, 0), max(y - 1, 0), min(x + w + 1, heat.shape[1]), min(y + h + 1, heat.shape[0])
    wide, high = picture.shape[1] / heat.shape[1], picture.shape[0] / heat.shape[0]
    left, top, right, bottom = round(x0 * wide), round(y0 * high), round(x1 * wide), round(y1 * high)
    region = picture[top:bottom, left:right]
    # Colour and weight are found per cell and then enlarged: the map has a fifteenth of the picture's pixels.
    part, size = heat[y0:y1, x0:x1], (right - left, bottom - top)
    colours = cv2.resize(cv2.applyColorMap((140 + 90 * part).astype(np.uint8), cv2.COLORMAP_INFERNO), size)
    weight = cv2.resize((HEAT_OPACITY * np.sqrt(part)).astype(np.float32), size)
    region[:] = cv2.blendLinear(colours, region, weight, 1 - weight)
