"""A real mosquitto broker: discovery, states, and what it says of us after kill -9."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from callm_edge.events.event import Event
from callm_edge.events.verdict import Verdict
from callm_edge.sinks.mqtt import Broker, Mqtt

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    if not MOSQUITTO:
        pytest.skip("the broker mosquitto is not installed (Debian's package mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    (tmp_path / "mosquitto.conf").write_text(f"listener {free} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    broker = subprocess.Popen([MOSQUITTO, "-c", str(tmp_path / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    until(lambda: _answers(free))
    yield free
    broker.terminate()
    broker.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def heard(port: int) -> Iterator[dict[str, list[str]]]:
    """Everything that any client publishes, by topic."""
    topics: dict[str, list[str]] = {}
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_message = lambda client, data, message: topics.setdefault(message.topic, []).append(
        message.payload.decode()
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    yield topics
    client.disconnect()
    client.loop_stop()


def test_a_camera_is_a_device_with_states(
    port: int, heard: dict[str, list[str]], camera: Any, event: Event, verdict: Verdict
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
    sink.close()
    until(lambda: heard["callm-edge/box_1/status"][-1] == "offline")
    assert heard["callm-edge/box_1/gate/anomaly"] == ["OFF", "ON", "OFF"]
    assert heard["callm-edge/box_1/gate/event"] == [event.to_json()]
    assert json.loads(heard["callm-edge/box_1/gate/verdict"][-1])["explanation"] == "A man rides a bicycle."
    assert [json.loads(line)["type"] for line in heard["callm-edge/box_1/events"]] == ["event", "verdict"]


PROCESS = """
import sys, time
from types import SimpleNamespace as N
from callm_edge.sinks.mqtt import Broker, Mqtt
sink = Mqtt(Broker("127.0.0.1", int(sys.argv[1]), device="box"))
sink.started([N(source=N(name="gate", state=N(value="live")), active=False)])
time.sleep(300)
"""


def test_after_kill_9_the_broker_says_offline(port: int, heard: dict[str, list[str]]) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROCESS, str(port)])
    try:
        until(lambda: heard.get("callm-edge/box/status") == ["online"])
        assert heard["callm-edge/box/gate/state"] == ["live"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    until(lambda: heard["callm-edge/box/status"] == ["online", "offline"])


def test_without_a_broker_nothing_waits_and_what_is_too_much_is_counted(camera: Any, event: Event) -> None:
    sink = Mqtt(Broker("127.0.0.1", 1))
    began = time.monotonic()
    sink.started([camera])
    for _ in range(300):
        sink.event(event)
    assert time.monotonic() - began < 5
    assert sink.dropped == 300 - 256
    sink.close()
