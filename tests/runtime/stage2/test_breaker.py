"""The breaker's states, as a table of what happens when."""

from __future__ import annotations

from callm_edge.stage2.breaker import BreakerState, CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, failures: int = 2) -> CircuitBreaker:
    breaker = CircuitBreaker(failures=failures, rest_s=10, limit_s=25, clock=clock)
    for _ in range(failures):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker(failures=2, clock=Clock())
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.OPEN
    assert not breaker.allows()


def test_after_a_rest_one_attempt_goes_through() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 9.9
    assert not breaker.allows()
    assert 0 < breaker.opens_in_s < 0.2
    clock.now = 10.0
    assert breaker.allows()
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allows(), "one, not two"
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.allows()


def test_each_failed_attempt_doubles_the_rest_up_to_a_limit() -> None:
    clock = Clock()
    breaker = opened(clock)
    for rest in (10, 20, 25, 25):
        clock.now += rest - 0.1
        assert not breaker.allows()
        clock.now += 0.1
        assert breaker.allows()
        breaker.failed()
        assert breaker.state is BreakerState.OPEN


def test_an_attempt_that_never_reports_does_not_block_for_ever() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 10.0
    assert breaker.allows()
    clock.now = 20.0
    assert breaker.allows()
