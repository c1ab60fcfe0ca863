"""A line per release, in a file for each kind of machine: benchmarks/history, which `bench --history` adds to.

A release that was measured before on such a machine gets its line anew. What is worth following over years is kept.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from callm_bench.environment import is_busy
from callm_edge import atomic
from callm_edge.errors import UserError

FOLDER = Path(__file__).resolve().parents[1] / "history"


def entry(report: dict[str, Any]) -> dict[str, Any]:
    """What of a report goes down in history: medians, by stage, and the accuracy."""
    surroundings = report["environment"]
    return {
        "release": surroundings["callm_edge"],
        "commit": surroundings["commit"],
        "when": surroundings["when"],
        "busy": is_busy(surroundings),
        "load": surroundings["load"],
        "p50_ms": {name: row["p50_ms"] for name, row in report["stages"].items()},
        "per_second": {name: row["per_second"] for name, row in report["stages"].items()},
        "auc_live": {
            f"{row['bundle']}, {row['backend']}": row["auc_live"]
            for row in report.get("accuracy", {}).get("rows", [])
            if row.get("auc_live") is not None
        },
    }


def file_of(surroundings: dict[str, Any], folder: Path = FOLDER) -> Path:
    """The history of a kind of machine: processor, cores and GPU."""
    words = f"{surroundings['cpu']} {surroundings['cores']} cores {surroundings.get('gpu') or ''}"
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    """Entries in order of time; none where there is no file. Raises UserError where a line is damaged."""
    if not path.is_file():
        return []
    try:
        entries = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return sorted(entries, key=lambda one: one["when"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"The history {path} is damaged", str(error), "Take it from git again") from error


def add(report: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write down a report, in place of an earlier one of the same release on the same kind of machine."""
    path, new = file_of(report["environment"], folder), entry(report)
    entries = [one for one in read(path) if one["release"] != new["release"]]
    lines = [json.dumps(one, sort_keys=True) for one in sorted([*entries, new], key=lambda one: one["when"])]
    atomic.write_text(path, "\n".join(lines) + "\n")
    return path
