"""Built code on disk, keyed by what it was built from: an entry is right or absent, never stale."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


def folder() -> Path:
    """$XDG_CACHE_HOME/callm-edge/kernels, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callm-edge" / "kernels"


def key(content: str, architecture: str, toolkit: str) -> str:
    """What a build is known by. content: sources.content_hash, flags included. toolkit: its name and version."""
    return hashlib.sha256("\n".join((content, architecture, toolkit)).encode()).hexdigest()


def get(key: str, build: Callable[[], bytes], where: Path | None = None) -> bytes:
    """What was stored under `key`, or else what `build` gives, which is stored.

    Processes that want the same key build it once: the others wait for the lock of that key. A damaged entry is built
    anew. Where the folder cannot be written (read-only root), the build is used without being stored.
    """
    where = where or folder()
    path = where / f"{key}.bin"
    if (stored := _read(path)) is not None:
        return stored
    try:
        where.mkdir(parents=True, exist_ok=True)
        lock = (where / f"{key}.lock").open("w")
    except OSError:
        return build()
    with lock, _locked(lock.fileno()):
        if (stored := _read(path)) is not None:
            return stored
        image = build()
        with contextlib.suppress(OSError):
            _write(path, image)
        return image


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # released with the descriptor, even if this process is killed
    yield


def _read(path: Path) -> bytes | None:
    """The digest comes first, so that a file cut short by a full disk or a power loss is seen."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, image = data[:32], data[32:]
    return image if digest == hashlib.sha256(image).digest() else None


def _write(path: Path, image: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(hashlib.sha256(image).digest() + image)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
