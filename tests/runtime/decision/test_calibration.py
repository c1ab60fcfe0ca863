"""Calibration gives the rate of false alarms that was asked for, on footage that it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callm_edge.bundle import Decision
from callm_edge.decision.calibration import FalseAlarms, Trace, calibrate, event_peaks
from callm_edge.errors import UserError

DECISION = Decision()


def footage(minutes: float, seed: int, fps: float = 25.0) -> Trace:
    """Scores like those of a camera: a level that wanders (an autoregressive process) and dips of random depth."""
    rng = np.random.default_rng(seed)
    n = round(minutes * 60 * fps)
    noise = rng.normal(0, 0.15, n)
    level = np.empty(n)
    at = 0.0
    for i in range(n):
        at = 0.97 * at + noise[i]
        level[i] = at
    for _ in range(rng.poisson(minutes * 6)):
        start, length = int(rng.integers(n)), int(rng.integers(10, 60))
        level[start : start + length] -= rng.exponential(1.2)
    return Trace((30 + level).astype(np.float32), fps)


def rate(threshold: float, traces: list[Trace]) -> float:
    decision = DECISION.model_copy(update={"threshold_psnr_db": threshold})
    return sum(len(event_peaks(trace, decision)) for trace in traces) / sum(trace.hours for trace in traces)


@pytest.mark.parametrize(("minutes", "asked"), [(60, 30), (60, 10), (20, 6), (10, 10)])
def test_the_rate_on_unseen_footage_is_within_a_factor_of_two(minutes: float, asked: float) -> None:
    unseen = [footage(60, seed) for seed in range(100, 106)]
    rates = [rate(calibrate([footage(minutes, seed)], DECISION, asked).threshold_psnr_db, unseen) for seed in range(7)]
    assert asked / 2 <= np.median(rates) <= asked * 2


def test_it_says_when_the_footage_is_too_short_for_the_rate() -> None:
    assert calibrate([footage(5, 0)], DECISION, 1).extrapolated
    assert not calibrate([footage(60, 0)], DECISION, 30).extrapolated


def test_a_lower_rate_gives_a_lower_threshold() -> None:
    traces = [footage(20, 0)]
    thresholds = [calibrate(traces, DECISION, asked).threshold_psnr_db for asked in (0.01, 0.1, 1, 10, 60)]
    assert thresholds == sorted(thresholds)
    assert len(set(thresholds)) == 5


def test_constant_scores_still_give_a_threshold_below_them() -> None:
    found = calibrate([Trace(np.full(3000, 30.0, np.float32), 25)], DECISION, 1)
    assert found.threshold_psnr_db < 30


def test_no_footage_and_no_numbers_are_errors() -> None:
    with pytest.raises(UserError, match="nothing to calibrate on"):
        calibrate([Trace(np.empty(0, np.float32), 25)], DECISION, 1)
    with pytest.raises(UserError, match="not finite"):
        calibrate([Trace(np.array([np.nan] * 100, np.float32), 25)], DECISION, 1)


@pytest.mark.parametrize("asked", [20.0, 30.0, 60.0, 120.0])
def test_the_rate_on_unseen_plaza_seeds_is_within_a_factor_of_two(asked: float) -> None:
    """Scores of normal plaza footage by the built-in bundle, as `python -m callm_bench.false_alarms` wrote them.

    A quarter of an hour is too little for one split to tell: the median over splits by seed is what is held.
    """
    golden = np.load(Path(__file__).parents[2] / "goldens" / "plaza_traces.npz")
    traces = [Trace(scores.astype(np.float32), float(golden["fps"])) for scores in golden["scores_db"]]
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(8):
        order = rng.permutation(len(traces))
        half = len(traces) // 2
        seen, unseen = ([traces[i] for i in part] for part in (order[:half], order[half:]))
        ratios.append(rate(calibrate(seen, DECISION, asked).threshold_psnr_db, unseen) / asked)
    assert 0.5 <= np.median(ratios) <= 2


def dip(depth_db: float, fps: float = 25.0) -> Trace:
    """A clip of 8 s in which the score falls by so much for 1 s."""
    scores = np.full(round(8 * fps), 30.0, np.float32)
    scores[round(3 * fps) : round(4 * fps)] -= depth_db
    return Trace(scores, fps)


def test_marked_events_lower_the_threshold_until_they_are_as_rare_as_asked() -> None:
    seen, asked = [footage(60, 0)], 10.0
    before = calibrate(seen, DECISION, asked)
    # As many alarms as the footage may have in an hour, within three minutes: far too many.
    marked = [dip(6.0 + 0.1 * number) for number in range(10)]
    after = calibrate(seen, DECISION, asked, FalseAlarms(marked, 0.05))
    assert after.threshold_psnr_db < before.threshold_psnr_db
    assert after.lowered_db == pytest.approx(before.threshold_psnr_db - after.threshold_psnr_db)
    assert after.hours == before.hours, "clips of events are no normal footage of their length"
    together = DECISION.model_copy(update={"threshold_psnr_db": after.threshold_psnr_db})
    alarms = sum(len(event_peaks(trace, together)) for trace in (*seen, *marked))
    assert alarms == pytest.approx(asked * 1.05, abs=1)


def test_the_longer_it_took_to_see_them_the_less_they_lower() -> None:
    seen, marked = [footage(60, 0)], [dip(6.0 + 0.1 * number) for number in range(10)]
    thresholds = [
        calibrate(seen, DECISION, 10, FalseAlarms(marked, hours)).threshold_psnr_db for hours in (0.05, 0.3, 0.6, 100.0)
    ]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_marked_events_never_raise_the_threshold() -> None:
    """Nobody marks every false alarm: few marks in many hours say nothing of those that were not marked."""
    seen = [footage(20, 3)]
    before = calibrate(seen, DECISION, 6)
    assert calibrate(seen, DECISION, 6, FalseAlarms([dip(0.5)], 10_000.0)) == before
    assert calibrate(seen, DECISION, 6, FalseAlarms([], 10_000.0)) == before
