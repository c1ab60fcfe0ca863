"""Board x storage x L4T line -> the flashing command that NVIDIA documents for it.

Sources: Jetson Linux Developer Guide, Quick Start and Flashing Support, r36.4, r38.4 and r39.2, and
tools/kernel_flash/README_initrd_flash.txt of those releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from callm_edge.errors import UsageError
from callm_jetson.boards import Board

STORAGES = ("nvme", "emmc", "sd", "usb")

# As the device calls them while it is being flashed.
_DEVICE = {"nvme": "nvme0n1p1", "usb": "sda1", "sd": "mmcblk0p1"}
_INITRD_36 = "./tools/kernel_flash/l4t_initrd_flash.sh"
_INITRD = "./l4t_initrd_flash.sh"
_LAYOUT_T234 = "tools/kernel_flash/flash_l4t_t234_nvme.xml"
_LAYOUT_T264 = "tools/kernel_flash/flash_l4t_t264_nvme.xml"
_QSPI = "-c bootloader/generic/cfg/flash_t234_qspi.xml"
_ORIN_SMALL = ("orin-nano", "orin-nx")

# Without eMMC on the module, and only the Nano developer kit's module has a card slot.
_STORAGES_OF = {
    "orin-nano": ("nvme", "sd", "usb"),
    "orin-nx": ("nvme", "usb"),
    "agx-orin": ("emmc", "nvme", "sd", "usb"),
    "agx-thor": ("nvme", "usb"),
}
_DEFAULT_STORAGE = {"orin-nano": "nvme", "orin-nx": "nvme", "agx-orin": "emmc", "agx-thor": "nvme"}


@dataclass(frozen=True)
class FlashCommand:
    """argv: run as root from the BSP's folder. environment: added to it. needs: files that the BSP must hold."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def storages(board: Board, l4t_major: int) -> tuple[str, ...]:
    """Where NVIDIA documents a root file system for this board and L4T line."""
    found = _STORAGES_OF[board.name]
    if board.name == "agx-orin" and l4t_major >= 39:
        # The Quick Start lost its line for the card; a guess here would write to the wrong disk.
        return tuple(storage for storage in found if storage != "sd")
    return found


def default_storage(board: Board) -> str:
    """The storage that the developer kit has from the start, or that NVIDIA's Quick Start names first."""
    return _DEFAULT_STORAGE[board.name]


def configuration(board: Board, present: frozenset[str]) -> str:
    """NVIDIA's name of the board configuration. present: configurations that the BSP holds (its *.conf, no suffix).

    The Orin Nano developer kit takes the Super variant where the BSP has it (36.4.3 on), as the Quick Start does;
    carriers of other makers may not feed it, so that it is never chosen for a bare Orin NX.
    """
    if board.name == "orin-nano" and "jetson-orin-nano-devkit-super" in present:
        return "jetson-orin-nano-devkit-super"
    if board.name in _ORIN_SMALL:
        return "jetson-orin-nano-devkit"
    return f"jetson-{board.name}-devkit"


def apply_binaries(board: Board) -> FlashCommand:
    """The step that puts NVIDIA's drivers into the root file system; Thor's GPU works with the open modules only."""
    argv = ("./apply_binaries.sh", "--openrm") if board.name == "agx-thor" else ("./apply_binaries.sh",)
    return FlashCommand(argv, needs=("apply_binaries.sh",))


def flash_command(board: Board, storage: str, l4t_major: int, config: str, *, erase_all: bool = False) -> FlashCommand:
    """The documented command line for ``config`` (of that board) on ``storage``.

    erase_all: NVIDIA's tool erases every storage of the board first. Its Quick Start for 39.x does; on a large NVMe
    that can outlast the tool's own patience, so it is off unless asked for. flash.sh knows no such option.

    Raises UsageError for a storage that NVIDIA documents no command for.
    """
    known = storages(board, l4t_major)
    if storage not in known:
        raise UsageError(
            f"A {board.name} cannot be flashed to '{storage}' with L4T {l4t_major}.x",
            "NVIDIA documents no command for that",
            f"Use --storage {' or '.join(known)}",
        )
    if board.name == "agx-thor":
        command = _thor(storage, config)
    elif l4t_major >= 39:
        command = _orin_39(board, storage, config)
    else:
        command = _orin_36(board, storage, config)
    if erase_all:
        if command.argv[0] == "./flash.sh":
            raise UsageError("flash.sh has no --erase-all", "", "Leave --erase-all out for eMMC with L4T 36.x")
        command = FlashCommand((command.argv[0], "--erase-all", *command.argv[1:]), command.environment, command.needs)
    return command


def _orin_36(board: Board, storage: str, config: str) -> FlashCommand:
    if storage == "emmc":
        return FlashCommand(("./flash.sh", config, "internal"), needs=("flash.sh",))
    external = ("--external-device", _DEVICE[storage], "-c", _LAYOUT_T234)
    network = ("--showlogs", "--network", "usb0")
    if board.name in _ORIN_SMALL:
        argv = (_INITRD_36, *external, "-p", _QSPI, *network, config, "internal")
        return FlashCommand(argv, needs=(_INITRD_36, _LAYOUT_T234, _QSPI.removeprefix("-c ")))
    # 'external' as root device: with 'internal' the tool would fill the eMMC as well.
    return FlashCommand((_INITRD_36, *external, *network, config, "external"), needs=(_INITRD_36, _LAYOUT_T234))


def _orin_39(board: Board, storage: str, config: str) -> FlashCommand:
    if board.name in _ORIN_SMALL:
        # These configurations name the NVMe and its layout themselves.
        device = () if storage == "nvme" else ("--external-device", _DEVICE[storage])
        return FlashCommand((_INITRD, *device, config, "internal"), needs=(_INITRD,))
    if storage == "emmc":
        return FlashCommand((_INITRD, config, "internal"), needs=(_INITRD,))
    external = ("--external-device", _DEVICE[storage], "-c", _LAYOUT_T234)
    return FlashCommand((_INITRD, *external, config, "external"), needs=(_INITRD, _LAYOUT_T234))


def _thor(storage: str, config: str) -> FlashCommand:
    if storage == "nvme":
        return FlashCommand((_INITRD, config, "internal"), needs=(_INITRD,))
    argv = (_INITRD, "--external-device", _DEVICE[storage], "-c", _LAYOUT_T264, "--showlogs", config, "internal")
    return FlashCommand(argv, {"ADDITIONAL_DTB_OVERLAY_OPT": "BootOrderUsb.dtbo"}, (_INITRD, _LAYOUT_T264))
