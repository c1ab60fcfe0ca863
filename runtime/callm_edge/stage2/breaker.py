"""A circuit breaker: after failures in a row nobody is asked for a while, then one question tries the way again."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable


class BreakerState(enum.Enum):
    """closed: all goes through. open: nothing does. half-open: one attempt is under way, and decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """See the module (Nygard, "Release It!", 2007). Any thread may use it.

    failures: in a row, after which it opens. rest_s: how long it stays open; doubled after each failed attempt, up to
    limit_s. clock: monotonic seconds.
    """

    def __init__(
        self,
        failures: int = 3,
        rest_s: float = 5.0,
        limit_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._first_rest_s, self._limit_s, self._clock = failures, rest_s, limit_s, clock
        self._lock = threading.Lock()
        self._state, self._failed, self._rest_s, self._opened = BreakerState.CLOSED, 0, rest_s, 0.0

    @property
    def state(self) -> BreakerState:
        with self._lock:
            return self._state

    @property
    def opens_in_s(self) -> float:
        """Seconds until an attempt is let through; 0 where one would be now."""
        with self._lock:
            if self._state is BreakerState.CLOSED:
                return 0.0
            return max(0.0, self._opened + self._rest_s - self._clock())

    def allows(self) -> bool:
        """Whether to ask now. After a rest, True once: whoever got it must report `succeeded` or `failed`."""
        with self._lock:
            if self._state is BreakerState.CLOSED:
                return True
            # An attempt that never reported is taken for dead after another rest.
            if self._clock() < self._opened + self._rest_s:
                return False
            self._state, self._opened = BreakerState.HALF_OPEN, self._clock()
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._state, self._failed, self._rest_s = BreakerState.CLOSED, 0, self._first_rest_s

    def failed(self) -> None:
        with self._lock:
            self._failed += 1
            if self._state is BreakerState.HALF_OPEN:
                self._rest_s = min(self._limit_s, 2 * self._rest_s)
            elif self._failed < self._most:
                return
            self._state, self._opened = BreakerState.OPEN, self._clock()
