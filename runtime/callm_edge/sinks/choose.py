"""From settings to sinks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from callm_edge.config.secrets import read_secret
from callm_edge.config.settings import MqttSettings, SinkSettings, WebhookSettings
from callm_edge.sinks.sink import Sink

if TYPE_CHECKING:
    from callm_edge.stage2.breaker import CircuitBreaker

PASSWORD_VARIABLE = "CALLM_EDGE_MQTT_PASSWORD"


def open_sinks(
    settings: SinkSettings,
    source_of: Callable[[str], str | None] = lambda event_id: None,
    waiting_verdicts: Callable[[], int] = lambda: 0,
    breaker: Callable[[], CircuitBreaker | None] = lambda: None,
    failing: Callable[[], dict[str, int]] = dict,
    given_up: Callable[[], dict[str, int]] = dict,
) -> list[Sink]:
    """Every sink that is asked for. The caller closes them.

    source_of: name of the camera that an event id belongs to. The others: see Prometheus.
    Raises UsageError where a secret, a file or an address cannot be used.
    """
    sinks: list[Sink] = []
    try:
        if log := settings.json_log:
            from callm_edge.sinks.json_log import JsonLog

            sinks.append(JsonLog(log.file, log.level))
        if settings.jsonl:
            from callm_edge.sinks.jsonl import JsonLinesFile

            sinks.append(JsonLinesFile(settings.jsonl.file))
        if settings.mqtt:
            sinks.append(_mqtt(settings.mqtt, source_of))
        sinks += [_webhook(one, source_of) for one in settings.webhook]
        if at := settings.prometheus:
            from callm_edge.sinks.prometheus import Prometheus

            sinks.append(Prometheus(at.host, at.port, tuple(sinks), waiting_verdicts, breaker, failing, given_up))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def webhook_url(settings: WebhookSettings) -> str:
    """May hold a token: never shown."""
    return read_secret(settings.url_file, "the URL of a webhook") if settings.url_file else settings.url or ""


def _webhook(settings: WebhookSettings, source_of: Callable[[str], str | None]) -> Sink:
    from callm_edge.sinks.webhook import Webhook

    secret = read_secret(settings.secret_file, "the secret of a webhook") if settings.secret_file else ""
    return Webhook(webhook_url(settings), secret, settings.retries, settings.timeout_s, source_of)


def _mqtt(settings: MqttSettings, source_of: Callable[[str], str | None]) -> Sink:
    from callm_edge.sinks.mqtt import Broker, Mqtt

    fields = settings.model_dump(exclude={"password_file", "ca"})
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if settings.password_file:
        password = read_secret(settings.password_file, "the password of MQTT")
    return Mqtt(Broker(**fields, password=password, ca=str(settings.ca) if settings.ca else None), source_of)


def check_sinks(settings: SinkSettings) -> None:
    """Read every secret, and connect to nothing. Raises UsageError as `open_sinks` does."""
    if settings.mqtt and settings.mqtt.password_file:
        read_secret(settings.mqtt.password_file, "the password of MQTT")
    for one in settings.webhook:
        webhook_url(one)
        if one.secret_file:
            read_secret(one.secret_file, "the secret of a webhook")
