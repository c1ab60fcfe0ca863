"""A line per release and kind of machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callm_bench import history
from callm_edge.errors import UserError


def test_a_release_measured_again_gets_its_line_anew(tmp_path: Path, report: dict[str, Any]) -> None:
    path = history.add(report, tmp_path)
    assert path.name == "some-cpu-2-cores.jsonl"
    report["environment"] |= {"callm_edge": "0.2.0", "when": "2027-01-01 10:00 UTC"}
    history.add(report, tmp_path)
    report["stages"]["decode"]["p50_ms"] = 0.3
    history.add(report, tmp_path)
    entries = history.read(path)
    assert [entry["release"] for entry in entries] == ["0.1.0", "0.2.0"]
    assert [entry["p50_ms"]["decode"] for entry in entries] == [0.4, 0.3]
    assert entries[0]["auc_live"] == {"ped2, shared": 0.9551}
    assert not entries[0]["busy"]


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert history.read(path) == []
    path.write_text("{\n")
    with pytest.raises(UserError, match=r"x\.jsonl"):
        history.read(path)


def test_what_is_kept_can_be_read() -> None:
    for path in history.FOLDER.glob("*.jsonl"):
        entries = history.read(path)
        assert entries
        assert all(entry["p50_ms"] for entry in entries)
        assert len({entry["release"] for entry in entries}) == len(entries)
        json.dumps(entries)
