"""A stored event as the page gets it."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.clock import clock_text, is_unix_time
from callm_edge.events.store import StoredEvent


def event_view(stored: StoredEvent, waiting: Collection[str] = ()) -> dict[str, Any]:
    """Everything but pictures. waiting: ids of the events that wait for a verdict."""
    event = stored.event
    return {
        **asdict(event),
        "recorded": not is_unix_time(event.start_time),  # its clock starts with the footage
        "clock": clock_text(event.start_time),
        "happened_at": stored.happened_at,
        "bundle": stored.bundle,
        "thumbnail": stored.thumbnail is not None,
        "clip": stored.clip is not None,
        "verdict": asdict(stored.verdict) if stored.verdict else None,
        "failed": stored.failed,
        "waiting": event.id in waiting,
        "false_alarm_at": stored.false_alarm_at,
    }


def clip_view(path: Path) -> dict[str, Any]:
    """When each frame of a clip was, its score, and where its error was largest; the pictures come one by one.

    Raises UserError where the clip is damaged.
    """
    clip = Clip.load(path)
    first = clip.frames[0].time
    return {
        "threshold_psnr_db": clip.threshold_psnr_db,
        "times": [round(frame.time - first, 3) for frame in clip.frames],
        "frames": [frame.index for frame in clip.frames],
        "scores": [None if frame.score_db is None else round(frame.score_db, 2) for frame in clip.frames],
        "peaks": [frame.peak and [round(at, 1) for at in frame.peak] for frame in clip.frames],
    }


def clip_picture(path: Path, index: int) -> bytes:
    """JPEG of the frame whose index in its source is `index`. Raises UserError where it is not in the clip."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.read(f"{index:010d}.jpg")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"Frame {index} of the clip cannot be read", str(error) or type(error).__name__) from error
