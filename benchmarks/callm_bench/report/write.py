"""A report as files: report.json, report.html, and the charts as PNG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from callm_bench import history
from callm_bench.report.charts import LIGHT, charts, render
from callm_bench.report.page import page
from callm_edge import atomic

JSON, HTML = "report.json", "report.html"


def write_report(report: dict[str, Any], folder: Path, past: list[dict[str, Any]] | None = None) -> None:
    """Write all of it to `folder`; a chart of an earlier report that this one has no data for goes.

    past: entries of this kind of machine's history; None reads it.
    """
    entries = history.read(history.file_of(report["environment"])) if past is None else past
    folder.mkdir(parents=True, exist_ok=True)
    drawn = charts(report, entries)
    for name, (_, chart) in drawn.items():
        if (picture := render(chart, LIGHT, "png")) is not None:
            atomic.write_bytes(folder / f"{name}.png", picture)
    atomic.write_text(folder / JSON, json.dumps(report, indent=1) + "\n")
    atomic.write_text(folder / HTML, page(report, drawn))
