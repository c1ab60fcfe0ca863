"""The SQLite file of the event store: its tables, what older versions lack of them, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from callm_edge.errors import UserError

SCHEMA = 2  # 2: marks
BUSY_S = 10.0  # how long a writer waits for another one

_CREATE = """
CREATE TABLE event (
    id TEXT PRIMARY KEY NOT NULL,
    source TEXT NOT NULL,
    start_frame INTEGER NOT NULL,
    end_frame INTEGER NOT NULL,
    peak_frame INTEGER NOT NULL,
    start_time REAL NOT NULL,
    end_time REAL NOT NULL,
    peak_psnr_db REAL NOT NULL,
    threshold_psnr_db REAL NOT NULL,
    box_x INTEGER NOT NULL,
    box_y INTEGER NOT NULL,
    box_w INTEGER NOT NULL,
    box_h INTEGER NOT NULL,
    bundle TEXT NOT NULL,
    happened_at REAL NOT NULL,
    stored_at REAL NOT NULL
)
"""
# Verdicts come later than events and may be asked for again: they have a table of their own, one row for each event.
# Without `decided_at` a row is an event that waits, or that stage 2 gave up on (`failed`).
_CREATE_VERDICT = """
CREATE TABLE verdict (
    event_id TEXT PRIMARY KEY NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    failed TEXT,
    decided_at REAL,
    abnormal INTEGER,
    probability REAL,
    explanation TEXT,
    answered_by TEXT,
    reason TEXT,
    ledger_ms TEXT
)
"""
# What people say of events. A table of its own, so that a store of schema 1 needs nothing but it.
_CREATE_MARK = """
CREATE TABLE mark (
    event_id TEXT PRIMARY KEY NOT NULL,
    false_alarm_at REAL NOT NULL
)
"""
# Of the few events whose scene was not normal. Older stores lack it, and programs of their time do not mind it.
_CREATE_SCENE = "CREATE TABLE IF NOT EXISTS scene (event_id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL)"
_TABLES = (
    _CREATE,
    "CREATE INDEX event_happened_at ON event (happened_at)",
    _CREATE_VERDICT,
    "CREATE INDEX verdict_waiting ON verdict (event_id) WHERE decided_at IS NULL AND failed IS NULL",
    _CREATE_MARK,
)
# Seconds that events of the queue have waited: see `count_waiting`. Other versions of the schema do without it.
_CREATE_WAITED = "CREATE TABLE IF NOT EXISTS waited (event_id TEXT PRIMARY KEY NOT NULL, seconds REAL NOT NULL)"


def open_to_write(path: Path) -> sqlite3.Connection:
    """The file, made where it is missing, brought up to `SCHEMA` where it is older. Raises UserError, sqlite3.Error."""
    db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    try:
        _refuse_other_schemas(path, db, may_be_new=True)
        db.execute("PRAGMA journal_mode = WAL")  # readers never wait for the writer, nor it for them
        db.execute("PRAGMA synchronous = FULL")  # events are rare and must outlive a power cut
        db.execute("BEGIN IMMEDIATE")  # two processes may both find a new file
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version < SCHEMA:
            for statement in _TABLES if version == 0 else (_CREATE_MARK,):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute(_CREATE_WAITED)
        db.execute(_CREATE_SCENE)
        db.commit()
    except BaseException:
        db.close()
        raise
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file, which stays as it is. Raises UserError where there is none; sqlite3.Error."""
    if not path.exists():
        raise UserError(
            f"There are no events in {path.parent}",
            "nothing was stored there",
            "Watch a camera or a file with 'callm-edge run', or name another folder with --store",
        )
    name = f"file:{quote(str(path.resolve()))}"
    modes = ["mode=ro"]
    if not path.with_name("events.db-wal").exists():
        # A reader without write permission cannot make the shared-memory file that WAL wants; with no log there
        # is no writer, and the file can be read as it stands.
        modes.append("immutable=1")
    for mode in modes:
        db = sqlite3.connect(f"{name}?{mode}", uri=True, timeout=BUSY_S, check_same_thread=False)
        try:
            _refuse_other_schemas(path, db, may_be_new=False)
            if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA:
                # Of this connection only: the file stays as it is, and has no marks.
                db.execute(_CREATE_MARK.replace("CREATE TABLE", "CREATE TEMP TABLE"))
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'scene'").fetchone():
                db.execute(_CREATE_SCENE.replace("CREATE TABLE", "CREATE TEMP TABLE"))
            return db
        except BaseException as error:
            db.close()
            if not isinstance(error, sqlite3.OperationalError) or mode == modes[-1]:
                raise
    raise AssertionError("the last mode returns or raises")


def _refuse_other_schemas(path: Path, db: sqlite3.Connection, may_be_new: bool) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version > SCHEMA:
        raise UserError(
            f"The event store {path} has schema {version}",
            f"this version of callm-edge reads schemas up to {SCHEMA}",
            "Update callm-edge, or name another folder with --store",
        )
    if version < 1 and (tables or not may_be_new) or version >= 1 and "event" not in tables:
        raise UserError(
            f"{path} is not an event store",
            "it is a database of another program" if tables else "it holds no events table",
            "Name another folder with --store",
        )
