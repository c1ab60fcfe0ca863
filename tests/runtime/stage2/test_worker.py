"""Events are judged behind the cameras' back, once each, whatever goes wrong with one of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.sources.backoff import Backoff
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.counted import ATTEMPTS, CountedBranch
from callm_edge.stage2.worker import VerdictWorker

JPEG = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


class TestBranch:
    """Says yes; fails for events whose id names a failure."""

    __test__ = False
    name = "device"

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.reachable = threading.Event()
        self.reachable.set()

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        self.judged.append(clip.event_id)
        if not self.reachable.is_set():
            raise Unreachable("the link is down")
        if "refuse" in clip.event_id:
            raise UserError("This clip cannot be judged", "it is black")
        if "crash" in clip.event_id:
            raise RuntimeError("some library's trouble")
        say("A cyclist.")
        return Verdict(clip.event_id, True, 0.9, "A cyclist.", self.name, "test", {"encode": 1.0})

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield "?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path) as opened:
        yield opened


def add(store: EventStore, *ids: str) -> None:
    for name in ids:
        event = Event(name, "gate", 1, 9, 5, 0.1, 0.9, 17.0, 20.0, (0, 0, 4, 4))
        store.add(event, None, "b", Clip(name, "h", 20.0, (ClipFrame(1, 0.1, JPEG),)), wants_verdict=True)


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def finish(worker: VerdictWorker, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not worker.idle:
        assert time.monotonic() < end, "the worker never came to rest"
        time.sleep(0.01)
    worker.stop(5)


def test_every_waiting_event_is_judged_once_in_order(store: EventStore) -> None:
    add(store, "a", "b")
    branch, verdicts, said = TestBranch(), list[Verdict](), list[tuple[str, str]]()
    worker = VerdictWorker(store, lambda: branch, verdicts.append, pytest.fail, lambda *words: said.append(words))
    worker.start()
    add(store, "c")
    worker.notify()
    finish(worker)
    assert branch.judged == [verdict.event_id for verdict in verdicts] == ["a", "b", "c"]
    assert said[0] == ("a", "A cyclist.")
    assert list(verdicts[0].ledger_ms) == ["waited", "encode"]
    assert store.get("c").verdict == verdicts[2]


def test_one_bad_event_does_not_stop_the_others(store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    add(store, "refuse", "crash", "gone", "good")
    (store.folder / "clips" / "gone.zip").unlink()
    failures: list[str] = []
    verdicts: list[Verdict] = []
    worker = VerdictWorker(store, TestBranch, verdicts.append, lambda name, error: failures.append(name))
    worker.start()
    finish(worker)
    assert [verdict.event_id for verdict in verdicts] == ["good"]
    assert failures == ["refuse", "crash", "gone"]
    assert store.waiting() == []
    assert "it is black" in str(store.get("refuse").failed)
    assert "some library's trouble" in str(store.get("crash").failed)


def test_what_cannot_be_reached_waits_and_costs_no_attempt(store: EventStore) -> None:
    add(store, "a")
    branch, verdicts = TestBranch(), list[Verdict]()
    branch.reachable.clear()
    worker = VerdictWorker(store, lambda: branch, verdicts.append, pytest.fail)
    worker._backoff = Backoff(first_s=0.01, limit_s=0.02)
    worker.start()
    while len(branch.judged) < ATTEMPTS + 3:  # more often than a crash would be forgiven
        time.sleep(0.01)
    assert store.waiting() == ["a"]
    branch.reachable.set()
    while not verdicts:
        time.sleep(0.01)
    finish(worker)
    assert [verdict.event_id for verdict in verdicts] == ["a"]


def test_an_event_that_kills_the_process_is_given_up_in_the_end(store: EventStore) -> None:
    add(store, "deadly")
    for _ in range(ATTEMPTS):
        store.attempt("deadly")
    failures: list[str] = []
    branch = TestBranch()
    worker = VerdictWorker(
        store,
        lambda: CountedBranch(branch, store.attempt),
        pytest.fail,
        lambda name, error: failures.append(str(error)),
    )
    worker.start()
    finish(worker)
    assert f"tried {ATTEMPTS} times" in failures[0]
    assert branch.judged == []


def test_ends_of_the_edge_while_a_server_is_asked_are_not_held_against_the_event(store: EventStore) -> None:
    """Each worker here stands for a process that is killed while the server is slow."""
    add(store, "slow")
    branch, verdicts = TestBranch(), list[Verdict]()
    branch.reachable.clear()
    for life in range(2 * ATTEMPTS):
        worker = VerdictWorker(store, lambda: branch, verdicts.append, pytest.fail)
        worker.start()
        until(lambda life=life: len(branch.judged) > life)
        worker.stop(20)
    branch.reachable.set()
    worker = VerdictWorker(store, lambda: branch, verdicts.append, pytest.fail)
    worker.start()
    finish(worker)
    assert [verdict.event_id for verdict in verdicts] == ["slow"]


def test_an_event_that_the_server_always_fails_with_does_not_hold_up_the_others(store: EventStore) -> None:
    class Poisoned(TestBranch):
        def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
            if "poison" in clip.event_id:
                self.judged.append(clip.event_id)
                raise Unreachable("answered 500")
            return super().judge(clip, say)

    add(store, "poison", "a", "b")
    branch, verdicts = Poisoned(), list[Verdict]()
    worker = VerdictWorker(store, lambda: branch, verdicts.append, pytest.fail)
    worker._backoff = Backoff(first_s=0.01, limit_s=0.02)
    worker.start()
    until(lambda: len(verdicts) == 2 and branch.judged.count("poison") > 3)
    worker.stop(20)
    assert [verdict.event_id for verdict in verdicts] == ["a", "b"]
    assert store.waiting() == ["poison"]


def test_a_store_that_has_no_room_for_a_while_is_said_once_and_stage_2_goes_on(store: EventStore) -> None:
    add(store, "a")
    verdicts: list[Verdict] = []
    failures: list[tuple[str, UserError]] = []
    branch = TestBranch()
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then says that the disk is full
    explanation = "x" * 100_000
    branch.judge = lambda clip, say: Verdict("a", True, 0.9, explanation, "device", "test", {})  # type: ignore[method-assign, assignment]
    worker = VerdictWorker(store, lambda: branch, verdicts.append, lambda *failure: failures.append(failure))
    worker._backoff = Backoff(first_s=0.01, limit_s=0.02)
    worker.start()
    until(lambda: worker.idle and bool(failures))
    assert store.waiting() == ["a"]
    store._db.execute("PRAGMA max_page_count = 1000000")
    until(lambda: len(verdicts) == 1)
    finish(worker)
    assert [(name, "full" in str(error)) for name, error in failures] == [("", True)]
    assert store.waiting() == []


def test_a_branch_that_cannot_be_opened_is_said_once_and_events_wait_on(store: EventStore) -> None:
    add(store, "a", "b")
    failures: list[tuple[str, UserError]] = []

    def broken() -> TestBranch:
        raise UserError("The bundle has no stage 2")

    worker = VerdictWorker(store, broken, pytest.fail, lambda *failure: failures.append(failure))
    worker.start()
    finish(worker)
    assert [name for name, _ in failures] == [""]
    assert store.waiting() == ["a", "b"]


def test_stopping_leaves_the_rest_for_the_next_run(store: EventStore) -> None:
    add(store, *(f"e{i}" for i in range(5)))
    verdicts: list[Verdict] = []
    worker: VerdictWorker | None = None

    def on_verdict(verdict: Verdict) -> None:
        verdicts.append(verdict)
        assert worker is not None
        worker._stopped.set()

    worker = VerdictWorker(store, TestBranch, on_verdict, pytest.fail)
    worker.start()
    worker.stop(5)
    assert len(verdicts) <= 1
    assert len(store.waiting()) == 5 - len(verdicts)
    again: list[Verdict] = []
    worker = VerdictWorker(store, TestBranch, again.append, pytest.fail)
    worker.start()
    finish(worker)
    assert len(again) == 5 - len(verdicts)
