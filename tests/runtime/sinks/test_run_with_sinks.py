"""`run --config` with every sink at once, beside a camera that is away and has a password."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

CONFIG = """
headless = true
json = true
store = "store"
backend = "onnxruntime"
threads = 1
realtime = true

[[camera]]
name = "<gate> [1]"
source = "test:plaza?seconds=600"
threshold = 90  # everything is below it
stride = 16
decision.maximum_s = 1.0

[[camera]]
source_file = "away.url"

[stage2]
use = "off"

[sinks.mqtt]
host = "127.0.0.1"
port = {mqtt}
device = "box"

[[sinks.webhook]]
url = "http://bob:s3cret@127.0.0.1:1/hook?token=s3cret"
retries = 0

[sinks.prometheus]
port = {prometheus}

[sinks.json_log]
file = "run.log"

[sinks.jsonl]
file = "events.jsonl"
"""


def test_events_reach_every_sink_and_the_password_none(
    tmp_path: Path, port: int, heard: dict[str, list[str]], until: Callable[..., None]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        metrics_port = probe.getsockname()[1]
    (tmp_path / "c.toml").write_text(CONFIG.format(mqtt=port, prometheus=metrics_port))
    (tmp_path / "away.url").write_text("rtsp://admin:s3cret@127.0.0.1:1/stream?password=s3cret\n")
    (tmp_path / "away.url").chmod(0o600)
    code = "from callm_edge.cli import main; main()"
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        arguments = ["run", "--config", str(tmp_path / "c.toml")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=out, stderr=err, env=environment)
        try:
            until(lambda: process.poll() is not None or "callm-edge/box/events" in heard, 120)
            assert process.poll() is None, (tmp_path / "err").read_text()
            until(lambda: "delivered" in (tmp_path / "run.log").read_text())
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=60) as answer:
                metrics = answer.read().decode()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(60)
    until(lambda: heard["callm-edge/box/status"][-1] == "offline")

    event = json.loads((tmp_path / "out").read_text().splitlines()[0])
    assert event["source"] == "<gate> [1]"
    assert json.loads(heard["callm-edge/box/events"][0]) == event
    assert json.loads(heard["callm-edge/box/gate_1/event"][0])["source"] == "<gate> [1]"
    assert "ON" in heard["callm-edge/box/gate_1/anomaly"]
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0]) == event
    log = [json.loads(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert event["id"] in [line.get("event_id") for line in log]
    samples = {
        (sample.name, sample.labels.get("camera", sample.labels.get("sink", ""))): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["callm_edge_events_total", "<gate> [1]"] >= 1
    assert samples["callm_edge_frames_total", "rtsp://***@127.0.0.1:1/stream?password=***"] == 0
    assert samples["callm_edge_sink_failures_total", "webhook"] >= 1

    written = [
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("c.toml", "away.url")
    ]
    everything = b"".join([*written, metrics.encode(), json.dumps(heard).encode()])
    assert b"s3cret" not in everything
