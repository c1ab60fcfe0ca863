"""Which Jetsons are on this machine's USB, and in what mode: read from sysfs, so that lsusb need not be there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from callm_edge.errors import UserError
from callm_jetson.boards import BOARDS, Board

VENDOR = "0955"  # NVIDIA
RUNNING = "7020"  # a Jetson that has booted Linux and offers its USB network
SYSFS = Path("/sys")


@dataclass(frozen=True)
class UsbDevice:
    """An NVIDIA device. port: such as '1-3', what NVIDIA's tools call the USB instance; product: id, lower case."""

    port: str
    product: str


def nvidia_devices(sysfs: Path = SYSFS) -> list[UsbDevice]:
    """Every NVIDIA device on USB, in the order of its port."""
    found = []
    for folder in sorted((sysfs / "bus" / "usb" / "devices").glob("*")):
        if _id(folder / "idVendor") == VENDOR:
            found.append(UsbDevice(folder.name, _id(folder / "idProduct")))
    return found


def in_recovery(board: Board, sysfs: Path = SYSFS) -> UsbDevice:
    """The one ``board`` that waits in force recovery mode.

    Raises UserError where there is none, another board, or more than one: a flash to the wrong one erases it.
    """
    devices = nvidia_devices(sysfs)
    ours = [device for device in devices if device.product in board.recovery_ids]
    if len(ours) == 1:
        return ours[0]
    how = f"To get there: {board.enter_recovery}"
    if ours:
        ports = ", ".join(device.port for device in ours)
        raise UserError(
            f"{len(ours)} boards of this kind wait in recovery mode",
            f"they are at the USB ports {ports}",
            "Leave only the one that is to be flashed connected",
        )
    for device in devices:
        for other in BOARDS.values():
            if device.product in other.recovery_ids:
                raise UserError(
                    f"The board in recovery mode is no {board.name}",
                    f"USB id {VENDOR}:{device.product} is {other.recovery_ids[device.product]}",
                    f"Use --board {other.name}, or connect the right one",
                )
    if any(device.product == RUNNING for device in devices):
        raise UserError(
            "The board is connected but not in force recovery mode",
            f"USB id {VENDOR}:{RUNNING} is a Jetson that has booted",
            how,
        )
    wanted = " or ".join(f"{VENDOR}:{product}" for product in board.recovery_ids)
    raise UserError("No board in force recovery mode", f"there is no USB device {wanted}", how)


def _id(path: Path) -> str:
    try:
        return path.read_text().strip().lower()
    except OSError:
        return ""
