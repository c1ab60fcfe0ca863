import pytest

from callm_edge.errors import UsageError
from callm_edge.events.clock import clock_text, parse_moment


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [(0, 0, "00:00"), (83.26, 1, "01:23.3"), (59.96, 1, "01:00.0"), (3725, 0, "1:02:05"), (-4, 0, "-00:04")],
)
def test_footage_time(seconds: float, decimals: int, text: str) -> None:
    assert clock_text(seconds, decimals) == text


def test_unix_time_is_local_and_reads_back() -> None:
    text = clock_text(1_772_100_000.0)
    assert text.startswith("2026-02-2")
    assert parse_moment(text) == 1_772_100_000.0


def test_moments() -> None:
    assert parse_moment("2h", now=10_000.0) == 2800.0
    assert parse_moment("1.5m", now=100.0) == 10.0
    assert parse_moment("2026-03-01T00:00:00Z") == parse_moment("2026-03-01T01:00:00+01:00") == 1772323200.0
    for wrong in ("yesterday", "2x", "", "2026-13-01"):
        with pytest.raises(UsageError, match="not a time"):
            parse_moment(wrong)
