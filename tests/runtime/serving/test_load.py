"""Many at once: the bounded queue, batches, clients that leave, and a server that is told to stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from callm_edge.serving.engine import Reply
from callm_edge.serving.generation import Piece


class Slow:
    """An engine that encodes and says a word only when it may."""

    width, side = 4, 224

    def __init__(self) -> None:
        self.encoding, self.speaking = threading.Semaphore(0), threading.Semaphore(0)
        self.batches: list[int] = []
        self.said = 0
        self.fails = False

    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.batches.append(len(clips))
        self.encoding.acquire()
        if self.fails:
            raise RuntimeError("the secret of the encoder")
        return [np.full((32, 4), clip.mean(), np.float32) for clip in clips]

    def reply(self, video: np.ndarray, talk: Any, sampling: Any, cancelled: Callable[[], bool]) -> Reply:
        def pieces() -> Iterator[Piece]:
            for number in range(1, sampling.max_tokens + 1):
                while not self.speaking.acquire(timeout=0.01):
                    if cancelled():
                        return
                if cancelled():
                    return
                self.said += 1
                yield Piece(f"{video[0, 0]:.0f} ", (), number, "length" if number == sampling.max_tokens else None)

        return Reply(40, pieces())


@pytest.fixture
def slow() -> Iterator[Slow]:
    engine = Slow()
    yield engine
    engine.encoding.release(1000)  # whatever a failed test left waiting
    engine.speaking.release(1000)


def body(images: Callable[..., list], tone: int = 50, **settings: Any) -> dict[str, Any]:
    content = [*images(tone), {"type": "text", "text": "Odd?"}]
    return {"model": "mini", "max_tokens": 2, "messages": [{"role": "user", "content": content}], **settings}


def test_what_waits_is_encoded_together_and_each_gets_its_own(
    serve: Callable[..., Any], slow: Slow, images: Callable[..., list], eventually: Callable[..., None]
) -> None:
    server = serve(slow, batch=3)
    slow.speaking.release(1000)
    with ThreadPoolExecutor(8) as pool:
        url = f"{server.url}/v1/chat/completions"

        def ask(tone: int) -> httpx.Response:
            return httpx.post(url, json=body(images, tone, max_tokens=1), timeout=30)

        answers = [pool.submit(ask, 50)]
        eventually(lambda: slow.batches == [1])
        answers += [pool.submit(ask, tone) for tone in (10, 90, 130, 170)]
        eventually(lambda: server.load.active == 5)
        time.sleep(0.3)  # until their pictures are decoded
        slow.encoding.release(10)
        said = [answer.result().json()["choices"][0]["message"]["content"] for answer in answers]
    assert said == ["50 ", "10 ", "90 ", "130 ", "170 "]
    assert slow.batches == [1, 3, 1]


def test_one_more_than_fits_is_told_when_to_come_back(
    serve: Callable[..., Any], slow: Slow, images: Callable[..., list], eventually: Callable[..., None]
) -> None:
    server = serve(slow, waiting=2)
    with ThreadPoolExecutor(2) as pool:
        url = f"{server.url}/v1/chat/completions"
        waiting = [pool.submit(httpx.post, url, json=body(images), timeout=30) for _ in range(2)]
        eventually(lambda: server.load.active == 2)
        refused = httpx.post(url, json=body(images))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        slow.encoding.release(10)
        slow.speaking.release(10)
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        assert httpx.post(url, json=body(images)).status_code == 200


def test_who_leaves_frees_what_worked_for_him(
    serve: Callable[..., Any], slow: Slow, images: Callable[..., list], eventually: Callable[..., None]
) -> None:
    server = serve(slow)
    url = f"{server.url}/v1/chat/completions"
    slow.encoding.release(10)
    slow.speaking.release(1)
    with (
        httpx.Client() as http,
        http.stream("POST", url, json=body(images, stream=True, max_tokens=8)) as answer,
    ):
        lines = answer.iter_lines()
        while "50" not in next(lines):
            pass
    with pytest.raises(httpx.ReadTimeout):  # and without streaming: nobody would notice at the next piece
        httpx.post(url, json=body(images, max_tokens=8), timeout=0.5)
    eventually(lambda: server.load.active == 0)
    slow.speaking.release(20)
    assert httpx.post(url, json=body(images)).status_code == 200
    assert slow.said == 1 + 2
    assert "callm_cancelled_total 2.0" in httpx.get(f"{server.url}/metrics").text


def test_a_failure_is_a_500_without_its_reasons_and_the_next_one_is_answered(
    serve: Callable[..., Any], slow: Slow, images: Callable[..., list]
) -> None:
    server = serve(slow)
    slow.encoding.release(10)
    slow.speaking.release(10)
    slow.fails = True
    failed = httpx.post(f"{server.url}/v1/chat/completions", json=body(images))
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in failed.text
    slow.fails = False
    assert httpx.post(f"{server.url}/v1/chat/completions", json=body(images)).status_code == 200


def test_a_failure_in_the_middle_of_a_stream_is_told_in_it(
    serve: Callable[..., Any], slow: Slow, images: Callable[..., list]
) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")

    def reply(*_: Any) -> Reply:
        def pieces() -> Iterator[Piece]:
            yield Piece("One", (), 1)
            raise RuntimeError("the secret of the decoder")

        return Reply(40, pieces())

    slow.reply = reply  # type: ignore[method-assign]
    slow.encoding.release(1)
    client = openai.OpenAI(base_url=f"{serve(slow).url}/v1", api_key="none", max_retries=0)
    heard: list[str] = []
    chunks = client.chat.completions.create(**body(images, stream=True))
    with pytest.raises(openai.APIError) as caught:
        heard.extend(chunk.choices[0].delta.content for chunk in chunks)
    assert heard == ["", "One"]
    assert caught.value.code == "internal_error"
    assert "secret" not in str(caught.value)


def test_a_body_that_does_not_come_gives_its_place_back(
    serve: Callable[..., Any], slow: Slow, eventually: Callable[..., None]
) -> None:
    import socket

    server = serve(slow, body_s=0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as dawdler:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        dawdler.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        assert b" 408 " in dawdler.recv(4096)
        eventually(lambda: server.load.active == 0)


def test_sigterm_lets_an_answer_end_and_takes_no_new_ones(tiny_cascade: Any, images: Callable[..., list]) -> None:
    process, url = command(tiny_cascade.folder, "--port", "0", "--max-tokens", "60")
    try:
        with (
            httpx.Client(timeout=30) as http,
            http.stream("POST", f"{url}/v1/chat/completions", json=body(images, stream=True, max_tokens=60)) as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert rest[-1 if rest[-1] else -2] == "data: [DONE]"
        assert process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")
    finally:
        process.kill()
        process.wait()


def command(bundle: Path, *options: str) -> tuple[subprocess.Popen, str]:
    """`callm-edge serve`, and where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "callm_edge", "serve", "--bundle", str(bundle), "--threads", "1", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"(https?://\S+?)/v1", line)
    assert found, line + (process.kill() or process.stderr.read())
    return process, found[1]
