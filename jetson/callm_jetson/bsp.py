"""NVIDIA's Board Support Package, unpacked: the folder Linux_for_Tegra with its root file system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from callm_edge.errors import UsageError, UserError
from callm_jetson.boards import Board, Release, release_of

_VERSION = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*([0-9.]+)")
_FETCH = (
    "Unpack Jetson_Linux_R<version>_aarch64.tbz2, and the sample root file system into Linux_for_Tegra/rootfs with "
    "sudo tar xpf, so that it keeps its owners"
)


@dataclass(frozen=True)
class Bsp:
    """folder: Linux_for_Tegra. version: such as (36, 4, 3). applied: NVIDIA's drivers are in the root file system."""

    folder: Path
    version: tuple[int, ...]
    applied: bool

    @property
    def rootfs(self) -> Path:
        return self.folder / "rootfs"

    @property
    def major(self) -> int:
        return self.version[0]

    @property
    def text(self) -> str:
        return ".".join(str(part) for part in self.version)

    @property
    def release(self) -> Release:
        return release_of(self.major)

    def configurations(self) -> frozenset[str]:
        """Names of the board configurations that it holds."""
        return frozenset(path.stem for path in self.folder.glob("*.conf"))

    @classmethod
    def open(cls, folder: Path) -> Bsp:
        """Read the BSP at ``folder`` (Linux_for_Tegra, or the folder that holds it).

        Raises UsageError where there is none, UserError where it is incomplete.
        """
        if not (folder / "apply_binaries.sh").is_file() and (folder / "Linux_for_Tegra").is_dir():
            folder = folder / "Linux_for_Tegra"
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}", "it should be NVIDIA's Linux_for_Tegra", _FETCH)
        if not (folder / "apply_binaries.sh").is_file():
            raise UsageError(f"{folder} is not an unpacked BSP", "it has no apply_binaries.sh", _FETCH)
        if not (folder / "rootfs" / "etc").is_dir() or not (folder / "rootfs" / "usr").is_dir():
            raise UserError(f"The root file system in {folder / 'rootfs'} is missing", "it has no etc and usr", _FETCH)
        applied = _version(folder / "rootfs" / "etc" / "nv_tegra_release")
        stated = _version(folder / "nv_tegra" / "bsp_version") or _shell_version(folder / "nv_tegra" / "bsp_version")
        version = stated or applied
        if version is None:
            raise UserError(
                f"The version of the BSP in {folder} is not to be found",
                "neither nv_tegra/bsp_version nor rootfs/etc/nv_tegra_release names it",
                "Unpack it again",
            )
        return cls(folder.resolve(), version, applied == version)

    def check(self, board: Board) -> None:
        """Raises UserError where NVIDIA ships this L4T line not for ``board``."""
        lines = [entry.l4t_major for entry in board.releases]
        if self.major in lines:
            return
        wanted = " or ".join(f"{entry.l4t_major}.x (JetPack {entry.jetpack})" for entry in board.releases)
        raise UserError(
            f"This BSP is L4T {self.text}, which is not for a {board.name}",
            f"a {board.name} runs L4T {wanted}",
            f"Unpack Jetson Linux {wanted} and give its folder with --bsp",
        )


def _version(path: Path) -> tuple[int, ...] | None:
    """From the line '# R36 (release), REVISION: 4.3, GCID: ...'."""
    found = _VERSION.search(_text(path))
    return (int(found[1]), *(int(part) for part in found[2].split(".") if part)) if found else None


def _shell_version(path: Path) -> tuple[int, ...] | None:
    """From the shell assignments of nv_tegra/bsp_version: BSP_BRANCH=36, BSP_MAJOR=4, BSP_MINOR=3."""
    values = dict(re.findall(r"^\s*(BSP_\w+)=\"?(\d+)\"?\s*$", _text(path), re.MULTILINE))
    names = ("BSP_BRANCH", "BSP_MAJOR", "BSP_MINOR")
    return tuple(int(values[name]) for name in names if name in values) or None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
