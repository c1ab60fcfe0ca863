"""Two replicas on Ray Serve, one killed under load: does every request that the client repeats get its answer?

python -m callm_bench.ray_drill --bundle DIR --requests 200
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

CLIENTS = 8
ATTEMPTS = 8
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})  # as callm_edge.stage2.remote has it


@dataclass
class Drill:
    """answered, repeated, lost: requests; repeated ones needed more than one attempt. killed: replicas.

    replicas: at the end, after Ray has replaced the dead one.
    """

    requests: int
    answered: int
    repeated: int
    lost: int
    killed: int
    replicas: int
    p50_ms: float
    p99_ms: float
    seconds: float


def drill(bundle: Path, requests: int = 200, kills: int = 1, port: int = 8017, question: str = "Odd?") -> Drill:
    """Start the cluster, ask from 8 threads, and kill a replica after each of `kills` + 1 equal parts of the load."""
    from callm_edge.serving.ray_app import cluster
    from callm_edge.serving.server import Listening

    arguments = {"bundle": str(bundle.resolve()), "without_keys": True, "threads": 1, "limits": {"max_tokens": 8}}
    with cluster(arguments, Listening(port=port), (2, 2)):
        return _drill(f"http://127.0.0.1:{port}/v1/chat/completions", requests, kills, question)


def _drill(url: str, requests: int, kills: int, question: str) -> Drill:
    import httpx

    body, done, lock = _body(question), 0, threading.Lock()
    took_ms: list[float] = []
    attempts: list[int] = []

    def ask(client: httpx.Client) -> bool:
        nonlocal done
        began = time.perf_counter()
        for attempt in range(ATTEMPTS):
            try:
                answer = client.post(url, json=body)
                if answer.status_code == httpx.codes.OK and answer.json()["usage"]["completion_tokens"] > 0:
                    break
                if answer.status_code not in _AGAIN:
                    raise SystemExit(f"{answer.status_code}: {answer.text[:300]}")
            except httpx.HTTPError:
                pass
            time.sleep(0.25 * 2**attempt * (1 + random.random()))
        else:
            return False
        with lock:
            done += 1
            attempts.append(attempt + 1)
            took_ms.append(1000 * (time.perf_counter() - began))
        return True

    began, killed = time.perf_counter(), 0
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(ask, client) for _ in range(requests)]
        for part in range(1, kills + 1):
            while done < part * requests // (kills + 1) and not all(one.done() for one in waiting):
                time.sleep(0.01)
            killed += _kill_replica()
        answered = sum(one.result() for one in waiting)
    seconds = time.perf_counter() - began
    end = time.monotonic() + 60
    while len(_replicas()) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    return Drill(
        requests,
        answered,
        sum(count > 1 for count in attempts),
        requests - answered,
        killed,
        len(_replicas()),
        round(float(np.percentile(took_ms, 50)), 1),
        round(float(np.percentile(took_ms, 99)), 1),
        round(seconds, 1),
    )


def _body(question: str) -> dict[str, Any]:
    import cv2

    pictures = [cv2.imencode(".jpg", np.full((224, 224, 3), 10 * number, np.uint8))[1] for number in range(16)]
    urls = [f"data:image/jpeg;base64,{base64.b64encode(picture.tobytes()).decode()}" for picture in pictures]
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content.append({"type": "text", "text": question})
    return {"model": "mini", "max_tokens": 8, "messages": [{"role": "user", "content": content}]}


def _replicas() -> list[str]:
    import ray

    actors = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in actors if actor["name"].startswith("SERVE_REPLICA::")]


def _kill_replica() -> int:
    """End the process of one replica, as kill -9 would. Returns how many it was."""
    import ray

    for name in _replicas():
        ray.kill(ray.get_actor(name, namespace="serve"), no_restart=True)
        return 1
    return 0


@click.command()
@click.option("--bundle", default="plaza", show_default=True, type=click.Path(path_type=Path), help="With a branch.")
@click.option("--requests", type=click.IntRange(1), default=200, show_default=True)
@click.option("--kills", type=click.IntRange(0), default=1, show_default=True)
@click.option("--question", default="Odd?", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(bundle: Path, requests: int, kills: int, question: str, as_json: bool) -> None:
    found = drill(bundle, requests, kills, question=question)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        for name, value in asdict(found).items():
            click.echo(f"{name:<10}{value:>10}")
    raise SystemExit(1 if found.lost else 0)


if __name__ == "__main__":
    main()
