"""The bounds of the queue, and clocks that jump: what is given up says so, and nothing else is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.retention import Limits, Retention
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.breaker import BreakerState, CircuitBreaker
from callm_edge.stage2.router import Router
from callm_edge.stage2.verdict_queue import QueueBounds, VerdictQueue
from callm_edge.stage2.worker import VerdictWorker

HOUR, DAY = 3600.0, 86400.0


class Clocks:
    """Both clocks of the machine. `date` is what somebody sets; the other one only goes on."""

    def __init__(self) -> None:
        self.seconds, self.date = 1000.0, time.time()

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        return self.date

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds
        self.date += seconds

    def set_date(self, by: float) -> None:
        self.date += by


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    fake = Clocks()
    for module in ("store", "retention"):
        monkeypatch.setattr(f"callm_edge.events.{module}.time", fake)
    return fake


@pytest.fixture
def store(tmp_path: Path, clocks: Clocks) -> Iterator[EventStore]:
    with EventStore(tmp_path) as opened:
        yield opened


def add(store: EventStore, *ids: str) -> None:
    for name in ids:
        event = Event(name, "gate", 1, 9, 5, 0.1, 0.9, 17.0, 20.0, (0, 0, 4, 4))
        store.add(event, None, "b", Clip(name, "h", 20.0, (ClipFrame(1, 0.1, b"x"),)), wants_verdict=True)


def verdict_of(name: str) -> Verdict:
    return Verdict(name, False, 0.1, "", "remote:box", "", {})


class Answers:
    """A server that is away until `back_at`."""

    name = "remote:box"

    def __init__(self, clocks: Clocks, back_at: float) -> None:
        self.clocks, self.back_at, self.asked_at = clocks, back_at, list[float]()

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        self.asked_at.append(self.clocks.seconds)
        if self.clocks.seconds < self.back_at:
            raise Unreachable("connection refused")
        return verdict_of(clip.event_id)

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield "?"


class Pauses:
    """Stands for the worker's stop signal: whoever waits for it makes the clocks go on at once."""

    def __init__(self, clocks: Clocks, most: int, each: Callable[[int], Any] = lambda number: None) -> None:
        self.clocks, self.most, self.each, self.waits = clocks, most, each, list[float]()

    def is_set(self) -> bool:
        return len(self.waits) >= self.most

    def set(self) -> None:
        self.most = 0

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clocks.pass_(seconds)
        self.each(len(self.waits))
        return self.is_set()


def work(store: EventStore, branch: Any, pauses: Pauses) -> list[Verdict]:
    """A worker until nothing waits, or until it has paused so often."""
    verdicts: list[Verdict] = []

    def heard(verdict: Verdict) -> None:
        verdicts.append(verdict)
        if not store.waiting():
            pauses.set()

    def failed(name: str, error: UserError) -> None:
        raise AssertionError(f"{name}: {error}")

    worker = VerdictWorker(store, lambda: branch, heard, failed)
    worker._stopped = pauses  # type: ignore[assignment]
    worker.start()
    worker._thread.join(60)
    assert not worker._thread.is_alive()
    return verdicts


def test_the_oldest_past_the_number_are_given_up_and_the_store_says_why(store: EventStore, clocks: Clocks) -> None:
    queue = VerdictQueue(store, QueueBounds(events=2), clocks.monotonic)
    add(store, "d", "c", "b")
    (said,) = queue.tidy(added=True)
    assert "1 event was given up" in str(said)
    add(store, "a")
    queue.tidy(added=True)
    assert store.waiting() == ["b", "a"]
    assert [store.get(name).failed for name in "dc"] == ["given up: more than 2 waited"] * 2
    assert store.get("d").clip is not None, "only the verdict is given up"
    assert queue.given_up == {"size": 2, "age": 0, "disk": 0}
    assert queue.tidy(added=True) == []


