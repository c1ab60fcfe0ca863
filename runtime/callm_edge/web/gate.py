"""What stands before every request: the name it came under, where it came from, who sends it, and how large it is."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from callm_edge.web.access import COOKIE, Access

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_HEADER = b"x-callm-edge"  # no other page's script can send it without being asked first by the browser
MAX_BODY = 16 << 10
OPEN = ("/", "/api/login")  # what is seen without a token: the form for it, and the page's own files

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Gate:
    """ASGI middleware. hosts: names that the page may be asked under, beside addresses and this machine's own names.

    A page elsewhere whose name is made to point here (DNS rebinding) asks under its own name, and is refused. A page
    elsewhere that sends a form here has another origin and no header of ours, and is refused.
    """

    def __init__(self, app: ASGIApp, access: Access, hosts: Collection[str] = ()) -> None:
        own = socket.gethostname().lower()
        self._app, self._access = app, access
        self._hosts = {"localhost", own, f"{own}.local", *(name.lower() for name in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse

        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].lower() != b"server"]
                names = {name.lower() for name, _ in kept}
                kept += HEADERS
                if b"cache-control" not in names:
                    kept.append((b"cache-control", b"no-store"))
                message = {**message, "headers": kept}
            await send(message)

        taken = 0

        async def bounded_receive() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise TooLargeError
            return message

        refusal = self._refusal(scope, headers)
        if refusal is None and scope["method"] not in ("GET", "HEAD"):
            length = headers.get(b"content-length", b"0")
            if not length.isdigit() or int(length) > MAX_BODY:
                refusal = 413, "The request is too large"
        if refusal is not None:
            code, what = refusal
            await JSONResponse({"what": what, "why": "", "fix": ""}, code)(scope, receive, guarded_send)
            return
        await self._app(scope, bounded_receive, guarded_send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if not self._known(headers.get(b"host", b"")):
            return 421, "The page is not served under this name; add it to hosts in [web] of the configuration"
        by_token = self._access.by_token(headers.get(b"authorization"))
        if scope["method"] not in ("GET", "HEAD"):
            if scope["method"] != "POST":
                return 405, "Only GET and POST are answered"
            # A program with the token in its hand is no page of somebody else's.
            if not by_token and not self._from_own_page(scope, headers):
                return 403, "The request does not come from this page"
        path = scope["path"]
        if path in OPEN or path.startswith("/static/") or not self._access.needed or by_token:
            return None
        return None if self._access.by_session(session_of(headers)) else (401, "A token is needed")

    def _known(self, host: bytes) -> bool:
        try:
            name = host.decode("ascii").lower()
        except UnicodeDecodeError:
            return False
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True  # an address is no name that could be made to point elsewhere

    def _from_own_page(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        if headers.get(OWN_HEADER) != b"page":
            return False
        if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
            return False
        origin = headers.get(b"origin")
        own = scope["scheme"].encode() + b"://" + headers.get(b"host", b"")
        return origin is None or origin.lower() == own.lower()


class TooLargeError(Exception):
    """More was sent than is read."""


def session_of(headers: dict[bytes, bytes]) -> str:
    """Our cookie, or an empty text."""
    try:
        jar = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""
