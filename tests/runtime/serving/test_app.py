"""The official `openai` client against a running server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from callm_edge.serving.engine import DeviceEngine
from callm_edge.stage2.prompts import QUERIES

openai = pytest.importorskip("openai", reason="the openai client is not installed")

KEY = "0123456789abcdef-first"


@pytest.fixture
def client(shared_server: Any) -> Any:
    return openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key=KEY, max_retries=0)


def ask(client: Any, content: list[dict[str, Any]], question: str = "Odd?", **settings: Any) -> Any:
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
    return client.chat.completions.create(**{"model": "mini", "messages": messages, "max_tokens": 6, **settings})


def test_a_plain_answer_has_text_usage_and_an_end(client: Any, images: Callable[..., list]) -> None:
    answer = ask(client, images(10, 200))
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert 1 <= answer.usage.completion_tokens <= 6
    assert answer.usage.prompt_tokens > QUERIES
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_answer_says_the_same(client: Any, images: Callable[..., list]) -> None:
    whole = ask(client, images(10, 200))
    chunks = list(ask(client, images(10, 200), stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_answer_depends_on_the_pictures(client: Any, images: Callable[..., list]) -> None:
    settings = {"logprobs": True, "top_logprobs": 5, "max_tokens": 1}
    dark, bright, again = (ask(client, images(tone), **settings) for tone in (5, 250, 5))
    first = [answer.choices[0].logprobs.content[0].top_logprobs for answer in (dark, bright, again)]
    assert first[0] == first[2] != first[1]
    assert len(first[0]) == 5
    assert [t.logprob for t in first[0]] == sorted((t.logprob for t in first[0]), reverse=True)


def test_films_in_both_forms_are_answered(
    client: Any, film: Callable[..., bytes], picture: Callable[..., bytes]
) -> None:
    mp4 = base64.b64encode(film()).decode()
    frames = ",".join(base64.b64encode(picture(tone)).decode() for tone in range(0, 240, 20))
    for url in (f"data:video/mp4;base64,{mp4}", f"data:video/jpeg;base64,{frames}"):
        answer = ask(client, [{"type": "video_url", "video_url": {"url": url}}])
        assert answer.usage.completion_tokens >= 1


def test_private_offload_answers_as_if_it_had_the_pictures(
    client: Any, engine: DeviceEngine, images: Callable[..., list]
) -> None:
    from callm_edge.serving.clips import read_images
    from callm_edge.serving.limits import Limits

    shown = images(*range(0, 160, 10))
    urls = [part["image_url"]["url"] for part in shown]
    (video,) = engine.encode([read_images(urls, Limits())])
    data = base64.b64encode(video.astype("<f4").tobytes()).decode()
    part = {"type": "video_embeddings", "video_embeddings": {"data": data, "dtype": "float32", "width": engine.width}}
    settings = {"logprobs": True, "top_logprobs": 3}
    assert ask(client, [part], **settings).choices == ask(client, shown, **settings).choices
    for wrong in (
        {"width": 32},
        {"data": data[:-8]},
        {"data": base64.b64encode(np.full_like(video, np.nan).tobytes()).decode()},
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, [part | {"video_embeddings": part["video_embeddings"] | wrong}])
        assert caught.value.code == "invalid_embeddings"


def test_a_conversation_goes_on(client: Any, images: Callable[..., list]) -> None:
    messages = [
        {"role": "system", "content": "Short."},
        {"role": "user", "content": [*images(9), {"type": "text", "text": "Who?"}]},
        {"role": "assistant", "content": "A man."},
        {"role": "user", "content": "Why?"},
    ]
    answer = client.chat.completions.create(model="mini", messages=messages, max_completion_tokens=2)
    assert answer.usage.completion_tokens <= 2


@pytest.mark.parametrize(
    ("error", "code", "change"),
    [
        ("NotFoundError", "model_not_found", {"model": "gpt-4o"}),
        ("BadRequestError", "invalid_request", {"temperature": 3}),
        ("BadRequestError", "invalid_request", {"n": 2}),
        ("BadRequestError", "invalid_request", {"messages": []}),
        ("BadRequestError", "invalid_request", {"extra_body": {"messages": "x"}}),
        ("BadRequestError", "invalid_request", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ("BadRequestError", "invalid_messages", {"messages": [{"role": "user", "content": "Who?"}]}),
        ("BadRequestError", "context_length_exceeded", {"question": "why " * 200}),
        ("BadRequestError", "invalid_url", {"url": "https://example.org/a.jpg"}),
        ("BadRequestError", "invalid_url", {"url": "file:///etc/passwd"}),
        ("BadRequestError", "invalid_base64", {"url": "data:image/jpeg;base64,?"}),
        ("BadRequestError", "invalid_image", {"url": "data:image/jpeg;base64,AAAA"}),
        ("APIStatusError", "request_too_large", {"url": "data:image/jpeg;base64," + "A" * (1 << 20)}),
    ],
)
def test_what_is_wrong_is_said_in_openais_shape(
    client: Any, images: Callable[..., list], error: str, code: str, change: dict[str, Any]
) -> None:
    settings = dict(change)
    content = images(7)
    if "url" in settings:
        content = [{"type": "image_url", "image_url": {"url": settings.pop("url")}}]
    with pytest.raises(getattr(openai, error)) as caught:
        ask(client, content, **settings)
    assert caught.value.code == code
    assert caught.value.status_code == {"NotFoundError": 404, "BadRequestError": 400, "APIStatusError": 413}[error]
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_a_wrong_key_is_refused_and_any_of_the_keys_does(shared_server: Any, images: Callable[..., list]) -> None:
    for key in ("another-key-0123456789", KEY):
        other = openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key=key, max_retries=0)
        assert [model.id for model in other.models.list()] == ["mini"]
        assert other.models.retrieve("mini").id == "mini"
    for key in ("0123456789abcdef-wrong", KEY[:-1], KEY + "x"):
        wrong = openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key=key, max_retries=0)
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(wrong, images(7))
        assert caught.value.code == "invalid_api_key"
        assert key not in str(caught.value)


def test_what_no_client_library_would_send(shared_server: Any) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=shared_server.url, headers=headers) as http:
        as_json = {"Content-Type": "application/json"}
        chat = "/v1/chat/completions"

        def status(method: str, path: str, **settings: Any) -> tuple[int, str | None]:
            answer = http.request(method, path, **settings)
            return answer.status_code, answer.json()["error"]["code"]

        assert status("POST", chat, content=b"{", headers=as_json) == (400, "invalid_request")
        assert status("POST", chat, content=b"\xff\xfe", headers=as_json) == (400, "invalid_request")
        assert status("POST", chat, content=b"[" * 10000, headers=as_json) == (400, "invalid_request")
        assert status("POST", chat, content=b"{}", headers={"Content-Type": "text/plain"}) == (
            415,
            "invalid_content_type",
        )
        chunks = (b" " * 65536 for _ in range(20))  # a body that says no length
        assert status("POST", chat, content=chunks, headers=as_json) == (413, "request_too_large")
        assert status("GET", chat)[0] == 405
        assert status("GET", "/v1/embeddings") == (404, "not_found")
        assert status("GET", "/v1/models/other") == (404, "model_not_found")


def test_health_is_open_and_numbers_are_not(shared_server: Any, client: Any, images: Callable[..., list]) -> None:
    ask(client, images(3))
    with httpx.Client(base_url=shared_server.url) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ready"}
        assert http.get("/metrics").status_code == 401
        text = http.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    assert 'callm_requests_total{status="200"}' in text
    assert "callm_active 0.0" in text
    assert KEY not in text


def test_without_keys_only_this_machine_is_answered(serve: Callable[..., Any]) -> None:
    server = serve()
    assert httpx.get(f"{server.url}/v1/models").status_code == 200
    assert httpx.get(f"{server.url}/v1/models", headers={"Host": "localhost:99"}).status_code == 200
    # What a page that has rebound its own name to 127.0.0.1 would send.
    refused = httpx.get(f"{server.url}/v1/models", headers={"Host": "evil.example"})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "invalid_host"


def test_the_stream_is_server_sent_events(shared_server: Any, images: Callable[..., list]) -> None:
    body = {
        "model": "mini",
        "stream": True,
        "max_tokens": 3,
        "messages": [{"role": "user", "content": [*images(1), {"type": "text", "text": "Odd?"}]}],
    }
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{shared_server.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["choices"][0]["delta"] == {}
