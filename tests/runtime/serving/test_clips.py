"""Pictures out of data URLs, and what only looks like one."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from callm_edge.serving.clips import read_images, read_video
from callm_edge.serving.errors import ApiError
from callm_edge.serving.limits import Limits

LIMITS = Limits(picture_pixels=1_000_000, pictures=20, video_frames=50)


def url(data: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def tones(pictures: np.ndarray) -> list[int]:
    return [round(float(picture.mean())) for picture in pictures]


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it is huge, and is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (width + 1) * 64, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("count", [16, 32])
def test_frames_and_their_crops(count: int, picture: Callable[..., bytes]) -> None:
    seen = read_images([url(picture(7 * i)) for i in range(count)], LIMITS)
    assert seen.shape == (count, 224, 224, 3)
    assert tones(seen) == pytest.approx([7 * i for i in range(count)], abs=1)


@pytest.mark.parametrize(
    ("count", "frames"), [(1, [0] * 8), (5, [0, 0, 1, 1, 2, 3, 3, 4]), (20, [0, 2, 5, 7, 10, 12, 15, 17])]
)
def test_any_other_number_are_frames(picture: Callable[..., bytes], count: int, frames: list[int]) -> None:
    seen = read_images([url(picture(10 * i)) for i in range(count)], LIMITS)
    assert tones(seen) == pytest.approx([10 * i for i in frames] * 2, abs=1)


def test_crops_are_taken_from_the_middle_and_colours_stay_where_they_are() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[30:70, 80:120] = (250, 130, 10)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    seen = read_images([url(file.getvalue(), "image/png")], LIMITS)
    assert seen[8, 112, 112].tolist() == [250, 130, 10]
    assert seen[8, 2, 2].tolist() == [250, 130, 10]
    assert seen[0, 2, 2].tolist() == [0, 0, 0]


def test_films_give_uniform_frames_and_their_times(film: Callable[..., bytes], picture: Callable[..., bytes]) -> None:
    seen, times = read_video(url(film(16), "video/mp4"), LIMITS)
    assert times == pytest.approx([0.2 * i for i in range(8)])
    assert tones(seen[:8]) == pytest.approx([20 * i for i in range(8)], abs=5)
    frames = ",".join(base64.b64encode(picture(10 * i)).decode() for i in range(16))
    seen, times = read_video(f"data:video/jpeg;base64,{frames}", LIMITS)
    assert times == ()
    assert tones(seen) == pytest.approx([20 * i for i in range(8)] * 2, abs=1)


def test_what_is_shorter_than_8_frames_is_seen_again(film: Callable[..., bytes], picture: Callable[..., bytes]) -> None:
    seen = read_images([url(picture(60 * i), "image/jpeg") for i in range(3)], LIMITS)
    assert tones(seen) == pytest.approx([0, 0, 0, 60, 60, 60, 120, 120] * 2, abs=2)
    seen, times = read_video(url(film(2), "video/mp4"), LIMITS)
    assert len(seen) == 16
    assert times == pytest.approx([0.0] * 4 + [0.1] * 4)


def test_bombs_are_refused_by_their_headers(film: Callable[..., bytes], picture: Callable[..., bytes]) -> None:
    tracemalloc.start()
    for data, kind in ((png_bomb(30000, 30000), "image/png"), (png_bomb(1001, 1000), "image/png")):
        with pytest.raises(ApiError) as caught:
            read_images([url(data, kind)], LIMITS)
        assert (caught.value.status, caught.value.code) == (413, "image_too_large")
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    with pytest.raises(ApiError, match="larger than 1000000 pixels"):
        read_video(url(film(3, 1024, 1024), "video/mp4"), LIMITS)
    for read, code in (
        (lambda: read_video(url(film(51), "video/mp4"), LIMITS), "too_many_frames"),
        (lambda: read_video("data:video/jpeg;base64," + ",".join(["AAAA"] * 21), LIMITS), "too_many_frames"),
    ):
        with pytest.raises(ApiError) as caught:
            read()
        assert (caught.value.status, caught.value.code) == (413, code)


def test_a_film_whose_pictures_grow_is_held_to_the_limit(picture: Callable[..., bytes]) -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 60, "yuvj420p"
        stream.codec_context.open()
        for number in range(6):
            packet = av.Packet(picture(90) if number < 3 else picture(90, 1200, 1000))
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 10), stream
            container.mux(packet)
    film = url(file.getvalue(), "video/mp4")
    assert len(set(read_video(film, Limits())[1])) == 6
    assert len(set(read_video(film, LIMITS)[1])) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:,",
        "data:image/jpeg,abc",
        "data:text/html;base64,AAAA",
        "http://127.0.0.1/a.jpg",
        "data:image/jpeg;base64,",
        "data:image/jpeg;base64,AA==AA",
        "data:image/svg+xml;base64,PHN2Zz4=",
    ],
)
def test_what_is_no_picture_is_refused(text: str) -> None:
    for read in (lambda: read_images([text], LIMITS), lambda: read_video(text, LIMITS)):
        with pytest.raises(ApiError) as caught:
            read()
        assert caught.value.status == 400


def test_a_playlist_is_no_film(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("x") / "secret.mp4"
    for text in (f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n"):
        with pytest.raises(ApiError) as caught:
            read_video(url(text.encode(), "video/mp4"), LIMITS)
        assert caught.value.code == "invalid_video"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_never_ends_in_anything_but_a_refusal(data: st.DataObject) -> None:
    file = io.BytesIO()
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]))
    Image.new("RGB", (40, 30), (9, 99, 199)).save(file, kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        seen = read_images([url(bytes(content), "image/png")], LIMITS)
    except ApiError as error:
        status, shape = error.status, None
    else:
        status, shape = 200, seen.shape
    assert (status, shape) in {(400, None), (413, None), (200, (16, 224, 224, 3))}
    assert kind != "GIF" or status == 400
