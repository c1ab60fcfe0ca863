"""Pictures out of requests: data URLs to what the vision encoder reads, with nothing decoded before it is measured.

Only data URLs: a server that fetched addresses for its clients could be sent to any machine behind it.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from callm_edge.serving.errors import ApiError
from callm_edge.serving.limits import Limits
from callm_edge.serving.schemas import Embeddings
from callm_edge.stage2.pictures import CROPS, SIDE, clip_pictures, shown
from callm_edge.stage2.prompts import FRAMES, QUERIES

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_FORMATS = ("JPEG", "PNG", "WEBP")
# Text of a data URL's head: more than this is no media type.
_HEAD = 100
_LARGEST = 65504.0  # of float16


def read_images(urls: Sequence[str], limits: Limits, side: int = SIDE) -> np.ndarray:
    """`image_url` parts -> (16 or 32, side, side, 3) RGB uint8: 8 frames, then one or three crops of each.

    16 and 32 pictures are 8 frames and then crops of the same frames, as our own client sends them. Any other number
    are frames, of which 8 uniform ones count, some of them again where there are fewer; crops are from the middle.
    Raises ApiError for what is no picture, and for one larger than the limit.
    """
    pictures = [_data(url, ("image/",)) for url in urls]
    if len(pictures) in (2 * FRAMES, (1 + CROPS) * FRAMES):
        return np.stack([_seen(data, at, limits, side)[0] for at, data in enumerate(pictures)])
    return _frames(pictures, limits, side)


def read_video(url: str, limits: Limits, side: int = SIDE) -> tuple[np.ndarray, tuple[float, ...]]:
    """A `video_url` -> pictures as `read_images` and, where the film tells, the seconds at which each was taken."""
    head, _, rest = url[:_HEAD].partition(",")
    if head.lower() == "data:video/jpeg;base64":
        frames = url[len(head) + 1 :].split(",", limits.pictures) if rest else []
        if len(frames) > limits.pictures:
            raise ApiError(413, f"The film has more than {limits.pictures} frames", "too_many_frames", "messages")
        return _frames([_decoded(frame) for frame in frames], limits, side), ()
    return _film(_data(url, ("video/mp4",)), limits, side)


def read_embeddings(part: Embeddings, width: int) -> np.ndarray:
    """The video queries as (32, width) float32. Raises ApiError where they do not fit this server's language model."""
    if part.width != width:
        raise ApiError(
            400,
            f"The embeddings are {part.width} wide, the language model here reads {width}: they are another model's",
            "invalid_embeddings",
            "messages",
        )
    data = _decoded(part.data)
    kind = np.dtype(part.dtype).newbyteorder("<")
    if len(data) != QUERIES * width * kind.itemsize:
        raise ApiError(
            400,
            f"The embeddings have {len(data)} bytes; {QUERIES} x {width} of {part.dtype} have "
            f"{QUERIES * width * kind.itemsize}",
            "invalid_embeddings",
            "messages",
        )
    video = np.frombuffer(data, kind).reshape(QUERIES, width).astype(np.float32)
    # Not finite, or so large that the language model's own sums would not be.
    if not (np.abs(video) <= _LARGEST).all():
        raise ApiError(400, "The embeddings hold numbers that are none", "invalid_embeddings", "messages")
    return video


def _frames(pictures: Sequence[bytes], limits: Limits, side: int) -> np.ndarray:
    if not pictures:
        raise ApiError(400, "The film has no frames", "invalid_video", "messages")
    # One at a time, so that only one picture in full size is in memory, and only those that count are decoded.
    return _both([_seen(pictures[at], at, limits, side) for at in shown(len(pictures))])


def _both(seen: Sequence[np.ndarray]) -> np.ndarray:
    """(2, S, S, 3) of each frame, itself and its crop -> all frames, then all crops."""
    return np.concatenate([np.stack([two[0] for two in seen]), np.stack([two[1] for two in seen])])


