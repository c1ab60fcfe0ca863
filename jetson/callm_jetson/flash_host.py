"""What the machine that flashes must have: tools, free space, and the right to be root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from callm_edge.errors import UserError

# The tool, and the Debian package that brings it: what NVIDIA's tools/l4t_flash_prerequisites.sh installs and its
# scripts call.
TOOLS = {
    "abootimg": "abootimg",
    "cpp": "cpp",
    "dtc": "device-tree-compiler",
    "lbzip2": "lbzip2",
    "lz4": "lz4",
    "openssl": "openssl",
    "python3": "python3",
    "qemu-aarch64-static": "qemu-user-static",
    "rsync": "rsync",
    "sshpass": "sshpass",
    "uuidgen": "uuid-runtime",
    "xmllint": "libxml2-utils",
    "zstd": "zstd",
}
# Up to 36.x the board fetches its images over NFS through the USB cable.
TOOLS_NFS = {"exportfs": "nfs-kernel-server"}

# The system image, its sparse copy and the generated partitions, with NVIDIA's sample root file system.
FREE_BYTES = 30 << 30


def check_tools(l4t_major: int) -> None:
    """Raises UserError naming the packages that are missing."""
    wanted = TOOLS | (TOOLS_NFS if l4t_major < 38 else {})
    missing = sorted({package for tool, package in wanted.items() if not _found(tool)})
    if missing:
        raise UserError(
            "This machine lacks tools that NVIDIA's scripts call",
            f"not installed: {', '.join(missing)}",
            f"Run: sudo apt-get install {' '.join(missing)} (or flash with --install-prerequisites)",
        )


def check_space(folder: Path) -> None:
    """Raises UserError where the disk that holds ``folder`` is too full for the images."""
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise UserError(
            f"Too little space beside {folder}",
            f"{free / 2**30:.1f} GiB free, {FREE_BYTES / 2**30:.0f} GiB needed for the images",
            "Free some, or unpack the BSP on another disk",
        )


def root_prefix() -> tuple[str, ...]:
    """What goes before a command that needs root: nothing for root, else sudo. Raises UserError where neither is."""
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        raise UserError("Flashing needs root", "you are not root, and sudo is not installed", "Run it as root")
    return ("sudo",)


def _found(tool: str) -> bool:
    # The sbin folders are root's, and the tools are run as root.
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
