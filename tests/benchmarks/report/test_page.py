"""The page holds all that was measured, asks nothing of anybody, and survives any name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from callm_bench import history
from callm_bench.report.table import print_report
from callm_bench.report.write import HTML, JSON, write_report

PARTS = ("stages", "peers", "scaling", "accuracy", "limits", "skipped", "machine")


def test_one_file_with_everything_in_it(tmp_path: Path, report: dict[str, Any]) -> None:
    write_report(report, tmp_path, [history.entry(report)])
    text = (tmp_path / HTML).read_text()
    for part in (*PARTS, "history"):
        assert f'<section id="{part}">' in text
    assert "all &lt;included&gt; &amp; counted" in text
    assert "<script" not in text
    assert not re.findall(r"(?:src|href|srcset)=\"(?!#|data:)", text)
    assert not re.findall(r"url\(|@import", text)
    assert (tmp_path / JSON).is_file()
    pictures = {path.stem for path in tmp_path.glob("*.png")}
    assert pictures == {"stages", "peers", "scaling_cameras", "limits", "history"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))


def test_parts_that_were_not_measured_are_not_shown(tmp_path: Path, report: dict[str, Any]) -> None:
    for part in ("peers", "scaling", "accuracy", "limits"):
        del report[part]
    report["skipped"] = {}
    write_report(report, tmp_path, [])
    text = (tmp_path / HTML).read_text()
    assert '<section id="stages">' in text
    assert not [part for part in ("peers", "scaling", "accuracy", "limits", "skipped") if f'id="{part}"' in text]


@pytest.mark.parametrize("load", [0.1, 7.5])
def test_a_busy_machine_is_said(tmp_path: Path, report: dict[str, Any], load: float) -> None:
    report["environment"]["load"] = load
    write_report(report, tmp_path, [])
    console = Console(record=True, width=200, quiet=False, file=(tmp_path / "out").open("w"))
    print_report(report, console)
    said = console.export_text()
    assert ("busy" in said) == (load > 1)
    assert ("The machine was busy" in (tmp_path / HTML).read_text()) == (load > 1)
    assert "plain torch loop" in said
    assert "this machine has no NVIDIA GPU" in said
