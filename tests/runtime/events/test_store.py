import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import callm_edge
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.database import SCHEMA
from callm_edge.events.event import Event
from callm_edge.events.scene import KINDS
from callm_edge.events.store import EventStore, default_store
from callm_edge.events.verdict import Verdict

LIVE = 1_772_100_000.0
EVENT = Event("a1b2c3d4", "gate", 10, 40, 22, 1.0, 4.0, 17.5, 20.0, (4, 5, 60, 70))

whole = st.integers(-(2**40), 2**40)
real = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)  # SQLite has no -0.0
events = st.builds(
    Event,
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,60}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    *(whole, whole, whole, real, real, real, real),
    st.tuples(whole, whole, whole, whole),
    st.sampled_from(KINDS),
)


@settings(max_examples=40, deadline=None)
@given(events)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    with tempfile.TemporaryDirectory() as folder, EventStore(Path(folder)) as store:
        store.add(event, None, "edge")
        assert store.get(event.id).event == event
        assert store.get(event.id).event.to_json() == event.to_json()


def test_numpy_numbers_are_stored_as_numbers(tmp_path: Path) -> None:
    numbers = {name: value for name, value in asdict(EVENT).items() if isinstance(value, (int, float))}
    given = replace(
        EVENT,
        **{n: np.int64(v) if isinstance(v, int) else np.float32(v) for n, v in numbers.items()},
        box=tuple(np.array(EVENT.box)),
    )
    with EventStore(tmp_path) as store:
        store.add(given, None, "edge")
        assert store.get(EVENT.id).event.to_json() == EVENT.to_json()


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        assert store.add(EVENT, b"first", "edge")
        assert not store.add(replace(EVENT, source="other"), b"second", "nano")
        stored = store.get(EVENT.id)
        assert (len(store), stored.event, stored.bundle) == (1, EVENT, "edge")
        assert stored.thumbnail == tmp_path / "thumbnails" / "a1b2c3d4.jpg"
        assert stored.thumbnail.read_bytes() == b"first"


def test_list_filters_and_orders(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        for at, source in ((2, "gate"), (1, "yard"), (3, "gate")):
            store.add(replace(EVENT, id=f"e{at}", source=source, start_time=LIVE + at), None, "edge")

        def found(**query: object) -> list[str]:
            return [stored.event.id for stored in store.list(**query)]  # type: ignore[arg-type]

        assert found() == ["e3", "e2", "e1"]
        assert found(source="gate") == ["e3", "e2"]
        assert found(since=LIVE + 2) == ["e3", "e2"]
        assert found(until=LIVE + 2) == ["e2", "e1"]
        assert found(limit=1) == ["e3"]
        assert found(limit=None) == found()
        assert store.sources() == ["gate", "yard"]


def test_footage_is_dated_by_when_it_was_stored(tmp_path: Path) -> None:
    before = time.time()
    with EventStore(tmp_path) as store:
        store.add(EVENT, None, "edge")
        store.add(replace(EVENT, id="b", start_time=0.5), None, "edge")
        assert [stored.event.id for stored in store.list(since=before - 1)] == ["b", EVENT.id]
        assert not store.list(until=before - 1)


def test_get_by_prefix(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        for name in ("abc", "abcd", "ab%x", "zeta-1"):
            store.add(replace(EVENT, id=name.replace("%", "_")), None, "edge")
        assert store.get("z").event.id == "zeta-1"
        assert store.get("abc").event.id == "abc", "a whole id wins over longer ones"
        assert store.get("ab_").event.id == "ab_x"
        with pytest.raises(UserError, match="not enough to tell events apart.*ab_x, abc, abcd"):
            store.get("ab")
        with pytest.raises(UserError, match=r"no event 'zeta-2'\. Did you mean 'zeta-1'"):
            store.get("zeta-2")
        with pytest.raises(UserError, match="no event"):
            store.get("")
        with pytest.raises(UserError, match="no event"):
            store.get("%")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "a" * 200])
