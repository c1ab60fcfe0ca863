"""Events, verdicts, changes of a scene and the summary of a run appended to a file: the lines of `run --json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from callm_edge.errors import UsageError
from callm_edge.sinks.sink import Sink

if TYPE_CHECKING:
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Summary


class JsonLinesFile(Sink):
    """Opened for every line, so that a rotation may move the file away at any time; events are rare.

    Raises UsageError where the file cannot be written.
    """

    name = "jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise UsageError(f"The file {path} cannot be written", error.strerror or str(error)) from error

    def event(self, event: Event) -> None:
        self._line(event.to_json())

    def verdict(self, verdict: Verdict) -> None:
        self._line(verdict.to_json())

    def scene(self, change: SceneChange) -> None:
        self._line(change.to_json())

    def finished(self, summary: Summary) -> None:
        self._line(json.dumps({"type": "summary", **asdict(summary)}))

    def _line(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
