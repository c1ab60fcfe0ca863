"""What answers for an event: the video-language branch, on this device or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict


class Branch(Protocol):
    """Judges clips. Used by one thread at a time. name: as verdicts give it, 'device' or 'remote:NAME'."""

    name: str

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        """Ask whether the clip is abnormal and, only after yes, why.

        say: hears the explanation piece by piece as it comes.
        Raises UserError where the clip cannot be judged, and never will be; Unreachable where trying later may help.
        """
        ...

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        """Answer any question about the clip, piece by piece. Raises as `judge` does."""
        ...


class Unreachable(Exception):  # noqa: N818 (it is a state of the world, and only the worker ever sees it)
    """Nobody can answer now; the text says why."""
