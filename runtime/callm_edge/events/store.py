"""Events on disk: an SQLite file, thumbnails and clips, written by `run`, read by `events` and the live page.

It is also the queue of stage 2: an event that wants a verdict and has none is waiting, also after a crash.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.clock import is_unix_time
from callm_edge.events.database import open_to_read, open_to_write
from callm_edge.events.event import Event
from callm_edge.events.pictures import Pictures
from callm_edge.events.scene import NORMAL
from callm_edge.events.verdict import Verdict
from callm_edge.names import nearest

_FIELDS = (
    "id, source, start_frame, end_frame, peak_frame, start_time, end_time, peak_psnr_db, threshold_psnr_db, "
    "box_x, box_y, box_w, box_h"
)
_WAITS = "decided_at IS NULL AND failed IS NULL"
_OLD = (
    "SELECT id FROM event LEFT JOIN verdict ON event_id = id "
    f"WHERE stored_at < ? AND (event_id IS NULL OR NOT ({_WAITS}))"
)
_SELECT = (
    f"SELECT {_FIELDS}, bundle, stored_at, happened_at, failed, decided_at, abnormal, probability, explanation, "
    "answered_by, reason, ledger_ms, false_alarm_at, scene.kind FROM event "
    "LEFT JOIN verdict ON verdict.event_id = id LEFT JOIN mark ON mark.event_id = id "
    "LEFT JOIN scene ON scene.event_id = id"
)


@dataclass(frozen=True)
class StoredEvent:
    """An event with what the store knows about it.

    bundle: the bundle that found it, as given to `add`.
    stored_at: Unix time of storing.
    happened_at: Unix time to order and filter by: its start for live sources; `stored_at` for footage, whose own clock
        starts at 0.
    thumbnail, clip: its picture and its frames, or None where none were stored or they were deleted since.
    verdict: what stage 2 says, or None. failed: why it says nothing, or None.
    false_alarm_at: Unix time when a person said that nothing was wrong, or None.
    """

    event: Event
    bundle: str
    stored_at: float
    happened_at: float
    thumbnail: Path | None
    clip: Path | None = None
    verdict: Verdict | None = None
    failed: str | None = None
    false_alarm_at: float | None = None


def default_store() -> Path:
    """$CALLM_EDGE_STORE, else callm-edge below $XDG_STATE_HOME, else ~/.local/state/callm-edge."""
    chosen = os.environ.get("CALLM_EDGE_STORE")
    if chosen:
        return Path(chosen).expanduser()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "callm-edge"


class EventStore:
    """The events in `folder`: `events.db`, `thumbnails/<id>.jpg` and `clips/<id>.zip`.

    An event that `add` returned for is on disk, whatever happens to the process or to the power. Any number of
    processes may read while one writes; one object may be used from several threads.

    read_only: open what is there and never write; a missing store is then an error. Otherwise it is created.
    pictures: its files; see Pictures.
    Raises UserError where the folder or the file cannot be used.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder, self.path, self.read_only = folder, folder / "events.db", read_only
        self.pictures = Pictures(folder)
        self._lock = threading.Lock()
        self._counted = time.monotonic()  # until when `waited` counts
        with self._explained():
            if read_only:
                self._db = open_to_read(self.path)
            else:
                self.pictures.prepare()
                self._db = open_to_write(self.path)

    def close(self) -> None:
        """Close the file. May be called more than once."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> EventStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM event")[0][0])

    def add(
        self, event: Event, thumbnail: bytes | None, bundle: str, clip: Clip | None = None, wants_verdict: bool = False
    ) -> bool:
        """Store `event`, its JPEG `thumbnail` and its `clip`. False where this id is there: then nothing is changed.

        bundle: name or path of the bundle that found it. wants_verdict: it then waits for stage 2.
        Where the disk has no room for the pictures, the event is stored without them, and says so where a verdict was
        wanted; the log says it once.
        Raises UserError where there is no room for the event itself, or the disk is read-only or locked for long.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}", event.id):
            raise ValueError(f"an event id becomes a file name, {event.id!r} cannot")
        # numpy scalars are no SQLite types: the cascade may hand over either.
        values = (
            *(event.id, event.source, int(event.start_frame), int(event.end_frame), int(event.peak_frame)),
            *(float(event.start_time), float(event.end_time)),
            *(float(event.peak_psnr_db), float(event.threshold_psnr_db)),
            *(int(side) for side in event.box),
        )
        now = time.time()
        happened = float(event.start_time) if is_unix_time(event.start_time) else now
        with self._lock, self._explained():
            if self._db.execute("SELECT 1 FROM event WHERE id = ?", (event.id,)).fetchone():
                return False
            # Before the row: whoever sees the row finds the files.
            without = self.pictures.save(event.id, thumbnail, clip)
            with self._db:
                added = self._db.execute(
                    f"INSERT OR IGNORE INTO event ({_FIELDS}, bundle, happened_at, stored_at) "
                    f"VALUES ({', '.join('?' * (len(values) + 3))})",
                    (*values, bundle, happened, now),
                )
                if event.scene != NORMAL:
                    self._db.execute("INSERT OR IGNORE INTO scene VALUES (?, ?)", (event.id, event.scene))
                if wants_verdict:
                    self._db.execute(
                        "INSERT OR IGNORE INTO verdict (event_id, failed) VALUES (?, ?)", (event.id, without)
                    )
                    # Less than 0: the next count adds what was before this event, too.
                    self._db.execute(
                        "INSERT OR REPLACE INTO waited VALUES (?, ?)", (event.id, self._counted - time.monotonic())
                    )
            return added.rowcount == 1

    def list(
        self,
        source: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[StoredEvent]:
        """Events, newest first.

        source: only this source, by its full name.
        since, until: Unix time, both included, compared with `StoredEvent.happened_at`.
        limit: how many at most; None for all.
        """
        return [
            self._stored(row)
            for row in self._rows(
                f"{_SELECT} "
                "WHERE (:source IS NULL OR source = :source) AND (:since IS NULL OR happened_at >= :since) "
                "AND (:until IS NULL OR happened_at <= :until) "
                "ORDER BY happened_at DESC, event.rowid DESC LIMIT :limit",
                {"source": source, "since": since, "until": until, "limit": -1 if limit is None else limit},
            )
        ]

    def get(self, name: str) -> StoredEvent:
        """The event whose id is `name` or, where only one does, begins with it.

        Raises UserError where none or several do.
        """
        rows = self._rows(
            f"{_SELECT} "
            "WHERE id = :name OR (substr(id, 1, :length) = :name AND :length > 0) ORDER BY id <> :name, id LIMIT 6",
            {"name": name, "length": len(name)},
        )
        if not rows:
            raise UserError(
                f"There is no event '{name}'",
                "",
                nearest(name, self.ids()) or "See 'callm-edge events list' for those that are there",
            )
        if len(rows) > 1 and rows[0][0] != name:
            some = ", ".join(row[0] for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
            raise UserError(f"'{name}' is not enough to tell events apart", f"it begins {some}", "Give more of the id")
        return self._stored(rows[0])

    def ids(self) -> Sequence[str]:
        """Every id, in alphabetical order."""
        return [row[0] for row in self._rows("SELECT id FROM event ORDER BY id")]

    def sources(self) -> Sequence[str]:
        """Every source that has events, in alphabetical order."""
        return [row[0] for row in self._rows("SELECT DISTINCT source FROM event ORDER BY source")]

    def waiting(self) -> Sequence[str]:
        """Ids of the events that want a verdict and have none, the oldest first."""
        return [
            row[0]
            for row in self._rows(
                f"SELECT event_id FROM verdict JOIN event ON event.id = event_id WHERE {_WAITS} ORDER BY event.rowid"
            )
        ]

    def waited_s(self, event_id: str) -> float:
        """Seconds that this event has waited for a verdict while a run had the store open, whatever the date did."""
        rows = self._rows("SELECT seconds FROM waited WHERE event_id = :id", {"id": event_id})
        return max(0.0, time.monotonic() - self._counted + (rows[0][0] if rows else 0.0))

    def count_waiting(self) -> None:
        """Write down how long every event of the queue has waited. One process at a time may."""
        with self._lock, self._explained(), self._db:
            now = time.monotonic()
            self._db.execute(
                f"INSERT INTO waited SELECT event_id, :more FROM verdict WHERE {_WAITS} "
                "ON CONFLICT (event_id) DO UPDATE SET seconds = seconds + :more",
                {"more": now - self._counted},
            )
            self._db.execute(f"DELETE FROM waited WHERE event_id NOT IN (SELECT event_id FROM verdict WHERE {_WAITS})")
            self._counted = now

    def give_up_older(self, seconds: float, why: str) -> int:
        """Let no event wait that has waited so long; returns how many did."""
        with self._lock, self._explained(), self._db:
            return self._db.execute(
                f"UPDATE verdict SET failed = ? WHERE {_WAITS} "
                "AND event_id IN (SELECT event_id FROM waited WHERE seconds + ? > ?)",
                (why, time.monotonic() - self._counted, seconds),
            ).rowcount

    def give_up_oldest(self, most: int, why: str) -> int:
        """Let only the `most` newest of the events wait that do; returns how many wait no longer."""
        with self._lock, self._explained(), self._db:
            return self._db.execute(
                "UPDATE verdict SET failed = ? WHERE event_id IN ("
                "SELECT event_id FROM verdict JOIN event ON id = event_id "
                f"WHERE {_WAITS} ORDER BY event.rowid DESC LIMIT -1 OFFSET ?)",
                (why, most),
            ).rowcount

    def attempt(self, event_id: str) -> int:
        """Note that this process now tries to judge the event itself; returns how often one has, this time included."""
        with self._lock, self._explained(), self._db:
            self._db.execute("UPDATE verdict SET attempts = attempts + 1 WHERE event_id = ?", (event_id,))
            row = self._db.execute("SELECT attempts FROM verdict WHERE event_id = ?", (event_id,)).fetchone()
        return int(row[0]) if row else 0

    def decide(self, verdict: Verdict) -> bool:
        """Store a verdict. False where the event has one already: then nothing is changed."""
        values = (
            *(time.time(), int(verdict.abnormal), verdict.probability, verdict.explanation),
            *(verdict.answered_by, verdict.reason, json.dumps(verdict.ledger_ms)),
        )
        with self._lock, self._explained(), self._db:
            self._db.execute("INSERT OR IGNORE INTO verdict (event_id) VALUES (?)", (verdict.event_id,))
            changed = self._db.execute(
                "UPDATE verdict SET decided_at = ?, abnormal = ?, probability = ?, explanation = ?, answered_by = ?, "
                "reason = ?, ledger_ms = ?, failed = NULL WHERE event_id = ? AND decided_at IS NULL",
                (*values, verdict.event_id),
            )
        return changed.rowcount == 1

    def give_up(self, event_id: str, why: str) -> None:
        """Note that stage 2 cannot judge this event, so that it waits no longer."""
        with self._lock, self._explained(), self._db:
            self._db.execute("UPDATE verdict SET failed = ? WHERE event_id = ? AND decided_at IS NULL", (why, event_id))

    def mark_false_alarm(self, event_id: str, marked: bool = True) -> None:
        """Note that a person calls this event a false alarm, or takes that back; saying it twice changes nothing.

        event_id: in full. Raises UserError where there is no such event, or the store is open to read only.
        """
        if self.read_only:
            raise UserError(
                f"Events in {self.folder} cannot be marked",
                "the store is open to read only",
                "Check who owns the folder",
            )
        with self._lock, self._explained(), self._db:
            if not self._db.execute("SELECT 1 FROM event WHERE id = ?", (event_id,)).fetchone():
                raise UserError(f"There is no event '{event_id}'", "", "See 'callm-edge events list'")
            if marked:
                self._db.execute("INSERT OR IGNORE INTO mark VALUES (?, ?)", (event_id, time.time()))
            else:
                self._db.execute("DELETE FROM mark WHERE event_id = ?", (event_id,))

    def false_alarms(self) -> Sequence[StoredEvent]:
        """Every event that is marked as a false alarm, newest first."""
        return [
            self._stored(row)
            for row in self._rows(
                f"{_SELECT} WHERE false_alarm_at IS NOT NULL ORDER BY happened_at DESC, event.rowid DESC"
            )
        ]

    def source_of(self, event_id: str) -> str | None:
        """The source of an event, or None where it is not here."""
        rows = self._rows("SELECT source FROM event WHERE id = :id", {"id": event_id})
        return str(rows[0][0]) if rows else None

    def ages(self) -> dict[str, tuple[bool, int]]:
        """(waits for a verdict, how many were stored before) of every event by its id: so pictures are let go."""
        return {
            row[0]: (bool(row[1]), int(row[2]))
            for row in self._rows(
                f"SELECT id, event_id IS NOT NULL AND {_WAITS}, event.rowid "
                "FROM event LEFT JOIN verdict ON event_id = id"
            )
        }

    def forget(self, before: float) -> int:
        """Remove events that were stored before this Unix time, with all that belongs to them; returns how many.

        Those that wait for a verdict stay: the queue has bounds of its own.
        """
        with self._lock, self._explained():
            with self._db:
                old = [row[0] for row in self._db.execute(_OLD, (before,))]
                for table, column in (*((name, "event_id") for name in ("verdict", "mark", "scene")), ("event", "id")):
                    self._db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(one,) for one in old])
            # After the rows: a picture without an event is tidied up later, an event must not promise what is gone.
            for one in old:
                self.pictures.remove(one)
        return len(old)

    def _stored(self, row: tuple) -> StoredEvent:
        bundle, stored_at, happened_at, failed, decided_at, abnormal, *words, ledger_ms, marked_at, scene = row[13:]
        event = Event(*(*row[:9], row[9:13], scene or NORMAL))
        verdict = None
        if decided_at is not None:
            probability, explanation, answered_by, reason = words
            ledger = json.loads(ledger_ms)
            verdict = Verdict(event.id, bool(abnormal), probability, explanation, answered_by, reason, ledger)
        picture, clip = (
            p if p.is_file() else None for p in (self.pictures.thumbnail(event.id), self.pictures.clip(event.id))
        )
        return StoredEvent(event, bundle, stored_at, happened_at, picture, clip, verdict, failed, marked_at)

    def _rows(self, query: str, values: dict[str, object] | None = None) -> Sequence[tuple]:
        with self._lock, self._explained():
            return self._db.execute(query, values or {}).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's and the system's complaints, as sentences that name the file."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a wrong statement or a closed store is our own bug
        except sqlite3.OperationalError as error:
            raise UserError(
                f"The event store {self.path} cannot be {'read' if self.read_only else 'used'}",
                str(error),
                "Check that the folder is yours to write, the disk is not full, and no other program holds the file",
            ) from error
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{self.path} is not a readable database",
                str(error),
                "Move it away, or name another folder with --store",
            ) from error
        except OSError as error:
            raise UserError(
                f"The event store {self.folder} cannot be used",
                error.strerror or str(error),
                "Name a folder that you may write to with --store or CALLM_EDGE_STORE",
            ) from error
