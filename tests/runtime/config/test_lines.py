"""Lines of keys, wherever TOML lets them stand."""

from __future__ import annotations

import pytest

from callm_edge.config.lines import line_of

TEXT = """# a comment = 1
a = 1
b.c = 2
[t]
d = { e = 1 }
"quoted key" = 3
[[x]]
f = 1
[[x]]
f = 2
[[x.y]]
g = 1
[[x.y]]
g = 2
[x.z]
h = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("b", "c"), 3),
        (("t", "d", "e"), 5),
        (("t", "quoted key"), 6),
        (("x", 0, "f"), 8),
        (("x", 1, "f"), 10),
        (("x", 1, "y", 1, "g"), 14),
        (("x", 1, "z", "h"), 16),
        (("x", 1, "missing"), 9),
        (("nowhere",), None),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(TEXT, path) == line
