"""Moving a source from state to state, by the legal ways only."""

from __future__ import annotations

import logging

from callm_edge.sources.source import Source, SourceState

_logger = logging.getLogger("callm_edge.sources")

LEGAL: dict[SourceState, frozenset[SourceState]] = {
    SourceState.CONNECTING: frozenset({SourceState.LIVE, SourceState.ENDED}),
    SourceState.LIVE: frozenset({SourceState.STALLED, SourceState.ENDED}),
    SourceState.STALLED: frozenset({SourceState.CONNECTING, SourceState.LIVE, SourceState.ENDED}),
    SourceState.ENDED: frozenset(),
}


def enter(source: Source, state: SourceState, why: str = "") -> bool:
    """Put ``source`` into ``state`` and log it once; False where it is there already.

    A source that is written to from two threads calls this under its own lock.
    Raises RuntimeError for an illegal way: that is a bug of the source, not of its user.
    """
    if source.state is state:
        return False
    if state not in LEGAL[source.state]:
        raise RuntimeError(f"a source cannot go from {source.state.value} to {state.value}")
    source.state = state
    # Only a stall asks for somebody's attention; the rest is the way of every source.
    level = logging.WARNING if state is SourceState.STALLED else logging.INFO
    _logger.log(level, "%s: %s%s", source.name, state.value, f" ({why})" if why else "")
    return True
