import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import callm_edge
from callm_edge.commands.events import events
from callm_edge.errors import UsageError, UserError
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore

FOOTAGE = Event("a1b2c3d4e5f6", "clip.mp4", 830, 910, 850, 83.0, 91.0, 17.5, 20.0, (4, 5, 60, 70))
LIVE = replace(FOOTAGE, id="a1b2c3d4ffff", source="gate [west]", start_time=1_772_100_000.0, end_time=1_772_100_008.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with EventStore(tmp_path) as store:
        store.add(LIVE, b"jpeg", "edge")
        store.add(FOOTAGE, None, "edge")
    return tmp_path


def call(*words: object) -> Result:
    return CliRunner().invoke(events, [str(word) for word in words])


def refused(*words: object) -> str:
    result = call(*words)
    assert isinstance(result.exception, UserError), result.output
    assert result.exit_code == 1
    return str(result.exception)


def test_list_is_a_table_newest_first(folder: Path) -> None:
    result = call("list", "--store", folder)
    assert result.exit_code == 0, result.output
    heading, _, first, second = [line for line in result.stdout.splitlines() if line.strip()]
    assert heading.split() == ["id", "source", "when", "frames", "peak", "below", "threshold"]
    assert first.split() == ["a1b2c3d4e", "clip.mp4", "01:23", "830-910", "17.5", "dB", "2.5", "dB"]
    assert second.split(maxsplit=1)[1].startswith("gate [west] "), "square brackets are no markup"
    assert second.split()[0] == "a1b2c3d4f", "the shortest beginning that tells it apart"
    assert "2026-02-2" in second


def test_a_narrow_terminal_cuts_only_the_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventStore(folder) as store:
        store.add(replace(LIVE, id="77fe0123", source="a-name-that-is-much-longer-than-the-line" * 3), None, "edge")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("list", "--store", folder).stdout.splitlines()
    row = next(line for line in lines if "77fe0123" in line)
    for whole in ("77fe0123", "…", "830-910", "17.5 dB", "2.5 dB"):
        assert whole in row
    assert len(re.sub(r"\x1b\[[0-9;]*m", "", row)) <= 80


def test_list_for_programs(folder: Path) -> None:
    result = call("list", "--store", folder, "--json")
    assert result.stdout.splitlines() == [FOOTAGE.to_json(), LIVE.to_json()]
    assert json.loads(result.stdout.splitlines()[0])["box"] == [4, 5, 60, 70]


def test_list_narrows_down(folder: Path) -> None:
    def found(*words: str) -> list[str]:
        return [
            json.loads(line)["id"] for line in call("list", "--store", folder, "--json", *words).stdout.splitlines()
        ]

    assert found("--source", "gate [west]") == [LIVE.id]
    assert found("--since", "1h") == [FOOTAGE.id], "footage counts from when it was watched"
    assert found("--since", "2026-01-01") == [FOOTAGE.id, LIVE.id]
    assert found("--limit", "1") == [FOOTAGE.id]
    assert "newest 1" in call("list", "--store", folder, "--limit", 1).stderr


def test_list_says_why_it_is_empty(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert "There are no events in" in refused("list", "--store", folder / "nothing")
    empty = tmp_path_factory.mktemp("empty")
    EventStore(empty).close()
    assert "There are no events in" in refused("list", "--store", empty)
    assert "Did you mean 'clip.mp4'" in refused("list", "--store", folder, "--source", "clip.mp")
    assert "no events of 'gate [west]' since" in refused(
        "list", "--store", folder, "--source", "gate [west]", "--since", "1h"
    )
    assert isinstance(call("list", "--store", folder, "--since", "noon").exception, UsageError)


def test_show(folder: Path) -> None:
    result = call("show", "--store", folder, "a1b2c3d4f")
    assert result.exit_code == 0, result.output
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert shown["id"] == LIVE.id
    assert shown["frames"] == "830 to 910, peak at 850"
    assert shown["peak"] == "17.50 dB, 2.50 dB below the threshold of 20.00 dB"
    assert Path(shown["thumbnail"]).read_bytes() == b"jpeg"
    footage = call("show", "--store", folder, FOOTAGE.id).stdout
    assert "01:23.0 to 01:31.0 in the footage" in footage
    assert call("show", "--store", folder, "a1b2c3d4e", "--json").stdout == FOOTAGE.to_json() + "\n"


def test_show_says_what_is_wrong(folder: Path) -> None:
    assert "no event 'zzz'" in refused("show", "--store", folder, "zzz")
    assert "not enough to tell events apart" in refused("show", "--store", folder, "a1b2")


def test_the_store_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLM_EDGE_STORE", str(folder))
    assert LIVE.id in call("list", "--json").stdout


def test_importing_the_command_is_light() -> None:
    code = (
        "import sys, callm_edge.commands.events\n"
        "print(sorted({'cv2', 'numpy', 'rich', 'sqlite3', 'av', 'matplotlib'} & {*sys.modules}))"
    )
    path = os.pathsep.join([str(Path(callm_edge.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout.strip() == "[]"


def test_an_event_is_marked_as_a_false_alarm_and_the_mark_is_shown_and_cleared(folder: Path) -> None:
    result = call("mark", FOOTAGE.id[:9], "--false-alarm", "--store", folder)
    assert (result.exit_code, FOOTAGE.id in result.stdout) == (0, True), result.output
    with EventStore(folder, read_only=True) as store:
        assert [stored.event.id for stored in store.false_alarms()] == [FOOTAGE.id]
    assert "false alarm, 20" in call("show", FOOTAGE.id, "--store", folder).stdout
    assert call("mark", FOOTAGE.id, "--clear", "--store", folder).exit_code == 0
    with EventStore(folder, read_only=True) as store:
        assert store.false_alarms() == []


def test_a_mark_says_something_of_an_event_that_is_there(folder: Path, tmp_path: Path) -> None:
    assert "no event 'zzz'" in refused("mark", "zzz", "--false-alarm", "--store", folder)
    assert "no events in" in refused("mark", FOOTAGE.id, "--clear", "--store", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    nothing = call("mark", FOOTAGE.id, "--store", folder).exception
    assert isinstance(nothing, UsageError)
    assert "--false-alarm" in nothing.fix
