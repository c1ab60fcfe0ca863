"""A network stream: RTSP, or anything that FFmpeg reads over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av

from callm_edge.errors import SourceError
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.decode import FFmpegError, reason, stream_fps, video_stream
from callm_edge.sources.hardware_decode import decoder_for
from callm_edge.sources.live import FeedLost, LiveSource
from callm_edge.sources.source import Frame
from callm_edge.sources.uri import redact

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_REFUSED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)


class StreamSource(LiveSource):
    """Frames of the stream at ``url``.

    A live stream (RTSP always; HTTP without an end) is ``live``, stamped with the Unix time of arrival, and connected
    again whenever it breaks. A finite file behind HTTP delivers every frame with its media time, then ends.

    max_attempts: connections that may fail in a row before SourceError. None tries RTSP for ever (the camera may still
        be booting) and the first HTTP connection once.
    timeout_s: seconds that connecting, and waiting for data, may take.
    The rest: see LiveSource.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        buffer_frames: int = 4,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        stall_s: float = 2.0,
    ) -> None:
        super().__init__(
            redact(url), buffer_frames=buffer_frames, backoff=backoff, max_attempts=max_attempts, stall_s=stall_s
        )
        self._url = url
        self._timeout_s = timeout_s
        self._rtsp = url.lower().startswith("rtsp")

    def _connect(self) -> _StreamFeed:
        # TCP, because over UDP each lost packet is a smeared picture, and that is an anomaly to stage 1.
        options = {"rtsp_transport": "tcp"} if self._rtsp else {}
        start = time.monotonic()
        try:
            container = av.open(self._url, options=options, timeout=(self._timeout_s, self._timeout_s))
        except (FFmpegError, OSError) as error:
            raise self._failure(error, time.monotonic() - start) from None
        try:
            stream = video_stream(container)
            if stream is None:
                raise SourceError(f"{self.name} holds no video", "", "Check the path of the stream")
            finite = not self._rtsp and (bool(container.duration) or container.size > 0)
            return _StreamFeed(self.name, container, stream, live=not finite)
        except BaseException:
            container.close()
            raise

    def _failure(self, error: Exception, seconds: float) -> Exception:
        # Interrupted by our own time limit, FFmpeg reports whatever it was doing as broken.
        why = f"no answer within {self._timeout_s:g} s" if seconds >= self._timeout_s else reason(error)
        if self._captured:
            return FeedLost(why)
        # A wrong password stays wrong, and trying on gets the account locked.
        if isinstance(error, _REFUSED):
            fix = "Check user and password: they go before the host, scheme://USER:PASSWORD@HOST/PATH"
            return SourceError(f"{self.name} refuses us", why, fix)
        if not self._rtsp and self._max_attempts is None:
            return SourceError(f"{self.name} cannot be read", why, "Check the URL, for example in a browser")
        return FeedLost(why)


class _StreamFeed:
    def __init__(self, name: str, container: InputContainer, stream: VideoStream, *, live: bool) -> None:
        self.live = live
        self.fps = stream_fps(stream)
        self._name = name
        self._container = container
        self._decoder = decoder_for(container, stream, low_delay=live, name=name)
        self._frames: Iterator[av.VideoFrame] = iter(self._decoder)
        self._start: float | None = None
        self._time = 0.0

    def read(self) -> Frame | None:
        try:
            decoded = next(self._frames, None)
        except FFmpegError as error:
            why = "no data any more" if isinstance(error, av.error.ExitError) else reason(error)
            if self.live:
                raise FeedLost(why) from None
            raise SourceError(f"{self._name} broke off", why, "Read it again, or download it first") from None
        if decoded is None:
            if self.live:
                raise FeedLost("the stream ended")
            return None
        return Frame(0, self._time_of(decoded), self._decoder.image(decoded))

    def _time_of(self, decoded: av.VideoFrame) -> float:
        if self.live:
            # The clock of arrival, not of RTP: that one wraps after 13 hours and starts anew with each connection.
            return time.time()
        if decoded.time is not None:
            self._start = decoded.time if self._start is None else self._start
            self._time = max(self._time, decoded.time - self._start)
        return self._time

    def close(self) -> None:
        self._frames = iter(())
        self._container.close()
