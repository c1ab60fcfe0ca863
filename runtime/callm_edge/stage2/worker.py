"""Judges events behind the cameras' back: a thread that empties the store's queue of events without a verdict.

The queue is on disk, so that an event which was found before a crash is judged after it. Nothing is waited for by a
camera: what comes faster than it can be judged stays in the store.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.sources.backoff import Backoff
from callm_edge.stage2.branch import Branch, Unreachable

_logger = logging.getLogger(__name__)

NICENESS = 5  # of the thread and those it starts: stage 1 goes first where cores are short


class VerdictWorker:
    """See the module. open_branch: makes the branch, in the worker's thread, since loading takes a second.

    on_verdict: hears every verdict after it is stored, in the worker's thread.
    on_failure: hears the id of an event that cannot be judged, and why; an empty id where the branch cannot be opened,
        after which nothing more will come, and where the store cannot be used, which is tried again.
    say: hears event id and piece of an explanation while it is being said.
    """

    def __init__(
        self,
        store: EventStore,
        open_branch: Callable[[], Branch],
        on_verdict: Callable[[Verdict], None],
        on_failure: Callable[[str, UserError], None],
        say: Callable[[str, str], None] = lambda event_id, piece: None,
    ) -> None:
        self._store, self._open, self._say = store, open_branch, say
        self._on_verdict, self._on_failure = on_verdict, on_failure
        self._changed = threading.Condition()
        self._fresh = True  # the store may hold something new
        self._busy = False
        self._stopped = threading.Event()
        self._dead = False
        self._backoff = Backoff()
        self._put_off: dict[str, int] = {}  # how often nobody could be reached for an event that waits
        self._thread = threading.Thread(target=self._run, name="stage 2", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        """Say that there is a new event in the store."""
        with self._changed:
            self._fresh = True
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        """Nothing waits that could be judged now: all is said, or the branch cannot be opened or reached."""
        with self._changed:
            return self._dead or not (self._fresh or self._busy)

    def stop(self, timeout_s: float | None = None) -> None:
        """End after the event that is being judged; what waits stays in the store for the next run."""
        self._stopped.set()
        self.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        _be_nice()
        try:
            branch = self._open()
        except UserError as error:
            self._dead = True
            self._on_failure("", error)
            return
        failures = 0
        while not self._stopped.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._fresh or self._stopped.is_set())
                self._fresh, self._busy = False, True
            try:
                for event_id in self._line():
                    if self._stopped.is_set():
                        return
                    self._judge(branch, event_id)
                    failures = 0
            except Unreachable as why:
                failures += 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                _logger.log(level, "Stage 2 cannot be reached (%s); events wait in the store", why)
                self._rest(self._backoff.delay_s(failures))
            except UserError as error:  # of the store; a disk that is full now may have room again soon
                failures += 1
                if failures == 1:
                    self._on_failure("", error)
                self._rest(self._backoff.delay_s(failures))
            finally:
                self._busy = False

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt. Who asks meanwhile hears that nothing can be done now."""
        with self._changed:
            self._busy = False
        self._stopped.wait(seconds)
        with self._changed:
            self._fresh = True

    def _line(self) -> list[str]:
        """What waits, the oldest first; behind it what was put off, lest one event that a server always fails with hold
        up all others."""
        waiting = self._store.waiting()
        self._put_off = {event_id: self._put_off[event_id] for event_id in waiting if event_id in self._put_off}
        return sorted(waiting, key=lambda event_id: self._put_off.get(event_id, 0))

    def _judge(self, branch: Branch, event_id: str) -> None:
        stored = self._store.get(event_id)
        try:
            if stored.clip is None:
                raise UserError(f"Event {event_id} cannot be judged", "its clip is gone")
            clip = Clip.load(stored.clip)
            waited_ms = 1000 * self._store.waited_s(event_id)
            verdict = branch.judge(clip, lambda piece: self._say(event_id, piece))
        except Unreachable:
            self._put_off[event_id] = self._put_off.get(event_id, 0) + 1
            raise
        except UserError as error:
            self._store.give_up(event_id, str(error))
            self._on_failure(event_id, error)
            return
        except Exception as error:
            # Whatever a model or a library does with one clip, the others are still to be judged.
            _logger.exception("Stage 2 failed with event %s", event_id)
            self._store.give_up(event_id, f"{type(error).__name__}: {error}")
            why = f"{type(error).__name__}: {error}"
            self._on_failure(event_id, UserError(f"Event {event_id} cannot be judged", why))
            return
        verdict = replace(verdict, ledger_ms={"waited": round(waited_ms, 1), **verdict.ledger_ms})
        if self._store.decide(verdict):
            self._on_verdict(verdict)


def _be_nice() -> None:
    # On Linux a priority belongs to a thread, and those that it starts inherit it.
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
