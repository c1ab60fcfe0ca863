"""The log as JSON lines, for journald, Loki, Elasticsearch: every line about an event carries its id."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callm_edge.errors import UsageError
from callm_edge.events.scene import NORMAL
from callm_edge.sinks.sink import Sink, redact_text

if TYPE_CHECKING:
    from callm_edge.cascade import Camera
    from callm_edge.errors import UserError
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Summary

_logger = logging.getLogger("callm_edge.run")
_FIELDS = "callm_fields"  # attribute of a log record that holds the fields of its line


class JsonLines(logging.Formatter):
    """A log record -> one JSON object: time (UTC), level, logger, message, and what else the record brings.

    Passwords in URLs are hidden in all of it, tracebacks included.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_text(record.getMessage()),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class JsonLog(Sink):
    """Writes what the program logs, and events, verdicts and failures, to a file or to stderr.

    path: appended to, and opened anew when a log rotation moved it away; None is stderr. level: such as 'info'.
    Raises UsageError where the file cannot be written.
    """

    name = "json_log"

    def __init__(self, path: Path | None = None, level: str = "info") -> None:
        try:
            if path is not None:
                from logging.handlers import WatchedFileHandler

                path.parent.mkdir(parents=True, exist_ok=True)
                self._handler: logging.Handler = WatchedFileHandler(path, encoding="utf-8")
            else:
                self._handler = logging.StreamHandler(sys.stderr)
        except OSError as error:
            raise UsageError(f"The log {path} cannot be written", error.strerror or str(error)) from error
        self._handler.setFormatter(JsonLines())
        self._root = logging.getLogger("callm_edge")
        self._before = self._root.level
        self._root.setLevel(level.upper())
        self._root.addHandler(self._handler)

    def started(self, cameras: Sequence[Camera]) -> None:
        for camera in cameras:
            _say("watching", camera=camera.source.name, bundle=camera.bundle)

    def event(self, event: Event) -> None:
        fields = {name: value for name, value in asdict(event).items() if name not in ("id", "source")}
        _say("event", event_id=event.id, camera=event.source, **fields)

    def verdict(self, verdict: Verdict) -> None:
        _say("verdict", **asdict(verdict))

    def scene(self, change: SceneChange) -> None:
        fields = {name: value for name, value in asdict(change).items() if name != "source"}
        level = logging.INFO if change.kind == NORMAL else logging.WARNING
        _say("scene", level, camera=change.source, **fields)

    def failed(self, what: str, error: UserError) -> None:
        _say(f"{what}: {error}", logging.ERROR)

    def finished(self, summary: Summary) -> None:
        _say("finished", **asdict(summary))

    def close(self) -> None:
        self._root.removeHandler(self._handler)
        self._root.setLevel(self._before)
        self._handler.close()


def _say(message: str, level: int = logging.INFO, **fields: Any) -> None:
    _logger.log(level, "%s", message, extra={_FIELDS: fields})
