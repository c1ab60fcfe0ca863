"""Who is let in: by name of the host, by token, and not by way of somebody else's page."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest

from callm_edge.web.gate import MAX_BODY

TOKEN = "0123456789abcdef-token"
Open = Callable[..., Any]

PRIVATE = [
    "/api/hello",
    "/api/stream",
    "/api/pictures",
    "/api/events",
    "/api/events/e1",
    "/api/events/e1/thumbnail",
    "/api/events/e1/clip",
    "/api/events/e1/clip/30",
]


@pytest.mark.parametrize("path", PRIVATE)
def test_nothing_but_the_form_is_shown_without_the_token(open_site: Open, path: str) -> None:
    client = open_site(token=True).client
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401
    client.cookies.set("callm_edge", TOKEN)
    assert client.get(path).status_code == 401
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["/api/events/e1/ask", "/api/events/e1/false-alarm", "/api/logout"])
def test_nothing_is_done_without_the_token(open_site: Open, path: str) -> None:
    site = open_site(token=True)
    assert site.post(path, {"question": "?", "marked": True}).status_code == 401
    assert site.store.false_alarms() == []


def test_the_token_opens_the_page_and_a_cookie_keeps_it_open(open_site: Open) -> None:
    site = open_site(token=True)
    answer = site.post("/api/login", {"token": TOKEN})
    assert answer.status_code == 200
    cookie = SimpleCookie(answer.headers["set-cookie"])["callm_edge"]
    assert (bool(cookie["httponly"]), cookie["samesite"].lower(), cookie["path"]) == (True, "strict", "/")
    assert TOKEN not in cookie.value
    assert site.client.get("/api/hello").json()["login"] is True
    site.post("/api/logout", {})
    site.client.cookies.set("callm_edge", cookie.value)
    assert site.client.get("/api/hello").status_code == 401, "who logged out is out, and so is who took the cookie"


def test_a_program_may_send_the_token_itself(open_site: Open) -> None:
    site = open_site(token=True)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert site.client.get("/api/events", headers=bearer).status_code == 200
    marked = site.client.post("/api/events/e1/false-alarm", json={"marked": True}, headers=bearer)
    assert marked.status_code == 200


@pytest.mark.parametrize("body", [{"token": "wrong"}, {"token": ""}, {"token": 7}, {"token": "ä" * 20}, {}])
def test_a_wrong_token_opens_nothing(open_site: Open, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]) -> None:
    monkeypatch.setattr("callm_edge.web.app.WRONG_TOKEN_S", 0.0)
    answer = open_site(token=True).post("/api/login", body)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_name_that_was_made_to_point_here_is_refused(open_site: Open, host: str) -> None:
    """DNS rebinding: the browser believes that the page is evil.example's own, and says so in the Host header."""
    for path in ("/", "/api/hello", "/static/page.js"):
        assert open_site().client.get(path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:1", "[::1]:8080", "192.168.0.7", "LOCALHOST", socket.gethostname()]
)
def test_addresses_and_own_names_are_answered(open_site: Open, host: str) -> None:
    assert open_site().client.get("/api/hello", headers={"host": host}).status_code == 200


def test_a_name_can_be_allowed(open_site: Open) -> None:
    site = open_site(hosts=("Gate.example",))
    assert site.client.get("/api/hello", headers={"host": "gate.example:8080"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-callm-edge": "page", "origin": "http://evil.example"},
        {"x-callm-edge": "page", "origin": "null"},
        {"x-callm-edge": "page", "origin": "https://127.0.0.1:8080"},
        {"x-callm-edge": "page", "sec-fetch-site": "cross-site"},
        {"x-callm-edge": "page", "sec-fetch-site": "same-site"},
    ],
)
def test_another_page_cannot_send_a_form_here(open_site: Open, headers: dict[str, str]) -> None:
    site = open_site()
    answer = site.client.post("/api/events/e1/false-alarm", json={"marked": True}, headers=headers)
    assert answer.status_code == 403
    assert site.store.false_alarms() == []


def test_the_pages_own_request_is_taken(open_site: Open) -> None:
    site = open_site()
    own = {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}
    assert site.post("/api/events/e1/false-alarm", {"marked": True}, **own).status_code == 200


def test_other_methods_are_refused(open_site: Open) -> None:
    client = open_site().client
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert client.request(method, "/api/events/e1", headers={"x-callm-edge": "page"}).status_code == 405


@pytest.mark.parametrize("path", ["/", "/api/hello", "/api/events/absent", "/nowhere", "/api/events/e1/thumbnail"])
def test_every_answer_carries_the_policy(open_site: Open, path: str) -> None:
    headers = open_site().client.get(path).headers
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split("; ")}
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_a_refusal_carries_the_policy_too(open_site: Open) -> None:
    refused = open_site(token=True).client.get("/api/hello")
    assert "script-src 'self'" in refused.headers["content-security-policy"]


def test_what_is_large_is_not_read(open_site: Open) -> None:
    site = open_site()
    assert site.post("/api/events/e1/ask", {"question": "x" * MAX_BODY}).status_code == 413
    pieces = (b"x" * 1000 for _ in range(MAX_BODY // 1000 + 2))  # without a length
    answer = site.client.post("/api/events/e1/ask", content=pieces, headers={"x-callm-edge": "page"})
    assert answer.status_code == 413
