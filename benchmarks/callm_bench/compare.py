"""Two reports held against each other: what became slower, beyond what the machine does by itself.

A single number of yesterday against one of today says nothing on a machine with other work to do. So both reports hold
every round's median, and beside it the yardstick of the same moment, a computation that no change of ours touches.
Of each stage, in both reports, over the rounds i:

    raw_i      = log(stage_i)             adjusted_i = log(stage_i / yardstick_i)
    s          = 1.2533 * 1.4826 * MAD / sqrt(rounds)      standard error of a median
    noise      = sqrt(s_new^2 + s_old^2)
    limit      = max(log 1.05, t * noise)                  t: Student's, one in 10,000, rounds_new + rounds_old - 2

(MAD: median absolute deviation; 1.4826 makes it a standard deviation of normal noise, 1.2533 is the median's loss
against the mean.) A stage is slower where the medians of both raw and adjusted moved up by more than their limits, and
faster where both moved down: a busier machine moves raw alone, a yardstick that was disturbed adjusted alone. Where a
slowdown of 20 % could not have been seen, it is called unclear: more rounds help, or a quieter machine.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from callm_edge.errors import UsageError, UserError

LEAST_CHANGE = 1.05  # smaller ones are nobody's concern
CHANCE = 1e-4  # a report has a hundred stages, and noise should not pass once in a hundred reports
WANTED = 1.2  # a slowdown that must be seen before a stage is called the same
LEAST_ROUNDS = 3
MOST = math.log(100)  # where nothing can be said


@dataclass(frozen=True)
class Change:
    """Of one stage. ratio: new time over old, after the yardsticks; raw_ratio: before.

    limit, raw_limit: ratios that noise does not reach. verdict: 'slower', 'faster', 'same' or 'unclear'.
    """

    ratio: float
    raw_ratio: float
    limit: float
    raw_limit: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """changes: by stage, of those that both reports have. machines: why the two may not be compared, or empty."""

    changes: dict[str, Change]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    machines: str

    @property
    def regressions(self) -> list[str]:
        return [name for name, change in self.changes.items() if change.verdict == "slower"]

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": {name: asdict(change) for name, change in self.changes.items()},
            "regressions": self.regressions,
            "only_old": list(self.only_old),
            "only_new": list(self.only_new),
            "machines": self.machines,
        }


def read_report(path: Path) -> dict[str, Any]:
    """A report that `bench --json` wrote. Raises UserError where it is none."""
    try:
        report: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(report["stages"], dict) or not isinstance(report["environment"], dict):
            raise ValueError("its stages are no object")
    except OSError as error:
        raise UsageError(f"The report {path} cannot be read", error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is no report of bench", why, "Make one: callm-edge bench --out FILE") from error
    return report


def compare(old: dict[str, Any], new: dict[str, Any]) -> Comparison:
    """Reports as read from JSON. Rows without rounds, such as of whole runs, are left out."""
    before, after = old["stages"], new["stages"]
    both = [name for name in after if name in before and _comparable(after[name]) and _comparable(before[name])]
    return Comparison(
        {name: change(before[name], after[name]) for name in both},
        tuple(name for name in before if name not in after),
        tuple(name for name in after if name not in before),
        _machines(old["environment"], new["environment"]),
    )


def change(before: dict[str, Any], after: dict[str, Any]) -> Change:
    """Two rows of one stage, each with rounds_ms and yardstick_ms."""
    moves = [_move(_logs(before, adjusted), _logs(after, adjusted)) for adjusted in (True, False)]
    if all(moved > limit for moved, limit in moves):
        verdict = "slower"
    elif all(moved < -limit for moved, limit in moves):
        verdict = "faster"
    else:
        verdict = "same" if all(limit <= math.log(WANTED) for _, limit in moves) else "unclear"
    (ratio, limit), (raw_ratio, raw_limit) = ((round(math.exp(x), 4) for x in move) for move in moves)
    return Change(ratio, raw_ratio, limit, raw_limit, verdict)


def _move(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """By how much the median moved, and what noise does not reach: logarithms both."""
    from scipy.stats import t

    moved = float(np.median(new) - np.median(old))
    if min(len(old), len(new)) < LEAST_ROUNDS:
        return moved, MOST  # so few tell no noise
    quantile = float(t.ppf(1 - CHANCE, len(old) + len(new) - 2))
    return moved, min(MOST, max(math.log(LEAST_CHANGE), quantile * math.hypot(_error(old), _error(new))))


def _comparable(row: dict[str, Any]) -> bool:
    return bool(row.get("rounds_ms") and row.get("yardstick_ms"))


def _logs(row: dict[str, Any], adjusted: bool) -> np.ndarray:
    logs = np.log(np.maximum(np.asarray(row["rounds_ms"], np.float64), 1e-9))
    return logs - np.log(np.asarray(row["yardstick_ms"], np.float64)) if adjusted else logs


def _error(logs: np.ndarray) -> float:
    """Standard error of the median, from the spread of the rounds."""
    spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    return 1.2533 * spread / math.sqrt(len(logs))


def _machines(old: dict[str, Any], new: dict[str, Any]) -> str:
    differ = [
        f"{key} was {old.get(key)} and is {new.get(key)}"
        for key in ("cpu", "cores", "threads", "gpu", "power_mode")
        if old.get(key) != new.get(key)
    ]
    return "the machines differ: " + "; ".join(differ) if differ else ""
