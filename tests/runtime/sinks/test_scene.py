"""A change of a camera's scene, as each sink and the terminal tells it."""

from __future__ import annotations

import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from callm_edge.console import JsonReport, TextReport
from callm_edge.events.scene import KINDS, SceneChange
from callm_edge.sinks.json_log import JsonLog
from callm_edge.sinks.jsonl import JsonLinesFile
from callm_edge.sinks.prometheus import Prometheus

COVERED = SceneChange("gate [1]", "covered", "normal", 12.4, 3.0)
ENDED = SceneChange("gate [1]", "normal", "covered", 50.0, 0.0)
ADOPTED = SceneChange("gate [1]", "normal", "moved", 90.0, 0.0, adopted=True)
LINE = {
    "type": "scene",
    "source": "gate [1]",
    "kind": "covered",
    "before": "normal",
    "since": 12.4,
    "strength": 3.0,
    "adopted": False,
}


def test_lines_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    JsonReport().scene(COVERED)
    JsonLinesFile(tmp_path / "lines").scene(COVERED)
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "lines").read_text()) == LINE


def test_lines_for_people() -> None:
    out = io.StringIO()
    report = TextReport(console=Console(file=out, width=200))
    for change in (COVERED, ENDED, ADOPTED):
        report.scene(change)
    lines = out.getvalue().splitlines()
    assert [line.split("  ")[-1] for line in lines] == [
        "the camera is covered",
        "as usual again",
        "this view is now the usual one",
    ]
    assert all("gate [1]" in line for line in lines)


def test_the_log_warns_and_says_when_it_is_over(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "log")
    try:
        log.scene(COVERED)
        log.scene(ENDED)
    finally:
        log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["level"], line["message"], line["camera"], line["kind"]) for line in lines] == [
        ("warning", "scene", "gate [1]", "covered"),
        ("info", "scene", "gate [1]", "normal"),
    ]


def test_a_gauge_for_each_kind(camera: Any) -> None:
    camera.drift.kind = "moved"
    sink = Prometheus(port=0)
    try:
        sink.started([camera])
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [s for family in families for s in family.samples if s.name == "callm_edge_scene"]
    finally:
        sink.close()
    assert {s.labels["kind"]: s.value for s in samples} == {kind: kind == "moved" for kind in KINDS}
