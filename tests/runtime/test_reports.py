"""One sink that breaks must not cost another one a single call."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from callm_edge.errors import UserError
from callm_edge.reports import Reports


class Member:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


class Broken(Member):
    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise OSError("no route to host")

        return fail


class ReaderGone(Member):
    def event(self, *_: object) -> None:
        raise BrokenPipeError


def all_calls(reports: Reports) -> None:
    nothing: Any = None
    reports.started([])
    reports.event(nothing)
    reports.verdict(nothing)
    reports.failed("gate", UserError("it is dark"))
    reports.tick([], 1.0)
    reports.finished(nothing)


def test_a_broken_member_is_logged_once_and_counted_and_the_others_hear_all(caplog: pytest.LogCaptureFixture) -> None:
    first, last = Member(), Member()
    reports = Reports([first, Broken(), last])  # type: ignore[list-item]
    with caplog.at_level(logging.WARNING):
        all_calls(reports)
    assert first.calls == last.calls == ["started", "event", "verdict", "failed", "tick", "finished"]
    assert reports.failures == {"Broken": 6}
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "6 times" in caplog.records[-1].getMessage()


def test_what_passes_is_raised_and_an_interruption_always_is() -> None:
    nothing: Any = None
    with pytest.raises(BrokenPipeError):
        Reports([ReaderGone()], passes=(BrokenPipeError,)).event(nothing)  # type: ignore[list-item]
    reports = Reports([ReaderGone()])  # type: ignore[list-item]
    reports.event(nothing)
    assert reports.failures == {"ReaderGone": 1}

    class Interrupted(Member):
        def tick(self, *_: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Reports([Interrupted()]).tick([], 0.0)  # type: ignore[list-item]
