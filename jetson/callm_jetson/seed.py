"""What is put into the root file system before it is flashed: an archive of files with their owners and modes.

An archive, because it can be made without root and laid out with one command; and because what is in it can be shown.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from callm_edge.errors import UsageError, UserError
from callm_jetson.device import device_file

_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/=]+( .*)?")


@dataclass(frozen=True)
class Wifi:
    """password: empty for an open network."""

    ssid: str
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Seed:
    """What the device is told at birth.

    user: created at the first boot, with ``keys`` (lines of authorized_keys) and no password.
    power_mode: name or id of an nvpmodel mode, None leaves NVIDIA's default. clocks: pin them at their maximum.
    payload: a release folder (see ``callm_jetson.release``) to install at the first boot, or None.
    """

    hostname: str
    user: str
    keys: tuple[str, ...]
    wifi: Wifi | None = None
    power_mode: str | None = None
    clocks: bool = False
    payload: Path | None = None

    def __post_init__(self) -> None:
        if not _HOSTNAME.fullmatch(self.hostname):
            raise UsageError(
                f"'{self.hostname}' is no host name",
                "",
                "Use small letters, digits and hyphens inside, 63 at most",
            )
        if not _USER.fullmatch(self.user) or self.user in ("root", "callm-edge"):
            raise UsageError(f"'{self.user}' cannot be the user's name", "", "Use a name such as 'edge'")
        if self.wifi and (not 1 <= len(self.wifi.ssid.encode()) <= 32 or not self.wifi.ssid.isprintable()):
            raise UsageError("The Wi-Fi's name is no SSID", "an SSID has 1 to 32 bytes", "Check --wifi")
        if self.wifi and self.wifi.password and not 8 <= len(self.wifi.password) <= 63:
            raise UsageError("The Wi-Fi's password cannot be right", "WPA passwords have 8 to 63 characters")
        if self.power_mode is not None and not re.fullmatch(r"[A-Za-z0-9_]+", self.power_mode):
            raise UsageError(f"'{self.power_mode}' is no power mode", "", "Give a name or number of nvpmodel's")

    def files(self) -> Iterator[tuple[str, int, bytes | Path]]:
        """(path in the root file system, mode, content) of every file; all belong to root."""
        settings = [f"USER_NAME={self.user}", f"HOST_NAME={self.hostname}", f"CLOCKS={int(self.clocks)}"]
        settings += [f"POWER_MODE={self.power_mode}"] if self.power_mode is not None else []
        settings += [f"RELEASE={self.payload.name}"] if self.payload is not None else []
        yield "etc/hostname", 0o644, f"{self.hostname}\n".encode()
        yield "etc/callm-edge/firstboot.env", 0o644, ("\n".join(settings) + "\n").encode()
        yield "etc/callm-edge/authorized_keys", 0o644, ("\n".join(self.keys) + "\n").encode()
        # Keys only, and from the first second: the file is there before the server starts.
        yield (
            "etc/ssh/sshd_config.d/50-callm-edge.conf",
            0o644,
            b"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin no\n",
        )
        # A user without a password cannot type one for sudo, and `deploy` must not wait for one.
        yield "etc/sudoers.d/callm-edge", 0o440, f"{self.user} ALL=(ALL) NOPASSWD: ALL\n".encode()
        yield "usr/local/sbin/callm-edge-firstboot", 0o755, device_file("firstboot.sh").read_bytes()
        yield (
            "etc/systemd/system/callm-edge-firstboot.service",
            0o644,
            device_file("callm-edge-firstboot.service").read_bytes(),
        )
        if self.wifi is not None:
            yield "etc/NetworkManager/system-connections/callm-edge-wifi.nmconnection", 0o600, _keyfile(self.wifi)
        if self.payload is not None:
            base = f"opt/callm-edge/incoming/{self.payload.name}"
            yield "usr/local/lib/callm-edge/agent.py", 0o644, device_file("agent.py").read_bytes()
            for path in sorted(self.payload.rglob("*")):
                if path.is_file():
                    mode = path.stat().st_mode & 0o755
                    yield f"{base}/{path.relative_to(self.payload).as_posix()}", mode, path

    def links(self) -> Iterator[tuple[str, str]]:
        """(path, target) of every symbolic link."""
        yield (
            "etc/systemd/system/multi-user.target.wants/callm-edge-firstboot.service",
            "/etc/systemd/system/callm-edge-firstboot.service",
        )
        # NVIDIA's image boots into a wizard on the screen; without this the board waits there for ever, unreachable.
        yield "etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target"

    def write(self, archive: Path) -> None:
        """Write the archive. Readable by its owner only: it may hold the Wi-Fi's password."""
        archive.touch(mode=0o600)
        archive.chmod(0o600)
        with tarfile.open(archive, "w") as tar:
            for name, mode, content in self.files():
                entry = tarfile.TarInfo(name)
                entry.mode = mode
                if isinstance(content, Path):
                    entry.size = content.stat().st_size
                    with content.open("rb") as file:
                        tar.addfile(entry, file)
                else:
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
            for name, target in self.links():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)


def read_keys(path: Path) -> tuple[str, ...]:
    """The public keys in ``path``. Raises UserError where it cannot be read or holds none; a private key is refused."""
    try:
        text = path.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The SSH key {path} cannot be read", str(error), "Give a public key: --ssh-key FILE.pub"
        ) from None
    if "PRIVATE KEY" in text:
        raise UsageError(f"{path} is a private key", "it must never leave your machine", f"Give {path}.pub")
    keys = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if not keys or not all(_KEY.fullmatch(key) for key in keys):
        raise UserError(f"{path} holds no OpenSSH public key", "", "Make one with: ssh-keygen -t ed25519")
    return keys


def _keyfile(wifi: Wifi) -> bytes:
    """A NetworkManager connection. The SSID as bytes, which every name can be written as."""
    ssid = ";".join(str(byte) for byte in wifi.ssid.encode()) + ";"
    lines = ["[connection]", "id=callm-edge-wifi", "type=wifi", "autoconnect=true", "", "[wifi]", "mode=infrastructure"]
    lines += [f"ssid={ssid}", ""]
    if wifi.password:
        # A keyfile is read with backslash escapes, and drops blanks at the start.
        psk = wifi.password.replace("\\", "\\\\").replace(" ", "\\s")
        lines += ["[wifi-security]", "key-mgmt=wpa-psk", f"psk={psk}", ""]
    return "\n".join([*lines, "[ipv4]", "method=auto", "", "[ipv6]", "method=auto", ""]).encode()
