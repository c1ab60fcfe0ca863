"""Sessions: few, short-lived, and worthless to who reads the memory of the tokens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from callm_edge.serving.auth import Keys
from callm_edge.web import access
from callm_edge.web.access import AGE_S, SESSIONS, Access

TOKEN = "0123456789abcdef-token"


def logged_in(door: Access) -> str:
    session = door.login(TOKEN)
    assert session is not None
    return session


def test_a_session_is_its_own_secret_and_ends() -> None:
    door = Access(Keys([TOKEN]))
    one, other = logged_in(door), logged_in(door)
    assert one != other
    assert TOKEN not in one
    assert door.by_session(one)
    door.logout(one)
    assert (door.by_session(one), door.by_session(other)) == (False, True)
    assert not any(door.by_session(text) for text in ("", TOKEN, other[:-1], other + "x", "ä"))


def test_sessions_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    door, now = Access(Keys([TOKEN])), [1000.0]
    monkeypatch.setattr(access, "time", SimpleNamespace(monotonic=lambda: now[0]))
    session = logged_in(door)
    now[0] += AGE_S - 1
    assert door.by_session(session)
    now[0] += 2
    assert not door.by_session(session)


def test_there_are_only_so_many() -> None:
    door = Access(Keys([TOKEN]))
    sessions = [logged_in(door) for _ in range(SESSIONS + 1)]
    assert [door.by_session(session) for session in (sessions[0], sessions[1], sessions[-1])] == [False, True, True]


def test_without_tokens_nobody_logs_in() -> None:
    door = Access(None)
    assert not door.needed
    assert door.login(TOKEN) is None
    assert not door.by_token(b"Bearer " + TOKEN.encode())
