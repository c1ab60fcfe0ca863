"""An event, a verdict and a camera to report of; a real mosquitto broker, and what is heard there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as paho
import pytest

from callm_edge.bundle import Decision
from callm_edge.cascade import Counts
from callm_edge.events.event import Event
from callm_edge.events.verdict import Verdict
from callm_edge.sources import SourceState


@pytest.fixture
def event() -> Event:
    return Event("ab12", "gate", 10, 20, 15, 1.0, 2.0, 18.0, 21.5, (1, 2, 3, 4))


@pytest.fixture
def verdict() -> Verdict:
    return Verdict("ab12", True, 0.97, "A man rides a bicycle.", "device", "no server", {"encode": 40.0, "decode": 900})


@pytest.fixture
def camera() -> Any:
    source = SimpleNamespace(name="gate", state=SourceState.LIVE, waiting=0, dropped=3, live=True)
    counts = Counts(frames=100, windows=80, skipped=5, events=1)
    counts.stage1.add(0.02)
    return SimpleNamespace(
        source=source,
        counts=counts,
        active=False,
        bundle="plaza",
        decision=Decision(threshold_psnr_db=21.5),
        drift=SimpleNamespace(kind="normal"),
    )


MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class RealBroker:
    """mosquitto at a free port of this machine, with nothing that survives a stop."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        self.start()

    def start(self) -> None:
        assert MOSQUITTO
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def _answers(self) -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", self.port)) == 0


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RealBroker]:
    if not MOSQUITTO:
        pytest.skip("the broker mosquitto is not installed (Debian's package mosquitto)")
    running = RealBroker(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def port(broker: RealBroker) -> int:
    return broker.port


@pytest.fixture
def listening() -> threading.Event:
    """Set while `heard` is subscribed: what is published before that, and not retained, it never hears."""
    return threading.Event()


@pytest.fixture
def heard(port: int, listening: threading.Event) -> Iterator[dict[str, list[str]]]:
    """Everything that any client publishes, by topic."""
    topics: dict[str, list[str]] = {}
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: listening.set()
    client.on_disconnect = lambda *_: listening.clear()
    client.reconnect_delay_set(1, 1)
    client.on_message = lambda client, data, message: topics.setdefault(message.topic, []).append(
        message.payload.decode()
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(listening.is_set)
    yield topics
    client.disconnect()
    client.loop_stop()
