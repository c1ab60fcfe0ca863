"""When events count: days of the week and hours of the day, by the device's own clock."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from callm_edge.events.clock import is_unix_time

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK_MINUTES = 7 * 24 * 60
_SPAN = re.compile(r"(?:([a-z,-]+)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True)
class Schedule:
    """Spans of the week, in minutes since Monday 00:00 local time, without their ends, which may lie past Sunday."""

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Schedule:
        """Of texts such as `mon-fri 08:00-18:00`, `sat,sun 22:00-06:00` (ends next morning) or `00:00-24:00` (daily).

        Raises ValueError, with a sentence, where one is none.
        """
        return cls(tuple(span for text in texts for span in _spans(text)))

    def includes(self, seconds: float) -> bool:
        """Whether an event at this Frame.time counts. Footage has no time of day: there it always does."""
        if not self.spans or not is_unix_time(seconds):
            return True
        now = datetime.fromtimestamp(seconds)
        minute = (now.weekday() * 24 + now.hour) * 60 + now.minute
        return any(first <= at < end for first, end in self.spans for at in (minute, minute + _WEEK_MINUTES))


def _spans(text: str) -> list[tuple[int, int]]:
    found = _SPAN.fullmatch(text.strip().lower())
    if not found:
        raise ValueError(f"'{text}' is no span of time; write it as 'mon-fri 08:00-18:00'")
    first, end = (60 * int(found[at]) + int(found[at + 1]) for at in (2, 4))
    if first >= 24 * 60 or end > 24 * 60 or int(found[3]) > 59 or int(found[5]) > 59:
        raise ValueError(f"'{text}' names an hour that no clock shows")
    if end == first:
        raise ValueError(f"'{text}' is no span; for a whole day write 00:00-24:00")
    if end < first:
        end += 24 * 60
    return [(24 * 60 * day + first, 24 * 60 * day + end) for day in _days(found[1] or "mon-sun", text)]


def _days(names: str, text: str) -> list[int]:
    days: list[int] = []
    for part in names.split(","):
        first, _, last = part.partition("-")
        for name in (first, last or first):
            if name not in DAYS:
                raise ValueError(f"'{name}' in '{text}' is no day; days are {', '.join(DAYS)}")
        at, until = DAYS.index(first), DAYS.index(last or first)
        days += [(at + step) % 7 for step in range((until - at) % 7 + 1)]
    return days
