"""A run whose server is away: what the queue's bounds give up is said, counted and kept; the rest is judged later."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from callm_edge.bundle import Bundle
from callm_edge.events.store import EventStore

CONFIG = """
bundle = {bundle}
store = "store"
threads = 1
json = true
[[camera]]
source = "film"
decision = {{ smoothing = 1, release_db = 0, gap_s = 0, minimum_s = 0, maximum_s = 0.2 }}
[stage2]
use = "remote"
remote = "http://127.0.0.1:9/v1"
queue_events = 2
"""


def test_past_its_bound_the_queue_gives_up_the_oldest_and_says_so(tmp_path: Path, tiny_cascade: Bundle) -> None:
    (tmp_path / "film").mkdir()
    for index in range(40):
        cv2.imwrite(str(tmp_path / "film" / f"{index:03d}.png"), np.full((64, 96, 3), 40 + index, np.uint8))
    (tmp_path / "edge.toml").write_text(CONFIG.format(bundle=json.dumps(str(tiny_cascade.folder))))

    def run(*options: str) -> tuple[list[dict[str, object]], str]:
        command = [sys.executable, "-m", "callm_edge", "run", "--config", str(tmp_path / "edge.toml"), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    (*events, summary), said = run()
    assert {line["type"] for line in events} == {"event"}
    assert len(events) > 3
    assert (summary["given_up"], summary["verdicts"]) == (len(events) - 2, 0)
    assert "given up without a verdict" in said
    with EventStore(tmp_path / "store", read_only=True) as store:
        newest = [line["id"] for line in events[-2:]]
        assert store.waiting() == newest
        assert {one.failed for one in store.list()} == {"given up: more than 2 waited", None}
    for picture in sorted((tmp_path / "film").glob("*.png"))[10:]:
        picture.unlink()  # too few for an event
    *verdicts, summary = run("--stage2", "device")[0]
    assert [line["event_id"] for line in verdicts] == newest
    assert summary["given_up"] == 0
