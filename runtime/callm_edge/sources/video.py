"""A video file."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path

import av

from callm_edge.errors import SourceError
from callm_edge.sources.decode import FFmpegError, reason, stream_fps, video_stream
from callm_edge.sources.hardware_decode import decoder_for
from callm_edge.sources.recorded import RecordedSource
from callm_edge.sources.source import Frame

_logger = logging.getLogger(__name__)


class VideoSource(RecordedSource):
    """Every frame of the file at ``path``, with its media time in seconds from the first one.

    A file that breaks off or is damaged half-way yields its sound frames, then a warning is logged; ``damaged`` counts
    the pictures that were left out. ``fps`` is known from the first frame on.
    """

    def __init__(self, path: Path | str, *, name: str = "") -> None:
        super().__init__(name or str(path))
        self.path = Path(path)
        self.damaged = 0

    def _read(self) -> Generator[Frame, None, None]:
        try:
            container = av.open(str(self.path))
        except (FFmpegError, OSError) as error:
            raise SourceError(f"'{self.name}' cannot be read as a video", self._why_not(error), self._fix()) from None
        with container:
            stream = video_stream(container)
            if stream is None:
                holds = ", ".join(sorted({s.type for s in container.streams if s.type != "video"})) or "no video track"
                raise SourceError(f"'{self.name}' holds no video", f"found only {holds}", self._fix())
            self.fps = stream_fps(stream)
            promised_frames = stream.frames
            promised_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
            if promised_s is None and len(container.streams) == 1 and container.duration:
                promised_s = container.duration / av.time_base

            decoder = decoder_for(container, stream, low_delay=False, name=self.name)
            step = 1 / (self.fps or 25.0)
            index, time, start, broken = 0, -step, None, ""
            try:
                for decoded in decoder:
                    if decoded.time is None:
                        time += step
                    else:
                        start = decoded.time if start is None else start
                        # A damaged clock may jump back; what reads us counts on time going on.
                        time = max(decoded.time - start, time)
                    self.damaged = decoder.damaged
                    yield Frame(index + decoder.damaged, time, decoder.image(decoded))
                    index += 1
            except FFmpegError as error:
                broken = reason(error)
            self.damaged = decoder.damaged
            if not index:
                why = broken or "the video is damaged, empty or in a format this FFmpeg does not know"
                raise SourceError(f"Not one picture of '{self.name}' can be decoded", why, self._fix())
            self._report(index, time + step, promised_frames, promised_s, broken)

    def _report(self, frames: int, seconds: float, promised_frames: int, promised_s: float | None, broken: str) -> None:
        """Log what is missing, once, when the file is through."""
        if broken:
            _logger.warning("%s: broke off after %d frames (%.1f s): %s", self.name, frames, seconds, broken)
        elif self.damaged:
            _logger.warning("%s: %d damaged pictures left out, %d delivered", self.name, self.damaged, frames)
        # Durations are rounded, and edit lists shorten a film by some frames: only a real gap is worth a word.
        elif promised_frames - frames > max(2, promised_frames // 100):
            _logger.warning("%s: ended after %d of %d frames: is it cut off?", self.name, frames, promised_frames)
        elif not promised_frames and promised_s is not None and promised_s - seconds > max(0.5, 0.01 * promised_s):
            _logger.warning("%s: ended after %.1f of %.1f s: is it cut off?", self.name, seconds, promised_s)

    def _why_not(self, error: Exception) -> str:
        try:
            if self.path.is_file() and self.path.stat().st_size == 0:
                return "the file is empty"
        except OSError:
            pass
        return reason(error)

    def _fix(self) -> str:
        return "Check that it is a complete video file, for example by playing it"
