"""`run --web` and `web` as a user meets them: real processes, a real port."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from callm_edge.bundle import Bundle
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore

TOKEN = "0123456789abcdef-token"
EVENT = Event("e1", "gate", 30, 39, 34, 3.0, 3.9, 12.5, 20.0, (4, 6, 20, 10))
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts callm-edge and waits for the address that it says."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: object) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "callm_edge", *(str(word) for word in words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"https?://\S+:\d+", line):
                return process, found[0]
        raise AssertionError("".join(said))

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_a_run_serves_its_page_and_ends_with_it(start: Start, tmp_path: Path, tiny_bundle: Bundle) -> None:
    process, url = start(
        *("run", "--source", "test:plaza?seconds=600", "--bundle", tiny_bundle.folder, "--store", tmp_path / "store"),
        *("--web", "0", "--headless", "--json", "--threads", "1", "--backend", "onnxruntime"),
    )
    assert url.startswith("http://127.0.0.1:")
    with httpx.Client(base_url=url, timeout=60) as client:
        assert "callm-edge" in client.get("/").text
        (camera,) = client.get("/api/hello").json()["cameras"]
        assert camera["threshold_psnr_db"] == 5.0
        for _ in range(60):
            head, _, blobs = client.get("/api/pictures?seen=0:-1").content.partition(b"\n")
            if told := json.loads(head):
                break
        assert blobs.startswith(b"\xff\xd8"), "a JPEG picture"
        assert told[0]["index"] >= 8
        with client.stream("GET", "/api/stream") as stream:
            lines = stream.iter_lines()
            while (line := next(lines)) != "event: scores":
                assert not line.startswith("event: closing")
            assert json.loads(next(lines).removeprefix("data: "))["0"]
            process.send_signal(signal.SIGINT)
            assert "event: closing" in list(lines), "pages hear that the run ends"
    out, _ = process.communicate(timeout=60)
    assert json.loads(out.splitlines()[-1])["type"] == "summary"
    assert process.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_stored_database_behind_a_token(start: Start, tmp_path: Path) -> None:
    with EventStore(tmp_path / "store") as store:
        store.add(EVENT, None, "edge")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    process, url = start("web", "--store", tmp_path / "store", "--listen", "0.0.0.0:0", "--token-file", token)
    url = url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/api/events", timeout=60).status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    (event,) = httpx.get(f"{url}/api/events", headers=headers, timeout=60).json()["events"]
    assert event["id"] == "e1"
    marked = httpx.post(f"{url}/api/events/e1/false-alarm", json={"marked": True}, headers=headers, timeout=60)
    assert marked.status_code == 200
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert TOKEN not in err
    with EventStore(tmp_path / "store", read_only=True) as store:
        assert [stored.event.id for stored in store.false_alarms()] == ["e1"]


def refused(*words: object) -> str:
    command = [sys.executable, "-m", "callm_edge", *(str(word) for word in words)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr
    return result.stderr


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    assert "There are no events in" in refused("web", "--store", tmp_path / "absent", "--listen", "0")
    assert not (tmp_path / "absent").exists()
    with EventStore(tmp_path / "store"):
        pass
    assert "Without a token the page is not served at 0.0.0.0" in refused(
        "web", "--store", tmp_path / "store", "--listen", "0.0.0.0:0"
    )
    assert "is no address" in refused("run", "--source", "test:plaza", "--store", tmp_path / "store", "--web", "x:y")
