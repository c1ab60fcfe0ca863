"""One device, reached through the system's own ssh: its keys, its known hosts and its configuration are respected."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from callm_edge.errors import UsageError, UserError
from callm_jetson.device import device_file

_LOST = 255  # what ssh itself returns where the connection failed, and no command may
_TARGET = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d+))?")


class ConnectionLostError(UserError):
    """The link to the device is gone, or could not be made."""


class Device:
    """target: [user@]host[:port]. options: further `-o KEY=VALUE` of ssh. prefix: see the agent; '/' on a device.

    Used as a context: one connection serves all commands.
    """

    def __init__(self, target: str, options: Sequence[str] = (), prefix: str = "/") -> None:
        parts = _TARGET.fullmatch(target)
        if parts is None:
            raise UsageError(f"'{target}' is no host", "", "Write HOST, USER@HOST or USER@HOST:PORT")
        self.name = target
        self.prefix = prefix
        self._control = tempfile.TemporaryDirectory(prefix="callm-")
        host = parts["host"].strip("[]")
        self._ssh = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        # A cable pulled out sends no goodbye: without these a deploy would wait for ever.
        self._ssh += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        self._ssh += [
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={self._control.name}/c",
            "-o",
            "ControlPersist=60",
        ]
        for option in options:
            self._ssh += ["-o", option]
        if parts["port"]:
            self._ssh += ["-p", parts["port"]]
        self._host = f"{parts['user']}@{host}" if parts["user"] else host
        self._as_root = ""

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([*self._ssh, "-O", "exit", self._host], capture_output=True, check=False, timeout=10)
        self._control.cleanup()

    def become_root(self) -> None:
        """Use sudo from here on where the user is not root. Raises UserError where sudo asks for a password."""
        if self.prefix != "/" or self.run("id -u").strip() == "0":
            return
        if self._result("sudo -n true").returncode:
            raise UserError(
                f"{self.name} does not let us become root",
                "sudo asks for a password there",
                "Let the user run sudo without one (flash sets that up), or deploy as root",
            )
        self._as_root = "sudo -n "

    def run(self, command: str) -> str:
        """Standard output of a shell command there. Raises UserError where it fails, ConnectionLostError."""
        result = self._result(command)
        self._check(result.returncode, result.stderr, command)
        return result.stdout

    def agent(self, *arguments: str, told: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Run the agent there; returns its last line. told: gets every line as it comes.

        Raises UserError with the agent's own sentence, ConnectionLostError.
        """
        words = shlex.join(["--prefix", self.prefix, *arguments])
        command = f"{self._as_root}python3 - {words}"
        script = device_file("agent.py").read_bytes()
        process = subprocess.Popen(
            [*self._ssh, self._host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(script)
            process.stdin.close()
        except BrokenPipeError:
            pass
        last: dict[str, Any] = {}
        assert process.stdout is not None
        for line in process.stdout:
            try:
                last = json.loads(line)
            except ValueError:
                continue  # a banner of the host's
            if told:
                told(last)
        assert process.stderr is not None
        errors = process.stderr.read().decode(errors="replace")
        code = process.wait()
        if "error" in last:
            raise UserError(f"{self.name} refuses", str(last["error"]))
        self._check(code, errors, f"the agent ({arguments[-1] if arguments else ''})")
        return last

    def send(self, folder: Path, files: Sequence[str], into: str, sent: Callable[[int], None] | None = None) -> None:
        """Put ``files`` of ``folder`` under ``into`` there, through one stream. sent: gets the bytes so far.

        Raises ConnectionLostError, UserError (a full disk).
        """
        quoted = shlex.quote(into)
        inner = f"mkdir -p {quoted} && tar -x -C {quoted} -f -"
        command = f"{self._as_root}sh -c {shlex.quote(inner)}"
        process = subprocess.Popen(
            [*self._ssh, self._host, command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with tarfile.open(fileobj=cast(IO[bytes], _Counted(process.stdin, sent)), mode="w|") as tar:
                for name in files:
                    tar.add(folder / name, arcname=name, filter=_nobodys)
            process.stdin.close()
        except (BrokenPipeError, OSError):
            pass
        errors = process.stderr.read().decode(errors="replace")
        self._check(process.wait(), errors, "receiving the release")

    def _result(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._ssh, self._host, command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def _check(self, code: int, errors: str, command: str) -> None:
        if code == 0:
            return
        lines = [line for line in errors.strip().splitlines() if line and not line.startswith("Warning:")]
        why = lines[-1] if lines else f"exit code {code}"
        if code == _LOST or code < 0:
            fix = "Check that it is on and that `ssh` reaches it"
            if "permission denied" in errors.lower():
                fix = "Put your public key there: ssh-copy-id, or flash with --ssh-key"
            elif "host key" in errors.lower():
                fix = "Log in once by hand to accept its host key"
            raise ConnectionLostError(f"No connection to {self.name}", why, fix)
        raise UserError(f"{self.name}: {command} failed", why)


class _Counted:
    """A writer that tells how much went through."""

    def __init__(self, file: IO[bytes], sent: Callable[[int], None] | None) -> None:
        self._file, self._sent, self._bytes = file, sent, 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._bytes += len(data)
        if self._sent:
            self._sent(self._bytes)
        return len(data)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Our user's id means somebody else there."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
