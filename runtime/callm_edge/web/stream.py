"""The stream that keeps a page up to date: server-sent events with scores, counts and what happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from callm_edge.events.store import EventStore
from callm_edge.web.live import Live

INTERVAL_S = 0.2
STATUS_EVERY = 5  # intervals


async def follow(live: Live, store: EventStore) -> AsyncIterator[str]:
    """Messages for one page, until it goes away or the server stops.

    hello: the cameras, first of all. scores: for each camera its new points. status: see Live.status. event, verdict,
    piece, scene, failed, finished: as they come. changed: the store holds something new. lost: messages were missed.
    """
    loop = asyncio.get_running_loop()
    seen = [0] * len(live.views)
    number = live.journal.last  # what was before is in the store
    changed = _changed_at(store)
    yield _message("hello", {"cameras": live.describe(), "running": live.running})
    beat = 0
    while True:
        closing = live.closing
        messages, number, missed = live.journal.after(number)
        if missed:
            yield _message("lost", {"messages": missed})
        for kind, data in messages:
            yield _message(kind, data)
        scores = {}
        for index, view in enumerate(live.views):
            points, seen[index] = view.points(seen[index])
            if points:
                scores[index] = points
        if scores:
            yield _message("scores", scores)
        if beat % STATUS_EVERY == 0:
            # Counting what waits asks the database, which may be busy: not on the loop that all pages share.
            yield _message("status", await loop.run_in_executor(None, live.status))
            if (now := _changed_at(store)) != changed:
                changed = now
                yield _message("changed", {})
        if closing:
            yield _message("closing", {})
            return
        beat += 1
        await asyncio.sleep(INTERVAL_S)


def _message(kind: str, data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, allow_nan=False)}\n\n"


def _changed_at(store: EventStore) -> tuple[int, ...]:
    """Changes whenever any process writes to the database."""
    times = []
    for path in (store.path, store.path.with_name(f"{store.path.name}-wal")):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)