def test_what_waited_too_long_is_given_up_once(store: EventStore, clocks: Clocks) -> None:
    queue = VerdictQueue(store, QueueBounds(age_s=24 * HOUR), clocks.monotonic)
    add(store, "old")
    clocks.pass_(1 * HOUR)
    add(store, "new")
    clocks.pass_(22.9 * HOUR)
    assert queue.tidy() == []
    clocks.pass_(0.2 * HOUR)
    (said,) = queue.tidy()
    assert "waited longer than 24 h" in str(said)
    assert (store.waiting(), queue.tidy(added=True)) == (["new"], [])
    assert store.get("old").failed == "given up: waited longer than 24 h"
    assert queue.given_up == {"size": 0, "age": 1, "disk": 0}
    assert store.decide(verdict_of("old")), "an answer that was under way still counts"


def test_ages_go_on_after_a_restart_and_a_device_that_is_off_ages_nothing(tmp_path: Path, clocks: Clocks) -> None:
    bounds = QueueBounds(age_s=24 * HOUR)
    with EventStore(tmp_path) as store:
        queue = VerdictQueue(store, bounds, clocks.monotonic)
        add(store, "a")
        clocks.pass_(20 * HOUR)
        queue.tidy()
        clocks.pass_(30)  # lost by the crash
    clocks.pass_(100 * DAY)
    clocks.seconds = 5.0  # another boot
    with EventStore(tmp_path) as store:
        queue = VerdictQueue(store, bounds, clocks.monotonic)
        assert store.waited_s("a") == pytest.approx(20 * HOUR)
        clocks.pass_(3.9 * HOUR)
        assert queue.tidy() == []
        clocks.pass_(0.2 * HOUR)
        assert len(queue.tidy()) == 1


@pytest.mark.parametrize("jump", [-DAY, DAY, -50 * 365 * DAY, 50 * 365 * DAY])
def test_a_date_that_jumps_drops_nothing_and_doubles_nothing(store: EventStore, clocks: Clocks, jump: float) -> None:
    queue = VerdictQueue(store, QueueBounds(age_s=12 * HOUR), clocks.monotonic)
    retention = Retention(store, Limits(max_age_s=12 * HOUR))
    add(store, "before", "judged")
    store.decide(verdict_of("judged"))
    clocks.pass_(HOUR)
    clocks.set_date(jump)
    add(store, "after")
    assert (queue.tidy(added=True), retention.sweep().events) == ([], 0)
    assert store.waiting() == ["before", "after"], "by order of storing, whatever the dates"
    assert store.waited_s("before") == pytest.approx(HOUR)
    assert store.waited_s("after") == 0.0
    assert list(store.ids()) == ["after", "before", "judged"]
    verdicts = work(store, Answers(clocks, back_at=0.0), Pauses(clocks, 3))
    assert [verdict.event_id for verdict in verdicts] == ["before", "after"]


def test_the_ledger_tells_how_long_an_event_waited_whatever_the_date_did(store: EventStore, clocks: Clocks) -> None:
    add(store, "a")
    clocks.pass_(90)
    clocks.set_date(DAY)
    (verdict,) = work(store, Answers(clocks, 0.0), Pauses(clocks, 3))
    assert verdict.ledger_ms["waited"] == pytest.approx(90_000)


def test_a_server_that_is_away_for_an_hour_gets_few_questions_and_answers_them_all_afterwards(
    store: EventStore, clocks: Clocks
) -> None:
    began = clocks.seconds
    server = Answers(clocks, back_at=began + HOUR)
    breaker = CircuitBreaker(clock=clocks.monotonic)
    router = Router(None, server, breaker=breaker, clock=clocks.monotonic)
    add(store, "a", "b")
    pauses = Pauses(clocks, 1000, lambda number: add(store, f"later{number}") if number in (20, 60) else None)
    verdicts = work(store, router, pauses)
    assert sorted(verdict.event_id for verdict in verdicts) == ["a", "b", "later20", "later60"]
    assert store.waiting() == []
    assert max(pauses.waits) <= 30.0
    assert len([at for at in server.asked_at if at < began + HOUR]) < 80, "about one a minute"
    assert server.asked_at[-1] - (began + HOUR) < 120, "soon after it is back"
    assert breaker.state is BreakerState.CLOSED
