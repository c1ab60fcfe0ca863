"""What every sink is: a Report that hears what it asks for and ignores the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from callm_edge.sources.uri import redact

if TYPE_CHECKING:
    from callm_edge.cascade import Camera
    from callm_edge.errors import UserError
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Summary

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


class Sink:
    """See Report. Every call comes from the thread of the run and must not wait for a network.

    name: for metrics and logs. dropped: messages that were given up because the queue was full. failures: messages that
    could not be delivered. waiting: messages in the queue now.
    """

    name = "sink"

    @property
    def dropped(self) -> int:
        return 0

    @property
    def failures(self) -> int:
        return 0

    @property
    def waiting(self) -> int:
        return 0

    def started(self, cameras: Sequence[Camera]) -> None:
        pass

    def event(self, event: Event) -> None:
        pass

    def verdict(self, verdict: Verdict) -> None:
        pass

    def scene(self, change: SceneChange) -> None:
        pass

    def failed(self, what: str, error: UserError) -> None:
        pass

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        pass

    def finished(self, summary: Summary) -> None:
        pass

    def close(self) -> None:
        """Let go of threads and sockets, also where the run ended by an error. May be called more than once."""


def redact_text(text: str) -> str:
    """`text` with the user, password and secret keys of every URL in it replaced by ***."""
    return _URL.sub(lambda found: redact(found[0]), text)
