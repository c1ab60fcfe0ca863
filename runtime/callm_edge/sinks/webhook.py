"""Events and verdicts to an HTTP endpoint of yours: signed, retried, one at a time.

Signed by the Standard Webhooks scheme (https://www.standardwebhooks.com), for which receivers have libraries: the
header `webhook-signature` is `v1,` and the base64 HMAC-SHA256 of `ID.TIMESTAMP.BODY`. A repeated delivery keeps its id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from callm_edge.sinks.outbox import Outbox
from callm_edge.sinks.sink import Sink, redact_text
from callm_edge.sources.backoff import Backoff

if TYPE_CHECKING:
    import httpx

    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict

QUEUE = 256
LONGEST_WAIT_S = 300.0  # that a server's Retry-After may ask for
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # the state of the server, not the message, is to blame


class Webhook(Sink):
    """POSTs JSON, the lines of `run --json`, to which a verdict adds the event's `source`.

    secret: signs, where there is one; `whsec_` and base64, or any text. retries: after the first attempt, with doubling
    waits. source_of: name of the camera that an event id belongs to.
    """

    name = "webhook"

    def __init__(
        self,
        url: str,
        secret: str = "",
        retries: int = 8,
        timeout_s: float = 10.0,
        source_of: Callable[[str], str | None] = lambda event_id: None,
        backoff: Backoff | None = None,
        queue: int = QUEUE,
    ) -> None:
        import httpx

        self._url, self._key, self._retries, self._source_of = url, _key(secret), retries, source_of
        self._backoff = backoff or Backoff(first_s=1.0, limit_s=60.0)
        self._client = httpx.Client(timeout=timeout_s, follow_redirects=False)
        # The host alone: the path of many a hook is its password.
        self._outbox: Outbox[tuple[str, bytes]] = Outbox(f"webhook {httpx.URL(url).host}", self._deliver, queue)

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    @property
    def failures(self) -> int:
        return self._outbox.failures

    @property
    def waiting(self) -> int:
        return self._outbox.waiting

    def event(self, event: Event) -> None:
        self._put(json.loads(event.to_json()))

    def verdict(self, verdict: Verdict) -> None:
        self._put({**json.loads(verdict.to_json()), "source": self._source_of(verdict.event_id)})

    def scene(self, change: SceneChange) -> None:
        self._put(json.loads(change.to_json()))

    def close(self) -> None:
        self._outbox.close()
        self._client.close()

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.put((f"msg_{uuid.uuid4().hex}", json.dumps(message).encode()))

    def _deliver(self, message: tuple[str, bytes]) -> None:
        import httpx

        identity, body = message
        why = ""
        for attempt in range(self._retries + 1):
            wait_s = self._backoff.delay_s(attempt)
            try:
                response = self._client.post(self._url, content=body, headers=self._headers(identity, body))
                if response.is_success:
                    return
                why = f"the server says {response.status_code}"
                if response.status_code not in _AGAIN:
                    break
                wait_s = max(wait_s, _retry_after_s(response))
            except httpx.TransportError as error:
                why = redact_text(str(error)) or type(error).__name__
            if attempt < self._retries and self._outbox.closing.wait(wait_s):
                break
        raise RuntimeError(why)

    def _headers(self, identity: str, body: bytes) -> dict[str, str]:
        now = str(int(time.time()))
        headers = {"content-type": "application/json", "webhook-id": identity, "webhook-timestamp": now}
        if self._key:
            headers["webhook-signature"] = signature(self._key, identity, now, body)
        return headers


def signature(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`: what a receiver computes to compare."""
    digest = hmac.new(key, b".".join((identity.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"))
    return secret.encode()


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), LONGEST_WAIT_S) if text.isdecimal() else 0.0
