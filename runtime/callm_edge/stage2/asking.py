"""Questions about stored events, for `events ask` and for the live page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.store import StoredEvent
from callm_edge.stage2.branch import Branch, Unreachable

BRANCHES = 2  # kept open; each holds a language model


class Asker:
    """One question at a time; the branch that answered stays open for the next.

    make: what opens the branch that answers for events of a bundle, by its name. Raises BundleError where it has none.
    """

    def __init__(self, make: Callable[[str], Callable[[], Branch]]) -> None:
        self._make = make
        self._branches: dict[str, Branch] = {}
        self._busy = threading.Lock()

    def ask(self, stored: StoredEvent, question: str) -> Iterator[str]:
        """The answer, piece by piece.

        Raises UserError where the clip is gone, where there is no branch or nobody can be reached, and while another
        question is being answered.
        """
        if stored.clip is None:
            raise UserError(f"Event {stored.event.id} cannot be asked about", "its clip was not stored, or is gone")
        if not self._busy.acquire(blocking=False):
            raise UserError("Another question is being answered", "", "Ask again when it is done")
        try:
            yield from self._branch(stored.bundle).ask(Clip.load(stored.clip), question)
        except Unreachable as why:
            raise UserError("Nobody answers", str(why)) from None
        finally:
            self._busy.release()

    def _branch(self, bundle: str) -> Branch:
        if bundle not in self._branches:
            opened = self._make(bundle)()
            while len(self._branches) >= BRANCHES:
                self._branches.pop(next(iter(self._branches)))
            self._branches[bundle] = opened
        return self._branches[bundle]


def device_branch(bundle: str) -> Callable[[], Branch]:
    """What opens the branch of a bundle (name or folder) on this device. Raises BundleError where it has none."""
    from callm_edge.bundle import Bundle
    from callm_edge.stage2.choose import open_branch

    make = open_branch(Bundle.load(bundle), "device")
    assert make is not None
    return make
