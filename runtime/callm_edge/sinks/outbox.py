"""A sink's own thread behind a bounded queue, so that a slow network never slows a camera."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class Outbox(Generic[T]):
    """Hands items to `deliver`, one after another, in the order they came.

    name: for logs. size: items that wait at most; with one more the oldest is dropped, since what is new matters most
    and all of it stands in the event store anyway.
    dropped, failures: items that left undelivered: pushed out, or because `deliver` raised.
    closing: is set at the end; `deliver` then makes one attempt and does not wait for a better moment.
    """

    def __init__(self, name: str, deliver: Callable[[T], None], size: int) -> None:
        self._name, self._deliver, self._size = name, deliver, size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._busy = self._abandoned = False
        self.dropped = self.failures = 0
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that are not delivered yet, the one under way included."""
        return len(self._items) + self._busy

    def put(self, item: T) -> None:
        """Never waits."""
        with self._changed:
            if len(self._items) >= self._size:
                self._items.popleft()
                if not self.dropped:
                    _logger.warning("%s: %d messages wait; the oldest are dropped from now on", self._name, self._size)
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()

    def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, for at most so long; what is left then counts as failed."""
        self.closing.set()
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.waiting, timeout_s)
            left, self._abandoned = self.waiting, True
            self._items.clear()
            self._changed.notify_all()
        if left:
            self.failures += left
            _logger.warning("%s: %d messages could not be delivered before the end", self._name, left)
        self._thread.join(max(0.1, timeout_s / 10))

    def _run(self) -> None:
        troubled = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self.closing.is_set())
                if not self._items or self._abandoned:
                    return
                item, self._busy = self._items.popleft(), True
            try:
                self._deliver(item)
                if troubled:
                    _logger.info("%s: delivers again", self._name)
                troubled = False
            except Exception as error:
                self.failures += 1
                # Once for each outage: a network that is away for a night would fill the log.
                _logger.log(logging.DEBUG if troubled else logging.WARNING, "%s: not delivered: %s", self._name, error)
                troubled = True
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
