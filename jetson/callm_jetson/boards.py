"""The boards that callm-edge is made for, and the software that NVIDIA ships for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from callm_edge.errors import UsageError
from callm_edge.names import nearest


@dataclass(frozen=True)
class Release:
    """A JetPack release. l4t, cuda, tensorrt, python: versions as NVIDIA writes them. ubuntu, glibc: of its root file
    system."""

    jetpack: str
    l4t: str
    cuda: str
    tensorrt: str
    python: str
    ubuntu: str
    glibc: tuple[int, int]

    @property
    def l4t_major(self) -> int:
        """36, 38, 39: what decides the layout of the BSP and the flashing commands."""
        return int(self.l4t.split(".")[0])


@dataclass(frozen=True)
class Board:
    """A Jetson module on NVIDIA's carrier.

    architecture: of its GPU, as nvcc names it.
    releases: JetPacks that support it, newest last.
    recovery_ids: USB product ids (vendor 0955) in force recovery mode, and the module that each stands for.
    enter_recovery: what a person does to get there.
    """

    name: str
    architecture: str
    releases: tuple[Release, ...]
    recovery_ids: Mapping[str, str]
    enter_recovery: str


JETPACK_6_2 = Release("6.2", "36.4", "12.6", "10.3", "3.10", "22.04", (2, 35))
JETPACK_7_1 = Release("7.1", "38.4", "13.0", "10.13", "3.12", "24.04", (2, 39))
JETPACK_7_2 = Release("7.2", "39.2", "13.2", "10.16", "3.12", "24.04", (2, 39))

_JUMPER = (
    "power the board off, put a jumper over FC REC and GND on the button header, connect the USB-C port to this "
    "machine, power on, take the jumper off"
)
_BUTTONS = (
    "connect the USB-C port beside the 40-pin header to this machine, hold Force Recovery, press and release Power "
    "(or Reset where it is on), release Force Recovery"
)

# Product ids: Jetson Linux Developer Guide, Quick Start, "To determine whether the developer kit is in force recovery
# mode". sm_80 code does not run on Orin's sm_87, nor sm_100 code on Thor's sm_110.
BOARDS = {
    board.name: board
    for board in (
        Board(
            "orin-nano",
            "sm_87",
            (JETPACK_6_2, JETPACK_7_2),
            {"7523": "Orin Nano 8GB", "7623": "Orin Nano 4GB"},
            _JUMPER,
        ),
        Board(
            "orin-nx",
            "sm_87",
            (JETPACK_6_2, JETPACK_7_2),
            {"7323": "Orin NX 16GB", "7423": "Orin NX 8GB"},
            _JUMPER,
        ),
        Board(
            "agx-orin",
            "sm_87",
            (JETPACK_6_2, JETPACK_7_2),
            {"7023": "AGX Orin 32GB/64GB", "7223": "AGX Orin 32GB"},
            _BUTTONS,
        ),
        Board(
            "agx-thor",
            "sm_110",
            (JETPACK_7_1, JETPACK_7_2),
            {"7026": "Thor T5000", "7226": "Thor T4000"},
            _BUTTONS.replace("beside the 40-pin header", "marked for recovery"),
        ),
    )
}


def board(name: str) -> Board:
    """The board of that name. Raises UsageError naming the nearest."""
    if name not in BOARDS:
        raise UsageError(f"There is no board '{name}'", f"boards are {', '.join(BOARDS)}", nearest(name, BOARDS))
    return BOARDS[name]


def release_of(l4t_major: int) -> Release:
    """The JetPack of that L4T line. Raises UsageError for a line that callm-edge does not know."""
    known = {entry.l4t_major: entry for each in BOARDS.values() for entry in each.releases}
    if l4t_major not in known:
        lines = ", ".join(f"{major}.x" for major in sorted(known))
        raise UsageError(f"L4T {l4t_major} is not supported", f"callm-edge knows L4T {lines}")
    return known[l4t_major]
