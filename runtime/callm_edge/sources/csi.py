"""A camera at a Jetson's CSI connector, through NVIDIA's image processor; V4L2 where that is not there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import cv2

from callm_edge.errors import SourceError
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.camera import CameraSource
from callm_edge.sources.gstreamer import PicturePipe, PipelineError, can_run
from callm_edge.sources.gstreamer_pipelines import Pipeline, csi
from callm_edge.sources.live import FeedLost, LiveSource
from callm_edge.sources.source import Frame, Source
from callm_edge.sources.uri import CsiUri

_logger = logging.getLogger(__name__)


class CsiSource(LiveSource):
    """Frames of a pipeline that gives pictures by itself, with the Unix time at which they were read.

    A camera that gives nothing at the first attempt is an error at once; one that fails later is waited for. The rest:
    see LiveSource.
    """

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        *,
        buffer_frames: int = 2,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        stall_s: float = 2.0,
    ) -> None:
        super().__init__(name, buffer_frames=buffer_frames, backoff=backoff, max_attempts=max_attempts, stall_s=stall_s)
        self._pipeline = pipeline

    def _connect(self) -> _CsiFeed:
        try:
            return _CsiFeed(PicturePipe(self._pipeline))
        except PipelineError as error:
            if self._captured:
                raise FeedLost(str(error)) from None
            raise SourceError(
                f"{self.name} gives no pictures",
                str(error),
                "Check the ribbon cable and the connector's number, then: sudo systemctl restart nvargus-daemon",
            ) from None


class _CsiFeed:
    live = True

    def __init__(self, pipe: PicturePipe) -> None:
        self._pipe = pipe
        try:
            first = pipe.read()
        except PipelineError:
            pipe.release()
            raise
        if first is None:
            pipe.release()
            raise PipelineError("the camera ended at once")
        self.fps = pipe.fps
        self._first: Frame | None = self._frame(first)

    def read(self) -> Frame:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            picture = self._pipe.read()
        except PipelineError as error:
            raise FeedLost(str(error)) from None
        if picture is None:
            raise FeedLost("the camera gives no pictures any more")
        return self._frame(picture)

    def close(self) -> None:
        self._pipe.release()

    def _frame(self, picture: object) -> Frame:
        return Frame(0, time.time(), cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420))  # type: ignore[call-overload]


def open_csi(target: CsiUri, runs: Callable[[Pipeline], bool] = can_run) -> Source:
    """The camera that ``target`` names. Without NVIDIA's elements it is read through V4L2, and the log says so: some
    CSI cameras bring an image processor of their own and give finished pictures there."""
    pipeline = csi(target.sensor, target.width, target.height, target.fps, target.flip)
    if runs(pipeline):
        return CsiSource(target.name, pipeline)
    _logger.warning(
        "%s: GStreamer has no nvarguscamerasrc here, reading /dev/video%d through V4L2", target.name, target.sensor
    )
    return CameraSource(target.sensor)
