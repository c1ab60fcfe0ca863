"""Many who are told of a run: the terminal, the service manager, and every sink, none of which can hurt another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callm_edge.cascade import Camera
    from callm_edge.errors import UserError
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Report, Summary

_logger = logging.getLogger(__name__)


class Reports:
    """A report that passes every call on to its members, in their order.

    A member that raises is logged once, with its traceback, and counted from then on; the others and the cameras go on.
    Members are called in the thread of the run: one that waits for a network has a thread of its own (sinks.outbox).

    passes: exceptions that are no failure of a member and reach the caller: a console whose reader has gone may end a
        run that nobody else hears.
    failures: calls that failed, by name of the member.
    """

    def __init__(
        self,
        members: Sequence[Report],
        passes: tuple[type[Exception], ...] = (),
        failures: dict[str, int] | None = None,
    ) -> None:
        self.members = tuple(members)
        self.failures: dict[str, int] = {} if failures is None else failures
        self._passes = passes

    def started(self, cameras: Sequence[Camera]) -> None:
        self._each(lambda member: member.started(cameras))

    def event(self, event: Event) -> None:
        self._each(lambda member: member.event(event))

    def verdict(self, verdict: Verdict) -> None:
        self._each(lambda member: member.verdict(verdict))

    def scene(self, change: SceneChange) -> None:
        self._each(lambda member: member.scene(change))

    def failed(self, what: str, error: UserError) -> None:
        self._each(lambda member: member.failed(what, error))

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        self._each(lambda member: member.tick(cameras, seconds))

    def finished(self, summary: Summary) -> None:
        self._each(lambda member: member.finished(summary))
        for name, count in self.failures.items():
            _logger.warning("%s failed %d times", name, count)

    def _each(self, call: Callable[[Report], None]) -> None:
        for member in self.members:
            try:
                call(member)
            except self._passes:
                raise
            except Exception:
                name = type(member).__name__.lstrip("_")
                if name not in self.failures:
                    _logger.exception("%s failed; the run goes on, and further failures are only counted", name)
                self.failures[name] = self.failures.get(name, 0) + 1
