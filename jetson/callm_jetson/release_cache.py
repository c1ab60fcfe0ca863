"""The releases of one deploy: one for every kind of device among the hosts, built once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from callm_edge.bundle import Bundle
from callm_jetson.release import Release, build_release, check_wheel, own_wheel
from callm_jetson.wheelhouse import Target


class ReleaseCache:
    """folder: where releases are gathered. cache: where fetched wheels stay. The rest: see ``build_release``."""

    def __init__(
        self,
        folder: Path,
        cache: Path,
        *,
        bundle: str | None = None,
        config: Path | None = None,
        wheel: Path | None = None,
        wheelhouse: Path | None = None,
        extras: Sequence[str] = (),
    ) -> None:
        self._folder, self._cache = folder, cache
        self._bundle, self._config, self._wheel = bundle, config, wheel
        self._wheelhouse, self._extras = wheelhouse, extras
        self._built: dict[Target, Release] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """What is wrong for every device alike is said once, before any is touched. Raises UserError, UsageError."""
        if self._bundle is not None:
            Bundle.load(self._bundle)
        if self._wheel is not None:
            check_wheel(self._wheel)

    def get(self, target: Target) -> Release:
        """The release for ``target``. Safe from several threads: the first one builds, the others wait."""
        with self._lock:
            if target not in self._built:
                if self._wheel is None:
                    self._wheel = own_wheel(self._cache)
                self._built[target] = build_release(
                    self._folder / target.key,
                    target,
                    self._wheel,
                    self._cache,
                    bundle=self._bundle,
                    config=self._config,
                    extras=self._extras,
                    wheelhouse=self._wheelhouse,
                )
            return self._built[target]
