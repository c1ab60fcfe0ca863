"""The child process, with GStreamer's own decoders in the place of NVIDIA's: everything but the hardware is real."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from callm_edge.errors import UsageError
from callm_edge.sources import gstreamer, gstreamer_capture, hardware_decode, open_source
from callm_edge.sources.csi import CsiSource, open_csi
from callm_edge.sources.gstreamer import PicturePipe, PipelineError, has_element
from callm_edge.sources.gstreamer_pipelines import Pipeline
from callm_edge.sources.hardware_decode import HardwareDecoder, decoder_for
from callm_edge.sources.uri import CsiUri
from callm_edge.sources.video import VideoSource

OUT = "fdsink fd={fd} sync=false"
BALL = "videotestsrc pattern=ball is-live=true{count} ! video/x-raw,format=I420,width=64,height=48,framerate=30/1 ! "
MakeVideo = Callable[..., Path]

needs_gstreamer = pytest.mark.skipif(
    not all(map(has_element, ("fdsink", "videotestsrc", "h264parse", "avdec_h264"))),
    reason="GStreamer's tools are not installed: sudo apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-libav",
)


def ball(count: str = "") -> Pipeline:
    return Pipeline(BALL.replace("{count}", count) + OUT, (), 64, 48, 30)


def software(codec: str = "h264", width: int = 64, height: int = 48, live: bool = False) -> Pipeline:
    """The pipeline of the table with GStreamer's own decoder."""
    size = f"video/x-raw,format=I420,width={width},height={height}"
    return Pipeline(f"fdsrc fd=0 ! h264parse ! avdec_h264 ! videoconvert ! {size} ! {OUT}", (), width, height)


@needs_gstreamer
@pytest.mark.parametrize("size", [(96, 64), (90, 50)])  # rows that GStreamer pads, and rows that it does not
def test_a_file_gives_the_same_pictures_at_the_same_times_as_in_software(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    path = make_video(frames=40, size=size, codec_options={"bf": "2"})  # pictures out of their order in the file
    wanted = list(VideoSource(path))
    monkeypatch.setattr(hardware_decode, "can_run", lambda pipeline: True)
    monkeypatch.setattr(hardware_decode, "decode", software)
    found = list(VideoSource(path))
    assert [(frame.index, frame.time) for frame in found] == [(frame.index, frame.time) for frame in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert np.abs(ours.image.astype(int) - theirs.image).mean() < 2


@needs_gstreamer
def test_a_pipeline_that_gives_nothing_is_replaced_by_software_and_the_log_says_so(
    make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Pipeline(f"fdsrc fd=0 ! nvnosuchdecoder ! {OUT}", (), 64, 48)
    path = make_video(frames=12)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = HardwareDecoder(container, stream, broken, low_delay=False, name="film")
        assert len(list(decoder)) == 12
    assert "film: hardware decoding fails" in caplog.text
    assert "nvnosuchdecoder" in caplog.text
    assert "decoding in software" in caplog.text


@needs_gstreamer
def test_an_iteration_that_is_given_up_leaves_no_child(make_video: MakeVideo) -> None:
    with av.open(str(make_video(frames=200))) as container:
        decoder = HardwareDecoder(container, container.streams.video[0], software(), low_delay=False, name="film")
        frames = iter(decoder)
        next(frames)
        frames.close()  # type: ignore[attr-defined]
    import threading

    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("feeder", "gstreamer"))]


def test_the_software_decoder_is_taken_where_the_hardware_is_not(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hardware_decode, "can_run", lambda pipeline: False)
    with av.open(str(make_video())) as container:
        for mode, said in (("auto", False), ("software", False), ("hardware", True)):
            caplog.clear()
            monkeypatch.setenv("CALLM_EDGE_DECODE", mode)
            decoder = decoder_for(container, container.streams.video[0], low_delay=True, name="gate")
            assert not isinstance(decoder, HardwareDecoder)
            assert ("gate: GStreamer has no nvv4l2decoder here, decoding in software" in caplog.text) is said
    monkeypatch.setenv("CALLM_EDGE_DECODE", "hardwear")
    with pytest.raises(UsageError, match="Did you mean 'hardware'"):
        hardware_decode.decode_mode()


@needs_gstreamer
def test_a_camera_of_a_pipeline_is_live_and_counts_what_it_drops() -> None:
    source = CsiSource("csi:0", ball())
    frames = iter(source)
    first = next(frames)
    assert first.image.shape == (48, 64, 3)
    assert source.live
    assert source.fps == 30
    assert next(frames).index > first.index
    source.close()


@needs_gstreamer
def test_a_camera_without_pictures_says_why() -> None:
    from callm_edge.errors import SourceError

    source = CsiSource("csi:0", Pipeline(f"nvnosuchsource ! {OUT}", (), 64, 48))
    with pytest.raises(SourceError, match="nvnosuchsource"):
        next(iter(source))


@needs_gstreamer
def test_a_usb_camera_in_hardware_looks_like_opencvs(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(gstreamer_capture, "can_run", lambda pipeline: True)
    monkeypatch.setattr(gstreamer_capture, "usb", lambda *_: ball(" num-buffers=3"))
    capture = gstreamer_capture.capture_for(0)
    assert isinstance(capture, gstreamer_capture.GstreamerCapture)
    assert capture.get(cv2.CAP_PROP_FPS) == 30
    reads = [capture.read() for _ in range(4)]
    assert [good for good, _ in reads] == [True, True, True, False]
    assert reads[0][1].shape == (48, 64, 3)
    capture.release()


def test_a_usb_camera_falls_back_to_opencv(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __init__(self, pipeline: Pipeline) -> None:
            raise PipelineError("no such device")

    monkeypatch.setattr(gstreamer_capture, "can_run", lambda pipeline: True)
    monkeypatch.setattr(gstreamer_capture, "GstreamerCapture", Broken)
    capture = gstreamer_capture.capture_for(97)
    assert not isinstance(capture, Broken)
    assert "camera 97: hardware decoding fails (no such device), decoding in software" in caplog.text
    capture.release()


def test_a_csi_camera_without_nvidias_elements_is_read_through_v4l2(caplog: pytest.LogCaptureFixture) -> None:
    from callm_edge.sources.camera import CameraSource

    caplog.set_level(logging.WARNING)
    source = open_csi(CsiUri("csi:1", 1), runs=lambda pipeline: False)
    assert isinstance(source, CameraSource)
    assert source.device == 1
    assert "csi:1: GStreamer has no nvarguscamerasrc here, reading /dev/video1 through V4L2" in caplog.text
    assert isinstance(open_csi(CsiUri("csi:1", 1), runs=lambda pipeline: True), CsiSource)


def test_open_source_knows_csi_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_source("csi:0").name in ("csi:0", "camera 0")


def test_without_gstreamer_there_is_no_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    gstreamer.has_element.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    assert not has_element("fdsink")
    gstreamer.has_element.cache_clear()
    with pytest.raises(PipelineError, match="cannot be started"):
        PicturePipe(ball())
