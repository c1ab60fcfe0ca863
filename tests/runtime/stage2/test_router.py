"""Who is asked, and why, as a table of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.breaker import BreakerState, CircuitBreaker
from callm_edge.stage2.router import Router

CLIP = Clip("e1", "h", 20.0, (ClipFrame(0, 0.0, b""),))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Answers:
    """A branch that takes `seconds`, or fails."""

    def __init__(self, name: str, clock: Clock, seconds: float = 1.0, error: Exception | None = None) -> None:
        self.name, self.clock, self.seconds, self.error, self.asked = name, clock, seconds, error, 0

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        self.asked += 1
        self.clock.now += self.seconds
        if self.error:
            raise self.error
        return Verdict(clip.event_id, False, 0.1, "", self.name, "", {})

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield self.name


def router(device_s: float | None, remote_s: float | None, waiting: int = 1, **settings: float) -> Router:
    clock = Clock()
    device = None if device_s is None else Answers("device", clock, device_s)
    remote = None if remote_s is None else Answers("remote:box", clock, remote_s)
    return Router(device, remote, waiting=lambda: waiting, clock=clock, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device_s", "remote_s", "waiting", "wanted"),
    [
        (1.0, None, 9, "device"),
        (None, 1.0, 1, "remote:box"),
        (1.0, 0.1, 1, "device"),  # in time: it is private and costs nothing
        (1.0, 0.1, 4, "device"),
        (1.0, 0.1, 6, "remote:box"),  # the sixth would be late
        (9.0, 2.0, 1, "remote:box"),
        (6.0, 40.0, 1, "device"),  # late, but the server is later
    ],
)
def test_who_is_asked_once_both_were_measured(
    device_s: float | None, remote_s: float | None, waiting: int, wanted: str
) -> None:
    made = router(device_s, remote_s, waiting)
    made._device_s, made._remote_s = device_s, remote_s
    verdict = made.judge(CLIP)
    assert verdict.answered_by == wanted
    assert verdict.reason


def test_what_is_measured_is_what_answers_take() -> None:
    made = router(8.0, 1.0)
    assert made.judge(CLIP).answered_by == "device", "nobody knows yet"
    assert made.judge(CLIP).answered_by == "remote:box"
    assert made._device_s == 8.0
    assert made._remote_s == 1.0


def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while() -> None:
    clock = Clock()
    device, remote = Answers("device", clock, 9.0), Answers("remote:box", clock, 0.1, Unreachable("down"))
    breaker = CircuitBreaker(failures=2, rest_s=100, clock=clock)
    made = Router(device, remote, breaker=breaker, clock=clock)
    made.judge(CLIP)
    first, second, third = (made.judge(CLIP) for _ in range(3))
    assert [verdict.answered_by for verdict in (first, second, third)] == ["device"] * 3
    assert "down" in first.reason
    assert "open" in third.reason
    assert remote.asked == 2
    assert breaker.state is BreakerState.OPEN
    remote.error = None
    clock.now += 200
    assert made.judge(CLIP).answered_by == "remote:box"
    assert breaker.state is BreakerState.CLOSED


def test_without_a_device_the_event_waits_for_the_server() -> None:
    clock = Clock()
    remote = Answers("remote:box", clock, 0.1, Unreachable("down"))
    made = Router(None, remote, breaker=CircuitBreaker(failures=1, clock=clock), clock=clock)
    with pytest.raises(Unreachable, match="down"):
        made.judge(CLIP)
    with pytest.raises(Unreachable, match="breaker is open"):
        made.judge(CLIP)
    assert remote.asked == 1
    assert router(None, 1.0).judge(CLIP).reason == "the server alone is asked"
    with pytest.raises(Unreachable, match="neither"):
        Router(None, None).judge(CLIP)


def test_a_refusal_is_an_answer_and_opens_no_breaker() -> None:
    clock = Clock()
    remote = Answers("remote:box", clock, 0.1, UserError("The clip is too large"))
    made = Router(None, remote, breaker=CircuitBreaker(failures=1, clock=clock), clock=clock)
    for _ in range(3):
        with pytest.raises(UserError, match="too large"):
            made.judge(CLIP)
    assert made.breaker.state is BreakerState.CLOSED


def test_questions_go_to_the_device_first() -> None:
    assert list(router(1.0, 1.0).ask(CLIP, "?")) == ["device"]
    assert list(router(None, 1.0).ask(CLIP, "?")) == ["remote:box"]
    with pytest.raises(Unreachable):
        list(Router(None, None).ask(CLIP, "?"))
