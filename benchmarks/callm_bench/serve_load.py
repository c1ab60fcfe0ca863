"""What `serve` adds to its model's own time, and how it bears many clients at once.

    python -m callm_bench.serve_load --bundle DIR [--clients 32] [--seconds 60] [--rounds 20] [--json]

The overhead is measured in one process, model alone and over HTTP in turn, so that whatever else the machine does hits
both alike. The load runs against a server in a process of its own, whose memory is read from /proc.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np


@dataclass
class Overhead:
    """Medians at batch 1, milliseconds: the model alone (encode, prefill, decode), and a whole request over HTTP.

    percent: median of the rounds' differences, against the model alone.
    """

    rounds: int
    tokens: int
    model_ms: float
    request_ms: float
    percent: float


@dataclass
class Load:
    """statuses: HTTP status -> answers; 0 is an error of the connection. rss_mb: of the server, after each quarter.

    p50_ms..p99_ms: of the answers with status 200.
    """

    clients: int
    seconds: float
    statuses: dict[int, int]
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    rss_mb: list[float]


def overhead(bundle: str, rounds: int, question: str, tokens: int) -> Overhead:
    """Ask the model of `bundle` alone and through a server, in turn. tokens: of an answer."""
    import httpx
    import uvicorn

    from callm_edge.serving.app import create_app
    from callm_edge.serving.choose import open_engine
    from callm_edge.serving.clips import read_images
    from callm_edge.serving.conversation import Conversation
    from callm_edge.serving.generation import Sampling
    from callm_edge.serving.limits import Limits

    engine = open_engine(bundle)
    server = uvicorn.Server(uvicorn.Config(create_app(engine), port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    urls = _pictures()
    pictures, body = read_images(urls, Limits(), engine.side), _body(urls, question, tokens)
    alone: list[float] = []
    over: list[float] = []
    said = 0
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            for number in range(rounds + 1):  # the first one warms up
                began = time.perf_counter()
                (video,) = engine.encode([pictures])
                reply = engine.reply(video, Conversation(None, (), question), Sampling(tokens), lambda: False)
                said = list(reply.pieces)[-1].tokens
                between = time.perf_counter()
                answer = client.post("/v1/chat/completions", json=body)
                end = time.perf_counter()
                if answer.json()["usage"]["completion_tokens"] != said:
                    raise click.ClickException("the server says something else than its model")
                if number:
                    alone.append(1000 * (between - began))
                    over.append(1000 * (end - between))
    finally:
        server.should_exit = True
        thread.join()
    model_ms = float(np.median(alone))
    percent = 100 * float(np.median(np.subtract(over, alone))) / model_ms
    return Overhead(rounds, said, round(model_ms, 1), round(float(np.median(over)), 1), round(percent, 1))


def load(bundle: str, clients: int, seconds: float, question: str, tokens: int) -> Load:
    """Ask from `clients` threads, each again as soon as it is answered; one told to come back waits as it was told."""
    command = [sys.executable, "-m", "callm_edge", "serve", "--bundle", bundle, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        line = server.stderr.readline()
        found = re.search(r"(http://\S+?)/v1", line)
        if found is None:
            raise click.ClickException(line + server.stderr.read())
        return _load(found[1], server.pid, clients, seconds, _body(_pictures(), question, tokens))
    finally:
        server.terminate()
        server.wait()


def _load(url: str, pid: int, clients: int, seconds: float, body: dict[str, Any]) -> Load:
    import httpx

    statuses: Counter[int] = Counter()
    took_ms: list[float] = []
    lock, end = threading.Lock(), time.monotonic() + seconds

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=300) as client:
            while time.monotonic() < end:
                began, wait_s = time.perf_counter(), 0.0
                try:
                    answer = client.post("/v1/chat/completions", json=body)
                    status = answer.status_code
                    wait_s = float(answer.headers.get("retry-after", 0))
                except httpx.HTTPError:
                    status = 0
                with lock:
                    statuses[status] += 1
                    if status == httpx.codes.OK:
                        took_ms.append(1000 * (time.perf_counter() - began))
                time.sleep(min(wait_s, max(0.0, end - time.monotonic())))

    began = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    rss_mb = []
    for _ in range(4):
        time.sleep(seconds / 4)
        rss_mb.append(_rss_mb(pid))
    for thread in threads:
        thread.join()
    p50, p95, p99 = (round(float(np.percentile(took_ms, q)), 1) for q in (50, 95, 99))
    per_second = round(len(took_ms) / (time.monotonic() - began), 2)
    return Load(clients, seconds, dict(statuses), per_second, p50, p95, p99, rss_mb)


def _rss_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def _pictures() -> list[str]:
    """32 pictures as our own client sends them: 8 frames and their crops, of the plaza."""
    import cv2

    from callm_edge.plaza import Plaza
    from callm_edge.stage2.pictures import clip_pictures

    frames = [frame for frame, _ in zip((image for image, _ in Plaza(0, (), 10.0)), range(8), strict=False)]
    jpegs = [cv2.imencode(".jpg", picture[:, :, ::-1])[1] for picture in clip_pictures(frames, [()] * 8)]
    return [f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}" for jpeg in jpegs]


def _body(urls: list[str], question: str, tokens: int) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content.append({"type": "text", "text": question})
    return {"model": "mini", "max_tokens": tokens, "messages": [{"role": "user", "content": content}]}


@click.command()
@click.option("--bundle", default="plaza", show_default=True, help="With a branch.")
@click.option("--clients", type=click.IntRange(1), default=32, show_default=True)
@click.option("--seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="0: no load.")
@click.option("--rounds", type=click.IntRange(0), default=20, show_default=True, help="0: no overhead.")
@click.option("--question", default="What is abnormal in this video?", show_default=True)
@click.option("--tokens", type=click.IntRange(1), default=16, show_default=True, help="Of an answer.")
@click.option("--json", "as_json", is_flag=True)
def main(bundle: str, clients: int, seconds: float, rounds: int, question: str, tokens: int, as_json: bool) -> None:
    found: dict[str, Any] = {}
    if rounds:
        found["overhead"] = asdict(overhead(bundle, rounds, question, tokens))
    if seconds:
        found["load"] = asdict(load(bundle, clients, seconds, question, tokens))
    if as_json:
        click.echo(json.dumps(found))
        return
    for part, values in found.items():
        click.echo(part)
        for name, value in values.items():
            click.echo(f"  {name:<12}{value}")


if __name__ == "__main__":
    main()
