"""What a page is told, message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from callm_edge.cascade import Camera, ScoredFrame
from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.web import stream
from callm_edge.web.live import Live
from callm_edge.web.stream import follow


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "INTERVAL_S", 0.001)


def told(live: Live, store: EventStore, then: Sequence[Callable[[], object]]) -> list[tuple[str, Any]]:
    """All messages, while each of `then` happens after the first status that comes behind the one before."""

    async def read() -> list[tuple[str, Any]]:
        found, left = [], list(then)
        async for text in follow(live, store):
            event, data = text.rstrip("\n").split("\n")
            found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
            if found[-1][0] == "status":
                if left:
                    left.pop(0)()
                else:
                    live.close()
        return found

    return asyncio.run(asyncio.wait_for(read(), 30))


def test_it_begins_with_the_cameras_and_ends_with_a_word(store: EventStore, camera: Callable[..., Camera]) -> None:
    messages = told(Live([camera("gate"), camera("yard")]), store, [])
    (kind, hello), *_ = messages
    assert kind == "hello"
    assert [one["name"] for one in hello["cameras"]] == ["gate", "yard"]
    assert hello["cameras"][0]["threshold_psnr_db"] == 20.0
    assert messages[-1][0] == "closing"


def test_scores_come_once_and_in_order(
    store: EventStore, camera: Callable[..., Camera], scored: Callable[..., ScoredFrame]
) -> None:
    watched = camera()
    live = Live([watched])
    live.frame(watched, scored(8, 30.0))
    messages = told(
        live,
        store,
        [
            lambda: [live.frame(watched, scored(at, 12.0, flagged=True, event_active=True)) for at in (9, 10)],
            lambda: None,
        ],
    )
    points = [point for kind, data in messages if kind == "scores" for point in data["0"]]
    assert points == [[0.32, 30.0, 0], [0.36, 12.0, 3], [0.4, 12.0, 3]]


def test_what_happens_is_told_as_it_happens(store: EventStore, camera: Callable[..., Camera], event: Event) -> None:
    live = Live([camera()])
    verdict = Verdict("e1", True, 0.9, "A bicycle.", "device", "", {"decode": 5.0})
    failure = UserError("No picture from rtsp://bob:s3cret@cam/1")
    messages = told(
        live,
        store,
        [
            lambda: live.event(event),
            lambda: (live.say("e1", "A "), live.say("e1", "bicycle.")),
            lambda: live.verdict(verdict),
            lambda: live.failed("gate", failure),
            lambda: store.mark_false_alarm("e1"),
            lambda: None,
        ],
    )
    kinds = [kind for kind, _ in messages if kind not in ("status", "hello", "closing")]
    assert kinds == ["event", "piece", "piece", "verdict", "failed", "changed"]
    by_kind = dict(messages)
    assert by_kind["verdict"]["explanation"] == "A bicycle."
    assert "s3cret" not in by_kind["failed"]["why"]


def test_a_page_that_slept_hears_how_much_it_missed(store: EventStore) -> None:
    live = Live()
    messages = told(live, store, [lambda: [live.say("e1", str(number)) for number in range(1500)], lambda: None])
    assert dict(messages)["lost"] == {"messages": 500}
    pieces = [data["piece"] for kind, data in messages if kind == "piece"]
    assert (pieces[0], pieces[-1], len(pieces)) == ("500", "1499", 1000)


def test_a_score_that_is_no_number_is_still_json(
    store: EventStore, camera: Callable[..., Camera], scored: Callable[..., ScoredFrame]
) -> None:
    watched = camera()
    live = Live([watched])
    live.frame(watched, scored(8, float("inf")))
    assert [data["0"][0][1] for kind, data in told(live, store, []) if kind == "scores"] != [float("inf")]
