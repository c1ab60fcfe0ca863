"""The thumbnails and clips of an event store: files, which may be missing while their event is there."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from callm_edge.atomic import write_bytes
from callm_edge.events.clip import Clip

_logger = logging.getLogger(__name__)

STALE_S = 3600.0  # a temporary file this old was left by a process that was killed
NO_ROOM = "its clip was not stored: the disk is full"


class Pictures:
    """`thumbnails/<id>.jpg` and `clips/<id>.zip` in `folder`. Used by one thread at a time, but for the paths.

    keep_free_bytes: of the disk; where less is free, it counts as full.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.keep_free_bytes = folder, 0
        self._full = False

    def thumbnail(self, event_id: str) -> Path:
        return self.folder / "thumbnails" / f"{event_id}.jpg"

    def clip(self, event_id: str) -> Path:
        return self.folder / "clips" / f"{event_id}.zip"

    def prepare(self) -> None:
        """Make the folders, and tidy up after processes that were killed."""
        for name in ("thumbnails", "clips"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            for left in (self.folder / name).glob(".*"):
                if time.time() - left.stat().st_mtime > STALE_S:
                    left.unlink(missing_ok=True)

    def save(self, event_id: str, thumbnail: bytes | None, clip: Clip | None) -> str | None:
        """Write what there is, durably. Returns None, or where the disk is full why there are no pictures.

        A full disk is logged once, and once more when it has room again. Raises OSError for other troubles.
        """
        if thumbnail is None and clip is None:
            return None
        try:
            if self.keep_free_bytes and shutil.disk_usage(self.folder).free < self.keep_free_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if thumbnail is not None:
                write_bytes(self.thumbnail(event_id), thumbnail)
                _sync_folder(self.thumbnail(event_id).parent)
            if clip is not None:
                clip.save(self.clip(event_id))
                _sync_folder(self.clip(event_id).parent)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not self._full:
                _logger.error("The disk of %s is full: events are stored without pictures", self.folder)
            self._full = True
            return NO_ROOM
        if self._full:
            _logger.info("The disk of %s has room again", self.folder)
        self._full = False
        return None

    def remove(self, event_id: str) -> None:
        self.clip(event_id).unlink(missing_ok=True)
        self.thumbnail(event_id).unlink(missing_ok=True)

    def files(self) -> Sequence[tuple[Path, int, float]]:
        """Path, bytes and Unix time of every picture; a file's stem is the id of its event."""
        found = []
        for name, suffix in (("clips", ".zip"), ("thumbnails", ".jpg")):
            for path in (self.folder / name).glob(f"[!.]*{suffix}"):
                with suppress(FileNotFoundError):  # another process may tidy up, too
                    about = path.stat()
                    found.append((path, about.st_size, about.st_mtime))
        return found


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable: without this a power cut can keep the row and lose the picture's name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
