"""From packets to pictures with FFmpeg: what files and streams have in common."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# FFmpeg writes its complaints straight to stderr, between our own sentences and into a progress bar.
av.logging.set_level(av.logging.PANIC)

FFmpegError = av.error.FFmpegError

# Text files come out of FFmpeg as films of a terminal: never what somebody wants to watch.
_TEXT_CODECS = frozenset({"ansi", "bintext", "xbin", "idf"})
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG: luma 16..235
_FULL_RANGE = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
# How long to wait for the next key frame after damage. Some cameras refresh the picture bit by bit and never send one.
_KEY_FRAME_PATIENCE = 250


class Decoder:
    """Iterates the sound pictures of one video stream.

    container, stream: opened by the caller, who also closes the container.
    low_delay: decode each frame as soon as it comes (live), instead of several at a time (files).

    Raises FFmpegError where the container can be read no further; what the decoder still held is yielded before.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, *, low_delay: bool) -> None:
        self.damaged = 0
        self._reformatter = VideoReformatter()
        self._container = container
        self._stream = stream
        stream.thread_type = "SLICE" if low_delay else "AUTO"
        # With frame threads an error surfaces some packets after the one that caused it.
        reach = 1 if low_delay else min(os.cpu_count() or 1, 16) + 1
        self._recent: deque[int] = deque(maxlen=reach)
        self._damaged_from: int | None = None
        self._waited = 0

    def __iter__(self) -> Iterator[av.VideoFrame]:
        broken: FFmpegError | None = None
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                broken, packet = error, None
            if packet is None:
                break
            if packet.pts is not None:
                self._recent.append(packet.pts)
            yield from self._sound(packet)
        if broken is not None:
            yield from self._sound(None)
            raise broken

    def image(self, frame: av.VideoFrame) -> np.ndarray:
        """See `to_image`; faster, since the tables of the conversion are made once for all frames."""
        return to_image(frame, self._reformatter)

    def _sound(self, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
        try:
            frames = self._stream.decode(packet)
        except (FFmpegError, EOFError):
            if packet is not None and packet.size:
                self.damaged += 1
                self._distrust(min(self._recent, default=None))
            return
        for frame in frames:
            if frame.is_corrupt:
                self.damaged += 1
                self._distrust(frame.pts)
            elif self._hit(frame):
                self.damaged += 1
            else:
                yield frame

    def _distrust(self, pts: int | None) -> None:
        """Later pictures are painted over the hole until a key frame comes: to stage 1 that would be an anomaly."""
        self._damaged_from = pts
        self._waited = 0

    def _hit(self, frame: av.VideoFrame) -> bool:
        if self._damaged_from is None or (frame.pts is not None and frame.pts < self._damaged_from):
            return False
        self._waited += 1
        if frame.key_frame or self._waited > _KEY_FRAME_PATIENCE:
            self._damaged_from = None
            return False
        return True


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first film in ``container``, no cover picture of a song and no text drawn as a terminal; None without one."""
    for stream in container.streams.video:
        # Before PyAV 13 a stream does not tell its disposition.
        cover = "attached_pic" in str(getattr(stream, "disposition", ""))
        if not cover and stream.codec_context is not None and stream.codec_context.name not in _TEXT_CODECS:
            return stream
    return None


def stream_fps(stream: VideoStream) -> float | None:
    """Nominal frames per second, or None where the stream says nothing believable."""
    for rate in (stream.average_rate, stream.guessed_rate):
        # Variable-rate streams announce their clock (90000) as a rate.
        if rate and 0 < float(rate) <= 1000:
            return float(rate)
    return None


def to_image(frame: av.VideoFrame, reformatter: VideoReformatter | None = None) -> np.ndarray:
    """A decoded frame as it is to be seen: (H, W) uint8 if it has no colour, else (H, W, 3) BGR uint8, upright."""
    if frame.format.name.startswith("gray"):
        image: np.ndarray = frame.to_ndarray(format="gray")
        if frame.color_range == _LIMITED_RANGE:
            # FFmpeg's own conversion takes every gray picture for one of full range.
            image = cv2.LUT(image, _FULL_RANGE)
    else:
        image = (reformatter or VideoReformatter()).reformat(frame, format="bgr24").to_ndarray()
    return upright(image, getattr(frame, "rotation", 0))


def upright(image: np.ndarray, degrees: int) -> np.ndarray:
    """Turn counter-clockwise by a multiple of 90 degrees; a tilt that is none is left alone."""
    turns = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
    code = turns.get(round(degrees) % 360)
    return image if code is None else cv2.rotate(image, code)


def reason(error: Exception) -> str:
    """Why FFmpeg failed, in its own words but without the URL that PyAV appends: it may hold a password."""
    text = getattr(error, "strerror", None) or type(error).__name__
    return text[:1].lower() + text[1:]
