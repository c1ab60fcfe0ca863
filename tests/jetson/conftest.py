"""A fake BSP whose scripts record how they were called, and the machine around it."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from callm_jetson import flash_host

RECORDER = """#!/bin/sh
# Stands for one of NVIDIA's scripts: writes down how it was called, and does what the test asks for.
{{ printf '%s' "$0"; for a in "$@"; do printf '\\t%s' "$a"; done
   printf '\\t#overlay=%s cwd=%s\\n' "${{ADDITIONAL_DTB_OVERLAY_OPT:-}}" "$(pwd)"; }} >>{calls}
echo "{name} at work"
if [ -e {folder}/fail.{name} ]; then echo "Error: $(cat {folder}/fail.{name})"; exit 7; fi
if [ -e {folder}/hang.{name} ]; then touch {folder}/hanging; sleep 30; fi
{extra}
"""


@dataclass
class FakeBsp:
    """folder: Linux_for_Tegra. sysfs: of the host, with USB devices. bin: programs of the host."""

    folder: Path
    sysfs: Path
    bin: Path

    def calls(self) -> list[list[str]]:
        """argv of every script that ran, the script itself first."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [[part for part in line.split("\t") if not part.startswith("#overlay")] for line in lines]

    def raw_calls(self) -> str:
        path = self.folder / "calls"
        return path.read_text() if path.exists() else ""

    def plug(self, product: str, port: str = "1-3") -> None:
        """Connect an NVIDIA USB device."""
        device = self.sysfs / "bus/usb/devices" / port
        device.mkdir(parents=True)
        (device / "idVendor").write_text("0955\n")
        (device / "idProduct").write_text(f"{product}\n")

    def fail(self, script: str, text: str) -> None:
        """Let that script fail, with this on its output."""
        (self.folder / f"fail.{script}").write_text(text)

    def mend(self, script: str) -> None:
        (self.folder / f"fail.{script}").unlink()


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP)
    return path


@pytest.fixture
def make_bsp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeBsp]:
    """A function: version, such as '36.4.3', and whether NVIDIA's drivers are in its root file system already."""

    def make(version: str, *, applied: bool = False) -> FakeBsp:
        folder = tmp_path / "Linux_for_Tegra"
        branch, major, minor = (version.split(".") + ["0"])[:3]
        for name in (
            "rootfs/etc/systemd/system",
            "rootfs/usr",
            "nv_tegra",
            "bootloader/generic/cfg",
            "tools/kernel_flash",
        ):
            (folder / name).mkdir(parents=True)
        (folder / "nv_tegra/bsp_version").write_text(f"BSP_BRANCH={branch}\nBSP_MAJOR={major}\nBSP_MINOR={minor}\n")
        # What NVIDIA's root file system boots into: a wizard on the screen.
        (folder / "rootfs/etc/systemd/system/default.target").symlink_to("nv-oem-config.target")
        line = f"# R{branch} (release), REVISION: {major}.{minor}, GCID: 1, BOARD: generic, EABI: aarch64"
        release = folder / "rootfs/etc/nv_tegra_release"
        if applied:
            release.write_text(line + "\n")
        scripts = ["apply_binaries.sh", "flash.sh", "tools/l4t_flash_prerequisites.sh"]
        scripts.append("tools/kernel_flash/l4t_initrd_flash.sh")
        if int(branch) >= 38:
            scripts.append("l4t_initrd_flash.sh")
        for name in scripts:
            extra = f"echo {shlex.quote(line)} >{release}" if name == "apply_binaries.sh" else ""
            short = Path(name).name
            text = RECORDER.format(calls=folder / "calls", name=short, folder=folder, extra=extra)
            executable(folder / name, text)
        for name in ("flash_l4t_t234_nvme.xml", "flash_l4t_t264_nvme.xml"):
            (folder / "tools/kernel_flash" / name).touch()
        (folder / "bootloader/generic/cfg/flash_t234_qspi.xml").touch()
        configurations = ["jetson-agx-orin-devkit", "jetson-orin-nano-devkit", "jetson-orin-nano-devkit-super"]
        for name in [*configurations, *(["jetson-agx-thor-devkit"] if int(branch) >= 38 else [])]:
            (folder / f"{name}.conf").touch()
        programs = tmp_path / "bin"
        for tool in (*flash_host.TOOLS, *flash_host.TOOLS_NFS):
            if tool != "python3":
                executable(programs / tool, "#!/bin/sh\n")
        executable(programs / "sudo", '#!/bin/sh\nexec "$@"\n')
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(flash_host, "FREE_BYTES", 1 << 20)
        (tmp_path / "sys").mkdir()
        return FakeBsp(folder, tmp_path / "sys", programs)

    return make


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    path = tmp_path / "id.pub"
    path.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIpq0mUVkVPqiNVVE4YmM1r3QYk2yQ1Jw3r5Y9mO2zzz me@desk\n")
    return path


@pytest.fixture(scope="session")
def write_wheel() -> Callable[..., Path]:
    """A small wheel by hand: pip installs it like any other."""
    return _write_wheel


def _write_wheel(
    folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = (), entry_points: str = ""
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    content = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
    }
    record = f"{info}/RECORD"
    content[record] = "".join(f"{path},,\n" for path in [*content, record])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in content.items():
            # A fixed date: the same content must have the same hash.
            archive.writestr(zipfile.ZipInfo(inner, (2024, 1, 1, 0, 0, 0)), text)
    return path


FAKE_SYSTEMCTL = """#!/bin/sh
# Stands for systemd's: writes down its calls, and calls the service up where its program starts at all.
here=$(dirname "$0")
echo "$*" >>"$here/systemctl.calls"
prefix=$(cat "$here/prefix")
case "$1" in
  restart) if [ "$prefix" = any ] || "$prefix/opt/callm-edge/current/bin/callm-edge" --version >/dev/null 2>&1; then echo active; else echo failed; fi >"$here/state" ;;
  stop) echo inactive >"$here/state" ;;
  show) case "$3" in ActiveState) cat "$here/state" ;; NRestarts) cat "$here/restarts" 2>/dev/null || echo 0 ;; esac ;;
esac
"""  # noqa: E501


@dataclass
class Server:
    """An OpenSSH server on loopback. options: for `deploy`. bin: what stands first on the PATH of its sessions."""

    port: int
    options: list[str]
    bin: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def systemctl_calls(self) -> list[str]:
        path = self.bin / "systemctl.calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of this machine's package, with keys and a configuration of its own."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server is not installed: sudo apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    executable(folder / "bin/systemctl", FAKE_SYSTEMCTL)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 50\nMaxSessions 50\n"
        f"SetEnv PATH={folder}/bin:{Path(sys.executable).resolve().parent}:/usr/bin:/bin\n"
    )
    server = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "config")], stderr=(folder / "log").open("w"), stdin=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if server.poll() is not None:
                pytest.fail(f"sshd does not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        pairs = {
            "IdentityFile": f"{folder}/user",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f"{folder}/known_hosts",
            "StrictHostKeyChecking": "accept-new",
            "User": getpass.getuser(),
            "LogLevel": "ERROR",
        }
        yield Server(port, [f"{key}={value}" for key, value in pairs.items()], folder / "bin")
    finally:
        server.terminate()
        server.wait(timeout=10)
