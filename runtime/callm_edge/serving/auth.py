"""Bearer tokens. Only their digests are kept, so that no log, traceback or dump of this object shows one."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import stat
from pathlib import Path

from callm_edge.errors import UsageError

SHORTEST = 16  # characters of a key
_SCHEME = b"bearer "


class Keys:
    """Those who may ask. keys: bearer tokens; several, so that one can be replaced while others work."""

    def __init__(self, keys: list[str]) -> None:
        for key in keys:
            if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
                raise UsageError(
                    "A key cannot be used",
                    f"a key has at least {SHORTEST} printable ASCII characters and no space",
                    "Make one: openssl rand -hex 32",
                )
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """From a file: a key a line; empty lines and those from '#' on are skipped.

        Raises UsageError where it cannot be read, holds no key, or where others than its owner can read it.
        """
        try:
            with path.open(encoding="ascii") as file:
                # Of the open file, not of the path: nobody can exchange it in between.
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise UsageError(
                        f"Others can read the keys in {path}", "its permissions are too wide", f"chmod 600 {path}"
                    )
                lines = [line.strip() for line in file]
        except OSError as error:
            raise UsageError(f"The key file {path} cannot be read", error.strerror or str(error)) from error
        except UnicodeDecodeError:  # its text would show a piece of the file
            raise UsageError(f"The key file {path} cannot be read", "it holds more than ASCII") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise UsageError(f"The key file {path} holds no key", "", f"openssl rand -hex 32 > {path}")
        return cls(keys)

    def __len__(self) -> int:
        return len(self._digests)

    def allow(self, authorization: bytes | None) -> bool:
        """Whether the header `Authorization: Bearer KEY` holds one of the keys.

        Constant in time: digests of one length are compared, and all of them whatever the first says.
        """
        given = authorization or b""
        token = given[len(_SCHEME) :].strip() if given[: len(_SCHEME)].lower() == _SCHEME else b""
        digest = hashlib.sha256(token).digest()
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen at. A name other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
