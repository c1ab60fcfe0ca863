"""Every board x storage x L4T line gives the command line that NVIDIA documents, or a refusal that names what works."""

from __future__ import annotations

import shlex

import pytest

from callm_edge.errors import UsageError
from callm_jetson.boards import BOARDS, board
from callm_jetson.flash_table import STORAGES, apply_binaries, configuration, flash_command, storages

INITRD = "./tools/kernel_flash/l4t_initrd_flash.sh"
SMALL_36 = (
    INITRD + " --external-device {device} -c tools/kernel_flash/flash_l4t_t234_nvme.xml "
    '-p "-c bootloader/generic/cfg/flash_t234_qspi.xml" --showlogs --network usb0 {config} internal'
)
AGX_36 = (
    INITRD + " --external-device {device} -c tools/kernel_flash/flash_l4t_t234_nvme.xml "
    "--showlogs --network usb0 jetson-agx-orin-devkit external"
)
THOR_USB = (
    "./l4t_initrd_flash.sh --external-device sda1 -c tools/kernel_flash/flash_l4t_t264_nvme.xml "
    "--showlogs jetson-agx-thor-devkit internal"
)
NANO, NX = "jetson-orin-nano-devkit-super", "jetson-orin-nano-devkit"
# Typed from NVIDIA's Quick Start pages (r36.4, r38.4, r39.2) and README_initrd_flash.txt, not from the table.
DOCUMENTED = {
    ("orin-nano", 36, "nvme"): SMALL_36.format(device="nvme0n1p1", config=NANO),
    ("orin-nano", 36, "usb"): SMALL_36.format(device="sda1", config=NANO),
    ("orin-nano", 36, "sd"): SMALL_36.format(device="mmcblk0p1", config=NANO),
    ("orin-nx", 36, "nvme"): SMALL_36.format(device="nvme0n1p1", config=NX),
    ("orin-nx", 36, "usb"): SMALL_36.format(device="sda1", config=NX),
    ("agx-orin", 36, "emmc"): "./flash.sh jetson-agx-orin-devkit internal",
    ("agx-orin", 36, "nvme"): AGX_36.format(device="nvme0n1p1"),
    ("agx-orin", 36, "usb"): AGX_36.format(device="sda1"),
    ("agx-orin", 36, "sd"): AGX_36.format(device="mmcblk0p1"),
    ("agx-thor", 38, "nvme"): "./l4t_initrd_flash.sh jetson-agx-thor-devkit internal",
    ("agx-thor", 38, "usb"): THOR_USB,
    ("agx-thor", 39, "nvme"): "./l4t_initrd_flash.sh jetson-agx-thor-devkit internal",
    ("agx-thor", 39, "usb"): THOR_USB,
    ("orin-nano", 39, "nvme"): f"./l4t_initrd_flash.sh {NANO} internal",
    ("orin-nano", 39, "sd"): f"./l4t_initrd_flash.sh --external-device mmcblk0p1 {NANO} internal",
    ("orin-nano", 39, "usb"): f"./l4t_initrd_flash.sh --external-device sda1 {NANO} internal",
    ("orin-nx", 39, "nvme"): f"./l4t_initrd_flash.sh {NX} internal",
    ("orin-nx", 39, "usb"): f"./l4t_initrd_flash.sh --external-device sda1 {NX} internal",
    ("agx-orin", 39, "emmc"): "./l4t_initrd_flash.sh jetson-agx-orin-devkit internal",
    ("agx-orin", 39, "nvme"): "./l4t_initrd_flash.sh --external-device nvme0n1p1 "
    "-c tools/kernel_flash/flash_l4t_t234_nvme.xml jetson-agx-orin-devkit external",
    ("agx-orin", 39, "usb"): "./l4t_initrd_flash.sh --external-device sda1 "
    "-c tools/kernel_flash/flash_l4t_t234_nvme.xml jetson-agx-orin-devkit external",
}
PRESENT = frozenset({NANO, NX, "jetson-agx-orin-devkit", "jetson-agx-thor-devkit"})
LINES = [(name, release.l4t_major) for name, each in BOARDS.items() for release in each.releases]


@pytest.mark.parametrize(("name", "major"), LINES)
@pytest.mark.parametrize("storage", STORAGES)
def test_the_documented_command_line_or_a_refusal(name: str, major: int, storage: str) -> None:
    chosen = board(name)
    config = configuration(chosen, PRESENT)
    documented = DOCUMENTED.get((name, major, storage))
    if documented is None:
        assert storage not in storages(chosen, major)
        with pytest.raises(
            UsageError, match=rf"cannot be flashed to '{storage}'.*Use --storage {storages(chosen, major)[0]}"
        ):
            flash_command(chosen, storage, major, config)
        return
    assert list(flash_command(chosen, storage, major, config).argv) == shlex.split(documented)


def test_only_a_thor_on_usb_needs_the_boot_order_overlay() -> None:
    for name, major, storage in DOCUMENTED:
        command = flash_command(board(name), storage, major, configuration(board(name), PRESENT))
        wanted = {"ADDITIONAL_DTB_OVERLAY_OPT": "BootOrderUsb.dtbo"} if (name, storage) == ("agx-thor", "usb") else {}
        assert command.environment == wanted


def test_the_super_configuration_is_taken_where_the_bsp_has_it_and_never_for_an_orin_nx() -> None:
    assert configuration(board("orin-nano"), PRESENT - {NANO}) == NX
    assert configuration(board("orin-nx"), PRESENT) == NX


def test_erase_all_comes_first_and_flash_sh_refuses_it() -> None:
    command = flash_command(board("orin-nx"), "nvme", 39, NX, erase_all=True)
    assert command.argv == ("./l4t_initrd_flash.sh", "--erase-all", NX, "internal")
    with pytest.raises(UsageError, match="--erase-all"):
        flash_command(board("agx-orin"), "emmc", 36, "jetson-agx-orin-devkit", erase_all=True)


def test_thor_alone_takes_the_open_driver() -> None:
    assert apply_binaries(board("agx-thor")).argv == ("./apply_binaries.sh", "--openrm")
    for name in ("orin-nano", "orin-nx", "agx-orin"):
        assert apply_binaries(board(name)).argv == ("./apply_binaries.sh",)
