"""What a person writes to name a source, and which source that is."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from callm_edge.errors import SourceError, UsageError
from callm_edge.names import nearest

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".ts", ".mpg", ".mpeg"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})

# What somebody who mistyped most likely meant: rtsps is nearer to every typo of rtsp, and next to nobody has it.
_COMMON_SCHEMES = ("rtsp", "http", "https")
_KINDS = (
    "a video file, a folder of images, a camera (0, /dev/video0, or csi:0 on a Jetson), an rtsp:// or http:// URL, "
    "or test:plaza"
)
_CSI_KEYS = {"width": (16, 8192), "height": (16, 8192), "fps": (1, 240), "flip": (0, 7)}
_PLAZA_KEYS = ("seed", "anomaly", "seconds")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,4}")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:@\[\]]*)(:[0-9]{0,5})?")
_SECRET_KEY = re.compile(
    r"(?i)([?&;](?:[^=&;]*(?:pass|pwd|secret|token|key|auth|user|usr|login|sig)[^=&;]*)=)[^&;#\s]*"
)


@dataclass(frozen=True)
class FileUri:
    """An existing file; whether it is a video shows when it is read."""

    path: Path
    name: str


@dataclass(frozen=True)
class FolderUri:
    """An existing folder with at least one image."""

    path: Path
    name: str


@dataclass(frozen=True)
class CameraUri:
    """A V4L2 camera: its index, or the path of its device."""

    device: int | str


@dataclass(frozen=True)
class CsiUri:
    """A camera at a Jetson's CSI connector ``sensor``. width, height: pixels; flip: 0..7, 2 is upside down."""

    name: str
    sensor: int
    width: int = 1280
    height: int = 720
    fps: int = 30
    flip: int = 0


@dataclass(frozen=True)
class StreamUri:
    """A network stream. ``url`` may hold a password: show ``redact(url)``."""

    url: str


@dataclass(frozen=True)
class PlazaUri:
    """The synthetic plaza. anomalies: names of what goes wrong there, none for a normal day. seconds: its length."""

    name: str
    seed: int = 0
    anomalies: tuple[str, ...] = ()
    seconds: float = 60.0


SourceUri = FileUri | FolderUri | CameraUri | CsiUri | StreamUri | PlazaUri


def parse_uri(text: str) -> SourceUri:
    """What ``text`` names.

    Raises UsageError where it names nothing that exists, SourceError for a folder without images.
    """
    text = text.strip()
    if not text or "\0" in text:
        raise UsageError("The source is empty" if not text else "The source holds a zero byte", "", f"Give {_KINDS}")
    if _INTEGER.fullmatch(text):
        return CameraUri(int(text))
    if re.fullmatch(r"/dev/video[0-9]+", text):
        return CameraUri(text)
    if text.startswith("csi:"):
        return _parse_csi(text)
    if text.startswith("test:"):
        return _parse_test(text)
    if scheme := _SCHEME.match(text):
        return _parse_url(text, scheme[1].lower())
    return _parse_path(text)


def redact(uri: str) -> str:
    """``uri`` fit for a log or a screen: user, password and the values of secret query keys are replaced by ``***``."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return uri
    rest = uri[scheme.end() :]
    at = _end_of_credentials(rest)
    hidden = f"***@{rest[at + 1 :]}" if at >= 0 else rest
    return uri[: scheme.end()] + _SECRET_KEY.sub(r"\1***", hidden)


def _end_of_credentials(rest: str) -> int:
    """Where the ``@`` stands that ends user:password in a URL without its scheme, or -1."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and _HOST_AND_PORT.fullmatch(authority):
        return -1
    # People write passwords with '/', '?', '#' and '@' unescaped. FFmpeg cannot use such a URL, but it must not be
    # shown either: where the authority is no plain host, everything up to the last '@' counts as secret.
    return rest.rfind("@")


def _parse_url(text: str, scheme: str) -> SourceUri:
    if scheme == "file":
        return _parse_path(re.sub(r"^localhost(?=/)", "", text[len("file://") :]))
    if scheme not in STREAM_SCHEMES:
        raise UsageError(
            f"'{redact(text)}' is no source",
            f"the scheme '{scheme}' is not supported",
            _hint(nearest(scheme, _COMMON_SCHEMES), f"Supported are {', '.join(STREAM_SCHEMES)}"),
        )
    if not re.match(r"[^/?#\s]", text[len(scheme) + 3 :]):
        raise UsageError(f"'{redact(text)}' is no source", "the URL names no host", f"Write {scheme}://HOST/PATH")
    return StreamUri(text)


def _parse_path(text: str) -> SourceUri:
    path = Path(text)
    try:
        path = path.expanduser()
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"'{text}' is no source", str(error), f"Give {_KINDS}") from None
    if not exists:
        raise UsageError(
            f"No file or folder '{text}'", _why_missing(path), _hint(_near_paths(path), f"A source is {_KINDS}")
        )
    if not is_folder:
        return FileUri(path, text)
    _check_folder(path, text)
    return FolderUri(path, text)


