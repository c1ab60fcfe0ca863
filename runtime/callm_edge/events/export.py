"""One file with all that is known of an event, to hand on, to keep, or to replay elsewhere.

It is a clip with more in it: beside clip.json and the pictures there are export.json (versions, bundle and its hash),
event.json and verdict.json (the lines of `run --json`), scores.csv and thumbnail.jpg. Whatever reads clips reads it.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callm_edge import __version__
from callm_edge.atomic import replacing
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.event import Event
from callm_edge.events.store import StoredEvent
from callm_edge.events.verdict import Verdict

SCHEMA = 1


@dataclass(frozen=True)
class Recorded:
    """A clip with what was said of it. event, verdict, bundle: None where the file is a bare clip, or there is none."""

    clip: Clip
    event: Event | None = None
    verdict: Verdict | None = None
    bundle: str | None = None


def export(stored: StoredEvent, path: Path) -> None:
    """Write the zip file, atomically. Raises UserError where the clip is gone or `path` cannot be written."""
    if stored.clip is None:
        raise UserError(
            f"Event {stored.event.id} cannot be exported", stored.failed or "its clip was not stored, or is gone"
        )
    clip = Clip.load(stored.clip)
    about = {
        "schema_version": SCHEMA,
        "callm_edge": __version__,
        "exported_at": round(time.time(), 3),
        "bundle": stored.bundle,
        "bundle_hash": clip.bundle_hash,
        "stored_at": stored.stored_at,
    }
    try:
        with replacing(path) as temporary:
            shutil.copyfile(stored.clip, temporary)
            with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as file:
                file.writestr("export.json", json.dumps(about, indent=1))
                file.writestr("event.json", stored.event.to_json())
                if stored.verdict:
                    file.writestr("verdict.json", stored.verdict.to_json())
                file.writestr("scores.csv", _scores(clip))
                if stored.thumbnail:
                    file.write(stored.thumbnail, "thumbnail.jpg", zipfile.ZIP_STORED)
    except OSError as error:
        raise UserError(f"{path} cannot be written", error.strerror or str(error)) from error


def load(path: Path) -> Recorded:
    """Read an exported event, or a bare clip. Raises UserError where it is neither, or is damaged."""
    clip = Clip.load(path)
    try:
        with zipfile.ZipFile(path) as file:
            parts = {
                name: json.loads(file.read(f"{name}.json"))
                for name in ("export", "event", "verdict")
                if f"{name}.json" in file.namelist()
            }
        if parts and parts["export"]["schema_version"] != SCHEMA:
            raise UserError(
                f"{path} was exported with schema {parts['export']['schema_version']}",
                f"this version reads schema {SCHEMA}",
                "Update callm-edge",
            )
        event, verdict = parts.get("event"), parts.get("verdict")
        return Recorded(
            clip,
            Event(**{**_fields(event), "box": tuple(event["box"])}) if event else None,
            Verdict(**_fields(verdict)) if verdict else None,
            parts.get("export", {}).get("bundle"),
        )
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read", str(error) or type(error).__name__, "Export it again") from error


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "type"}


def _scores(clip: Clip) -> str:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("frame", "time_s", "smoothed_psnr_db", "peak_x", "peak_y"))
    for frame in clip.frames:
        score = "" if frame.score_db is None else f"{frame.score_db:.4f}"
        x, y = (f"{value:.1f}" for value in frame.peak) if frame.peak else ("", "")
        writer.writerow((frame.index, f"{frame.time:.3f}", score, x, y))
    return table.getvalue()
