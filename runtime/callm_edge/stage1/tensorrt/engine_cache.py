"""Engines on disk: `<key>.engine`, as TensorRT wrote it, and `<key>.json` beside it, which says what it is.

The engine file holds nothing of ours, so that trtexec and other tools read it. An engine is given out only if its
sidecar is whole, names the same key and the file's own sha256; for anything else there is a reason in words.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from callm_edge import atomic
from callm_edge.errors import BundleError, UserError
from callm_edge.stage1.tensorrt.engine_key import EngineKey

log = logging.getLogger(__name__)

SCHEMA = 1


@dataclass(frozen=True)
class CachedEngine:
    """data: the serialized engine. sha256: of it. proof: precision of each convolution, as the build proved it."""

    data: bytes
    sha256: str
    proof: dict[str, str]


class EngineCache:
    """The engines in `folder`, for every graph, TensorRT and GPU that shares it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, bundle_folder: Path) -> EngineCache:
        """`engines/` in the bundle; for a bundle that cannot be written to, the user's cache ($XDG_CACHE_HOME)."""
        own = bundle_folder / "engines"
        if os.access(own if own.is_dir() else bundle_folder, os.W_OK):
            return cls(own)
        home = os.environ.get("XDG_CACHE_HOME")
        return cls((Path(home) if home else Path.home() / ".cache") / "callm-edge" / "engines")

    def engine_path(self, key: EngineKey) -> Path:
        return self.folder / f"{key.digest[:32]}.engine"

    def timing_cache_path(self, key: EngineKey) -> Path:
        """Timings of kernels: good for every graph on this GPU with this TensorRT."""
        return self.folder / f"timing-{key.tensorrt}-sm{key.compute_capability.replace('.', '')}.cache"

    def load(self, key: EngineKey) -> CachedEngine | None:
        """The engine for `key`; None, with the reason logged, where it must be built."""
        path = self.engine_path(key)
        if not path.exists():
            if reason := self._difference_of_the_nearest(key):
                log.warning("An engine is built anew: the nearest was built for %s", reason)
            return None
        try:
            record = self._record(path)
            differences = key.differences(EngineKey.from_dict(record["key"]))
            if differences:
                raise BundleError("its sidecar says " + ", ".join(differences))
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if digest != record["engine_sha256"]:
                raise BundleError("the engine file has another sha256 than its sidecar says")
            return CachedEngine(data, digest, dict(record["proof"]))
        except (BundleError, OSError, KeyError, TypeError, ValueError) as error:
            log.warning("The engine %s is built again: %s", path.name, error)
            return None

    def store(self, key: EngineKey, data: bytes, proof: dict[str, str], build_seconds: float) -> CachedEngine:
        """Write an engine and its sidecar, each atomically. A crash in between leaves one that `load` refuses."""
        path = self.engine_path(key)
        digest = hashlib.sha256(data).hexdigest()
        record = {
            "schema": SCHEMA,
            "key": asdict(key),
            "engine_sha256": digest,
            "engine_bytes": len(data),
            "built_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "build_seconds": round(build_seconds, 1),
            "proof": proof,
        }
        atomic.write_bytes(path, data)
        atomic.write_text(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
        return CachedEngine(data, digest, proof)

    def remove(self, key: EngineKey) -> None:
        """Forget an engine that turned out to be unusable."""
        self.engine_path(key).unlink(missing_ok=True)
        self.engine_path(key).with_suffix(".json").unlink(missing_ok=True)

    @contextmanager
    def lock(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the folder against other processes that build into it. waiting: called once where it must be waited for.

        The kernel frees the lock when a process dies, so none is ever left behind.
        """
        import fcntl

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / ".lock").open("w")
        except OSError as error:
            raise UserError(
                f"Engines cannot be kept in {self.folder}", str(error), "Make it writable, or set XDG_CACHE_HOME"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _record(self, path: Path) -> dict[str, Any]:
        sidecar = path.with_suffix(".json")
        if not sidecar.exists():
            raise BundleError(f"its sidecar {sidecar.name} is missing")
        record = json.loads(sidecar.read_text())
        if not isinstance(record, dict) or record.get("schema") != SCHEMA:
            raise BundleError(f"{sidecar.name} has another schema than {SCHEMA}")
        return record

    def _difference_of_the_nearest(self, key: EngineKey) -> str:
        """How the nearest engine in the folder differs, so that a rebuild after an update explains itself."""
        nearest: list[str] = []
        for path in self.folder.glob("*.engine"):
            try:
                differences = key.differences(EngineKey.from_dict(self._record(path)["key"]))
            except (BundleError, OSError, KeyError, ValueError):
                continue
            if not nearest or len(differences) < len(nearest):
                nearest = differences
        return ", ".join(nearest)
