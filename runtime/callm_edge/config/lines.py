"""In which line of a TOML file a key stands: the parser does not say, and people want to know."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")

Path = tuple[str | int, ...]


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """1-based line of the key or table at `path`, or of the nearest that holds it; None where none does.

    path: as in a validation error, such as ('camera', 1, 'ignore', 0, 'box'). What looks like a key inside of a string
    over several lines may be taken for one; then a line is named that is near, at worst.
    """
    places = _places(text)
    for length in range(len(path), 0, -1):
        if found := places.get(tuple(path[:length])):
            return found
    return None


def _places(text: str) -> dict[Path, int]:
    places: dict[Path, int] = {}
    counts: dict[Path, int] = {}  # how many tables each array has so far
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _absolute(_parts(header[2]), counts, is_array=header[1] == "[[")
            places.setdefault(table, number)
        elif key := _KEY.match(line):
            for length in range(1, len(parts := _parts(key[1])) + 1):
                places.setdefault((*table, *parts[:length]), number)
    return places


def _parts(text: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(text)]


def _absolute(parts: list[str], counts: dict[Path, int], is_array: bool) -> Path:
    """The path of a header: of each array on the way, the newest element."""
    path: Path = ()
    for at, part in enumerate(parts):
        path = (*path, part)
        if at == len(parts) - 1 and is_array:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path
