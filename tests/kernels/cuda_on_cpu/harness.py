"""Compiles .cu files for the CPU and executes launches there: under no sanitizer, ThreadSanitizer or AddressSanitizer.

What it shows: results, races within a block and between blocks, accesses out of bounds or misaligned, shared memory
used before it was written, divergent barriers and shuffles. What it cannot show: timing; whether code is fast or loads
as wide as it should (tests/kernels/test_report.py reads that from the disassembly); orders of memory that only real
hardware has, beyond happens-before; spinning between blocks (they run one by one); what nvcc makes of the source.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from callm_kernels.launch import Launch

HERE = Path(__file__).resolve().parent
BASE = 0x7000_0000_0000  # as in runner.cpp

Sanitizer = Literal["none", "thread", "address"]
Order = Literal["forward", "reverse", "random"]

_FLAGS: dict[str, list[str]] = {
    "none": ["-O1"],
    "thread": ["-O1", "-g1", "-fsanitize=thread"],
    # Misaligned 16-byte loads are UndefinedBehaviorSanitizer's. Indices into arrays in registers are its too.
    "address": ["-O1", "-g1", "-fsanitize=address,alignment,bounds,shift", "-fno-sanitize-recover=all"],
}
_COMMON = [
    "-std=gnu++17",
    "-DCUDA_ON_CPU",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-ffp-contract=off",
]
# Fibres change the stack under the sanitizer's eyes; none of its stack features is needed here.
_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=67:report_signal_unsafe=0",
}


def missing() -> str | None:
    """Why kernels cannot be executed here; None where they can."""
    compiler = shutil.which("g++")
    if compiler is None:
        return "no g++ here"
    probe = "int main() { _Float16 half = 1; return (int)half - 1; }"
    done = subprocess.run(
        [compiler, "-std=gnu++17", "-x", "c++", "-fsyntax-only", "-"], input=probe, capture_output=True, text=True
    )
    return None if done.returncode == 0 else "this g++ has no _Float16 (GCC 12 has)"


class Memory:
    """Device memory of one case: arrays, each at an address that the launchers can plan with."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def put(self, array: np.ndarray) -> int:
        """Copy an array in (what it holds afterwards is in Outcome.arrays) and return its address, 256-byte aligned."""
        self.arrays.append(np.array(array, order="C"))
        return BASE + ((len(self.arrays) - 1) << 32)

    def index(self, address: int) -> int:
        """Which array an address lies in."""
        return (address - BASE) >> 32

    def pointers(self) -> list[int]:
        """Where addresses stand within the arrays: in the uint64 fields of records."""
        found = []
        for number, array in enumerate(self.arrays):
            for name, (dtype, offset, *_) in (array.dtype.fields or {}).items():
                if dtype == np.uint64:
                    for at, value in enumerate(array[name].reshape(-1)):
                        if int(value) >= BASE:
                            found.append(BASE + (number << 32) + at * array.itemsize + offset)
        return found


@dataclass(frozen=True)
class Outcome:
    """code: 0, or what the sanitizer or the engine left with. report: what it said. arrays: memory afterwards."""

    code: int
    report: str
    arrays: list[np.ndarray] = field(repr=False)


class Harness:
    """Builds each source once for each sanitizer, into a folder that outlives the test run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def execute(
        self,
        source: Path,
        entries: Sequence[str],
        launches: Sequence[Launch],
        memory: Memory,
        sanitizer: Sanitizer = "none",
        order: Order = "forward",
        seed: int = 1,
    ) -> Outcome:
        """Execute launches of a source's kernels after each other. order: in which threads and blocks take turns."""
        program = self.build(source, entries, sanitizer)
        environment = {**os.environ, **_ENVIRONMENT, "CUDA_ON_CPU_ORDER": order, "CUDA_ON_CPU_SEED": str(seed)}
        with tempfile.TemporaryDirectory(prefix="cuda-on-cpu-") as name:
            case, output = Path(name) / "case", Path(name) / "output"
            case.write_bytes(_encode(launches, memory))
            command: list[str | Path] = [program, case, output]
            done = _execute(command, environment)
            if "unexpected memory mapping" in done.stderr:
                # Kernels of 2024 and later place memory where this ThreadSanitizer has no shadow for it.
                done = _execute(["setarch", platform.machine(), "--addr-no-randomize", *command], environment)
            if done.returncode:
                return Outcome(done.returncode, done.stderr, [])
            data, arrays = output.read_bytes(), []
            for array in memory.arrays:
                arrays.append(np.frombuffer(data[: array.nbytes], array.dtype).reshape(array.shape).copy())
                data = data[array.nbytes :]
            return Outcome(0, done.stderr, arrays)

    def build(self, source: Path, entries: Sequence[str], sanitizer: Sanitizer) -> Path:
        """The program that executes a source's kernels."""
        unit = f'#include "{source}"\n' + "".join(f"CUDA_ENTRY({entry})\n" for entry in entries)
        beside = [source, *sorted(source.parent.glob("*.cuh")), *sorted(HERE.glob("*.h")), *sorted(HERE.glob("*.cpp"))]
        program = self.folder / f"{source.stem}-{sanitizer}-{_digest((unit, _FLAGS[sanitizer], _COMMON), beside)}"
        if not program.exists():
            host = [self._host_object(part) for part in ("engine", "runner")]
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                folder = Path(name)
                (folder / "unit.cpp").write_text(unit)
                include = [f"-I{source.parent}", f"-I{HERE}", "-include", "cuda_on_cpu.h"]
                flags = _FLAGS[sanitizer]
                _run(["g++", *_COMMON, *flags, *include, "-c", "-o", folder / "unit.o", folder / "unit.cpp"])
                _run(["g++", *flags, "-o", folder / "program", folder / "unit.o", *host])
                (folder / "program").replace(program)
        return program

    def _host_object(self, part: str) -> Path:
        """The engine or the runner, compiled without sanitizers: see engine.cpp."""
        source = HERE / f"{part}.cpp"
        compiled = self.folder / f"{part}-{_digest(_COMMON, [source, HERE / 'cuda_on_cpu.h'])}.o"
        if not compiled.exists():
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                fresh = Path(folder) / "object.o"
                _run(["g++", *_COMMON, "-O1", "-c", "-o", fresh, source])
                fresh.replace(compiled)
        return compiled

    def build_all(self, wanted: Sequence[tuple[Path, Sequence[str], Sanitizer]], jobs: int = 2) -> None:
        """Build several at once. Who comes while another process does so finds them built."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for part in ("engine", "runner"):
                self._host_object(part)
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(lambda job: self.build(*job), wanted))


def _digest(settings: object, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _execute(command: Sequence[str | Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", timeout=120)


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


def _encode(launches: Sequence[Launch], memory: Memory) -> bytes:
    """The case file that runner.cpp reads; all numbers are 8 bytes."""
    number = struct.Struct("<Q").pack
    parts = [number(len(memory.arrays))]
    for array in memory.arrays:
        parts += [number(array.nbytes), array.tobytes()]
    pointers = memory.pointers()
    parts += [number(len(pointers)), *map(number, pointers), number(len(launches))]
    for launch in launches:
        name = launch.entry.encode()
        parts += [number(len(name)), name, *map(number, (*launch.grid, launch.block, launch.shared_bytes))]
        parts.append(number(len(launch.arguments)))
        for argument in launch.arguments:
            parts += [number(argument.dtype.itemsize), argument.tobytes().ljust(8, b"\0")]
    return b"".join(parts)
