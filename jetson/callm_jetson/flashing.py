"""Flashing as a row of steps: each is logged, a failure names its step, and a second run goes on where it stopped."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from callm_edge import atomic
from callm_edge.errors import UserError

_LAST_LINES = 40


@dataclass(frozen=True)
class Step:
    """A command of NVIDIA's or ours, run from the BSP's folder.

    argv: without sudo. as_root: sudo goes before it for a user who is not root.
    hint: what to look at where it fails.
    prepare: run before the command, in this process; may raise UserError.
    """

    name: str
    title: str
    argv: tuple[str, ...]
    as_root: bool = True
    environment: dict[str, str] = field(default_factory=dict)
    hint: str = ""
    prepare: Callable[[], None] | None = None

    def command(self, root_prefix: Sequence[str] = ()) -> list[str]:
        """The whole argv. Variables go through `env`, since sudo clears the environment."""
        variables = [f"{name}={value}" for name, value in sorted(self.environment.items())]
        return [*(root_prefix if self.as_root else ()), *(["env", *variables] if variables else []), *self.argv]

    def line(self, root_prefix: Sequence[str] = ()) -> str:
        """As a person would type it."""
        return shlex.join(self.command(root_prefix))


class Progress:
    """Who is told. The base says nothing."""

    def started(self, step: Step, number: int, of: int) -> None:
        """Step ``number`` (from 1) of ``of`` begins."""

    def skipped(self, step: Step, number: int, of: int) -> None:
        """It was done in an earlier run."""

    def line(self, text: str) -> None:
        """A line of the running command's output."""

    def finished(self, step: Step, seconds: float) -> None:
        """It ended well."""

    def stopped(self) -> None:
        """No step runs any more, however the last one ended."""


@dataclass(frozen=True)
class Journal:
    """What is done of a plan: a file beside the log. key: of everything that makes the plan what it is."""

    path: Path
    key: str

    def done(self) -> list[str]:
        """Names of the steps that ended well in earlier runs of the same plan."""
        try:
            stored = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return []
        return list(stored.get("done", [])) if stored.get("key") == self.key else []

    def write(self, done: Sequence[str]) -> None:
        atomic.write_text(self.path, json.dumps({"key": self.key, "done": list(done)}) + "\n")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def run_steps(
    steps: Sequence[Step],
    folder: Path,
    log: Path,
    journal: Journal,
    *,
    resume: bool,
    resume_command: str,
    root_prefix: Sequence[str] = (),
    progress: Progress | None = None,
) -> None:
    """Run ``steps`` in ``folder``, appending all output to ``log``.

    resume: leave out what an earlier run of the same plan has done.
    resume_command: what a person types to go on after a failure.

    Raises UserError naming the step that failed or was interrupted.
    """
    progress = progress or Progress()
    done = journal.done() if resume else []
    journal.write(done)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", buffering=1) as out:
        for number, step in enumerate(steps, 1):
            if step.name in done:
                progress.skipped(step, number, len(steps))
                out.write(f"--- {step.title}: done in an earlier run\n")
                continue
            progress.started(step, number, len(steps))
            began = time.monotonic()
            where = f"step {number} of {len(steps)}, '{step.title}'"
            goes_on = f"{step.hint} Then go on with: {resume_command}".strip()
            if step.prepare is not None:
                step.prepare()
            out.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {step.title}\n$ {step.line(root_prefix)}\n")
            try:
                code, last = _run(step.command(root_prefix), folder, out, progress)
            except KeyboardInterrupt:
                out.write("--- interrupted\n")
                raise UserError(f"Flashing was interrupted at {where}", f"the log is {log}", goes_on) from None
            except OSError as error:
                raise UserError(f"Flashing failed at {where}", f"{step.argv[0]}: {error.strerror}", goes_on) from None
            out.write(f"--- exit code {code}\n")
            if code:
                why = f"{Path(step.argv[0]).name} ended with exit code {code}"
                raise UserError(f"Flashing failed at {where}", f"{why}{_saying(last)}; the log is {log}", goes_on)
            done = [*done, step.name]
            journal.write(done)
            progress.finished(step, time.monotonic() - began)
    journal.forget()


def _run(argv: Sequence[str], folder: Path, out: IO[str], progress: Progress) -> tuple[int, list[str]]:
    """Exit code and last lines. A Ctrl-C of ours reaches the command too, and is waited for: half a kill leaves
    NVIDIA's mounts behind."""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    # No standard input: a question of a script would be a hang that nobody sees.
    process = subprocess.Popen(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            out.write(line)
            if text := line.strip():
                last.append(text)
                progress.line(text)
        return process.wait(), list(last)
    except KeyboardInterrupt:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _saying(last: Sequence[str]) -> str:
    """The line of the output that most likely says what is wrong."""
    for line in reversed(last):
        if "error" in line.lower() or "fail" in line.lower():
            return f", saying '{line[:200]}'"
    return f", saying '{last[-1][:200]}'" if last else ""
