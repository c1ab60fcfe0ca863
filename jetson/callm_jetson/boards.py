"""The boards that callm-edge is made for, and the software that NVIDIA ships for them."""

from __future__ import annotations

from dataclasses import dataclass

from callm_edge.errors import UsageError
from callm_edge.names import nearest


@dataclass(frozen=True)
class Release:
    """A JetPack release. l4t, cuda, tensorrt, python: versions as NVIDIA writes them."""

    jetpack: str
    l4t: str
    cuda: str
    tensorrt: str
    python: str


@dataclass(frozen=True)
class Board:
    """A Jetson module. architecture: of its GPU, as nvcc names it; releases: JetPacks that support it, newest last."""

    name: str
    architecture: str
    releases: tuple[Release, ...]


JETPACK_6_2 = Release("6.2", "36.4", "12.6", "10.3", "3.10")
JETPACK_7_1 = Release("7.1", "38.4", "13.0", "10.13", "3.12")
JETPACK_7_2 = Release("7.2", "39.2", "13.2", "10.16", "3.12")

# sm_80 code does not run on Orin's sm_87, nor sm_100 code on Thor's sm_110.
BOARDS = {
    board.name: board
    for board in (
        Board("orin-nano", "sm_87", (JETPACK_6_2, JETPACK_7_2)),
        Board("orin-nx", "sm_87", (JETPACK_6_2, JETPACK_7_2)),
        Board("agx-orin", "sm_87", (JETPACK_6_2, JETPACK_7_2)),
        Board("agx-thor", "sm_110", (JETPACK_7_1, JETPACK_7_2)),
    )
}


def board(name: str) -> Board:
    """The board of that name. Raises UsageError naming the nearest."""
    if name not in BOARDS:
        raise UsageError(f"There is no board '{name}'", f"boards are {', '.join(BOARDS)}", nearest(name, BOARDS))
    return BOARDS[name]
