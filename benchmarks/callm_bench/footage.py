"""The footage that everything is measured on: the synthetic plaza, which is the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.evidence import JPEG_QUALITY
from callm_edge.plaza import FPS, HEIGHT, WIDTH, Plaza
from callm_edge.stage2.ways import Ways

PICTURE = f"{WIDTH}x{HEIGHT}"


@lru_cache(maxsize=2)
def images(count: int) -> tuple[np.ndarray, ...]:
    """(HEIGHT, WIDTH, 3) uint8 BGR pictures in a row, with somebody on a bicycle."""
    drawn = iter(Plaza(5, ("cyclist",), count / FPS + 1))
    return tuple(next(drawn)[0] for _ in range(count))


def looped(pictures: tuple[np.ndarray, ...]) -> Iterator[np.ndarray]:
    """Forth and back again without end, so that nothing ever jumps."""
    while True:
        yield from pictures
        yield from pictures[-2:0:-1]


def film(path: Path, pictures: tuple[np.ndarray, ...]) -> None:
    """Write pictures as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for image in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))


def clip(pictures: tuple[np.ndarray, ...], ways: Ways | None) -> Clip:
    """What stage 2 is asked about: the pictures as JPEG, an error peak in each, and the usual ways."""
    import cv2

    frames = []
    for index, image in enumerate(pictures):
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        frames.append(ClipFrame(index, index / FPS, jpeg, 12.0, ((WIDTH / 2, HEIGHT / 2),)))
    return Clip("0" * 32, "", 20.0, tuple(frames), ways)
