"""The machine that is examined: its files and its programs, or a copy of both in a test."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Machine:
    """root: what stands for '/'. path: where programs are looked for, the user's PATH unless told."""

    root: Path = Path("/")
    path: str = field(default_factory=lambda: os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def at(self, absolute: str) -> Path:
        """The file at this absolute path."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str:
        """What is in the file, stripped; empty where it cannot be read. Device-tree strings end in a zero byte."""
        try:
            return self.at(absolute).read_text(errors="replace").strip().strip("\0")
        except OSError:
            return ""

    def paths(self, pattern: str) -> list[Path]:
        """What matches, sorted."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def has(self, program: str) -> bool:
        """Whether the program is installed."""
        return shutil.which(program, path=self.path) is not None

    def run(self, *argv: str, stdin: str | None = None, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
        """(exit code, output and errors together); (127, '') without the program, (124, what came) for a hang."""
        found = shutil.which(argv[0], path=self.path)
        if found is None:
            return 127, ""
        try:
            result = subprocess.run(
                [found, *argv[1:]],
                input=stdin or "",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as hang:
            return 124, hang.stdout.decode(errors="replace") if isinstance(hang.stdout, bytes) else hang.stdout or ""
        return result.returncode, result.stdout

    @property
    def jetson(self) -> str:
        """The board's name from the device tree, empty where this is no Jetson."""
        model = self.text("/proc/device-tree/model")
        return model if "NVIDIA" in model or self.text("/etc/nv_tegra_release") else ""
