"""`callm-edge run` as a user and as a program meet it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from callm_edge.bundle import Bundle


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from callm_edge.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, "run", *arguments], capture_output=True, text=True, check=False)


def lines(result: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


EVENT_KEYS = {
    *("type", "id", "source", "start_frame", "end_frame", "peak_frame", "start_time", "end_time"),
    *("peak_psnr_db", "threshold_psnr_db", "box", "scene"),
}
SUMMARY_KEYS = {
    *("type", "frames", "windows", "events", "verdicts", "dropped", "fps", "stage1_fps", "rss_mb", "seconds"),
    "given_up",
}


def test_plaza_with_the_built_in_bundle(tmp_path: Path) -> None:
    """The cyclist at 8 s is found and named, and everything that --record promises is there."""
    source = "test:plaza?seed=7&anomaly=cyclist&seconds=14"
    result = run("--source", source, "--json", "--store", str(tmp_path / "store"), "--record", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    *found, summary = lines(result)
    events = [line for line in found if line["type"] == "event"]
    verdicts = [line for line in found if line["type"] == "verdict"]
    assert set(summary) == SUMMARY_KEYS
    assert (summary["type"], summary["frames"], summary["windows"]) == ("summary", 350, 335)
    assert summary["events"] == len(events) >= 1
    assert all(set(event) == EVENT_KEYS for event in events)
    assert summary["verdicts"] == len(verdicts) == len(events)
    assert any(verdict["abnormal"] and "cycl" in str(verdict["explanation"]) for verdict in verdicts)
    from callm_edge.plaza import Plaza

    ((_, first, last),) = Plaza(7, ("cyclist",), 14).schedule
    assert any(event["start_frame"] < last and event["end_frame"] >= first for event in events)  # type: ignore[operator]
    (video,) = (tmp_path / "out").glob("*.mp4")
    with av.open(str(video)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 335
    (plot,) = (tmp_path / "out").glob("*.png")
    assert cv2.imread(str(plot)).shape == (500, 1600, 3)
    (table,) = (tmp_path / "out").glob("*.csv")
    assert len(table.read_text().splitlines()) == 336
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from callm_edge.cli import main; main()",
            "events",
            "list",
            "--json",
            "--store",
            str(tmp_path / "store"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {json.loads(line)["id"] for line in listed.stdout.splitlines()} == {event["id"] for event in events}


def test_ped2_vehicle_is_an_event_and_normal_footage_is_none(ped2: Path, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path), "--json", "--bundle", "ped2", "--fps", "10")
    *events, _ = lines(run("--source", str(ped2 / "test" / "04"), *store))
    labels = np.flatnonzero(np.load(ped2 / "labels.npz")["04"])
    assert any(event["start_frame"] <= labels[-1] and event["end_frame"] >= labels[0] for event in events)  # type: ignore[operator]
    assert [line["type"] for line in lines(run("--source", str(ped2 / "train" / "16"), *store))] == ["summary"]


@pytest.mark.parametrize("shape", [(37, 53), (37, 53, 3), (16, 16), (480, 640)])
def test_odd_sizes_gray_and_colour(tmp_path: Path, tiny_bundle: Bundle, shape: tuple[int, ...]) -> None:
    (tmp_path / "film").mkdir()
    for index in range(20):
        cv2.imwrite(str(tmp_path / "film" / f"{index}.png"), np.full(shape, index * 9, np.uint8))
    arguments = (
        "--bundle",
        str(tiny_bundle.folder),
        "--store",
        str(tmp_path / "s"),
        "--record",
        str(tmp_path / "out"),
        "--json",
    )
    result = run("--source", str(tmp_path / "film"), *arguments)
    assert result.returncode == 0, result.stderr
    assert lines(result)[-1]["windows"] == 5
    assert list((tmp_path / "out").glob("*.mp4"))


@pytest.mark.parametrize("frames", [1, 15])
def test_footage_that_ends_within_a_window(tmp_path: Path, tiny_bundle: Bundle, frames: int) -> None:
    (tmp_path / "film").mkdir()
    for index in range(frames):
        cv2.imwrite(str(tmp_path / "film" / f"{index}.png"), np.zeros((32, 32), np.uint8))
    result = run(
        "--source",
        str(tmp_path / "film"),
        "--bundle",
        str(tiny_bundle.folder),
        "--store",
        str(tmp_path / "s"),
        "--json",
    )
    assert result.returncode == 0
    (summary,) = lines(result)
    assert (summary["frames"], summary["windows"], summary["events"]) == (frames, 0, 0)


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\x00\x00\x00\x18ftypmp42" + bytes(64)])
def test_a_damaged_video_is_a_sentence(tmp_path: Path, tiny_bundle: Bundle, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    result = run(
        "--source",
        str(tmp_path / "a.mp4"),
        "--bundle",
        str(tiny_bundle.folder),
        "--store",
        str(tmp_path / "s"),
        "--json",
    )
    assert result.returncode == 1
    assert "a.mp4" in result.stderr
    assert "Traceback" not in result.stderr


def test_one_broken_source_does_not_stop_the_other(tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"")
    (tmp_path / "film").mkdir()
    for index in range(17):
        cv2.imwrite(str(tmp_path / "film" / f"{index}.png"), np.zeros((32, 32), np.uint8))
    sources = ("--source", str(tmp_path / "broken.mp4"), "--source", str(tmp_path / "film"))
    result = run(*sources, "--bundle", str(tiny_bundle.folder), "--store", str(tmp_path / "s"))
    assert result.returncode == 0
    assert "broken.mp4" in result.stderr
    assert "17 frames" in result.stderr


def test_people_get_lines_and_the_threshold_can_be_set_by_hand(tmp_path: Path, tiny_bundle: Bundle) -> None:
    arguments = ("--bundle", str(tiny_bundle.folder), "--store", str(tmp_path / "s"), "--threshold", "99", "--headless")
    result = run("--source", "test:plaza?seconds=2", *arguments)
    assert result.returncode == 0, result.stderr
    assert "Anomaly" in result.stderr
    assert "frames 8 to 42" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_still_writes_its_files(
    tmp_path: Path, tiny_bundle: Bundle, stop: signal.Signals
) -> None:
    code = "from callm_edge.cli import main; main()"
    options = (
        "--bundle",
        str(tiny_bundle.folder),
        "--store",
        str(tmp_path / "s"),
        "--threshold",
        "99",
        "--json",
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            code,
            "run",
            "--source",
            "test:plaza?seconds=600",
            "--record",
            str(tmp_path / "out"),
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("out/.*.mp4*")):
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    event, summary = (json.loads(line) for line in out.splitlines())
    assert (event["type"], event["start_frame"], summary["type"], summary["events"]) == ("event", 8, "summary", 1)
    (video,) = (tmp_path / "out").glob("*.mp4")
    with av.open(str(video)) as file:
        assert sum(1 for _ in file.decode(video=0)) == summary["windows"]


VERDICT_KEYS = {"type", "event_id", "abnormal", "probability", "explanation", "answered_by", "reason", "ledger_ms"}


def film(folder: Path, frames: int = 40) -> Path:
    folder.mkdir()
    for index in range(frames):
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.full((64, 96, 3), 40 + index, np.uint8))
    return folder


def test_events_get_a_verdict_with_its_ledger(tmp_path: Path, tiny_cascade: Bundle) -> None:
    arguments = ("--bundle", str(tiny_cascade.folder), "--store", str(tmp_path / "s"))
    result = run("--source", str(film(tmp_path / "film")), *arguments, "--json")
    assert result.returncode == 0, result.stderr
    event, verdict, summary = lines(result)
    assert set(verdict) == VERDICT_KEYS
    assert (verdict["type"], verdict["event_id"], verdict["abnormal"]) == ("verdict", event["id"], True)
    assert verdict["answered_by"] == "device"
    assert list(verdict["ledger_ms"])[:3] == ["waited", "pictures", "motion"]  # type: ignore[call-overload]
    assert (summary["events"], summary["verdicts"]) == (1, 1)

    def events(*words: str) -> str:
        code = "from callm_edge.cli import main; main()"
        command = [sys.executable, "-c", code, "events", *words, "--store", str(tmp_path / "s")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    name = str(event["id"])
    assert [json.loads(line)["type"] for line in events("show", name, "--json").splitlines()] == ["event", "verdict"]
    assert "abnormal" in events("show", name)
    answer = json.loads(events("ask", name, "Who?", "--json", "--bundle", str(tiny_cascade.folder)))
    assert answer["event_id"] == name
    assert answer["answer"]


def test_what_was_not_judged_is_judged_by_the_next_run(tmp_path: Path, tiny_cascade: Bundle) -> None:
    from callm_edge.events.clip import Clip, ClipFrame
    from callm_edge.events.event import Event
    from callm_edge.events.store import EventStore

    jpeg = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    with EventStore(tmp_path / "s") as store:
        event = Event("left-over", "gate", 1, 9, 5, 0.1, 0.9, 17.0, 20.0, (0, 0, 4, 4))
        store.add(event, None, "tiny", Clip("left-over", "h", 20.0, (ClipFrame(1, 0.1, jpeg),)), wants_verdict=True)
    arguments = ("--bundle", str(tiny_cascade.folder), "--store", str(tmp_path / "s"), "--json")
    found = lines(run("--source", str(film(tmp_path / "film")), *arguments))
    assert {line["event_id"] for line in found if line["type"] == "verdict"} >= {"left-over"}


def test_stage_2_can_be_left_out(tmp_path: Path, tiny_cascade: Bundle, tiny_bundle: Bundle) -> None:
    arguments = ("--bundle", str(tiny_cascade.folder), "--store", str(tmp_path / "s"), "--json")
    found = lines(run("--source", str(film(tmp_path / "film")), *arguments, "--stage2", "off"))
    assert [line["type"] for line in found] == ["event", "summary"]
    (tiny_cascade.folder / "stage2" / "stage2.json").write_text("{")
    result = run("--source", str(tmp_path / "film"), *arguments)
    assert result.returncode == 1
    assert "sha256" in result.stderr