def _seen(data: bytes, number: int, limits: Limits, side: int) -> np.ndarray:
    """(2, side, side, 3): the picture and its middle."""
    from PIL import Image, ImageOps

    where = f"Picture {number}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, which have our own limit; of odd metadata
            # Size and picture come from one parser: a second one might read another size out of the same bytes.
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                _measure(where, image.width, image.height, limits)
                picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except ApiError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(where, limits) from None
    except Exception as error:  # Pillow's plugins raise whatever their parsers stumble over
        raise ApiError(400, f"{where} is no JPEG, PNG or WebP picture, or damaged", "invalid_image", "messages") from (
            error
        )
    return clip_pictures([np.ascontiguousarray(picture[:, :, ::-1])], [()], 1, side)


def _film(data: bytes, limits: Limits, side: int) -> tuple[np.ndarray, tuple[float, ...]]:
    from callm_edge.sources.decode import Decoder, FFmpegError

    found: dict[int, tuple[np.ndarray, float]] = {}
    try:
        wanted = shown(_film_length(data, limits))
        container, stream = _opened(data, limits)
        with container:
            decoder = Decoder(container, stream, low_delay=True)
            for number, frame in enumerate(decoder):
                if number in wanted:
                    found[number] = clip_pictures([decoder.image(frame)], [()], 1, side), float(frame.time or 0)
                if number >= wanted[-1]:
                    break
    except (FFmpegError, ValueError, EOFError) as error:
        raise _no_film(limits) from error
    if not found:
        raise _no_film(limits)
    # A film that ends before its header says shows its last frame again.
    seen = [found[number if number in found else max(found)] for number in wanted]
    return _both([pictures for pictures, _ in seen]), tuple(time - seen[0][1] for _, time in seen)


def _no_film(limits: Limits) -> ApiError:
    why = f"The film cannot be decoded, or its pictures are larger than {limits.picture_pixels} pixels"
    return ApiError(400, why, "invalid_video", "messages")


def _opened(data: bytes, limits: Limits) -> tuple[InputContainer, VideoStream]:
    import av

    from callm_edge.sources.decode import video_stream

    # The header's word is one thing; the codec's own, which may change within the film, is held to the same limit.
    most = {"max_pixels": str(limits.picture_pixels)}
    # The format is given, since others that FFmpeg might guess are playlists, which open further files.
    container = av.open(io.BytesIO(data), "r", format="mp4", options=most)
    stream = video_stream(container)
    if stream is None:
        container.close()
        raise ApiError(400, "The film has no picture", "invalid_video", "messages")
    try:
        _measure("The film", stream.codec_context.width, stream.codec_context.height, limits)
    except ApiError:
        container.close()
        raise
    stream.codec_context.options = most
    return container, stream


def _film_length(data: bytes, limits: Limits) -> int:
    """Frames, counted without decoding any."""
    container, stream = _opened(data, limits)
    with container:
        count = 0
        for packet in container.demux(stream):
            count += bool(packet.size)
            if count > limits.video_frames:
                raise ApiError(
                    413, f"The film has more than {limits.video_frames} frames", "too_many_frames", "messages"
                )
    if not count:
        raise ApiError(400, "The film has no frames", "invalid_video", "messages")
    return count


def _measure(what: str, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.picture_pixels:
        raise _too_large(f"{what} has {width} x {height} pixels and", limits)


def _too_large(what: str, limits: Limits) -> ApiError:
    return ApiError(413, f"{what} is larger than {limits.picture_pixels} pixels", "image_too_large", "messages")


def _data(url: str, kinds: tuple[str, ...]) -> bytes:
    head, comma, _ = url[:_HEAD].partition(",")
    if not head.lower().startswith("data:"):
        raise ApiError(400, "Only data: URLs are read; this server fetches nothing", "invalid_url", "messages")
    media, _, coding = head[len("data:") :].lower().rpartition(";")
    if not comma or coding != "base64" or not media.startswith(kinds):
        raise ApiError(
            400, f"The data: URL is not of the form data:{kinds[0]}...;base64,...", "invalid_url", "messages"
        )
    return _decoded(url[len(head) + 1 :])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "A part of the request is no base64", "invalid_base64", "messages") from error
