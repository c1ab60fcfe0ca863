"""What `flash` prints: steps and the last line of what runs for people, JSON lines for programs."""

from __future__ import annotations

import json
import shlex
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from callm_jetson.flash_host import root_prefix
from callm_jetson.flash_plan import FlashPlan
from callm_jetson.flashing import Progress, Step

_NEXT = (
    "Take the jumper off where there is one, and start the board. Its first start installs the release (some minutes); "
    "then: ssh {user}@{host}.local"
)


class TextReport(Progress):
    """For people, on stderr; a dry run's commands on stdout, so that they can be kept."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._status: Status | None = None

    def dry(self, plan: FlashPlan) -> None:
        out = Console(highlight=False, soft_wrap=True)
        out.print(f"# L4T {plan.bsp.text} for {plan.wanted.board.name}, root file system on {plan.storage}")
        out.print(f"cd {shlex.quote(str(plan.bsp.folder))}", markup=False)
        for step in plan.steps:
            out.print(f"# {step.title}", markup=False)
            if step.name == "seed":
                for line in plan.seed_files:
                    out.print(f"#   {line}", markup=False)
            out.print(step.line(root_prefix()), markup=False)
        out.print(f"# log: {plan.log}", markup=False)

    def started(self, step: Step, number: int, of: int) -> None:
        self._console.print(f"[bold]{number}/{of}[/] {escape(step.title)}")
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()

    def skipped(self, step: Step, number: int, of: int) -> None:
        self._console.print(f"[bold]{number}/{of}[/] {escape(step.title)}: [dim]done before[/]")

    def line(self, text: str) -> None:
        if self._status:
            self._status.update(f"[dim]{escape(text[: self._console.width - 6])}[/]")

    def finished(self, step: Step, seconds: float) -> None:
        self.stopped()
        self._console.print(f"    [green]done[/] in {seconds:.0f} s")

    def stopped(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None

    def flashed(self, plan: FlashPlan) -> None:
        self._console.print("[bold green]Flashed.[/]")
        self._console.print(_NEXT.format(user=plan.wanted.user, host=plan.wanted.hostname), soft_wrap=True)
        self._console.print(f"[dim]The log is {escape(str(plan.log))}[/]", soft_wrap=True)


class JsonReport(Progress):
    """One object a line on stdout."""

    def dry(self, plan: FlashPlan) -> None:
        self._line(
            type="plan", l4t=plan.bsp.text, board=plan.wanted.board.name, storage=plan.storage, log=str(plan.log)
        )
        for step in plan.steps:
            self._line(type="command", step=step.name, argv=step.command(root_prefix()), cwd=str(plan.bsp.folder))

    def started(self, step: Step, number: int, of: int) -> None:
        self._line(type="step", step=step.name, state="running", number=number, of=of)

    def skipped(self, step: Step, number: int, of: int) -> None:
        self._line(type="step", step=step.name, state="skipped", number=number, of=of)

    def finished(self, step: Step, seconds: float) -> None:
        self._line(type="step", step=step.name, state="ok", seconds=round(seconds, 1))

    def flashed(self, plan: FlashPlan) -> None:
        self._line(type="flashed", board=plan.wanted.board.name, l4t=plan.bsp.text, log=str(plan.log))

    def _line(self, **fields: Any) -> None:
        print(json.dumps(fields), flush=True)
