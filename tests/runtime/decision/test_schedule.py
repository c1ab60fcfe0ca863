"""When events count, by real dates."""

from __future__ import annotations

from datetime import datetime

import pytest

from callm_edge.decision.schedule import Schedule


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("mon-fri 08:00-18:00", "2026-11-23T08:00", "2026-11-23T18:00"),  # a Monday
        ("mon-fri 08:00-18:00", "2026-11-27T17:59", "2026-11-28T12:00"),
        ("sat,sun 22:00-06:00", "2026-11-30T05:59", "2026-11-30T06:00"),  # from Sunday into Monday
        ("fri-mon 00:00-24:00", "2026-11-29T23:59", "2026-11-24T00:00"),
        ("7:30 - 9:00", "2026-11-25T08:00", "2026-11-25T09:00"),
    ],
)
def test_spans(span: str, inside: str, outside: str) -> None:
    schedule = Schedule.parse([span])
    assert schedule.includes(at(inside))
    assert not schedule.includes(at(outside))


def test_footage_and_an_empty_schedule_always_count() -> None:
    assert Schedule.parse(["mon 08:00-08:01"]).includes(12.0)
    assert Schedule.parse([]).includes(at("2026-11-23T03:00"))


@pytest.mark.parametrize("text", ["always", "mon-fry 08:00-18:00", "08:00-08:00", "25:00-26:00", "08:61-09:00", ""])
def test_what_is_no_span_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text.split()[0] if ' ' not in text and text else ''}"):
        Schedule.parse([text])
