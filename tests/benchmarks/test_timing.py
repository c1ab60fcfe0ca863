"""Stages are timed in turn, and the figures are those of what ran."""

from __future__ import annotations

import time
from contextlib import ExitStack

import numpy as np
import pytest

from callm_bench.resident import Peak, resident_mb
from callm_bench.stage import Call, SkipError, Stage, ready
from callm_bench.timing import joules, measure, row_of
from callm_edge.errors import UserError


def test_stages_take_turns_and_the_first_call_of_each_turn_does_not_count() -> None:
    calls: list[str] = []
    stages = [Stage(name, ready(lambda name=name: calls.append(name))) for name in "ab"]  # type: ignore[misc]
    measured = measure(stages, rounds=3, slice_s=0.0)
    # Once each on opening; then in every round one call that does not count and, with no time left, one that does.
    assert "".join(calls) == "ab" + "aabb" * 3
    assert [measured.rows[name]["n"] for name in "ab"] == [3, 3]
    assert len(measured.rows["a"]["rounds_ms"]) == len(measured.rows["a"]["yardstick_ms"]) == 3


def test_long_calls_are_not_made_for_nothing() -> None:
    calls: list[int] = []

    def nap() -> None:
        calls.append(1)
        time.sleep(0.25)

    row = measure([Stage("nap", ready(nap))], rounds=2, slice_s=0.0).rows["nap"]
    assert (len(calls), row["n"]) == (3, 2)


def test_what_cannot_be_measured_is_named_with_its_reason() -> None:
    def skip(stack: ExitStack) -> Call:
        raise SkipError("no GPU")

    def broken(stack: ExitStack) -> Call:
        raise UserError("The bundle is damaged", "a file is missing")

    def missing(stack: ExitStack) -> Call:
        raise ModuleNotFoundError("No module named 'openvino'")

    stages = [Stage("a", skip), Stage("b", broken), Stage("c", missing), Stage("d", ready(lambda: None))]
    measured = measure(stages, rounds=1, slice_s=0.0)
    assert list(measured.rows) == ["d"]
    assert measured.skipped["a"] == "no GPU"
    assert "damaged" in measured.skipped["b"]
    assert "openvino" in measured.skipped["c"]


def test_times_of_a_call_are_those_it_took() -> None:
    row = measure([Stage("nap", ready(lambda: time.sleep(0.01)), "window", count=4)], 3, 0.05).rows["nap"]
    assert 10 <= row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
    assert row["per_second"] == pytest.approx(4000 / row["p50_ms"], rel=0.01)
    assert row["cpu_ms"] < row["p50_ms"] / 2  # it slept
    assert row["warm_up_ms"] >= 10


def test_what_a_stage_opened_is_closed() -> None:
    closed: list[bool] = []

    def open_(stack: ExitStack) -> Call:
        stack.callback(closed.append, True)
        return lambda: None

    measure([Stage("server", open_)], 1, 0.0)
    assert closed == [True]


def test_memory_of_opening_and_the_first_call() -> None:
    if Peak().mb() is None:
        pytest.skip("this kernel does not tell a process its peak")

    def open_(stack: ExitStack) -> Call:
        kept = np.ones(30 << 17)  # 30 MB
        return lambda: kept[0]

    row = measure([Stage("large", open_)], 1, 0.0).rows["large"]
    assert 25 < row["peak_mb"] < 200
    assert resident_mb() > 10


def test_percentiles() -> None:
    row = row_of([0.001 * n for n in range(1, 101)])
    assert (row["p50_ms"], row["n"]) == (50.5, 100)
    assert row["p99_ms"] == pytest.approx(99.01)


class Steady:
    """10 W, always."""

    name, scope = "steady", "module"

    def watts(self) -> float:
        return 10.0


def test_joules_are_those_of_one_call() -> None:
    assert joules(Steady(), lambda: time.sleep(0.02), least_s=0.4) == pytest.approx(0.2, rel=0.5)
