"""Our own client against the real server: verdicts as the device gives them, with pictures sent and without."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.serving.engine import DeviceEngine
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.device import DeviceBranch
from callm_edge.stage2.remote import RemoteBranch, Server, embeddings_part
from callm_edge.stage2.spec import Stage2Spec

JPEG = cv2.imencode(".jpg", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
CLIP = Clip("e1", "h", 20.0, tuple(ClipFrame(i, i / 25, JPEG, 18.0, ((5.0, 6.0),)) for i in range(20)))
PICTURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "MP4": b"ftyp", "WebP": b"WEBP"}


class Recorded(httpx.HTTPTransport):
    """Every byte of every request, head and body."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        heads = b"".join(name + b": " + value + b"\n" for name, value in request.headers.raw)
        self.sent.append(f"{request.method} {request.url}\n".encode() + heads + b"\n" + request.read())
        return super().handle_request(request)


def ours(
    url: str, folder: Path, private: bool, model: str = "mini", threshold: float = 0.0
) -> tuple[RemoteBranch, Recorded]:
    spec = Stage2Spec.read(folder).model_copy(update={"threshold": threshold})
    encoder, recorded = ClipEncoder(folder, threads=1) if private else None, Recorded()
    server = Server(f"{url}/v1", model, threshold=threshold, retries=0)
    return RemoteBranch(server, spec, encoder, httpx.Client(transport=recorded, timeout=60)), recorded


def held(request: bytes) -> set[str]:
    """Which kinds of pictures stand in a request, plain or in base64, at whatever place."""
    found = {kind for kind, magic in PICTURES.items() if magic in request}
    for text in texts(json.loads(request.partition(b"\n\n")[2] or b"null")):
        for part in text.split(","):
            data = base64.b64decode(part + "=" * (-len(part) % 4))
            found |= {kind for kind, magic in PICTURES.items() if magic in data[:16]}
    return found


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) and len(value) > 40 else []


@pytest.mark.parametrize("private", [False, True])
def test_the_server_judges_as_the_device_does(
    serve: Callable[..., Any], tiny_folder: Path, tmp_path: Path, private: bool
) -> None:
    branch, recorded = ours(serve().url, tiny_folder, private)
    said: list[str] = []
    verdict = branch.judge(CLIP, said.append)
    assert (verdict.event_id, verdict.abnormal, verdict.answered_by) == ("e1", True, branch.name)
    assert verdict.reason == "the server alone is asked"
    assert "".join(said).strip() == verdict.explanation
    steps = ["pictures", "network", "motion", "encode", "qformer"] if private else ["pictures", "network"]
    assert list(verdict.ledger_ms) == [*steps, "explanation"]
    device = DeviceBranch(tiny_folder, threads=1).judge(CLIP)
    # JPEG and half precision change a number a little; a 'yes' beyond the likeliest 20 tokens counts 0 at the server.
    assert verdict.probability == pytest.approx(device.probability, abs=0.02)
    posts = [request for request in recorded.sent if request.startswith(b"POST")]
    assert len(posts) == 2
    assert [held(post) for post in posts] == ([set()] * 2 if private else [{"JPEG"}] * 2)
    assert all((b"video_embeddings" in post) == private for post in posts)


def test_nothing_of_a_picture_leaves_the_device(serve: Callable[..., Any], tiny_folder: Path) -> None:
    """All that is sent: where to, which model, the questions, and 32 embeddings, which are the encoder's own."""
    branch, recorded = ours(serve().url, tiny_folder, private=True)
    branch.judge(CLIP)
    "".join(branch.ask(CLIP, "Who?"))
    assert len(recorded.sent) == 4, "one look at what the server reads, two questions, one more"
    spec = Stage2Spec.read(tiny_folder)
    said = [
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": spec.explain_question},
    ]
    for request, later in zip(recorded.sent[1:], ([], said, []), strict=True):
        assert b"image" not in request
        assert b"data:" not in request
        message, *rest = json.loads(request.partition(b"\n\n")[2])["messages"]
        assert rest == later
        shown, question = message["content"]
        assert question["type"] == "text"
        data = base64.b64decode(shown["video_embeddings"]["data"])
        assert len(data) == 32 * 64 * 2
        assert np.isfinite(np.frombuffer(data, "<f2")).all()


class OtherServer(httpx.MockTransport):
    """One that knows chat completions and nothing of embeddings. models: its answer to who it is."""

    def __init__(self, models: httpx.Response) -> None:
        self.sent: list[httpx.Request] = []
        self._models = models
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        if request.method == "GET":
            return self._models
        return httpx.Response(200, json={"choices": [{"message": {"content": "Yes"}}]})


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (httpx.Response(200, json={"id": "qwen", "object": "model", "owned_by": "vllm"}), "reads no embeddings"),
        (httpx.Response(404, json={"error": {"message": "no"}}), "reads no embeddings"),
        (httpx.Response(200, json=[]), "reads no embeddings"),
        (httpx.Response(200, json={"id": "mini", "video_embeddings_width": 576}), "576 wide.*64.*another bundle"),
        (httpx.Response(401), "answered 401"),
        (httpx.Response(200, content=b"<html>"), "Expecting value"),
    ],
)
def test_a_server_that_reads_no_embeddings_is_named_and_gets_nothing(
    tiny_folder: Path, models: httpx.Response, said: str
) -> None:
    other = OtherServer(models)
    branch = RemoteBranch(
        Server("http://gpu/v1", "a/b"), None, ClipEncoder(tiny_folder, threads=1), httpx.Client(transport=other)
    )
    for _ in range(2):
        with pytest.raises(Unreachable, match=said):
            branch.judge(CLIP)
    assert [(request.method, request.url.raw_path) for request in other.sent] == [("GET", b"/v1/models/a%2Fb")] * 2


def test_a_server_that_is_replaced_meanwhile_is_looked_at_again(tiny_folder: Path) -> None:
    requests: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        if request.method == "GET":
            return httpx.Response(200, json={"video_embeddings_width": 64})
        return httpx.Response(400, json={"error": {"message": "unknown part video_embeddings"}})

    branch = RemoteBranch(
        Server("http://gpu/v1", "mini"),
        None,
        ClipEncoder(tiny_folder, threads=1),
        httpx.Client(transport=httpx.MockTransport(answer)),
    )
    for _ in range(2):
        with pytest.raises(Unreachable, match="400: unknown part"):
            branch.judge(CLIP)
    assert requests == ["GET", "POST"] * 2


def test_the_server_says_what_it_reads(serve: Callable[..., Any], engine: DeviceEngine) -> None:
    url = f"{serve().url}/v1/models"
    (listed,) = httpx.get(url).json()["data"]
    assert listed["video_embeddings_width"] == engine.width
    assert httpx.get(f"{url}/mini").json() == listed


def test_numbers_that_half_precision_cannot_hold_are_no_embeddings() -> None:
    with pytest.raises(UserError, match="numbers that are none"):
        embeddings_part(np.full((32, 4), 1e6, np.float32))
