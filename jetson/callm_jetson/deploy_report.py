"""What `deploy` prints: a row for each device that tells where it stands, or JSON lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from callm_jetson.deploying import Outcome, Watcher

_STYLE = {"running": "cyan", "ok": "green", "skipped": "dim", "failed": "bold red"}


class DeployReport:
    """Collects the progress of every device. Used as a context; safe from several threads."""

    def __init__(self, hosts: Sequence[str], *, as_json: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._as_json = as_json
        self._lock = threading.Lock()
        self._rows = dict.fromkeys(hosts, ("connect", "running", ""))
        self._live: Live | None = None
        if not as_json and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> DeployReport:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def watcher(self, host: str) -> Watcher:
        """The one of ``host``."""
        return _Row(self, host)

    def update(self, host: str, name: str, state: str, detail: str, *, transient: bool = False) -> None:
        """transient: a figure that moves, of no interest to a log."""
        with self._lock:
            self._rows[host] = (name, state, detail)
            if self._as_json:
                if not transient:
                    self._line(type="step", host=host, step=name, state=state, detail=detail)
            elif self._live:
                self._live.update(self._table(), refresh=True)
            elif not transient:
                self._console.print(f"{escape(host)}: [{_STYLE[state]}]{name} {state}[/] {escape(detail)}".rstrip())

    def finished(self, outcomes: Sequence[Outcome]) -> None:
        """The last word on each."""
        for outcome in outcomes:
            if self._as_json:
                fields = {"ok": outcome.ok, "current": outcome.current, "previous": outcome.previous}
                self._line(type="deployed", host=outcome.host, **fields, engine=outcome.engine, error=outcome.error)
            elif outcome.ok:
                earlier = f", {outcome.previous} is kept for --rollback" if outcome.previous else ""
                self._console.print(
                    f"[bold green]{escape(outcome.host)}[/] runs [bold]{outcome.current}[/]{earlier}", soft_wrap=True
                )
            else:
                self._console.print(
                    f"[bold red]{escape(outcome.host)} failed:[/] {escape(outcome.error)}", soft_wrap=True
                )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for host, (name, state, detail) in self._rows.items():
            table.add_row(f"[bold]{escape(host)}[/]", f"[{_STYLE[state]}]{name}[/]", f"[dim]{escape(detail)}[/]")
        return table

    def _line(self, **fields: Any) -> None:
        print(json.dumps(fields), flush=True)


class _Row:
    def __init__(self, report: DeployReport, host: str) -> None:
        self._report, self._host = report, host

    def step(self, name: str, state: str, detail: str = "") -> None:
        self._report.update(self._host, name, state, detail)

    def sent(self, done: int, total: int) -> None:
        percent = min(100, round(100 * done / max(total, 1)))
        self._report.update(self._host, "send", "running", f"{percent} % of {total / 1e6:.1f} MB", transient=True)
