"""What nvcc made of the kernels: registers, spills, shared memory, widths of loads. `make kernels-report` writes it.

Of every kernel on every architecture it must hold that nothing spills, and that the main loops load 128 bits at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from callm_kernels import architectures, sass, sources
from callm_kernels.compilers import Nvcc

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")

# 128-bit loads in the loops over the data, and what else may be loaded there. Of psnr_threshold: two rows of 16 pixels,
# of uint8 or half. Of ingest and clip_pack: the rows staged (clip_pack: with their chroma). Of gptq_gemv: two word rows
# of weights ahead and, for each, x of M tokens; beside them a scale and a zero point for each word row.
_WIDE = {
    "psnr_threshold_u8_x16": (6, 0),
    "psnr_threshold_f16_x16": (8, 0),
    "ingest": (2, 0),
    "clip_pack": (4, 0),
    **{f"gptq_gemv_m{m}": (2 * (1 + m), 4) for m in (1, 2, 3, 4)},
}


@dataclass(frozen=True)
class Row:
    """One kernel on one architecture.

    spilled: bytes stored to and loaded from local memory for lack of registers. shared: bytes known at compile time.
    wide: 128-bit loads in loops. narrow: other loads in those same loops.
    """

    kernel: str
    architecture: str
    registers: int
    spilled: int
    shared: int
    wide: int
    narrow: int

    def faults(self) -> list[str]:
        """What is wrong with it, in words; empty where nothing is."""
        found = []
        wide, narrow = _WIDE.get(self.kernel, (0, None))
        if self.spilled:
            found.append(f"{self.spilled} bytes spill")
        if self.wide < wide:
            found.append(f"{self.wide} loads of 128 bits in its loops, {wide} expected")
        if narrow is not None and self.narrow > narrow:
            found.append(f"{self.narrow} narrower loads beside them, {narrow} expected")
        return [f"{self.kernel} on {self.architecture}: {fault}" for fault in found]


def examine(name: str, architecture: str, nvcc: Nvcc, nvdisasm: str) -> list[Row]:
    """One row for each entry of a kernel file."""
    cubin, log = nvcc.compile_with_report(name, architecture)
    functions = sass.disassemble(cubin, nvdisasm)
    used = _read_log(log)
    rows = []
    for entry in sources.ENTRIES[name]:
        loops = functions[entry].loads_in_loops().values()
        with_wide = [widths for widths in loops if 128 in widths]
        wide = sum(widths.count(128) for widths in with_wide)
        narrow = sum(len(widths) for widths in with_wide) - wide
        rows.append(Row(entry, architecture, *used[entry], wide, narrow))
    return rows


def examine_all(nvcc: Nvcc, nvdisasm: str, targets: list[str], jobs: int = 2) -> list[Row]:
    """All kernels on all of `targets`, by kernel."""
    wanted = [(name, target) for name in sources.ENTRIES for target in targets]
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda job: examine(job[0], job[1], nvcc, nvdisasm), wanted))
    rows = [row for rows in found for row in rows]
    order = [entry for entries in sources.ENTRIES.values() for entry in entries]
    return sorted(rows, key=lambda row: (order.index(row.kernel), targets.index(row.architecture)))


def content() -> str:
    """What identifies the sources that a report is about."""
    return hashlib.sha256("".join(map(sources.content_hash, sources.ENTRIES)).encode()).hexdigest()


def to_markdown(rows: list[Row], toolkit: str) -> str:
    """The report as it stands in the documents."""
    lines = [
        "# What the compiler made of the kernels",
        "",
        f"Written by `make kernels-report` with {toolkit}, from the sources with content `{content()}`.",
        "",
        "spilled: bytes stored and loaded for lack of registers. shared: bytes of shared memory known at compile time",
        "(more is asked for at a launch). 128-bit loads, other loads: in the loops that load 128 bits at a time, read",
        "from the disassembly. Kernels whose name ends in x1 take what is not aligned, element by element.",
        "",
        "| kernel | architecture | registers | spilled | shared | 128-bit loads | other loads |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(map(str, astuple(row))) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def from_markdown(text: str) -> list[Row]:
    """The rows of a report."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "| sm_" in line]
    assert all(len(row) == len(fields(Row)) for row in cells)
    return [Row(kernel, architecture, *map(int, numbers)) for kernel, architecture, *numbers in cells]


def _read_log(log: str) -> dict[str, tuple[int, int, int]]:
    """Registers, bytes spilled and bytes shared of each entry, from what ptxas says."""
    found: dict[str, tuple[int, int, int]] = {}
    for part in re.split(r"(?=Compiling entry function)", log):
        entry, spills, used = _ENTRY.search(part), _SPILLS.search(part), _USED.search(part)
        if entry and spills and used:
            shared = _SHARED.search(part)
            spilled = int(spills[1]) + int(spills[2])
            found[entry[1]] = (int(used[1]), spilled, int(shared[1]) if shared else 0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="file to write; default: standard output")
    parser.add_argument("--architectures", nargs="+", metavar="sm_NN", help="default: all that nvcc knows")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    try:
        nvcc = Nvcc()
    except FileNotFoundError as error:
        parser.exit(1, f"No report: {error}.\n")
    nvdisasm = sass.disassembler()
    if nvdisasm is None:
        parser.exit(1, "No report: nvdisasm is missing. Run: pip install nvidia-cuda-nvdisasm\n")
    known = nvcc.architectures()
    targets = options.architectures or [name for name in architectures.NAMES if name in known]
    rows = examine_all(nvcc, nvdisasm, targets, options.jobs)
    text = to_markdown(rows, nvcc.toolkit)
    if options.output:
        options.output.write_text(text)
        print(f"{len(rows)} rows in {options.output}")
    else:
        print(text, end="")
    faults = [fault for row in rows for fault in row.faults()]
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
