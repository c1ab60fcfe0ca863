"""Device or server: who judges an event, from what was measured against a deadline.

The device is asked where it is expected to answer in time, since it is private and costs nothing. Where it is not, the
server is asked if it is expected to be sooner. A circuit breaker stands before it. With neither, the event waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Branch, Unreachable
from callm_edge.stage2.breaker import CircuitBreaker

WEIGHT = 0.3  # of the newest measurement in the running mean


class Router:
    """A branch made of two.

    device, remote: either may be None. deadline_s: from the event in the store to the last word. waiting: how many
    events wait now, this one included. clock: monotonic seconds.
    """

    name = "router"

    def __init__(
        self,
        device: Branch | None,
        remote: Branch | None,
        deadline_s: float = 5.0,
        waiting: Callable[[], int] = lambda: 1,
        breaker: CircuitBreaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device, self._remote, self._deadline_s = device, remote, deadline_s
        self._waiting, self._clock = waiting, clock
        self.breaker = breaker or CircuitBreaker()
        self._device_s: float | None = None  # running means of one answer; None before the first
        self._remote_s: float | None = None

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        """See Branch.judge. The verdict says who was asked and why."""
        prefers_remote, reason = self._choose()
        if prefers_remote and self._remote is not None:
            if self.breaker.allows():
                try:
                    return replace(self._ask_remote(self._remote, clip, say), reason=reason)
                except Unreachable as why:
                    if self._device is None:
                        raise
                    reason = f"the server cannot be reached ({why})"
            elif self._device is None:
                raise Unreachable(f"the breaker is {self.breaker.state.value} for {self.breaker.opens_in_s:.0f} s more")
            else:
                reason = f"the breaker is {self.breaker.state.value}"
        if self._device is None:
            raise Unreachable("there is neither a branch on this device nor a server")
        began = self._clock()
        verdict = self._device.judge(clip, say)
        self._device_s = _mean(self._device_s, self._clock() - began)
        return replace(verdict, reason=reason)

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        """See Branch.ask: the device where there is one, since somebody is waiting and sees it begin at once."""
        branch = self._device or self._remote
        if branch is None:
            raise Unreachable("there is neither a branch on this device nor a server")
        yield from branch.ask(clip, question)

    def _choose(self) -> tuple[bool, str]:
        """Whether to ask the server, and why."""
        if self._remote is None:
            return False, "there is no server"
        if self._device is None:
            return True, "the server alone is asked"
        waiting = max(1, self._waiting())
        # Before the first answer nobody knows; the device is then worth a try.
        device_s = waiting * (self._device_s or 0.0)
        if device_s <= self._deadline_s:
            return False, f"device expected in {device_s:.1f} s, within {self._deadline_s:g} s ({waiting} waiting)"
        remote_s = self._remote_s or 0.0
        if remote_s < device_s:
            return True, f"device expected in {device_s:.1f} s, past {self._deadline_s:g} s; server in {remote_s:.1f} s"
        return False, f"device expected in {device_s:.1f} s, server no sooner ({remote_s:.1f} s)"

    def _ask_remote(self, remote: Branch, clip: Clip, say: Callable[[str], None]) -> Verdict:
        began = self._clock()
        try:
            verdict = remote.judge(clip, say)
        except Unreachable:
            self.breaker.failed()
            raise
        except BaseException:
            # The server answered, if only to refuse: the way to it is fine.
            self.breaker.succeeded()
            raise
        self.breaker.succeeded()
        self._remote_s = _mean(self._remote_s, self._clock() - began)
        return verdict


def _mean(before: float | None, new: float) -> float:
    return new if before is None else (1 - WEIGHT) * before + WEIGHT * new
