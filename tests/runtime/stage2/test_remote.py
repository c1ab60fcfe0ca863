"""The client against a server that answers, dawdles, refuses and breaks off."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from callm_edge.errors import UsageError, UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.remote import RemoteBranch, Server, yes_probability

JPEG = cv2.imencode(".jpg", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
CLIP = Clip("e1", "h", 20.0, tuple(ClipFrame(i, i / 25, JPEG, 18.0, ((5.0, 6.0),)) for i in range(20)))

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]


def completion(text: str, **logprobs: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": math.log(p)} for token, p in logprobs.items()]
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    if top:
        choice["logprobs"] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": top}]}
    return {"choices": [choice]}


def streamed(*pieces: str) -> bytes:
    chunks = [json.dumps({"choices": [{"delta": {"content": piece}}]}) for piece in pieces]
    return "".join(f"data: {chunk}\n\n" for chunk in (*chunks, "[DONE]")).encode()


class FakeServer:
    """answers: one after another, the last for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[tuple[dict[str, Any], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((body, dict(self.headers)))
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                status, headers, data = answer(body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("callm_edge.stage2.remote.time", SimpleNamespace(sleep=waited.append))
    return waited


def ok(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    if body.get("stream"):
        return 200, {}, streamed("A cyclist", " rides by.")
    return 200, {}, json.dumps(completion("Yes", Yes=0.6, yes=0.2, No=0.2)).encode()


def status(code: int, message: str = "no", **headers: str) -> Answer:
    return lambda body: (code, headers, json.dumps({"error": {"message": message}}).encode())


def branch(server: FakeServer, **settings: Any) -> RemoteBranch:
    return RemoteBranch(Server(server.url, "mini", **settings))


def test_both_questions_are_asked_with_the_pictures(server: FakeServer) -> None:
    server.answers = [ok]
    said: list[str] = []
    verdict = branch(server, key="secret").judge(CLIP, said.append)
    assert (verdict.abnormal, verdict.probability) == (True, pytest.approx(0.8))
    assert verdict.explanation == "A cyclist rides by."
    assert said == ["A cyclist", " rides by."]
    assert verdict.answered_by == f"remote:{server.url.split('/')[2]}"
    assert list(verdict.ledger_ms) == ["pictures", "network", "explanation"]
    (first, headers), (second, _) = server.requests
    parts = first["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url"] * 16 + ["text"]
    assert parts[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert first["logprobs"]
    assert second["stream"]
    again, yes, why = second["messages"]
    assert again == first["messages"][0], "the second question comes after the first and its answer"
    assert yes == {"role": "assistant", "content": "Yes."}
    assert why == {"role": "user", "content": "What is abnormal in this video?"}
    assert headers["Authorization"] == "Bearer secret"


def test_no_asks_nothing_more(server: FakeServer) -> None:
    server.answers = [lambda body: (200, {}, json.dumps(completion("No", No=0.9, Yes=0.1)).encode())]
    verdict = branch(server).judge(CLIP, pytest.fail)
    assert (verdict.abnormal, verdict.explanation, len(server.requests)) == (False, "", 1)


def test_what_may_be_over_soon_is_tried_again(server: FakeServer, no_waiting: list[float]) -> None:
    server.answers = [status(503), status(429, **{"Retry-After": "7"}), ok]
    assert branch(server).judge(CLIP).abnormal
    assert len(no_waiting) == 2
    assert no_waiting[1] == 7.0, "the server's own wish"


def test_what_stays_so_is_unreachable(server: FakeServer) -> None:
    server.answers = [status(503, "loading the model")]
    with pytest.raises(Unreachable, match="503: loading the model"):
        branch(server).judge(CLIP)
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_wrong_key_or_model_is_said_at_once_and_the_event_waits(server: FakeServer, code: int) -> None:
    server.answers = [status(code, "wrong")]
    with pytest.raises(Unreachable, match=f"{code}: wrong"):
        branch(server, key="topsecret").judge(CLIP)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_clip_that_the_server_refuses_is_an_error_of_the_clip(server: FakeServer, code: int) -> None:
    server.answers = [status(code, "too many pictures")]
    with pytest.raises(UserError, match="too many pictures"):
        branch(server).judge(CLIP)
    assert len(server.requests) == 1


def test_nobody_there_is_unreachable(server: FakeServer) -> None:
    server.close()
    with pytest.raises(Unreachable, match="127.0.0.1"):
        branch(server, retries=0).judge(CLIP)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}']
)
def test_answers_that_are_none(server: FakeServer, data: bytes) -> None:
    server.answers = [lambda body: (200, {}, data)]
    with pytest.raises(Unreachable):
        branch(server).judge(CLIP)


def test_a_stream_that_breaks_off(server: FakeServer) -> None:
    def cut(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        data = streamed("A", " cyclist")[:60]
        return (200, {"Content-Length": "5000"}, data) if body.get("stream") else ok(body)

    server.answers = [cut]
    with pytest.raises(Unreachable, match="broke off"):
        branch(server, read_s=0.5).judge(CLIP)


def test_free_questions(server: FakeServer) -> None:
    server.answers = [ok]
    assert "".join(branch(server).ask(CLIP, "Who?")) == "A cyclist rides by."
    with pytest.raises(UsageError):
        branch(server).ask(CLIP, " ")


@pytest.mark.parametrize(
    ("text", "logprobs", "wanted"),
    [
        ("Yes", {}, 1.0),
        (" no, nothing", {}, 0.0),
        ("Yes", {"Yes": 0.5, " no": 0.25, "No": 0.25}, 0.5),
        ("Maybe", {"Maybe": 0.9, "Yes": 0.03, "No": 0.01}, 0.75),
    ],
)
def test_probability_of_yes(text: str, logprobs: dict[str, float], wanted: float) -> None:
    assert yes_probability(completion(text, **logprobs)) == pytest.approx(wanted)


def test_neither_yes_nor_no_is_no_answer() -> None:
    with pytest.raises(UserError, match="neither yes nor no, but 'Perhaps'"):
        yes_probability(completion("Perhaps"))


@pytest.mark.parametrize("url", ["gpu.local", "ftp://gpu/v1", "https://", "http://user:pass@gpu/v1"])
def test_urls_that_are_none_or_hold_a_password(url: str) -> None:
    with pytest.raises(UsageError) as error:
        Server(url, "m")
    assert "pass@" not in str(error.value)
