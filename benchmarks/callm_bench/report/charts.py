"""The charts of a report. Each is drawn in light for files, and in light and dark for the page."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callm_bench.report.words import milliseconds, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_INCHES, DPI = 10.0, 130


@dataclass(frozen=True)
class Palette:
    """Okabe and Ito's colours, which the colour-blind can tell apart, on the page's own background."""

    ink: str
    faint: str
    ground: str
    first: str
    second: str
    third: str
    other: str


LIGHT = Palette("#1c2430", "#d9dee5", "#ffffff", "#0072b2", "#d55e00", "#009e73", "#9aa5b1")
DARK = Palette("#e6e9ee", "#39424e", "#171c23", "#56b4e9", "#ff9a52", "#3fcf9f", "#77818d")

Chart = Callable[[Palette], "Figure | None"]


def charts(report: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, tuple[str, Chart]]:
    """Title and drawing by file name; only those that the report has data for draw anything."""
    drawn: dict[str, tuple[str, Chart]] = {
        "stages": ("Latency of each stage", lambda look: _stages(report["stages"], look)),
        "peers": ("The same network, other ways of running it", lambda look: _peers(report, look)),
    }
    for name, curve in report.get("scaling", {}).items():
        drawn[f"scaling_{name}"] = (curve["title"], lambda look, curve=curve: _curve(curve, look))  # type: ignore[misc]
    drawn["limits"] = ("Share of this processor's measured peaks", lambda look: _limits(report, look))
    drawn["history"] = ("Over the releases, on this kind of machine", lambda look: _history(history, look))
    return drawn


def render(chart: Chart, look: Palette, kind: str) -> bytes | None:
    """kind: 'png' or 'svg'. None where there is nothing to draw."""
    import matplotlib

    style: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.color": look.ink,
        "axes.labelcolor": look.ink,
        "axes.edgecolor": look.faint,
        "xtick.color": look.ink,
        "ytick.color": look.ink,
        "grid.color": look.faint,
        "axes.facecolor": look.ground,
        "figure.facecolor": look.ground,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "callm-edge",
    }
    with matplotlib.rc_context(style):
        figure = chart(look)
        if figure is None:
            return None
        memory = io.BytesIO()
        dated = {"Date": None} if kind == "svg" else {}
        figure.savefig(memory, format=kind, dpi=DPI, metadata=dated, bbox_inches="tight", pad_inches=0.15)
    return memory.getvalue()


def _figure(height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _stages(stages: dict[str, dict[str, Any]], look: Palette) -> Figure | None:
    from matplotlib.ticker import FuncFormatter

    if not stages:
        return None
    names = list(stages)[::-1]
    figure = _figure(0.8 + 0.29 * len(names))
    axes = figure.subplots()
    for at, name in enumerate(names):
        row = stages[name]
        axes.plot([row["p50_ms"], row["p99_ms"]], [at, at], color=look.faint, linewidth=5, solid_capstyle="round")
        axes.plot(row["p90_ms"], at, "|", color=look.ink, markersize=8)
        axes.plot(row["p50_ms"], at, "o", color=look.first, markersize=7)
        axes.annotate(
            milliseconds(row["p50_ms"]),
            (row["p99_ms"], at),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xscale("log")
    lowest, highest = min(r["p50_ms"] for r in stages.values()), max(r["p99_ms"] for r in stages.values())
    axes.set_xlim(lowest / 2, highest * 6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: milliseconds(value)))
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("dot: median, bar: to the 99th percentile, stroke: 90th; logarithmic")
    return figure


def _peers(report: dict[str, Any], look: Palette) -> Figure | None:
    groups = peer_groups(report)
    if not groups:
        return None
    figure = _figure(0.5 + sum(0.55 + 0.34 * len(rows) for rows in groups.values()))
    all_axes = figure.subplots(
        len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": [1 + len(rows) for rows in groups.values()]}
    )[:, 0]
    for axes, (title, rows) in zip(all_axes, groups.items(), strict=True):
        ordered = sorted(rows.items(), key=lambda item: float(item[1]["per_second"]))
        best = float(ordered[-1][1]["per_second"])
        for at, (_, row) in enumerate(ordered):
            rate, colour = float(row["per_second"]), look.first if row.get("ours") else look.other
            axes.barh(at, rate, color=colour, height=0.68)
            times = "" if rate == best else f"   {best / rate:.1f} times slower than the best"
            axes.annotate(
                f"{number(rate)}{times}",
                (rate, at),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
        axes.set_xlim(0, best * 1.45)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    return figure


def peer_groups(report: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Rows by side, of each network that more than one side ran."""
    peers = report.get("peers", {})
    groups = {
        f"Stage 1, preset {preset}: frames/s": group["rows"] for preset, group in peers.get("network", {}).items()
    }
    groups["Language model, one answer: tokens/s"] = peers.get("language_model", {}).get("rows", {})
    return {title: rows for title, rows in groups.items() if len(rows) > 1}


