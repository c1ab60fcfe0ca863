"""Event times for people: position in the footage, or the wall clock for live sources."""

from __future__ import annotations

import re
import time
from datetime import datetime

from callm_edge.errors import UsageError

UNIX_TIME_FROM = 1e8  # footage is never three years long, and no camera ran before 1973
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def is_unix_time(seconds: float) -> bool:
    """True for a capture time of a live source, False for a position in recorded footage."""
    return seconds > UNIX_TIME_FROM


def clock_text(seconds: float, decimals: int = 0) -> str:
    """`2026-03-01 14:07:09` in local time for Unix time, else `mm:ss` (`h:mm:ss` from one hour on).

    decimals: digits after the second, for positions in footage only.
    """
    if is_unix_time(seconds):
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    sign = "-" if seconds < 0 else ""
    ticks = round(abs(seconds) * 10**decimals)  # rounded before it is split, else 59.96 s would read 00:60.0
    whole, part = divmod(ticks, 10**decimals)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"
    return f"{sign}{text}.{part:0{decimals}d}" if decimals else f"{sign}{text}"


def parse_moment(text: str, now: float | None = None) -> float:
    """Unix time of `2h` (that long ago; s, m, h, d, w) or of an ISO date and time (local unless it names a zone).

    Raises UsageError for anything else.
    """
    span = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text)
    if span:
        return (time.time() if now is None else now) - float(span[1]) * _UNITS[span[2]]
    try:
        # Python 3.10 does not read the Z that most programs write.
        return datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip())).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"'{text}' is not a time",
            "",
            "Give a span back from now such as 30m, 2h, 3d, or a date such as 2026-03-01T14:00",
        ) from None
