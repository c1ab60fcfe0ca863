"""A real mosquitto broker: discovery, states, and what it says of us after kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from callm_edge.events.event import Event
from callm_edge.events.scene import SceneChange
from callm_edge.events.verdict import Verdict
from callm_edge.sinks.mqtt import Broker, Mqtt


def test_a_camera_is_a_device_with_states(
    port: int, heard: dict[str, list[str]], until: Callable[..., None], camera: Any, event: Event, verdict: Verdict
) -> None:
    sink = Mqtt(Broker("127.0.0.1", port, device="box 1", hold_s=0.0), {"ab12": "gate"}.get)
    sink.started([camera])
    until(lambda: "online" in heard.get("callm-edge/box_1/status", []))
    config = json.loads(heard["homeassistant/binary_sensor/callm_edge_box_1_gate/anomaly/config"][-1])
    assert config["state_topic"] == "callm-edge/box_1/gate/anomaly"
    assert config["availability_topic"] == "callm-edge/box_1/status"
    assert config["device"] | {"sw_version": ""} == {
        "identifiers": ["callm_edge_box_1_gate"],
        "name": "gate",
        "manufacturer": "callm-edge",
        "model": "Anomaly detection",
        "sw_version": "",
    }
    explained = json.loads(heard["homeassistant/sensor/callm_edge_box_1_gate/explanation/config"][-1])
    assert explained["json_attributes_topic"] == "callm-edge/box_1/gate/verdict"

    sink.event(event)
    sink.tick([camera], 1.0)
    sink.verdict(verdict)
    covered = SceneChange("gate", "covered", "normal", 12.4, 3.0)
    sink.scene(covered)
    sink.close()
    until(lambda: heard["callm-edge/box_1/status"][-1] == "offline")
    assert heard["callm-edge/box_1/gate/anomaly"] == ["OFF", "ON", "OFF"]
    assert heard["callm-edge/box_1/gate/event"] == [event.to_json()]
    assert json.loads(heard["callm-edge/box_1/gate/verdict"][-1])["explanation"] == "A man rides a bicycle."
    assert [json.loads(line)["type"] for line in heard["callm-edge/box_1/events"]] == ["event", "verdict", "scene"]
    assert heard["callm-edge/box_1/gate/scene"] == ['{"kind": "normal"}', covered.to_json()]
    view = json.loads(heard["homeassistant/binary_sensor/callm_edge_box_1_gate/scene/config"][-1])
    assert view["state_topic"] == view["json_attributes_topic"] == "callm-edge/box_1/gate/scene"
    assert view["value_template"] == "{{ 'OFF' if value_json.kind == 'normal' else 'ON' }}"


PROCESS = """
import sys, time
from types import SimpleNamespace as N
from callm_edge.sinks.mqtt import Broker, Mqtt
sink = Mqtt(Broker("127.0.0.1", int(sys.argv[1]), device="box"))
sink.started([N(source=N(name="gate", state=N(value="live")), active=False)])
time.sleep(300)
"""


def test_after_kill_9_the_broker_says_offline(
    port: int, heard: dict[str, list[str]], until: Callable[..., None]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROCESS, str(port)])
    try:
        until(lambda: heard.get("callm-edge/box/status") == ["online"])
        assert heard["callm-edge/box/gate/state"] == ["live"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    until(lambda: heard["callm-edge/box/status"] == ["online", "offline"])


def test_a_broker_that_forgot_everything_is_told_again(
    broker: Any,
    heard: dict[str, list[str]],
    listening: threading.Event,
    until: Callable[..., None],
    camera: Any,
    event: Event,
) -> None:
    sink = Mqtt(Broker("127.0.0.1", broker.port, device="box"))
    sink.started([camera])
    until(lambda: heard.get("callm-edge/box/status") == ["online"])
    broker.stop()
    until(lambda: not sink._client.is_connected() and not listening.is_set())
    sink.event(event)
    heard.clear()
    sink._client.loop_stop()  # comes back after the listener, which would miss what is said before it
    broker.start()
    until(listening.is_set)
    sink._client.loop_start()
    until(lambda: "online" in heard.get("callm-edge/box/status", []) and "callm-edge/box/events" in heard)
    assert heard["callm-edge/box/gate/anomaly"][-1] == "ON"
    assert json.loads(heard["callm-edge/box/events"][0])["id"] == "ab12"
    assert "homeassistant/sensor/callm_edge_box_gate/explanation/config" in heard
    sink.close()
    assert sink.dropped == 0


def test_without_a_broker_nothing_waits_and_what_is_too_much_is_counted(camera: Any, event: Event) -> None:
    sink = Mqtt(Broker("127.0.0.1", 1))
    began = time.monotonic()
    sink.started([camera])
    for _ in range(300):
        sink.event(event)
    assert time.monotonic() - began < 5
    assert sink.dropped == 300 - 256
    sink.close()
