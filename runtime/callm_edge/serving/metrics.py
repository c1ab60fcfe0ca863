"""What the server counts, for Prometheus. Nothing of a request's content is in it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Of one app; each has a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "callm_requests", "Answers to chat requests, by HTTP status", ["status"], registry=self._registry
        )
        self.cancelled = Counter("callm_cancelled", "Chat requests whose client went away", registry=self._registry)
        self.active = Gauge("callm_active", "Chat requests being answered or waiting", registry=self._registry)
        self.tokens = Counter("callm_tokens", "Tokens read and written", ["kind"], registry=self._registry)
        self.steps = Histogram(
            "callm_step_seconds",
            "Time of a request's steps: body, pictures, encode, first_token, answer",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "callm_batch_clips", "Clips encoded together", buckets=(1, 2, 4, 8, 16, 32), registry=self._registry
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)
