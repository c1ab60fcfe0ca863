"""A USB camera whose MJPG pictures a Jetson's hardware decodes, in the shape of cv2.VideoCapture."""

from __future__ import annotations

import logging
from typing import Any

from callm_edge.sources.camera import Capture, open_capture
from callm_edge.sources.gstreamer import PicturePipe, PipelineError, can_run
from callm_edge.sources.gstreamer_pipelines import Pipeline, usb
from callm_edge.sources.hardware_decode import decode_mode

_logger = logging.getLogger(__name__)
_WIDTH, _HEIGHT, _FPS = 1280, 720, 30  # what every MJPG camera of the last ten years gives


def capture_for(device: int | str) -> Capture:
    """The camera at ``device``: decoded in hardware where this is a Jetson, through OpenCV where not or where that
    fails, in which case the log says so."""
    mode = decode_mode()
    if mode == "software":
        return open_capture(device)
    pipeline = usb(f"/dev/video{device}" if isinstance(device, int) else device, _WIDTH, _HEIGHT, _FPS)
    if not can_run(pipeline):
        if mode == "hardware":
            _logger.warning("camera %s: GStreamer has no nvv4l2decoder here, decoding in software", device)
        return open_capture(device)
    try:
        return GstreamerCapture(pipeline)
    except PipelineError as error:
        _logger.warning("camera %s: hardware decoding fails (%s), decoding in software", device, error)
        return open_capture(device)


class GstreamerCapture:
    """Raises PipelineError where no first picture comes."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipe = PicturePipe(pipeline)
        try:
            self._first = self._pipe.read()
            if self._first is None:
                raise PipelineError("the camera ended at once")
        except PipelineError:
            self._pipe.release()
            raise

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, prop: int, value: float, /) -> bool:
        return False  # the pipeline fixes everything

    def get(self, prop: int, /) -> float:
        import cv2

        return self._pipe.fps or 0.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, Any]:
        import cv2

        picture, self._first = self._first, None
        if picture is None:
            try:
                picture = self._pipe.read()
            except PipelineError as error:
                _logger.warning("the camera's pipeline ended: %s", error)
        if picture is None:
            return False, None
        return True, cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420)

    def release(self) -> None:
        self._pipe.release()