def _curve(curve: dict[str, Any], look: Palette) -> Figure:
    figure = _figure(3.3)
    all_axes = figure.subplots(1, len(curve["series"]), squeeze=False)[0]
    x = curve["values"]
    colours = (look.first, look.second, look.third, look.ink)
    for axes, (unit, values), colour in zip(all_axes, curve["series"].items(), colours, strict=False):
        axes.plot(x, values, "o-", color=colour, linewidth=2)
        if (knee := curve.get("knee")) is not None:
            axes.axvline(knee, color=look.ink, linestyle=":", linewidth=1.2)
            axes.annotate(
                f"knee: {knee:g}", (knee, 1.0), xycoords=("data", "axes fraction"), xytext=(5, -12),
                textcoords="offset points", fontsize=9,
            )  # fmt: skip
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.set_xlabel(curve["x"])
        axes.set_title(unit, loc="left", fontsize=10.5)
        axes.set_ylim(0, max(values) * 1.15 if max(values) > 0 else 1)
        axes.grid(axis="y", linewidth=0.6)
    return figure


def _limits(report: dict[str, Any], look: Palette) -> Figure | None:
    rows = report.get("limits", {}).get("cpu", [])[::-1]
    if not rows:
        return None
    figure = _figure(0.9 + 0.42 * len(rows))
    axes = figure.subplots()
    for at, row in enumerate(rows):
        axes.barh(at + 0.18, 100 * row["share_of_flops"], height=0.34, color=look.first)
        axes.barh(at - 0.18, 100 * row["share_of_bandwidth"], height=0.34, color=look.second)
        for offset, key in ((0.18, "share_of_flops"), (-0.18, "share_of_bandwidth")):
            axes.annotate(
                f"{100 * row[key]:.0f} %", (100 * row[key], at + offset), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=8.5,
            )  # fmt: skip
    axes.barh(0, 0, color=look.first, label="multiply-adds")
    axes.barh(0, 0, color=look.second, label="bytes that must move")
    axes.set_yticks(range(len(rows)), [row["stage"] for row in rows])
    top = max(max(row["share_of_flops"], row["share_of_bandwidth"]) for row in rows)
    axes.set_xlim(0, 100 * max(top * 1.15, 0.2))
    axes.set_xlabel("% of what a matrix product and a pass over memory reach on this machine")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.02 + 0.6 / (1 + 0.42 * len(rows))), ncols=2)
    return figure


def _history(history: list[dict[str, Any]], look: Palette) -> Figure | None:
    if not history:
        return None
    figure = _figure(3.3)
    axes = figure.subplots()
    names = [name for name in FOLLOWED if any(name in entry["per_second"] for entry in history)]
    for name, colour in zip(names, (look.first, look.second, look.third), strict=False):
        points = [(at, entry["per_second"][name]) for at, entry in enumerate(history) if name in entry["per_second"]]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=f"{name}: {number(points[-1][1])}", linewidth=2)
    axes.set_xticks(
        range(len(history)), [entry["release"] + ("\n(busy)" if entry["busy"] else "") for entry in history]
    )
    axes.set_xlim(-0.5, len(history) - 0.3)
    axes.set_ylim(0, 1.15 * axes.dataLim.ymax)
    axes.set_ylabel("per second")
    axes.grid(axis="y", linewidth=0.6)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


FOLLOWED = ("stage 1, edge, shared", "file to events, callm-edge run", "decode")