def _why_missing(path: Path) -> str:
    absolute = path.absolute()
    missing = absolute
    while not missing.parent.exists():
        missing = missing.parent
    if missing.parent.is_dir():
        return f"looked for {absolute}" + (f", but there is no folder {missing}" if missing != absolute else "")
    return f"looked for {absolute}, but {missing.parent} is not a folder"


def _near_paths(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    # Case and suffix are what people get wrong most, and difflib rates them no better than any other letter.
    folded = {name.casefold(): name for name in names}
    stems = {Path(name).stem.casefold(): name for name in names}
    near = [found for table, key in ((folded, path.name), (stems, path.stem)) if (found := table.get(key.casefold()))]
    near += [folded[name] for name in difflib.get_close_matches(path.name.casefold(), folded, n=3, cutoff=0.6)]
    quoted = [f"'{path.parent / name}'" for name in list(dict.fromkeys(near))[:3]]
    return f"Did you mean {' or '.join(quoted)}?" if quoted else ""


def _check_folder(path: Path, text: str) -> None:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise SourceError(f"The folder '{text}' cannot be read", error.strerror or str(error)) from None
    if any(is_image(entry) for entry in entries):
        return
    inside = [entry for entry in entries if entry.is_dir()]
    if not entries:
        why = "it is empty"
    else:
        why = f"none of its {len(entries)} entries ends in {', '.join(sorted(IMAGE_SUFFIXES))}"
    fix = f"Give one of the folders inside it, such as '{inside[0]}'" if inside else f"Give {_KINDS}"
    raise SourceError(f"The folder '{text}' holds no images", why, fix)


def is_image(path: Path) -> bool:
    """Whether ``path`` is named like an image; hidden files (macOS leaves '._x.jpg' beside 'x.jpg') are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _parse_csi(text: str) -> CsiUri:
    sensor, _, query = text.removeprefix("csi:").partition("?")
    if not re.fullmatch(r"[0-9]{1,2}", sensor):
        raise UsageError(f"'{text}' is no source", "a CSI camera is named by its connector", "Write csi:0 or csi:1")
    values: dict[str, int] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _CSI_KEYS:
            fix = _hint(nearest(key, _CSI_KEYS), f"Known are {', '.join(_CSI_KEYS)}")
            raise UsageError(f"'{text}' is no source", f"a CSI camera knows no '{key}'", fix)
        low, high = _CSI_KEYS[key]
        if not re.fullmatch(r"[0-9]{1,4}", value) or not low <= int(value) <= high:
            raise UsageError(f"'{text}' is no source", f"{key} is '{value}'", f"Give a number from {low} to {high}")
        values[key] = int(value)
    return CsiUri(text, int(sensor), **values)


def _parse_test(text: str) -> PlazaUri:
    scene, _, query = text.removeprefix("test:").partition("?")
    if scene != "plaza":
        raise UsageError(
            f"'{text}' is no source",
            f"there is no test scene '{scene}'",
            _hint(nearest(scene, ("plaza",)), "The test scene is test:plaza"),
        )
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _PLAZA_KEYS:
            fix = _hint(nearest(key, _PLAZA_KEYS), f"Known are {', '.join(_PLAZA_KEYS)}")
            raise UsageError(f"'{text}' is no source", f"the plaza knows no '{key}'", fix)
        if key in values:
            raise UsageError(f"'{text}' is no source", f"'{key}' is given twice", "Give it once")
        values[key] = value
    return PlazaUri(
        name=text,
        seed=_seed(values.get("seed", "0"), text),
        anomalies=_anomalies(values.get("anomaly", "none"), text),
        seconds=_seconds(values.get("seconds", "60"), text),
    )


def _seed(value: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise UsageError(
            f"'{text}' is no source", f"seed is '{value}'", "Give a whole number from 0 up, such as seed=7"
        )
    return int(value)


def _seconds(value: str, text: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"'{text}' is no source", f"seconds is '{value}'", "Give a length above 0, such as seconds=60")
    return seconds


def _anomalies(value: str, text: str) -> tuple[str, ...]:
    if value == "none":
        return ()
    # Only here: drawing needs OpenCV, and most sources are no plaza.
    from callm_edge.plaza import ANOMALIES

    known = tuple(ANOMALIES)
    if value == "all":
        return known
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in known:
            choices = (*known, "all", "none")
            fix = _hint(nearest(name, choices), f"Known are {', '.join(choices)}")
            raise UsageError(f"'{text}' is no source", f"there is no anomaly '{name}'", fix)
    return tuple(dict.fromkeys(names))


def _hint(guess: str, rule: str) -> str:
    return f"{guess} {rule}" if guess else rule
