"""GStreamer pipelines of a Jetson's cameras and decoders: one table, from which every pipeline text is built.

Each ends in raw I420 pictures on a pipe: that needs no binding between GStreamer and Python, and a crash in NVIDIA's
camera stack ends a child process instead of the cascade.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# NVIDIA's elements work in memory of their own (NVMM); nvvidconv copies into ours and converts on the way.
# The size is forced, so that who reads the pipe knows it; a stream that changes its own is scaled.
_TO_I420 = "nvvidconv ! video/x-raw,format=I420,width={width},height={height}"
# Not y4menc, which would name size and rate: it writes the padding of decoders' buffers as if it were picture.
_OUT = "fdsink fd={fd} sync=false"
# A camera waits for nobody: what is not fetched in time gives way to what is newer.
_LIVE_QUEUE = "queue max-size-buffers=2 max-size-bytes=0 max-size-time=0 leaky=downstream"
_FILE_QUEUE = "queue max-size-buffers=4 max-size-bytes=0 max-size-time=0"

# name -> (text up to I420, elements that must be installed)
_HEADS = {
    "csi": (
        "nvarguscamerasrc sensor-id={sensor} ! "
        "video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1,format=NV12 ! "
        "nvvidconv flip-method={flip} ! video/x-raw,format=I420,width={width},height={height}",
        ("nvarguscamerasrc", "nvvidconv"),
    ),
    "usb": (
        "v4l2src device={device} ! image/jpeg,width={width},height={height},framerate={fps}/1 ! "
        "jpegparse ! nvv4l2decoder mjpeg=1 ! " + _TO_I420,
        ("v4l2src", "jpegparse", "nvv4l2decoder", "nvvidconv"),
    ),
    "h264": ("fdsrc fd=0 ! h264parse ! nvv4l2decoder ! " + _TO_I420, ("h264parse", "nvv4l2decoder", "nvvidconv")),
    "hevc": ("fdsrc fd=0 ! h265parse ! nvv4l2decoder ! " + _TO_I420, ("h265parse", "nvv4l2decoder", "nvvidconv")),
    "mjpeg": (
        "fdsrc fd=0 ! jpegparse ! nvv4l2decoder mjpeg=1 ! " + _TO_I420,
        ("jpegparse", "nvv4l2decoder", "nvvidconv"),
    ),
}
DECODED = ("h264", "hevc", "mjpeg")  # codecs as FFmpeg names them
_DEVICE = re.compile(r"/dev/[A-Za-z0-9/_.-]+")


@dataclass(frozen=True)
class Pipeline:
    """text: with ``{fd}`` where the number of the pipe goes. elements: that it needs beyond GStreamer's core.

    width, height: of its pictures, pixels. fps: None where the stream itself says it.
    """

    text: str
    elements: tuple[str, ...]
    width: int
    height: int
    fps: float | None = None

    def argv(self, fd: int) -> list[str]:
        """The child process. fd: of the pipe that the pictures come through."""
        return ["gst-launch-1.0", "-q", "-e", *self.text.format(fd=fd).split()]


def csi(sensor: int, width: int, height: int, fps: int, flip: int = 0) -> Pipeline:
    """A camera at the CSI connector ``sensor``. width, height in pixels; flip: nvvidconv's flip-method, 0..7."""
    return _live("csi", sensor=sensor, width=width, height=height, fps=fps, flip=flip)


def usb(device: str, width: int, height: int, fps: int) -> Pipeline:
    """A USB camera whose MJPG pictures the hardware decodes. device: such as /dev/video0."""
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"no device path: {device!r}")
    return _live("usb", device=device, width=width, height=height, fps=fps)


def decode(codec: str, width: int, height: int, *, live: bool) -> Pipeline:
    """Hardware decoding of a ``codec`` of DECODED, whose stream (Annex B, or JPEG after JPEG) comes on standard input.

    The stream itself is fetched by FFmpeg: a camera's password then stands on no command line.
    """
    if codec not in DECODED:
        raise ValueError(f"no hardware decoder for {codec!r}")
    # Between parser and sink nothing may be dropped, else pictures and their times no longer belong together.
    return _pipeline(codec, "queue max-size-buffers=2" if live else _FILE_QUEUE, width=width, height=height)


def _live(name: str, *, width: int, height: int, fps: int, **values: int | str) -> Pipeline:
    return _pipeline(name, _LIVE_QUEUE, fps, width=width, height=height, fps=fps, **values)


def _pipeline(name: str, queue: str, rate: float | None = None, /, **values: int | str) -> Pipeline:
    head, elements = _HEADS[name]
    text = f"{head.format(**values)} ! {queue} ! {_OUT}"
    return Pipeline(text, elements, int(values["width"]), int(values["height"]), rate)
