"""Reads disassembled code: which loads from global memory stand in loops, and how wide they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

_FUNCTION = re.compile(r"^\.text\.([\w$]+):")
_LABEL = re.compile(r"^(\.L_x?_?\w+):")
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
_BRANCH = re.compile(r"\bBRA\b.*`\((\.L\w+)\)")
# LDG reads global memory; a bare LD an address that the compiler could not tell to be global.
_LOAD = re.compile(r"^(?:@!?U?P\w+\s+)?(LDG?)((?:\.\w+)*)\s")


@dataclass
class Function:
    """loads: (position, bits, whether it is an LDG) of every load. loops: first and last position of each."""

    name: str
    loads: list[tuple[int, int, bool]] = field(default_factory=list)
    loops: list[tuple[int, int]] = field(default_factory=list)

    def loads_in_loops(self) -> dict[tuple[int, int], list[int]]:
        """Widths in bits of the loads of each loop, innermost loop only."""
        found: dict[tuple[int, int], list[int]] = {}
        for position, bits, _ in self.loads:
            around = [loop for loop in self.loops if loop[0] <= position <= loop[1]]
            if around:
                found.setdefault(min(around, key=lambda loop: loop[1] - loop[0]), []).append(bits)
        return found


def parse(text: str) -> dict[str, Function]:
    """The functions in the output of `nvdisasm -c`."""
    functions: dict[str, Function] = {}
    labels: dict[str, int] = {}
    branches: list[tuple[Function, int, str]] = []
    pending: list[str] = []
    current: Function | None = None
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            current = functions.setdefault(match[1], Function(match[1]))
            pending = []
        elif match := _LABEL.match(line):
            pending.append(match[1])
        elif current is not None and (match := _INSTRUCTION.match(line)):
            position, words = int(match[1], 16), match[2]
            labels.update(dict.fromkeys(pending, position))
            pending = []
            if branch := _BRANCH.search(words):
                branches.append((current, position, branch[1]))
            elif load := _LOAD.match(words):
                current.loads.append((position, _bits(load[2]), load[1] == "LDG"))
    for function, position, label in branches:
        if labels.get(label, position + 1) <= position:
            function.loops.append((labels[label], position))
    return functions


def _bits(modifiers: str) -> int:
    names = modifiers.split(".")
    for name, bits in (("128", 128), ("64", 64), ("U8", 8), ("S8", 8), ("U16", 16), ("S16", 16)):
        if name in names:
            return bits
    return 32


def disassembler() -> str | None:
    """nvdisasm: on PATH, of the toolkit, or of the package nvidia-cuda-nvdisasm."""
    found = shutil.which("nvdisasm") or shutil.which("/usr/local/cuda/bin/nvdisasm")
    if found is None:
        import sysconfig

        here = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin/nvdisasm"))
        found = str(here[-1]) if here else None
    return found


def disassemble(cubin: bytes, tool: str) -> dict[str, Function]:
    """The functions of a cubin. tool: see `disassembler`. Raises subprocess.CalledProcessError."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return parse(subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout)
