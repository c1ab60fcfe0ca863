"""The compilers that may be here: NVRTC (a library, needs no host compiler) and nvcc. Neither needs a GPU."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from callm_kernels import sources


class CompileError(Exception):
    """Our source was not accepted: a bug, not a condition of the machine. Holds the compiler's log."""


class Compiler(Protocol):
    """toolkit: name and version as recorded with what it builds. version: of CUDA, (13, 0)."""

    version: tuple[int, int]

    @property
    def toolkit(self) -> str:
        """Name and version, "NVRTC 13.0"."""
        ...

    def architectures(self) -> list[str]:
        """What it can build for: "sm_87" and the like."""
        ...

    def compile(self, name: str, target: str) -> bytes:
        """Code of kernel file `name`: a cubin for "sm_NN", PTX for "compute_NN". Raises CompileError."""
        ...


class Nvrtc:
    """NVRTC through cuda.bindings: about 0.1 s a kernel."""

    def __init__(self) -> None:
        """Raises ImportError or RuntimeError where the bindings or the library are absent."""
        from cuda.bindings import nvrtc

        self._nvrtc = nvrtc
        major, minor = _call(nvrtc, nvrtc.nvrtcVersion)
        self.version: tuple[int, int] = major, minor

    @property
    def toolkit(self) -> str:
        """Name and version."""
        return f"NVRTC {self.version[0]}.{self.version[1]}"

    def architectures(self) -> list[str]:
        """What this version of NVRTC knows."""
        return [f"sm_{number}" for number in _call(self._nvrtc, self._nvrtc.nvrtcGetSupportedArchs)[0]]

    def compile(self, name: str, target: str) -> bytes:
        """Sources are handed over as text; headers beside them are found in their folder."""
        n = self._nvrtc
        source = sources.path(name).read_bytes()
        options = [f"--gpu-architecture={target}".encode(), f"-I{sources.FOLDER}".encode()]
        options += [flag.encode() for flag in sources.FLAGS]
        (program,) = _call(n, n.nvrtcCreateProgram, source, f"{name}.cu".encode(), 0, [], [])
        try:
            (result,) = n.nvrtcCompileProgram(program, len(options), options)
            if result != n.nvrtcResult.NVRTC_SUCCESS:
                raise CompileError(f"{self.toolkit}, {name}.cu for {target}:\n{self._log(program)}")
            ptx = target.startswith("compute_")
            (size,) = _call(n, n.nvrtcGetPTXSize if ptx else n.nvrtcGetCUBINSize, program)
            image = b" " * size
            _call(n, n.nvrtcGetPTX if ptx else n.nvrtcGetCUBIN, program, image)
            return image
        finally:
            n.nvrtcDestroyProgram(program)

    def _log(self, program: Any) -> str:
        (size,) = _call(self._nvrtc, self._nvrtc.nvrtcGetProgramLogSize, program)
        log = b" " * size
        _call(self._nvrtc, self._nvrtc.nvrtcGetProgramLog, program, log)
        return log.rstrip(b"\0 ").decode(errors="replace")


class Nvcc:
    """nvcc, which needs a host C++ compiler beside it: about 1 s a kernel."""

    def __init__(self) -> None:
        """Raises FileNotFoundError where there is no nvcc on PATH or in /usr/local/cuda."""
        found = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
        if found is None:
            raise FileNotFoundError("nvcc is neither on PATH nor in /usr/local/cuda/bin")
        self.path = found
        text = _output([found, "--version"])
        match = re.search(r"release (\d+)\.(\d+), V([\d.]+)", text)
        if match is None:
            raise FileNotFoundError(f"{found} does not tell its version: {text[:200]}")
        self.version = int(match[1]), int(match[2])
        self._release = match[3]

    @property
    def toolkit(self) -> str:
        """Name and version."""
        return f"nvcc {self._release}"

    def architectures(self) -> list[str]:
        """What this version of nvcc knows."""
        return [line.replace("compute", "sm") for line in _output([self.path, "--list-gpu-arch"]).split()]

    def compile(self, name: str, target: str) -> bytes:
        """Runs nvcc in a folder of its own."""
        return self.compile_with_report(name, target)[0]

    def compile_with_report(self, name: str, target: str) -> tuple[bytes, str]:
        """The code, and what ptxas says of registers, spills and shared memory."""
        kind = "ptx" if target.startswith("compute_") else "cubin"
        with tempfile.TemporaryDirectory(prefix="callm-kernels-") as folder:
            output = Path(folder) / f"{name}.{kind}"
            command = [self.path, f"-{kind}", f"-arch={target}", *sources.FLAGS, "-Xptxas=-v", "-Werror=all-warnings"]
            done = subprocess.run(
                [*command, "-o", str(output), str(sources.path(name))], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise CompileError(f"{self.toolkit}, {name}.cu for {target}:\n{done.stderr or done.stdout}")
            return output.read_bytes(), done.stderr


def available() -> tuple[Compiler, ...]:
    """The compilers that can be used here, NVRTC before nvcc; may be empty."""
    return _search()[0]


def absent() -> tuple[str, ...]:
    """Of each that cannot be used, a sentence that says why."""
    return _search()[1]


@functools.lru_cache(maxsize=1)
def _search() -> tuple[tuple[Compiler, ...], tuple[str, ...]]:
    found: list[Compiler] = []
    why: list[str] = []
    try:
        found.append(Nvrtc())
    except ImportError:
        why.append("NVRTC needs the extra 'gpu' (pip install 'callm-edge[gpu]')")
    except RuntimeError as error:  # cuda.bindings: DynamicLibNotFoundError
        why.append(f"NVRTC was not found ({str(error).splitlines()[0]})")
    try:
        found.append(Nvcc())
    except FileNotFoundError as error:
        why.append(str(error))
    return tuple(found), tuple(why)


def _call(nvrtc: Any, function: Any, *arguments: Any) -> tuple[Any, ...]:
    """The results of an NVRTC function, without its status. Raises RuntimeError by that status."""
    status, *results = function(*arguments)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"{function.__name__}: {nvrtc.nvrtcGetErrorString(status)[1].decode()}")
    return tuple(results)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
