"""The pipelines as text: what runs on a Jetson, word by word."""

from __future__ import annotations

import pytest

from callm_edge.sources.gstreamer_pipelines import DECODED, csi, decode, usb

LIVE_OUT = " ! queue max-size-buffers=2 max-size-bytes=0 max-size-time=0 leaky=downstream ! fdsink fd={fd} sync=false"


def test_a_csi_camera() -> None:
    assert csi(1, 1920, 1080, 30, flip=2).text == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1,format=NV12 ! "
        "nvvidconv flip-method=2 ! video/x-raw,format=I420,width=1920,height=1080" + LIVE_OUT
    )


def test_a_usb_camera() -> None:
    assert usb("/dev/video2", 1280, 720, 25).text == (
        "v4l2src device=/dev/video2 ! image/jpeg,width=1280,height=720,framerate=25/1 ! "
        "jpegparse ! nvv4l2decoder mjpeg=1 ! nvvidconv ! video/x-raw,format=I420,width=1280,height=720" + LIVE_OUT
    )


@pytest.mark.parametrize(
    ("codec", "middle"),
    [
        ("h264", "h264parse ! nvv4l2decoder"),
        ("hevc", "h265parse ! nvv4l2decoder"),
        ("mjpeg", "jpegparse ! nvv4l2decoder mjpeg=1"),
    ],
)
def test_decoders(codec: str, middle: str) -> None:
    text = decode(codec, 640, 360, live=False).text
    assert text.startswith(f"fdsrc fd=0 ! {middle} ! nvvidconv ! video/x-raw,format=I420,width=640,height=360 ! queue ")
    for live in (True, False):
        assert "leaky" not in decode(codec, 640, 360, live=live).text, "a dropped picture would shift all later times"


def test_every_pipeline_names_the_elements_that_it_uses() -> None:
    core = {"queue", "fdsink", "fdsrc"}
    for pipeline in (
        csi(0, 640, 480, 30),
        usb("/dev/video0", 640, 480, 30),
        *(decode(c, 640, 360, live=True) for c in DECODED),
    ):
        elements = {part.split()[0] for part in pipeline.text.split(" ! ") if not part.startswith(("video/", "image/"))}
        assert elements - core == set(pipeline.elements)


def test_the_command_line() -> None:
    argv = decode("h264", 640, 360, live=False).argv(7)
    assert argv[:4] == ["gst-launch-1.0", "-q", "-e", "fdsrc"]
    assert argv[-2:] == ["fd=7", "sync=false"]


def test_what_has_no_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="vp9"):
        decode("vp9", 640, 360, live=False)
    with pytest.raises(ValueError, match="device"):
        usb("/dev/video0 ! filesink location=/etc/passwd", 640, 480, 30)
