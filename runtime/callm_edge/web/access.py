"""Who may see the page: a token opens it, a cookie keeps it open."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time

from callm_edge.serving.auth import Keys

COOKIE = "callm_edge"
SESSIONS = 256  # at a time; the oldest leaves first
AGE_S = 30 * 86400


class Access:
    """keys: tokens that open the page; None where nobody needs one.

    Sessions live in memory: after a restart people log in anew. Only digests of tokens and sessions are kept.
    """

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys
        self._sessions: dict[bytes, float] = {}  # insertion order is age
        self._lock = threading.Lock()

    @property
    def needed(self) -> bool:
        return self._keys is not None

    def login(self, token: str) -> str | None:
        """What the cookie shall hold, or None where the token is wrong."""
        if self._keys is None or not self._keys.allow(b"Bearer " + token.strip().encode()):
            return None
        session = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[_digest(session)] = time.monotonic() + AGE_S
        return session

    def logout(self, session: str) -> None:
        with self._lock:
            self._sessions.pop(_digest(session), None)

    def by_token(self, authorization: bytes | None) -> bool:
        """Whether the header `Authorization: Bearer TOKEN` opens the page."""
        return self._keys is not None and authorization is not None and self._keys.allow(authorization)

    def by_session(self, session: str) -> bool:
        """Whether the cookie is one that `login` gave."""
        digest, found = _digest(session), False
        with self._lock:
            for known, until in self._sessions.items():
                found |= hmac.compare_digest(known, digest) and time.monotonic() < until
        return found


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
