"""The fault drill, shortened; and the link that stalls."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from callm_bench.fault_drill import Drill, drill
from callm_bench.stalling_proxy import StallingProxy


def test_no_verdict_is_lost_and_none_comes_twice(tiny_cascade: Any) -> None:
    found = drill(str(tiny_cascade.folder), events=20, server_kills=2, edge_kills=3, stalls=1, stall_s=1.0)
    assert (found.events, found.verdicts) == (20, 20)
    assert (found.lost, found.twice, found.given_up) == (0, 0, 0)
    assert (found.server_kills, found.edge_kills, found.stalls) == (2, 3, 1)
    assert found.server_starts == 3
    assert found.edge_starts >= 4
    assert found.unsaid <= found.edge_kills, "a kill keeps back one verdict at most"
    assert found.passed


@pytest.mark.parametrize("fault", [{"lost": 1}, {"twice": 1}, {"finished": False}])
def test_what_fails_the_drill(fault: dict[str, Any]) -> None:
    good = Drill(10, 10, 0, 0, 0, 0, 1, 1, 1, 2, 2, finished=True, seconds=1.0)
    assert good.passed
    assert not replace(good, **fault).passed


def test_a_stalled_link_holds_everything_back_and_loses_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as echo:

        def answer() -> None:
            link, _ = echo.accept()
            with link:
                while data := link.recv(1000):
                    link.sendall(data.upper())

        threading.Thread(target=answer, daemon=True).start()
        with (
            StallingProxy(echo.getsockname()[1]) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), 30) as link,
        ):
            link.sendall(b"one")
            assert link.recv(10) == b"ONE"
            proxy.stall(True)
            link.sendall(b"two")
            link.settimeout(0.3)
            with pytest.raises(TimeoutError):
                link.recv(10)
            proxy.stall(False)
            link.settimeout(30)
            assert link.recv(10) == b"TWO"


def test_behind_the_link_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with (
            StallingProxy(taken.getsockname()[1]) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), 30) as link,
            suppress(ConnectionResetError),
        ):
            assert link.recv(10) == b""
