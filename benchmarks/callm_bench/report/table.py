"""A report for people at a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.table import Table

from callm_bench.environment import is_busy
from callm_bench.report.charts import peer_groups
from callm_bench.report.words import describe, milliseconds, number

WIDE = 120  # characters from which all columns fit
COLUMNS = {"p99_ms": "p99", "cpu_ms": "CPU", "warm_up_ms": "warm-up", "peak_mb": "peak MB", "joules": "joules"}


def print_report(report: dict[str, Any], console: Console) -> None:
    """All parts that the report has."""
    console.print(_stages(report["stages"], wide=console.width >= WIDE))
    for title, rows in peer_groups(report).items():
        what, unit = title.split(": ")
        table = _table(what, "side", unit, "p50", "p90")
        for name, row in rows.items():
            times = (milliseconds(row.get(key)) for key in ("p50_ms", "p90_ms"))
            table.add_row(f"[bold]{name}[/]" if row.get("ours") else name, number(row["per_second"]), *times)
        console.print(table)
    for name, ratio in report["ratios"].items():
        console.print(f"  {name}: [bold]{ratio:g}x[/]")
    for part in (scaling(report), accuracy(report), limits(report)):
        if part is not None:
            console.print(part)
    if report["skipped"]:
        console.print("Left out:", style="bold")
        for name, reason in report["skipped"].items():
            console.print(f"  {name}: [dim]{reason}[/]", soft_wrap=True)
    console.print(f"[dim]{describe(report['environment'])}[/]", soft_wrap=True)
    if is_busy(report["environment"]):
        console.print(
            f"[yellow]The machine was busy[/] (load {report['environment']['load']}): compare ratios, not figures.",
            soft_wrap=True,
        )
    if "comparison" in report:
        print_comparison(report["comparison"], console)


def print_comparison(comparison: dict[str, Any], console: Console) -> None:
    """Against an older report: what moved, and the verdict."""
    if comparison["machines"]:
        console.print(f"[yellow]{comparison['machines']}[/]", soft_wrap=True)
    table = _table("Against the older report (above 1 is slower)", "stage", "ratio", "limit", "raw", "limit", "")
    colours = {"slower": "bold red", "faster": "green", "unclear": "yellow"}
    for name, change in comparison["changes"].items():
        colour = colours.get(change["verdict"], "dim")
        values = (f"{change[key]:.3f}" for key in ("ratio", "limit", "raw_ratio", "raw_limit"))
        table.add_row(name, *values, f"[{colour}]{change['verdict']}[/]")
    console.print(table)
    count = len(comparison["regressions"])
    console.print(
        f"[bold red]{count} became slower beyond noise.[/]" if count else "Nothing became slower beyond noise."
    )


def _stages(stages: dict[str, dict[str, Any]], wide: bool) -> Table:
    columns = [*(["p99_ms", "cpu_ms", "warm_up_ms", "peak_mb"] if wide else [])]
    columns += ["joules"] if any("joules" in row for row in stages.values()) else []
    table = _table("Stages", "stage", "p50", "p90", "per s", *(COLUMNS[key] for key in columns))
    for name, row in stages.items():
        values = [milliseconds(row["p50_ms"]), milliseconds(row["p90_ms"]), number(row["per_second"])]
        values += [(milliseconds if key.endswith("_ms") else number)(row.get(key)) for key in columns]
        table.add_row(name, *values)
    return table


def scaling(report: dict[str, Any]) -> Group | None:
    """Cameras, batches, strides, threads."""
    tables = []
    for curve in report.get("scaling", {}).values():
        table = _table(curve["title"], curve["x"], *(unit for unit in curve["series"]))
        for at, x in enumerate(curve["values"]):
            knee = " [bold]knee[/]" if x == curve.get("knee") else ""
            table.add_row(f"{x:g}{knee}", *(number(values[at]) for values in curve["series"].values()))
        tables.append(table)
    return Group(*tables) if tables else None


def accuracy(report: dict[str, Any]) -> Table | None:
    """By bundle and backend, with the paper's rows."""
    found = report.get("accuracy", {})
    if not found.get("rows"):
        return None
    table = _table("Accuracy beside speed", *ACCURACY.values())
    for row in found["rows"]:
        table.add_row(*(number(row.get(key)) if key != "bundle" else str(row[key]) for key in ACCURACY))
    return table


ACCURACY = {
    "bundle": "bundle",
    "preset": "preset",
    "backend": "backend",
    "auc_paper": "AUC paper",
    "auc_live": "AUC live",
    "flips": "flips",
    "windows": "of windows",
    "per_second": "windows/s",
    "memory_mb": "MB",
}


def limits(report: dict[str, Any]) -> Group | None:
    """Measured shares of this CPU, computed bounds of boards."""
    found = report.get("limits")
    if not found:
        return None
    best = found["peaks"]
    cpu = _table(
        f"Share of this CPU's measured peaks ({best['gflops']:g} GFLOP/s, {best['gbps']:g} GB/s)",
        *("stage", "MFLOP", "GFLOP/s", "of peak", "GB/s", "of peak"),
    )
    for row in found["cpu"]:
        cpu.add_row(
            row["stage"],
            number(row["mflop"]),
            number(row["gflops"]),
            f"{row['share_of_flops']:.0%}",
            number(row["gbps"]),
            f"{row['share_of_bandwidth']:.1%}",
        )
    rows = found["boards_computed"]
    if not rows:
        return Group(cpu)
    names = list(rows[0]["computed"])
    boards = _table("COMPUTED least milliseconds on boards, not measured", "stage", *names)
    for row in rows:
        boards.add_row(row["stage"], *(f"{one['ms']:.3f} {one['bound']}" for one in row["computed"].values()))
    return Group(cpu, boards)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=not at)
    return table
