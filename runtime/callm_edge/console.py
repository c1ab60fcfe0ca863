"""What `run` prints: lines and a status line for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.live import Live
from rich.table import Table

from callm_edge.cascade import Camera
from callm_edge.errors import UserError
from callm_edge.events.clock import clock_text
from callm_edge.events.event import Event
from callm_edge.events.scene import COVERED, DEFOCUSED, LIGHT, MOVED, NORMAL, SceneChange
from callm_edge.events.verdict import Verdict
from callm_edge.watch import Summary

_SCENE = {
    MOVED: "the camera was moved",
    COVERED: "the camera is covered",
    DEFOCUSED: "the picture lost its detail: out of focus, dirt or fog",
    LIGHT: "the light was switched",
}


class JsonReport:
    """The contract of `run --json`: events, verdicts, scenes, the summary, one a line on stdout; errors on stderr."""

    def started(self, cameras: Sequence[Camera]) -> None:
        pass

    def event(self, event: Event) -> None:
        self._line(event.to_json())

    def verdict(self, verdict: Verdict) -> None:
        self._line(verdict.to_json())

    def scene(self, change: SceneChange) -> None:
        self._line(change.to_json())

    def failed(self, what: str, error: UserError) -> None:
        print(f"Error: {what}: {error}", file=sys.stderr, flush=True)

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        pass

    def finished(self, summary: Summary) -> None:
        self._line(json.dumps({"type": "summary", **asdict(summary)}))

    def _line(self, text: str) -> None:
        # Flushed, because a program that reads a pipe wants the event now.
        print(text, flush=True)


class TextReport:
    """For people. status_line: a line per camera at the bottom of a terminal, kept up to date."""

    def __init__(self, status_line: bool = True, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True)
            if status_line and self._console.is_terminal
            else None
        )

    def started(self, cameras: Sequence[Camera]) -> None:
        alike: dict[tuple[str, float], list[str]] = {}
        for camera in cameras:
            alike.setdefault((camera.bundle, camera.decision.threshold_psnr_db), []).append(camera.source.name)
        for (bundle, threshold), names in alike.items():
            self._console.print(
                f"Watching [bold]{_safe(', '.join(names))}[/] with bundle [bold]{_safe(bundle)}[/], "
                f"threshold {threshold:.2f} dB"
            )
        if self._live:
            self._live.start()

    def event(self, event: Event) -> None:
        span = f"{clock_text(event.start_time, 1)} to {clock_text(event.end_time, 1)}"
        below = event.threshold_psnr_db - event.peak_psnr_db
        x, y, w, h = event.box
        self._console.print(
            f"[bold red]Anomaly[/]  {_safe(event.source)}  {span}  frames {event.start_frame} to {event.end_frame}  "
            f"[bold]{event.peak_psnr_db:.2f} dB[/] ({below:.2f} below threshold)  "
            f"at {x},{y} {w}x{h}  [dim]{event.id[:8]}[/]",
            soft_wrap=True,
        )

    def verdict(self, verdict: Verdict) -> None:
        seconds = sum(verdict.ledger_ms.values()) / 1000
        by = "" if verdict.answered_by == "device" else f" by {_safe(verdict.answered_by)}"
        judged = (
            f"[bold red]abnormal {verdict.probability:.0%}[/]"
            if verdict.abnormal
            else (f"[green]normal[/] {1 - verdict.probability:.0%}")
        )
        self._console.print(
            f"[bold]Verdict[/]  {judged}  {_safe(verdict.explanation)}  "
            f"[dim]{verdict.event_id[:8]}, {seconds:.1f} s{by}[/]",
            soft_wrap=True,
        )

    def scene(self, change: SceneChange) -> None:
        if change.kind != NORMAL:
            text = f"[yellow]{_SCENE[change.kind]}[/]"
        else:
            text = "this view is now the usual one" if change.adopted else "as usual again"
        since = clock_text(change.since, 1)
        self._console.print(f"[bold]View[/]  {_safe(change.source)}  since {since}  {text}", soft_wrap=True)

    def failed(self, what: str, error: UserError) -> None:
        self._console.print(f"[bold red]Error:[/] {_safe(what)}: {_safe(str(error))}", soft_wrap=True)

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        if not self._live:
            return
        table = Table.grid(padding=(0, 2))
        for camera in cameras:
            counts = camera.counts
            late = f"{camera.source.dropped} dropped, {counts.skipped} unscored" if camera.source.live else ""
            table.add_row(
                f"[cyan]{_safe(camera.source.name)}[/]",
                camera.source.state.value,
                f"{counts.frames} frames",
                f"{counts.frames / max(seconds, 1e-6):.1f} fps",
                f"{counts.events} events",
                late,
            )
        self._live.update(table, refresh=True)

    def finished(self, summary: Summary) -> None:
        if self._live:
            self._live.stop()
        self._console.print(
            f"{summary.frames} frames in {summary.seconds:.1f} s "
            f"({summary.fps:.1f} fps; stage 1 alone {summary.stage1_fps:.1f}), "
            f"{summary.events} events, {summary.verdicts} verdicts, {summary.dropped} dropped, {summary.rss_mb:.0f} MB",
            soft_wrap=True,
        )


def _safe(text: str) -> str:
    """Square brackets in names are text, not markup."""
    return text.replace("[", r"\[")
