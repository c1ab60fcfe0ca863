"""A webhook against a real HTTP server that fails twice before it takes a message."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from callm_edge.events.event import Event
from callm_edge.events.scene import SceneChange
from callm_edge.events.verdict import Verdict
from callm_edge.sinks.webhook import Webhook
from callm_edge.sources.backoff import Backoff

AT_ONCE = Backoff(first_s=0.01, limit_s=0.02)


class Receiver(ThreadingHTTPServer):
    def __init__(self, answers: list[int]) -> None:
        self.answers, self.got = answers, []  # type: ignore[var-annotated]
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((dict(self.headers.items()), body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver([])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_events_and_verdicts_arrive_signed_in_order_after_retries(
    receiver: Receiver, event: Event, verdict: Verdict
) -> None:
    receiver.answers = [503, 429]
    key = b"0123456789abcdef01234567"
    hook = Webhook(
        receiver.url, f"whsec_{base64.b64encode(key).decode()}", source_of={"ab12": "gate"}.get, backoff=AT_ONCE
    )
    hook.event(event)
    hook.verdict(verdict)
    hook.scene(SceneChange("gate", "covered", "normal", 12.4, 3.0))
    deadline = threading.Event()
    for _ in range(300):
        if not hook.waiting:
            break
        deadline.wait(0.1)
    hook.close()
    bodies = [json.loads(body) for _, body in receiver.got]
    assert [body["type"] for body in bodies] == ["event"] * 3 + ["verdict", "scene"]
    assert bodies[0] == json.loads(event.to_json())
    assert (bodies[3]["source"], bodies[3]["explanation"]) == ("gate", "A man rides a bicycle.")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3, "a repeated delivery keeps its id"
    for headers, body in receiver.got:
        signed = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    assert (hook.failures, hook.dropped) == (0, 0)


def test_a_refusal_is_not_repeated_and_a_dead_server_ends(
    receiver: Receiver, event: Event, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [400]
    hook = Webhook(receiver.url, backoff=AT_ONCE)
    hook.event(event)
    hook.close()
    assert len(receiver.got) == 1
    assert "webhook-signature" not in receiver.got[0][0]
    gone = Webhook("http://bob:hunter2@127.0.0.1:1/hunter2", retries=2, backoff=AT_ONCE)
    gone.event(event)
    gone.close()
    assert (hook.failures, gone.failures) == (1, 1)
    assert "400" in caplog.text
    assert "hunter2" not in caplog.text
