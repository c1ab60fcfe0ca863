"""Decoding in a Jetson's hardware where it is there, in software where not: both look the same to who reads.

CALLM_EDGE_DECODE: 'auto' (hardware where it is there), 'hardware' (warns where it is not), 'software'.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import VideoReformatter

from callm_edge.errors import UsageError
from callm_edge.names import nearest
from callm_edge.sources.decode import Decoder, FFmpegError, to_image, upright
from callm_edge.sources.gstreamer import PicturePipe, PipelineError, can_run
from callm_edge.sources.gstreamer_pipelines import DECODED, Pipeline, decode

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_logger = logging.getLogger(__name__)

MODES = ("auto", "hardware", "software")
_TO_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
_EIO = 5


class PictureDecoder(Protocol):
    """What files and streams need of a decoder: see ``decode.Decoder``."""

    damaged: int

    def __iter__(self) -> Iterator[av.VideoFrame]: ...

    def image(self, frame: av.VideoFrame) -> np.ndarray: ...


def decode_mode() -> str:
    """What the user asks for. Raises UsageError for a word that is no mode."""
    mode = os.environ.get("CALLM_EDGE_DECODE") or "auto"
    if mode not in MODES:
        hint = nearest(mode, MODES) or f"Use {', '.join(MODES)}"
        raise UsageError(f"CALLM_EDGE_DECODE is '{mode}'", "there is no such mode", hint)
    return mode


def decoder_for(container: InputContainer, stream: VideoStream, *, low_delay: bool, name: str) -> PictureDecoder:
    """The decoder for ``stream``. name: of the source, for the log."""
    mode = decode_mode()
    if mode != "software":
        codec, width, height = stream.codec_context.name, stream.codec_context.width, stream.codec_context.height
        even = width > 0 and height > 0 and not width % 2 and not height % 2
        pipeline = decode(codec, width, height, live=low_delay) if codec in DECODED and even else None
        if pipeline is not None and can_run(pipeline):
            return HardwareDecoder(container, stream, pipeline, low_delay=low_delay, name=name)
        if mode == "hardware":
            why = f"no hardware decoder for {codec}" if pipeline is None else "GStreamer has no nvv4l2decoder here"
            _logger.warning("%s: %s, decoding in software", name, why)
    return Decoder(container, stream, low_delay=low_delay)


class HardwareDecoder:
    """Iterates the pictures of one stream as a pipeline decodes them, with their times.

    Where the pipeline fails before its first picture, the software decoder takes over, and the log says so; later it
    is an FFmpegError, as damage to the stream is.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, pipeline: Pipeline, *, low_delay: bool, name: str
    ) -> None:
        self.damaged = 0
        self._reformatter = VideoReformatter()
        self._software = Decoder(container, stream, low_delay=low_delay)
        self._container, self._stream, self._pipeline = container, stream, pipeline
        self._low_delay, self._name = low_delay, name
        self._degrees = 0  # counter-clockwise, as a telephone writes into its files
        self._times: list[int] = []  # presentation times of what was sent in; pictures come out in this order
        self._lock = threading.Lock()
        self._broken: FFmpegError | None = None
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[av.VideoFrame]:
        delivered = False
        try:
            for frame in self._pictures():
                delivered = True
                yield frame
        except PipelineError as error:
            if delivered:
                raise FFmpegError(_EIO, f"the hardware decoder stopped: {error}") from None
            _logger.warning("%s: hardware decoding fails (%s), decoding in software", self._name, error)
            yield from self._in_software()
        if self._broken is not None:
            raise self._broken

    def image(self, frame: av.VideoFrame) -> np.ndarray:
        """See `decode.to_image`."""
        return upright(to_image(frame, self._reformatter), self._degrees)

    def _in_software(self) -> Iterator[av.VideoFrame]:
        self._broken = None
        self._degrees = 0  # its own frames tell
        if not self._low_delay:
            # A file begins again; of a live stream what went by is gone, and the next key frame is not far.
            self._container.seek(0)
        for frame in self._software:
            self.damaged = self._software.damaged
            yield frame

    def _look(self) -> None:
        """Learn from the first picture of a file how it is to be turned, which only decoded pictures tell."""
        first = next(iter(self._software), None)
        self._degrees = getattr(first, "rotation", 0)
        self._container.seek(0)

    def _pictures(self) -> Iterator[av.VideoFrame]:
        if not self._low_delay:
            self._look()
        pipe = PicturePipe(self._pipeline, takes_stream=True)
        feeder = threading.Thread(target=self._feed, args=(pipe,), name=f"feeder {self._name}", daemon=True)
        feeder.start()
        try:
            while (picture := pipe.read()) is not None:
                frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
                with self._lock:
                    frame.pts = heapq.heappop(self._times) if self._times else None
                frame.time_base = self._stream.time_base
                yield frame
        finally:
            # The container belongs to the caller again only when the feeder is out of it.
            self._stop.set()
            pipe.close()
            feeder.join()
            pipe.release()

    def _feed(self, pipe: PicturePipe) -> None:
        assert pipe.stdin is not None
        codec = self._stream.codec_context.name
        # GStreamer's parsers want start codes; MP4 has lengths instead.
        to_annex_b = BitStreamFilterContext(_TO_ANNEX_B[codec], self._stream) if codec in _TO_ANNEX_B else None
        try:
            for packet in self._container.demux(self._stream):
                if self._stop.is_set():
                    return
                if packet.pts is not None and packet.size:
                    with self._lock:
                        heapq.heappush(self._times, packet.pts)
                if not packet.size:
                    continue
                for part in to_annex_b.filter(packet) if to_annex_b else [packet]:
                    pipe.stdin.write(bytes(part))
                if self._low_delay:
                    pipe.stdin.flush()
        except FFmpegError as error:
            self._broken = error
        except (OSError, ValueError):
            pass  # the pipeline is gone: what reads from it says why
        finally:
            with contextlib.suppress(OSError, ValueError):
                pipe.stdin.close()
