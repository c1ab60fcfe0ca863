"""Each line is JSON, those about an event carry its id, and none a password."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.events.verdict import Verdict
from callm_edge.sinks.json_log import JsonLog
from callm_edge.sinks.jsonl import JsonLinesFile


def test_the_log(tmp_path: Path, event: Event, verdict: Verdict) -> None:
    log = JsonLog(tmp_path / "log" / "run.jsonl")
    try:
        log.event(event)
        log.verdict(verdict)
        log.failed("gate", UserError("rtsp://admin:s3cret@cam/1 gives no pictures"))
        try:
            raise OSError("cannot open rtsp://admin:s3cr/et@cam/1?token=abcdef")
        except OSError:
            logging.getLogger("callm_edge.sources").exception("lost %s", "http://u:s3cret@cam")
        logging.getLogger("callm_edge.sources").debug("not at this level")
    finally:
        log.close()
    text = (tmp_path / "log" / "run.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["level"], line["message"][:7]) for line in lines] == [
        ("info", "event"),
        ("info", "verdict"),
        ("error", "gate: r"),
        ("error", "lost ht"),
    ]
    assert (lines[0]["event_id"], lines[1]["event_id"]) == ("ab12", "ab12")
    assert (lines[0]["camera"], lines[1]["explanation"]) == ("gate", "A man rides a bicycle.")
    assert "OSError" in lines[3]["traceback"]
    assert "s3cr" not in text
    assert "abcdef" not in text


def test_the_lines_of_run_json_in_a_file_that_may_be_rotated(tmp_path: Path, event: Event, verdict: Verdict) -> None:
    file = JsonLinesFile(tmp_path / "events.jsonl")
    file.event(event)
    (tmp_path / "events.jsonl").rename(tmp_path / "events.jsonl.1")
    file.verdict(verdict)
    assert (tmp_path / "events.jsonl.1").read_text() == event.to_json() + "\n"
    assert (tmp_path / "events.jsonl").read_text() == verdict.to_json() + "\n"
