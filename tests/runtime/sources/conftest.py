"""Media that the source tests read, made here with the encoders that PyAV brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

MakeVideo = Callable[..., Path]


def picture(index: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8: noise, so that frames have weight in bytes, above a mean brightness that tells the index."""
    rng = np.random.default_rng(index)
    return np.clip(rng.normal(20 + index * 4, 12, (size[1], size[0], 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    def make(
        name: str = "video.mp4",
        *,
        frames: int = 30,
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        codec_options: dict[str, str] | None = None,
        draw: Callable[[int, tuple[int, int]], np.ndarray] = picture,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            stream = container.add_stream(codec, rate=Fraction(25), options=codec_options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(draw(index, size), format="bgr24").reformat(format=pix_fmt)
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture
def silent_stderr(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """FFmpeg, libjpeg and OpenCV write to file descriptor 2 behind Python's back; here they must not."""
    yield
    assert capfd.readouterr().err == ""