def test_an_id_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    with EventStore(tmp_path) as store, pytest.raises(ValueError, match="file name"):
        store.add(replace(EVENT, id=name), b"x", "edge")


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    EventStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "events.db") as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()
    for read_only in (True, False):
        with pytest.raises(UserError, match=rf"events\.db has schema {SCHEMA + 1}.*Update callm-edge"):
            EventStore(tmp_path, read_only)


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_text("not a database, but long enough to have a header" * 40)
    for read_only in (True, False):
        with pytest.raises(UserError, match=r"events\.db is not a readable database"):
            EventStore(tmp_path, read_only)
    assert path.read_text().startswith("not a database")
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE song (name TEXT)")
    db.close()
    for read_only in (True, False):
        with pytest.raises(UserError, match="database of another program"):
            EventStore(tmp_path, read_only)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="store .*file cannot be used"):
        EventStore(tmp_path / "file")


def test_reading_a_missing_store_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There are no events in"):
        EventStore(tmp_path / "new", read_only=True)
    assert not (tmp_path / "new").exists()


def test_read_only_never_writes(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        store.add(EVENT, None, "edge")
    with EventStore(tmp_path, read_only=True) as store, pytest.raises(UserError, match="readonly"):
        store.add(replace(EVENT, id="b"), None, "edge")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_another_user_may_read_a_store_at_rest() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        with EventStore(folder) as store:
            store.add(EVENT, None, "edge")
        folder.chmod(0o755)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setuid(65534)
                with EventStore(folder, read_only=True) as store:
                    code = 0 if store.get("a1").event == EVENT else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore
event = Event("e", "gate", 10, 40, 22, 1.0, 4.0, 17.5, 20.0, (4, 5, 60, 70))
with EventStore(Path(sys.argv[1])) as store:
    for number in range(100000):
        store.add(replace(event, id=f"e{number:06d}"), b"J" * 300000 + b"end", "edge")
        print(number, flush=True)
"""


def writer(folder: Path) -> subprocess.Popen:
    path = os.pathsep.join([str(Path(callm_edge.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize("pause_s", [0.0, 0.0137, 0.021])
def test_what_was_added_survives_kill_9(tmp_path: Path, pause_s: float) -> None:
    process = writer(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 8:
            break
    time.sleep(pause_s)
    process.send_signal(signal.SIGKILL)
    confirmed = 9 + len([line for line in process.stdout.read().splitlines() if line])
    assert process.wait() == -signal.SIGKILL
    with EventStore(tmp_path) as store:
        stored = store.list(limit=None)
        names = {entry.event.id for entry in stored}
        assert {f"e{number:06d}" for number in range(confirmed)} <= names
        assert len(names) <= confirmed + 1, "at most the one whose number was not yet printed"
        for entry in stored:
            assert entry.thumbnail is not None
            assert entry.thumbnail.read_bytes().endswith(b"end")
    for picture in (tmp_path / "thumbnails").glob("[!.]*.jpg"):
        assert picture.stat().st_size == 300003, "whoever lists the folder sees whole pictures only"


def test_readers_follow_a_running_writer(tmp_path: Path) -> None:
    process = writer(tmp_path)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "0\n"
        seen = []
        with EventStore(tmp_path, read_only=True) as store:
            for _ in range(15):
                printed = int(process.stdout.readline())
                listed = store.list(limit=None)
                assert len(listed) > printed, "an event is visible as soon as add returned"
                assert all(entry.thumbnail for entry in listed)
                seen.append(len(listed))
        assert seen == sorted(seen)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_two_writers_share_a_store(tmp_path: Path) -> None:
    with EventStore(tmp_path) as one, EventStore(tmp_path) as other:
        one.add(replace(EVENT, id="one"), None, "edge")
        other.add(replace(EVENT, id="two"), None, "edge")
        assert one.ids() == other.ids() == ["one", "two"]


def test_leftovers_of_killed_writers_go_but_not_those_at_work(tmp_path: Path) -> None:
    EventStore(tmp_path).close()
    old, fresh = (tmp_path / "thumbnails" / name for name in (".a.jpg.x.jpg", ".b.jpg.y.jpg"))
    old.touch()
    fresh.touch()
    os.utime(old, (1, 1))
    EventStore(tmp_path).close()
    assert not old.exists()
    assert fresh.exists()


def test_default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLM_EDGE_STORE", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_store() == Path("/home/ada/.local/state/callm-edge")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_store() == Path("/state/callm-edge")
    monkeypatch.setenv("CALLM_EDGE_STORE", "~/found")
    assert default_store() == Path("/home/ada/found")


VERDICT = Verdict(
    EVENT.id, True, 0.97, "A cyclist rides by.", "device", "the only one", {"encode": 12.5, "total": 40.0}
)


def test_a_verdict_is_stored_once_and_shown_with_its_event(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        store.add(EVENT, None, "edge", wants_verdict=True)
        assert store.get(EVENT.id).verdict is None
        assert store.decide(VERDICT)
        assert not store.decide(replace(VERDICT, abnormal=False))
        assert store.get(EVENT.id).verdict == VERDICT
        assert store.list()[0].verdict == VERDICT
        assert store.waiting() == []


def test_what_waits_for_a_verdict_waits_through_a_restart(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        for name, wants in (("b", True), ("a", True), ("c", False)):
            store.add(replace(EVENT, id=name), None, "edge", wants_verdict=wants)
        assert store.attempt("b") == 1
    with EventStore(tmp_path) as store:
        assert store.waiting() == ["b", "a"], "the oldest first"
        assert store.attempt("b") == 2
        store.give_up("b", "its clip is gone")
        assert store.waiting() == ["a"]
        assert store.get("b").failed == "its clip is gone"
        assert store.decide(replace(VERDICT, event_id="b")), "a later answer still counts"
        assert store.get("b").failed is None


def test_the_clip_is_there_before_the_event(tmp_path: Path) -> None:
    clip = Clip(EVENT.id, "hash", 20.0, (ClipFrame(1, 0.1, b"jpeg"),))
    with EventStore(tmp_path) as store:
        store.add(EVENT, None, "edge", clip)
        path = store.get(EVENT.id).clip
        assert path is not None
        assert Clip.load(path) == clip
        path.unlink()
        assert store.get(EVENT.id).clip is None


def test_a_false_alarm_is_marked_and_cleared(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        store.add(EVENT, None, "edge")
        store.add(replace(EVENT, id="other"), None, "edge")
        assert store.false_alarms() == []
        store.mark_false_alarm(EVENT.id)
        first = store.get(EVENT.id).false_alarm_at
        store.mark_false_alarm(EVENT.id)
        assert store.get(EVENT.id).false_alarm_at == first is not None, "saying it twice changes nothing"
        assert [stored.event.id for stored in store.false_alarms()] == [EVENT.id]
        store.mark_false_alarm(EVENT.id, marked=False)
        assert store.get(EVENT.id).false_alarm_at is None
        with pytest.raises(UserError, match="no event 'a1b2'"):
            store.mark_false_alarm("a1b2")
        store.mark_false_alarm("other")
        assert store.forget(time.time() + 1) == 2
        store.add(replace(EVENT, id="other"), None, "edge")
        assert store.false_alarms() == [], "a mark goes with its event"
    with EventStore(tmp_path, read_only=True) as store, pytest.raises(UserError, match="read only"):
        store.mark_false_alarm("other")


def test_a_store_of_before_the_marks_is_read_and_grows_them(tmp_path: Path) -> None:
    with EventStore(tmp_path) as store:
        store.add(EVENT, None, "edge")
    db = sqlite3.connect(tmp_path / "events.db")
    db.execute("DROP TABLE mark")
    db.execute("DROP TABLE scene")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    with EventStore(tmp_path, read_only=True) as store:
        assert store.get(EVENT.id).false_alarm_at is None
        assert store.get(EVENT.id).event.scene == "normal"
        assert store.false_alarms() == []
    with EventStore(tmp_path) as store:
        store.mark_false_alarm(EVENT.id)
    with EventStore(tmp_path, read_only=True) as store:
        assert store.get(EVENT.id).false_alarm_at is not None
