"""What a run of the benchmark is to measure, and how long it may take."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from callm_edge.bundle import Bundle

PARTS = ("stages", "peers", "scaling", "accuracy", "limits")


def cores() -> int:
    """Those that this process may use: with more threads than these ONNX Runtime's wait for one another for ages."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Setting:
    """bundle: stage 1 and stage 2 as deployed. folder: for what is written on the way.

    presets: sizes of stage 1. quick: a minute or less, with fewer rounds and the slow sides left out, each by name.
    rounds: of everything that is timed in turn. threads: of one computation. data: a labelled test set for the
    accuracy, or None; fps: its frames per second. gptq, hf, gguf: the language model as its peers read it, or None.
    """

    bundle: Bundle
    folder: Path
    presets: tuple[str, ...] = ("edge",)
    parts: tuple[str, ...] = PARTS
    quick: bool = False
    rounds: int = 20
    threads: int = field(default_factory=cores)
    data: Path | None = None
    fps: float | None = None
    gptq: Path | None = None
    hf: Path | None = None
    gguf: Path | None = None

    @property
    def slice_s(self) -> float:
        """Of a stage in a round."""
        return 0.03 if self.quick else 0.12
