"""The CUDA sources: where they lie, which kernels each holds, and what identifies their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

# A link to ../cuda in the checkout, real files in a wheel. (A package `cuda` of ours would hide NVIDIA's.)
FOLDER = Path(__file__).resolve().parent / "cuda"

# Every entry point, by the name of its file. Loaded together: a first use must not fall into the capture of a graph.
ENTRIES: dict[str, tuple[str, ...]] = {
    "psnr_threshold": tuple(f"psnr_threshold_{dtype}_{load}" for dtype in ("u8", "f16") for load in ("x16", "x1")),
    "ingest": ("ingest",),
    "clip_pack": ("clip_pack",),
    "gptq_gemv": tuple(f"gptq_gemv_m{batch}" for batch in (1, 2, 3, 4)),
    "selftest": ("selftest",),
}

# Each changes the code, so each is part of a build's identity. No fast math: the kernels promise what NaN does.
FLAGS = ("-std=c++17",)


def path(name: str) -> Path:
    """The .cu file of a kernel."""
    return FOLDER / f"{name}.cu"


def content_hash(name: str) -> str:
    """sha256 of a kernel's file, of every header beside it, and of the flags: hexadecimal."""
    digest = hashlib.sha256(repr(FLAGS).encode())
    for file in [path(name), *sorted(FOLDER.glob("*.cuh"))]:
        data = file.read_bytes()
        digest.update(f"{file.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()
