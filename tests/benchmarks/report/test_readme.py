"""Every figure of speed and accuracy in README is the kept report's."""

from __future__ import annotations

import re
from typing import Any

import pytest

from callm_bench.compare import read_report
from callm_bench.report.readme import BEGIN, END, README, REPORT, figures, replaced
from callm_edge.errors import UserError

FIGURE = re.compile(r"\d[\d.,]*\s*(?:frames/s|fps|tokens/s|ms\b|µs|% of frames)|\bAUC\D{0,20}\d|\d[\d.]*x\b")


def test_readme_says_what_the_report_says() -> None:
    text = README.read_text()
    assert replaced(text, read_report(REPORT)) == text, "run: python -m callm_bench.report.readme"


def test_no_figure_stands_outside_of_the_markers() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    assert FIGURE.findall(before + after) == []


def test_figures_are_looked_up(report: dict[str, Any]) -> None:
    said = figures(report)
    assert "| frame-level AUC, the paper's protocol | **94.44** | 91.19 |" in said
    assert "| plain torch loop | 10 | 10.0x |" in said
    assert "| shared (ours) | **100** |  |" in said
    assert "busy" not in said
    report["environment"]["load"] = 5.0
    assert "busy" in figures(report)


def test_a_readme_without_markers_is_refused(report: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no place"):
        replaced("# Nothing here\n", report)
