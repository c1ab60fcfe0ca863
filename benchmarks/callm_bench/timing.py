"""Times stages side by side: round after round, all in turn, so that what else the machine does hits all alike.

In each round a stage is called several times in a row, as it is on a device. The first of these calls does not count:
it finds the caches full of another stage's data; of calls of 0.2 s and more it does. Right before a stage, the round
times a yardstick, a fixed computation that is none of ours: it tells a slower machine from slower code when two runs
are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from callm_bench.resident import Peak
from callm_bench.stage import Call, SkipError, Stage
from callm_edge.errors import UserError
from callm_edge.power_meter import Energy, PowerMeter, open_meter

SLICE_S = 0.12  # of a stage in a round
MOST_CALLS = 50  # of a stage in a round
LONG_S = 0.2  # a call this long fills the caches in no time: the first of a turn counts
YARDSTICK_CALLS = 3

Row = dict[str, Any]


@dataclass
class Measured:
    """rows: figures by stage. skipped: why, by stage."""

    rows: dict[str, Row] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, other: Measured) -> None:
        self.rows |= other.rows
        self.skipped |= other.skipped


class Yardstick:
    """A product of two matrices and a pass over 4 MB, a millisecond or so: arithmetic and memory, one thread."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._a = rng.random((160, 160))
        self._long, self._out = np.ones(2**19), np.empty(2**19)

    def ms(self) -> float:
        """Median of a few."""
        took = []
        for _ in range(YARDSTICK_CALLS):
            began = time.perf_counter()
            np.einsum("ij,jk->ik", self._a, self._a)  # einsum: BLAS would start threads
            np.multiply(self._long, 1.5, out=self._out)
            took.append(time.perf_counter() - began)
        return 1000 * float(np.median(took))


@dataclass
class _Open:
    stage: Stage
    call: Call
    warm_up_s: float
    peak_mb: float | None
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    rounds_ms: list[float] = field(default_factory=list)
    yardstick_ms: list[float] = field(default_factory=list)


def measure(
    stages: Sequence[Stage],
    rounds: int,
    slice_s: float = SLICE_S,
    progress: Callable[[str], None] = lambda what: None,
    meter: PowerMeter | None = None,
) -> Measured:
    """Figures of every stage that opens, and why the others do not.

    progress: hears what happens. meter: for joules; this machine's own where it is None.
    """
    measured, yardstick = Measured(), Yardstick()
    with ExitStack() as stack:
        opened: list[_Open] = []
        for stage in stages:
            progress(f"opening {stage.name}")
            try:
                opened.append(_open(stage, stack))
            except (SkipError, UserError, ModuleNotFoundError) as reason:
                measured.skipped[stage.name] = str(reason)
        for at in range(rounds):
            progress(f"round {at + 1} of {rounds}")
            for one in opened:
                _slice(one, slice_s, yardstick)
        meter = meter or open_meter()
        for one in opened:
            measured.rows[one.stage.name] = _row(one)
            if meter is not None:
                progress(f"joules of {one.stage.name}")
                measured.rows[one.stage.name]["joules"] = round(joules(meter, one.call) / one.stage.count, 4)
    return measured


def _open(stage: Stage, stack: ExitStack) -> _Open:
    peak = Peak()
    call = stage.open(stack)
    began = time.perf_counter()
    call()
    return _Open(stage, call, time.perf_counter() - began, peak.mb())


def _slice(one: _Open, slice_s: float, yardstick: Yardstick) -> None:
    one.yardstick_ms.append(yardstick.ms())
    if (one.seconds[-1] if one.seconds else one.warm_up_s) < LONG_S:
        one.call()
    took: list[float] = []
    cpu, end = time.process_time(), time.perf_counter() + slice_s
    while not took or (len(took) < MOST_CALLS and time.perf_counter() < end):
        began = time.perf_counter()
        one.call()
        took.append(time.perf_counter() - began)
    one.cpu_s.append((time.process_time() - cpu) / len(took))
    one.seconds += took
    one.rounds_ms.append(1000 * float(np.median(took)))


def _row(one: _Open) -> Row:
    row = row_of(one.seconds, one.stage.unit, one.stage.count)
    row |= {
        "cpu_ms": round(1000 * float(np.median(one.cpu_s)), 4),
        "warm_up_ms": round(1000 * one.warm_up_s, 2),
        "peak_mb": one.peak_mb,
        "rounds_ms": [round(ms, 5) for ms in one.rounds_ms],
        "yardstick_ms": [round(ms, 5) for ms in one.yardstick_ms],
    }
    return row | ({"note": one.stage.note} if one.stage.note else {})


def row_of(seconds: Sequence[float], unit: str = "frame", count: int = 1) -> Row:
    """Percentiles of calls, in milliseconds of one call, and units per second at the median."""
    return {
        **{f"p{q}_ms": round(1000 * float(np.percentile(seconds, q)), 4) for q in (50, 90, 99)},
        "per_second": round(count / float(np.median(seconds)), 2),
        "n": len(seconds),
        "unit": unit,
        "count": count,
    }


def joules(meter: PowerMeter, call: Call, least_s: float = 2.0) -> float:
    """Of one call, all that the meter sees included, idle power too; over calls that fill `least_s`."""
    count, end = 0, time.monotonic() + least_s
    with Energy(meter) as energy:
        while time.monotonic() < end:
            call()
            count += 1
    return energy.joules / count
