"""GPU architectures: which code is built ahead of time, and what they are called."""

from __future__ import annotations

# Compute capability as CUDA names it -> where it is found. nvcc 13.0 knows these and no others.
NAMES: dict[str, str] = {
    "sm_75": "Turing: T4, RTX 20",
    "sm_80": "Ampere: A100",
    "sm_86": "Ampere: RTX 30, A10, A40",
    "sm_87": "Jetson Orin",
    "sm_88": "Ampere, embedded",
    "sm_89": "Ada: RTX 40, L4, L40",
    "sm_90": "Hopper: H100, H200",
    "sm_100": "Blackwell: B200",
    "sm_103": "Blackwell Ultra: B300",
    "sm_110": "Jetson Thor",
    "sm_120": "Blackwell: RTX 50, RTX PRO",
    "sm_121": "Blackwell: GB10, DGX Spark",
}

# Code for one sm_NN runs on no other, but the driver can translate PTX for any GPU at least as new as the PTX asks for.
PTX = "compute_75"


def of(major: int, minor: int) -> str:
    """Name of a compute capability: (8, 7) -> "sm_87"."""
    return f"sm_{major}{minor}"
