"""Figures of README, out of the report that is kept: `python -m callm_bench.report.readme`.

What stands between the two markers is written by this alone; a test holds that it is what the report says.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from callm_bench.compare import read_report
from callm_bench.environment import is_busy
from callm_bench.report.words import milliseconds, number
from callm_edge import atomic
from callm_edge.errors import UserError

TOP = Path(__file__).resolve().parents[3]
README, REPORT = TOP / "README.md", TOP / "docs" / "bench" / "report.json"
BEGIN, END = "<!-- figures: written by `make bench` from docs/bench/report.json -->", "<!-- end of figures -->"
PAPER_PED2 = 91.19  # CALLM's Table I, frame-level AUC


def figures(report: dict[str, Any]) -> str:
    """The part of README between the markers."""
    parts = [*_accuracy(report), *_speed(report), *_stages(report), _machine(report)]
    return "\n".join(parts)


def replaced(text: str, report: dict[str, Any]) -> str:
    """README with its figures from `report`. Raises UserError where the markers are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError("README has no place for figures", f"the lines '{BEGIN}' and '{END}' are not both there")
    return f"{before}{BEGIN}\n\n{figures(report)}\n\n{END}{after}"


def _accuracy(report: dict[str, Any]) -> list[str]:
    rows = [
        row
        for row in report.get("accuracy", {}).get("rows", [])
        if row["bundle"] == "ped2" and row.get("auc_live") is not None
    ]
    if not rows:
        return ["Accuracy was not measured in this run: [docs/stage1.md](docs/stage1.md) has an earlier one.", ""]
    row = next((row for row in rows if row["backend"] == "shared"), rows[0])
    return [
        f"| Ped2, preset `{row['preset']}` | measured | the paper |",
        "|---|---|---|",
        f"| frame-level AUC, the paper's protocol | **{100 * row['auc_paper']:.2f}** | {PAPER_PED2} |",
        "| frame-level AUC, live: no per-clip normalisation, causal, training footage only | "
        f"**{100 * row['auc_live']:.2f}** | |",
        f"| equal error rate, live | {100 * row['eer_live']:.2f} % | |",
        f"| abnormal stretches found at the calibrated threshold | {row['events_hit']} of {row['stretches']}, "
        f"{row['false_alarms']} false alarms | |",
        f"| error peak on the labelled object | {100 * row['localisation_hit_rate']:.1f} % of frames | |",
        f"| flags that differ from the FP32 graph | {row['flips']} of {row['windows']} | |",
        "",
    ]


def _speed(report: dict[str, Any]) -> list[str]:
    group = report.get("peers", {}).get("network", {}).get("edge", {})
    rows = sorted(group.get("rows", {}).items(), key=lambda item: float(item[1]["per_second"]))
    whole = report["stages"].get("file to events, callm-edge run")
    if not any(row.get("ours") for _, row in rows):
        return []
    threads = report["environment"]["threads"]
    best = max(float(row["per_second"]) for _, row in rows if row.get("ours"))
    lines = [f"| every frame scored, preset `edge`, {threads} CPU threads | frames/s | our best is faster by |"]
    lines.append("|---|---|---|")
    for name, row in rows:
        mark = "**" if row.get("ours") else ""
        ratio = f"{best / float(row['per_second']):.1f}x" if not row.get("ours") else ""
        lines.append(f"| {name} | {mark}{number(row['per_second'])}{mark} | {ratio} |")
    if whole:
        lines.append(f"| `callm-edge run` on an H.264 file, everything included | {number(whole['per_second'])} | |")
    return [*lines, ""]


def _stages(report: dict[str, Any]) -> list[str]:
    wanted = ("glass to score", "glass to verdict", "verdict on the device", "offload, way there and back")
    rows = [(name, report["stages"][name]) for name in wanted if name in report["stages"]]
    if not rows:
        return []
    lines = ["| latency | p50 | p90 | p99 |", "|---|---|---|---|"]
    for name, row in rows:
        times = " | ".join(milliseconds(row[key]) for key in ("p50_ms", "p90_ms", "p99_ms"))
        lines.append(f"| {name} | {times} |")
    return [*lines, ""]


def _machine(report: dict[str, Any]) -> str:
    at = report["environment"]
    busy = ", **while it was busy with other work**: take the ratios" if is_busy(at) else ""
    command = "callm-edge bench --quick" if report.get("quick") else "make bench"
    return (
        f"`{command}`, {at['when']}: {at['cpu']}, {at['cores']} cores, load {at['load']}{busy}.\n"
        "All of it: [docs/bench/report.html](docs/bench/report.html); how: [docs/benchmarks.md](docs/benchmarks.md)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    atomic.write_text(README, replaced(README.read_text(), read_report(options.report)))


if __name__ == "__main__":
    main()
