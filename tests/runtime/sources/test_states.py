from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from callm_edge.sources import Frame, Source, SourceState
from callm_edge.sources.states import enter

C, L, S, E = SourceState.CONNECTING, SourceState.LIVE, SourceState.STALLED, SourceState.ENDED


class Still(Source):
    name = "still"

    def __iter__(self) -> Iterator[Frame]:
        return iter(())


@pytest.mark.parametrize(("before", "after"), list(itertools.product(SourceState, SourceState)))
def test_only_the_ways_of_the_contract_are_legal(before: SourceState, after: SourceState) -> None:
    source = Still()
    source.state = before
    if before is after:
        assert not enter(source, after)
    elif (before, after) in {(C, L), (C, E), (L, S), (L, E), (S, C), (S, L), (S, E)}:
        assert enter(source, after)
        assert source.state is after
    else:
        with pytest.raises(RuntimeError, match=f"from {before.value} to {after.value}"):
            enter(source, after)
        assert source.state is before


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "callm_edge")
    source = Still()
    for state in (L, L, S, S, L):
        enter(source, state, "why")
    assert [r.message for r in caplog.records] == ["still: live (why)", "still: stalled (why)", "still: live (why)"]
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING", "INFO"]
