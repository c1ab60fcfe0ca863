"""A branch in this process, which may take the process along: tries are counted on disk before they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Branch, Unreachable

ATTEMPTS = 5  # of an event, each of which a crash ended


class CountedBranch:
    """See Branch. An event that ended the process `ATTEMPTS` times is refused, so that others get their turn.

    attempt: notes a try and returns how many there were, this one included: EventStore.attempt.
    A server needs none of this: its crash is not ours, and our end while it is slow is no fault of the event.
    """

    def __init__(self, branch: Branch, attempt: Callable[[str], int]) -> None:
        self.name = branch.name
        self._branch, self._attempt = branch, attempt

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        """See Branch.judge."""
        try:
            attempt = self._attempt(clip.event_id)
        except UserError as error:  # a full disk, which is no fault of the event
            raise Unreachable(str(error)) from error
        if attempt > ATTEMPTS:
            what = f"Event {clip.event_id} was tried {ATTEMPTS} times"
            raise UserError(what, "the branch on this device never came to an end with it")
        return self._branch.judge(clip, say)

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        """See Branch.ask."""
        return self._branch.ask(clip, question)
