"""States, events and verdicts to an MQTT broker, where Home Assistant finds each camera as a device by itself.

Topics, below BASE = `callm-edge/DEVICE`:
  BASE/status            online | offline, retained; offline is also the last will, which the broker says for us
  BASE/events            every event, verdict and change of a scene as it comes, the lines of `run --json`
  BASE/CAMERA/anomaly    ON | OFF, retained; ON while an event is open and for a while after
  BASE/CAMERA/state      connecting | live | stalled | ended, retained
  BASE/CAMERA/scene      the last change of its scene, retained
  BASE/CAMERA/event      the last event, retained
  BASE/CAMERA/verdict    the last verdict, retained
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callm_edge import __version__
from callm_edge.events.scene import NORMAL
from callm_edge.sinks.sink import Sink, redact_text

if TYPE_CHECKING:
    from callm_edge.cascade import Camera
    from callm_edge.events.event import Event
    from callm_edge.events.scene import SceneChange
    from callm_edge.events.verdict import Verdict
    from callm_edge.watch import Summary

_logger = logging.getLogger(__name__)

QUEUE = 256
FLUSH_S = 3.0


@dataclass(frozen=True)
class Broker:
    """Where to publish.

    topic: what all topics begin with. device: this box among others at the same broker.
    discovery: what Home Assistant's discovery topics begin with; empty for none.
    tls: encrypted, checked against `ca` (PEM file) or else the system's authorities.
    hold_s: how long an anomaly stays ON after its event.
    """

    host: str
    port: int = 1883
    username: str = ""
    password: str = ""
    tls: bool = False
    ca: str | None = None
    topic: str = "callm-edge"
    device: str = "edge"
    discovery: str = "homeassistant"
    hold_s: float = 10.0


class Mqtt(Sink):
    """See the module. The client's own thread connects, and again after every loss; nothing here waits for it.

    States are said anew after every connection. Events that come meanwhile wait, `QUEUE` of them.
    source_of: name of the camera that an event id belongs to.
    """

    name = "mqtt"

    def __init__(self, broker: Broker, source_of: Callable[[str], str | None] = lambda event_id: None) -> None:
        import paho.mqtt.client as paho

        self._broker, self._source_of = broker, source_of
        self._base = f"{broker.topic}/{slug(broker.device)}"
        self._slugs: dict[str, str] = {}
        self._retained: dict[str, str] = {}  # what the broker should hold for us
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._dropped = 0
        self._closed = False
        # A name of its own for every process: a broker throws out the older of two clients with one name.
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=f"callm-edge-{slug(broker.device)}-{uuid.uuid4().hex[:8]}"
        )
        if broker.username:
            client.username_pw_set(broker.username, broker.password or None)
        if broker.tls:
            client.tls_set(ca_certs=broker.ca)
        client.will_set(f"{self._base}/status", "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, 60)
        client.max_queued_messages_set(QUEUE)
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: self._say_away("no connection")
        client.on_disconnect = lambda client, data, flags, code, properties: self._say_away(str(code))
        self._client, self._paho, self._away = client, paho, False

    @property
    def dropped(self) -> int:
        return self._dropped

    def started(self, cameras: Sequence[Camera]) -> None:
        for camera in cameras:
            name = camera.source.name
            self._slugs[name] = _unused(slug(name), self._slugs.values())
            self._keep(self._topic(name, "anomaly"), "OFF")
            self._keep(self._topic(name, "state"), camera.source.state.value)
            # Of a run before this one a broker may hold that the camera is covered.
            self._keep(self._topic(name, "scene"), json.dumps({"kind": NORMAL}))
            if self._broker.discovery:
                for topic, config in self._discovery(name).items():
                    self._keep(topic, json.dumps(config))
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        self._client.loop_start()

    def tick(self, cameras: Sequence[Camera], seconds: float) -> None:
        now = time.monotonic()
        for camera in cameras:
            name = camera.source.name
            self._keep(self._topic(name, "state"), camera.source.state.value)
            on = camera.active or now < self._until.get(name, 0.0)
            self._keep(self._topic(name, "anomaly"), "ON" if on else "OFF")

    def event(self, event: Event) -> None:
        self._until[event.source] = time.monotonic() + self._broker.hold_s
        self._stream(event.to_json())
        if event.source in self._slugs:
            self._keep(self._topic(event.source, "anomaly"), "ON")
            self._keep(self._topic(event.source, "event"), event.to_json())

    def verdict(self, verdict: Verdict) -> None:
        source = self._source_of(verdict.event_id)
        line = json.dumps({**json.loads(verdict.to_json()), "source": source})
        self._stream(line)
        if source in self._slugs:
            self._keep(self._topic(source, "verdict"), line)

    def scene(self, change: SceneChange) -> None:
        self._stream(change.to_json())
        if change.source in self._slugs:
            self._keep(self._topic(change.source, "scene"), change.to_json())

    def finished(self, summary: Summary) -> None:
        self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._client.is_connected():
            last = self._client.publish(f"{self._base}/status", "offline", qos=1, retain=True)
            try:
                last.wait_for_publish(FLUSH_S)  # messages leave in order: this is the last of them
            except (RuntimeError, ValueError) as error:
                _logger.warning("MQTT: not all was delivered before the end: %s", error)
        self._client.disconnect()
        self._client.loop_stop()

    def _topic(self, camera: str, leaf: str) -> str:
        return f"{self._base}/{self._slugs[camera]}/{leaf}"

    def _keep(self, topic: str, payload: str) -> None:
        """Have the broker hold `payload`; nothing is sent where it does already."""
        with self._lock:
            if self._retained.get(topic) == payload:
                return
            self._retained[topic] = payload
        # What cannot be sent now is said after the next connection, in its newest version.
        if self._client.is_connected():
            self._client.publish(topic, payload, qos=1, retain=True)

    def _stream(self, line: str) -> None:
        if self._client.publish(f"{self._base}/events", line, qos=1).rc == self._paho.MQTT_ERR_QUEUE_SIZE:
            self._dropped += 1
            if self._dropped == 1:
                _logger.warning("MQTT: %d messages wait; new ones are dropped from now on", QUEUE)

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._say_away(str(code))
            return
        if self._away:
            _logger.info("MQTT: connected to %s again", self._broker.host)
        self._away = False
        with self._lock:
            retained = dict(self._retained)
        for topic, payload in retained.items():
            client.publish(topic, payload, qos=1, retain=True)
        client.publish(f"{self._base}/status", "online", qos=1, retain=True)

    def _say_away(self, why: str) -> None:
        if not self._away and not self._closed:
            # Once for each outage.
            _logger.warning("MQTT: %s:%d: %s", self._broker.host, self._broker.port, redact_text(why))
        self._away = True

    def _discovery(self, camera: str) -> dict[str, dict[str, Any]]:
        """Topic -> configuration of each entity (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery)."""
        node = f"callm_edge_{slug(self._broker.device)}_{self._slugs[camera]}"
        verdict = self._topic(camera, "verdict")
        entities: dict[tuple[str, str], dict[str, Any]] = {
            ("binary_sensor", "anomaly"): {
                "name": "Anomaly",
                "device_class": "problem",
                "state_topic": self._topic(camera, "anomaly"),
                "json_attributes_topic": self._topic(camera, "event"),
            },
            ("sensor", "explanation"): {
                "name": "Last explanation",
                "icon": "mdi:comment-eye-outline",
                "state_topic": verdict,
                # A state of Home Assistant holds 255 characters; the whole text is among the attributes.
                "value_template": "{{ (value_json.explanation or 'normal')[:255] }}",
                "json_attributes_topic": verdict,
            },
            ("sensor", "probability"): {
                "name": "Last probability",
                "unit_of_measurement": "%",
                "state_topic": verdict,
                "value_template": "{{ (value_json.probability * 100) | round(1) }}",
            },
            ("binary_sensor", "scene"): {
                "name": "View",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "state_topic": self._topic(camera, "scene"),
                "value_template": f"{{{{ 'OFF' if value_json.kind == '{NORMAL}' else 'ON' }}}}",
                "json_attributes_topic": self._topic(camera, "scene"),
            },
            ("binary_sensor", "connectivity"): {
                "name": "Camera",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": self._topic(camera, "state"),
                "value_template": "{{ 'ON' if value == 'live' else 'OFF' }}",
            },
        }
        shared = {
            "availability_topic": f"{self._base}/status",
            "device": {
                "identifiers": [node],
                "name": camera,
                "manufacturer": "callm-edge",
                "model": "Anomaly detection",
                "sw_version": __version__,
            },
            "origin": {"name": "callm-edge", "sw_version": __version__},
        }
        return {
            f"{self._broker.discovery}/{kind}/{node}/{entity}/config": {
                **config,
                **shared,
                "unique_id": f"{node}_{entity}",
            }
            for (kind, entity), config in entities.items()
        }


def slug(name: str) -> str:
    """`name` as a level of a topic and as part of an entity id: letters, digits, _ and - alone."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "camera"


def _unused(name: str, used: Any) -> str:
    taken, free, number = set(used), name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
