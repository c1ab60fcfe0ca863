from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callm_edge.errors import SourceError
from callm_edge.sources import Frame, SourceState, open_source
from callm_edge.sources.decode import to_image
from callm_edge.sources.video import VideoSource


def read(path: Path) -> list[Frame]:
    with VideoSource(path) as source:
        frames = list(source)
    assert source.state is SourceState.ENDED
    return frames


def failure(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        list(VideoSource(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("size", "pix_fmt", "codec", "name"),
    [
        ((64, 48), "yuv420p", "libx264", "v.mp4"),
        ((16, 16), "yuv420p", "libx264", "v.mp4"),
        ((641, 359), "yuv444p", "libx264", "v.mp4"),
        ((641, 359), "yuvj420p", "mjpeg", "v.avi"),
        ((63, 47), "bgr0", "ffv1", "v.mkv"),
    ],
)
def test_colour_frames_come_as_bgr_with_media_time(
    make_video: Any, size: tuple[int, int], pix_fmt: str, codec: str, name: str
) -> None:
    path = make_video(name, size=size, pix_fmt=pix_fmt, codec=codec)
    source = open_source(str(path))
    assert not source.live
    frames = list(source)
    assert source.fps == 25
    assert [f.index for f in frames] == list(range(30))
    assert [f.time for f in frames] == pytest.approx([i / 25 for i in range(30)], abs=2e-3)
    assert {f.image.shape for f in frames} == {(size[1], size[0], 3)}
    assert frames[0].image.dtype == np.uint8
    means = np.array([f.image.mean() for f in frames])
    assert np.all(np.abs(means - [20 + i * 4 for i in range(30)]) < 5)


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le"])
def test_gray_frames_stay_two_dimensional(make_video: Any, pix_fmt: str) -> None:
    frames = read(make_video("g.mkv", codec="ffv1", pix_fmt=pix_fmt, size=(63, 47)))
    assert {f.image.shape for f in frames} == {(47, 63)}
    assert frames[20].image.mean() == pytest.approx(100, abs=4)


def test_gray_of_limited_range_is_spread_to_the_full_one() -> None:
    frame = av.VideoFrame.from_ndarray(np.array([[16, 235] * 8] * 16, np.uint8), format="gray")
    frame.color_range = 1
    image = to_image(frame)
    assert image.shape == (16, 16)
    assert (image[0, 0], image[0, 1]) == (0, 255)


def test_blue_is_the_first_channel(make_video: Any) -> None:
    def blue(index: int, size: tuple[int, int]) -> np.ndarray:
        return np.full((size[1], size[0], 3), (250, 10, 10), np.uint8)

    image = read(make_video(draw=blue, frames=1))[0].image
    assert image[20, 20, 0] > 200
    assert image[20, 20, 2] < 50


def test_one_frame_is_a_video(make_video: Any) -> None:
    frames = read(make_video(frames=1))
    assert [(f.index, f.time) for f in frames] == [(0, 0.0)]


def test_a_phone_held_upright_gives_upright_pictures(make_video: Any) -> None:
    def left_white(index: int, size: tuple[int, int]) -> np.ndarray:
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[:, : size[0] // 2] = 255
        return image

    path = make_video(draw=left_white, frames=2)
    content = path.read_bytes()
    at = content.index(b"tkhd")
    identity = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    turned = b"".join(n.to_bytes(4, "big") for n in (0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000))
    matrix = content.index(identity, at)
    path.write_bytes(content[:matrix] + turned + content[matrix + len(turned) :])
    # That matrix sends what is right to where down is: a quarter turn clockwise, so left comes to the top.
    image = read(path)[0].image
    assert image.shape == (64, 48, 3)
    assert image[:24].mean() > 240
    assert image[-24:].mean() < 15


def test_the_size_may_change_on_the_way(tmp_path: Path, make_video: Any) -> None:
    parts = [make_video(f"{s}.h264", size=(s, 48), frames=5).read_bytes() for s in (64, 96)]
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    shapes = [f.image.shape for f in read(tmp_path / "both.h264")]
    assert shapes == [(48, 64, 3)] * 5 + [(48, 96, 3)] * 5


@pytest.mark.usefixtures("silent_stderr")
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("zero.mp4", b"", "the file is empty"),
        ("text.mp4", b"hello world\n" * 100, "cannot be read as a video"),
        ("text.txt", b"hello world\n" * 100, "holds no video"),
        ("noise.mkv", np.random.default_rng(0).bytes(5000), "cannot be read as a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    message = failure(tmp_path / name)
    assert says in message
    assert name in message


@pytest.mark.usefixtures("silent_stderr")
def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    assert "found only audio" in failure(path)


@pytest.mark.usefixtures("silent_stderr")
def test_a_file_without_its_index_is_refused(make_video: Any) -> None:
    path = make_video()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cannot be read as a video" in failure(path)


@pytest.mark.usefixtures("silent_stderr")
def test_a_header_without_pictures_is_refused(make_video: Any) -> None:
    path = make_video(options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])
    assert path.name in failure(path)


@pytest.mark.usefixtures("silent_stderr")
@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4"])
def test_a_file_that_breaks_off_gives_its_sound_frames_and_a_warning(
    make_video: Any, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    path = make_video(name, frames=50, size=(128, 96), options=options)
    whole = [f.image for f in read(path)]
    assert not caplog.records
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames = read(path)
    assert 20 <= len(frames) < 45
    for frame in frames:
        assert np.array_equal(frame.image, whole[frame.index])
    assert [r.name for r in caplog.records] == ["callm_edge.sources.video"]
    assert "cut off" in caplog.text or "broke off" in caplog.text or "damaged" in caplog.text


def picture(index: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


@pytest.mark.usefixtures("silent_stderr")
@pytest.mark.parametrize("kind", ["zeros", "noise", "half"])
def test_damage_in_the_middle_costs_only_what_hangs_on_it(
    make_video: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def drifting(index: int, size: tuple[int, int]) -> np.ndarray:
        # Alike enough for P frames that hang on each other, and yet no two packets are the same.
        return np.roll(picture(0, size), index, axis=1) // 2 + picture(index, size) // 16

    path = make_video("hole.mkv", frames=50, codec_options={"g": "10", "sc_threshold": "0"}, draw=drifting)
    whole = [f.image for f in read(path)]
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if round((p.pts or 0) / 40) == 23]
    hole = np.random.default_rng(0).bytes(len(packets[0])) if kind == "noise" else bytes(len(packets[0]))
    if kind == "half":
        hole = packets[0][: len(hole) // 2] + hole[len(hole) // 2 :]
    assert content.count(packets[0]) == 1
    # The container stays sound; the picture in it does not.
    path.write_bytes(content.replace(packets[0], hole))

    source = VideoSource(path)
    times = {}
    for frame in source:
        position = round(frame.time * 25)
        times[position] = frame
        assert np.array_equal(frame.image, whole[position]), f"frame {position} is damaged"
    assert 23 not in times
    assert set(range(20)) | set(range(30, 50)) <= set(times)
    assert source.damaged >= 1
    assert "damaged pictures left out" in caplog.text


def test_closing_from_inside_ends_the_iteration_and_frees_the_file(make_video: Any) -> None:
    source = VideoSource(make_video())
    seen = 0
    for _ in source:
        seen += 1
        source.close()
    assert seen == 1
    assert source.state is SourceState.ENDED
    with pytest.raises(RuntimeError, match="open the source again"):
        iter(source)


def test_closed_before_it_was_read(make_video: Any) -> None:
    source = VideoSource(make_video())
    source.close()
    source.close()
    assert source.state is SourceState.ENDED
    assert list(source) == []
