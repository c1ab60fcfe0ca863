"""Keeps the event store within its bounds: old pictures go, then old events, and the disk is never filled."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from callm_edge.errors import UserError
from callm_edge.events.store import EventStore

_logger = logging.getLogger(__name__)

EVERY_S = 30.0
ORPHAN_S = 3600.0  # a picture this old whose event is not in the store was left by a crash between the two


@dataclass(frozen=True)
class Limits:
    """None is no bound. max_bytes: of clips and thumbnails together. max_age_s: of an event, since it was stored.

    keep_free_bytes: of the disk that the store is on.
    """

    max_bytes: int | None = None
    max_age_s: float | None = None
    keep_free_bytes: int = 0


@dataclass(frozen=True)
class Swept:
    """What a sweep removed: whole events, pictures (files) of events that stay, and their bytes."""

    events: int = 0
    files: int = 0
    bytes: int = 0


class Retention:
    """Sweeps now and then on a thread of its own, inside a `with` block.

    Pictures of judged events go before those of events that still wait for a verdict; among each, the oldest first.
    free_bytes: of the disk that a folder is on; for tests.
    """

    def __init__(
        self,
        store: EventStore,
        limits: Limits,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._store, self._limits, self._free = store, limits, free_bytes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._began = time.time() - time.monotonic()
        store.pictures.keep_free_bytes = limits.keep_free_bytes

    def __enter__(self) -> Retention:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(10)

    def sweep(self) -> Swept:
        """Remove what is beyond the limits. Raises UserError where the store cannot be written."""
        # A date that is set while a run goes on makes nothing older.
        now, limits = self._began + time.monotonic(), self._limits
        events = 0
        if limits.max_age_s is not None:
            events = self._store.forget(before=now - limits.max_age_s)
        ages = self._store.ages()
        known: list[tuple[tuple[bool, int], Path, int]] = []
        files, freed = 0, 0
        for path, size, changed in self._store.pictures.files():
            age = ages.get(path.stem)
            if age is not None:
                known.append((age, path, size))
            elif now - changed > ORPHAN_S:
                path.unlink(missing_ok=True)
                files, freed = files + 1, freed + size
        total = sum(size for _, _, size in known)
        excess = total - limits.max_bytes if limits.max_bytes is not None else 0
        excess = max(excess, limits.keep_free_bytes - self._free(self._store.folder))
        # Clips first: a thumbnail is a hundredth of its clip, and shows more of an event than nothing.
        for _, path, size in sorted(known, key=lambda one: (one[1].suffix != ".zip", *one[0])):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess, files, freed = excess - size, files + 1, freed + size
        if events or files:
            _logger.info("Retention: %d events and %d pictures removed, %.1f MB", events, files, freed / (1 << 20))
        return Swept(events, files, freed)

    def _run(self) -> None:
        troubled = False
        while True:
            try:
                self.sweep()
                troubled = False
            except (UserError, OSError) as error:
                _logger.log(logging.DEBUG if troubled else logging.WARNING, "Retention: %s", error)
                troubled = True
            if self._stopped.wait(EVERY_S):
                return
