"""The last messages of a run, numbered, so that any number of readers can follow without a queue for each."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

SIZE = 1000

Message = tuple[str, dict[str, Any]]


class Journal:
    """Bounded: the oldest messages leave first. Written and read from any thread.

    size: messages kept. last: number of the newest message, counted from 1; 0 before there is one.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._messages: deque[Message] = deque(maxlen=size)
        self._lock = threading.Lock()
        self.last = 0

    def add(self, kind: str, data: dict[str, Any]) -> None:
        with self._lock:
            self._messages.append((kind, data))
            self.last += 1

    def after(self, number: int) -> tuple[list[Message], int, int]:
        """Messages behind `number`, the number of the newest of them, and how many a slow reader has missed."""
        with self._lock:
            wanted = self.last - number
            kept = list(self._messages)[-wanted:] if wanted > 0 else []
            return kept, self.last, max(0, wanted - len(kept))
