"""What every request passes before anything of its body is read: who asks, how much, and whether there is room."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callm_edge.serving.auth import Keys, is_loopback
from callm_edge.serving.errors import ApiError
from callm_edge.serving.limits import Limits
from callm_edge.serving.metrics import Metrics

CHAT = "/v1/chat/completions"
CANCELLED = "callm_edge.cancelled"  # in a request's scope: a threading.Event, set when nobody waits for it any more
_OPEN = frozenset({"/healthz", "/readyz"})  # whoever balances load has no key
_WEIGHT = 0.2  # of the latest request in the running mean


@dataclass
class Load:
    """active: chat requests being answered or waiting. mean_s: what one takes. draining: no new ones are taken."""

    active: int = 0
    mean_s: float = 1.0
    draining: bool = False

    def retry_s(self, parallel: int) -> int:
        """Seconds after which there is probably room again, 1 to 60."""
        # mean_s has the waiting in it, hence no factor for those that wait.
        return max(1, min(60, math.ceil(self.mean_s / parallel)))


class Gate:
    """ASGI middleware. keys: None where all may ask, which is for loopback only.

    Admits `limits.waiting` chat requests at a time, so that the bodies in memory are bounded as well.
    """

    def __init__(self, app: ASGIApp, keys: Keys | None, limits: Limits, metrics: Metrics, load: Load) -> None:
        self._app, self._keys, self._limits, self._metrics, self._load = app, keys, limits, metrics, load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        chat = scope["path"] == CHAT and scope["method"] == "POST"
        try:
            self._check(scope, chat)
        except ApiError as error:
            if chat:
                self._metrics.requests.labels(str(error.status)).inc()
            await JSONResponse(error.body, error.status, error.headers)(scope, receive, send)
            return
        if chat:
            await self._admitted(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope, chat: bool) -> None:
        if scope["path"] in _OPEN:
            return
        headers = dict(scope["headers"])
        if self._keys is None:
            # A page in a browser here can send requests, under a name that its owner made point to this machine.
            if not is_loopback(_host(headers.get(b"host", b""))):
                raise ApiError(403, "Without keys only requests to localhost are answered", "invalid_host")
        elif not self._keys.allow(headers.get(b"authorization")):
            raise ApiError(401, "There is no such API key", "invalid_api_key")
        if not chat:
            return
        # Anything else a browser would send to another's server without asking that server first.
        if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
            raise ApiError(415, "The body has to be application/json", "invalid_content_type")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.body_bytes:
            raise self._too_large()
        if self._load.draining:
            raise ApiError(503, "The server is about to stop", "shutting_down", retry_s=5)
        if self._load.active >= self._limits.waiting:
            retry_s = self._load.retry_s(self._limits.parallel)
            raise ApiError(429, f"{self._load.active} requests are waiting already", "queue_full", retry_s=retry_s)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        load, metrics = self._load, self._metrics
        began, cancelled = time.monotonic(), threading.Event()
        scope[CANCELLED] = cancelled
        read, whole, finished = 0, False, False

        async def bounded() -> Message:
            nonlocal read, whole
            if whole:
                message = await receive()
            else:
                try:
                    left = began + self._limits.body_s - time.monotonic()
                    message = await asyncio.wait_for(receive(), max(left, 0.001))
                except asyncio.TimeoutError:
                    raise ApiError(408, "The request did not come to its end in time", "timeout") from None
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if read > self._limits.body_bytes:  # a body in chunks says no length beforehand
                    raise self._too_large()
            elif not cancelled.is_set() and not finished:
                cancelled.set()
                metrics.cancelled.inc()
            return message

        async def counted(message: Message) -> None:
            nonlocal finished
            if message["type"] == "http.response.start":
                metrics.requests.labels(str(message["status"])).inc()
            await send(message)
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)

        load.active += 1
        metrics.active.set(load.active)
        try:
            await self._app(scope, bounded, counted)
        finally:
            cancelled.set()
            load.active -= 1
            metrics.active.set(load.active)
            load.mean_s += _WEIGHT * (time.monotonic() - began - load.mean_s)

    def _too_large(self) -> ApiError:
        return ApiError(413, f"The body is larger than {self._limits.body_bytes} bytes", "request_too_large")


def _host(header: bytes) -> str:
    text = header.decode("latin-1")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].lower()
