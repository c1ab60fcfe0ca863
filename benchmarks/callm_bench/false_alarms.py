"""Does calibration keep its word? `python -m callm_bench.false_alarms [--bundle plaza] [--out traces.npz]`.

Scores normal plaza footage of two disjoint sets of seeds, calibrates on the first for several rates of false
alarms, and counts the events that each threshold gives on the second. The traces can be kept: tests/goldens has some.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from callm_edge import atomic
from callm_edge.bundle import Bundle, Decision
from callm_edge.decision.calibration import Trace, calibrate, event_peaks
from callm_edge.decision.measure import measure
from callm_edge.sources import open_source
from callm_edge.stage1.choose import open_backend

FIRST_SEED = 30_000  # apart from the seeds of training (10,000 on) and of evaluation (20,000 on)
RATES = (30.0, 60.0, 120.0)  # per hour


def trace(seed: int, bundle: str, seconds: float) -> Trace:
    """Scores of one seed's normal footage, on one thread."""
    opened = Bundle.load(bundle)
    source = open_source(f"test:plaza?seed={seed}&seconds={seconds:g}")
    return measure(source, open_backend(opened, threads=1), opened.decision)


def rate(traces: list[Trace], decision: Decision, threshold: float) -> float:
    """Events per hour of normal footage at a threshold."""
    at = decision.model_copy(update={"threshold_psnr_db": threshold})
    return sum(len(event_peaks(item, at)) for item in traces) / sum(item.hours for item in traces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", default="plaza")
    parser.add_argument("--calibrate", type=int, default=10, help="clips to calibrate on")
    parser.add_argument("--unseen", type=int, default=20, help="clips to count false alarms on")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.calibrate + options.unseen)
    with get_context("spawn").Pool(options.processes) as pool:
        traces = pool.map(partial(trace, bundle=options.bundle, seconds=options.seconds), seeds, chunksize=1)
    if options.out:
        with atomic.replacing(options.out) as temporary:
            scores = np.stack([item.scores_db for item in traces]).astype(np.float16)
            np.savez_compressed(temporary.with_suffix(".npz"), scores_db=scores, fps=traces[0].fps)
    decision = Bundle.load(options.bundle).decision
    seen, unseen = traces[: options.calibrate], traces[options.calibrate :]
    minutes = [60 * sum(item.hours for item in part) for part in (seen, unseen)]
    table = Table(title=f"{minutes[0]:.0f} minutes calibrated on, {minutes[1]:.0f} unseen")
    for column in ("asked per hour", "threshold dB", "extrapolated", "measured per hour", "ratio"):
        table.add_column(column, justify="right")
    for asked in RATES:
        found = calibrate(seen, decision, asked)
        measured = rate(unseen, decision, found.threshold_psnr_db)
        table.add_row(
            f"{asked:g}",
            f"{found.threshold_psnr_db:.2f}",
            str(found.extrapolated),
            f"{measured:.1f}",
            f"{measured / asked:.2f}",
        )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
