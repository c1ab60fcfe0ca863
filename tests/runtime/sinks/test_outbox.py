"""A slow receiver costs messages, which are counted, and never time."""

from __future__ import annotations

import threading
import time

from callm_edge.sinks.outbox import Outbox


def test_the_oldest_are_dropped_and_counted_and_putting_never_waits() -> None:
    free, taken, got = threading.Event(), threading.Event(), []

    def deliver(item: int) -> None:
        taken.set()
        free.wait(30)
        got.append(item)

    outbox = Outbox("slow", deliver, size=3)
    outbox.put(0)
    assert taken.wait(30)
    began = time.monotonic()
    for item in range(1, 10):
        outbox.put(item)
    assert time.monotonic() - began < 5
    assert (outbox.dropped, outbox.waiting) == (6, 4)
    free.set()
    outbox.close(30)
    assert got == [0, 7, 8, 9]
    assert (outbox.failures, outbox.waiting) == (0, 0)


def test_what_fails_is_counted_and_the_next_is_delivered() -> None:
    got = []

    def deliver(item: int) -> None:
        if item < 2:
            raise OSError("unreachable")
        got.append(item)

    outbox = Outbox("flaky", deliver, size=10)
    for item in range(4):
        outbox.put(item)
    outbox.close(30)
    assert (got, outbox.failures) == ([2, 3], 2)


def test_the_end_comes_even_if_the_receiver_hangs() -> None:
    hang = threading.Event()
    outbox = Outbox("hangs", lambda item: hang.wait(30), size=10)
    for item in range(3):
        outbox.put(item)
    began = time.monotonic()
    outbox.close(0.2)
    assert time.monotonic() - began < 10
    assert outbox.failures == 3
    hang.set()
