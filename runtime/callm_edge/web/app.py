"""The page's server: its files, the stream, pictures, events, and what a person may do with them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from callm_edge import __version__
from callm_edge.errors import UserError
from callm_edge.events.store import EventStore, StoredEvent
from callm_edge.sinks.sink import redact_text
from callm_edge.stage2.asking import Asker
from callm_edge.web.access import AGE_S, COOKIE, Access
from callm_edge.web.camera_view import INTERVAL_S, Picture
from callm_edge.web.event_view import clip_picture, clip_view, event_view
from callm_edge.web.gate import Gate, TooLargeError, session_of
from callm_edge.web.listening import Listening
from callm_edge.web.live import Live
from callm_edge.web.stream import follow

STATIC = Path(__file__).with_name("static")
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MOST_EVENTS = 500
LONGEST_QUESTION = 1000  # characters
WRONG_TOKEN_S = 0.5  # that a wrong token waits for its answer
PATIENCE_S = 2.0  # that a request for pictures waits for a new one


def create_app(live: Live, store: EventStore, asker: Asker, listening: Listening) -> Starlette:
    """See the module. live: of the run, or of none. asker: answers questions about events."""
    access = Access(listening.keys)
    api = _Api(live, store, asker, access, secure=listening.certificate is not None)
    routes = [
        Route("/", api.page),
        Route("/static/{name}", api.static),
        Route("/api/login", api.login, methods=["POST"]),
        Route("/api/logout", api.logout, methods=["POST"]),
        Route("/api/hello", api.hello),
        Route("/api/stream", api.stream),
        Route("/api/pictures", api.pictures),
        Route("/api/events", api.events),
        Route("/api/events/{id}", api.event),
        Route("/api/events/{id}/thumbnail", api.thumbnail),
        Route("/api/events/{id}/clip", api.clip),
        Route("/api/events/{id}/clip/{index:int}", api.clip_picture),
        Route("/api/events/{id}/ask", api.ask, methods=["POST"]),
        Route("/api/events/{id}/false-alarm", api.false_alarm, methods=["POST"]),
    ]
    handlers: dict[Any, Any] = {UserError: _user_error, HTTPException: _http_error, TooLargeError: _too_large}
    gate = Middleware(Gate, access=access, hosts=listening.hosts)
    return Starlette(routes=routes, middleware=[gate], exception_handlers=handlers)


class _Api:
    def __init__(self, live: Live, store: EventStore, asker: Asker, access: Access, secure: bool) -> None:
        self._live, self._store, self._asker, self._access, self._secure = live, store, asker, access, secure

    async def page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = STATIC / name
        if not re.fullmatch(r"[a-z_]+\.(js|css|svg)", name) or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type=KINDS[path.suffix], headers={"cache-control": "no-cache"})

    async def login(self, request: Request) -> Response:
        token = (await _body(request)).get("token")
        session = self._access.login(token) if isinstance(token, str) else None
        if session is None:
            await asyncio.sleep(WRONG_TOKEN_S)
            return _error(401, "This is not the token")
        answer = JSONResponse({})
        answer.set_cookie(COOKIE, session, max_age=AGE_S, httponly=True, samesite="strict", secure=self._secure)
        return answer

    async def logout(self, request: Request) -> Response:
        self._access.logout(session_of(dict(request.scope["headers"])))
        answer = JSONResponse({})
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=self._secure)
        return answer

    async def hello(self, request: Request) -> Response:
        return JSONResponse(
            {
                "version": __version__,
                "cameras": self._live.describe(),
                "running": self._live.running,
                "can_mark": not self._store.read_only,
                "login": self._access.needed,
            }
        )

    async def stream(self, request: Request) -> Response:
        return StreamingResponse(
            follow(self._live, self._store), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    async def pictures(self, request: Request) -> Response:
        """The newest pictures of the cameras that are asked for, once one of them is new: seen=0:1204,1:-1.

        The body is a line of JSON, and after it for each picture the JPEG and the PNG of its heat.
        """
        seen = _seen(request.query_params.get("seen", ""), len(self._live.views))
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        fresh: list[tuple[int, Picture]] = []
        while not fresh and not self._live.closing and asyncio.get_running_loop().time() < deadline:
            fresh = await run_in_threadpool(self._fresh, seen)
            if not fresh:
                await asyncio.sleep(INTERVAL_S / 4)
        about = [
            {
                "camera": camera,
                "index": one.index,
                "score_db": round(one.score_db, 2),
                "flagged": one.flagged,
                "active": one.active,
                "jpeg": len(one.jpeg),
                "heat": len(one.heat),
            }
            for camera, one in fresh
        ]
        blobs = b"".join(one.jpeg + one.heat for _, one in fresh)
        return Response(json.dumps(about).encode() + b"\n" + blobs, media_type="application/octet-stream")

    async def events(self, request: Request) -> Response:
        try:
            limit = min(max(int(request.query_params.get("limit", 50)), 1), MOST_EVENTS)
        except ValueError:
            return _error(400, "The limit is a number")
        source = request.query_params.get("source") or None

        def found() -> dict[str, Any]:
            waiting = set(self._store.waiting())
            listed = self._store.list(source=source, limit=limit)
            return {
                "events": [event_view(stored, waiting) for stored in listed],
                "total": len(self._store),
                "sources": list(self._store.sources()),
            }

        return JSONResponse(await run_in_threadpool(found))

    async def event(self, request: Request) -> Response:
        stored = await self._get(request)
        waiting = await run_in_threadpool(self._store.waiting)
        return JSONResponse(event_view(stored, waiting))

    async def thumbnail(self, request: Request) -> Response:
        stored = await self._get(request)
        if stored.thumbnail is None:
            raise HTTPException(404, "This event has no picture")
        picture = await run_in_threadpool(_bytes, stored.thumbnail)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})

    async def clip(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(clip_view, _clip_of(await self._get(request))))

    async def clip_picture(self, request: Request) -> Response:
        path = _clip_of(await self._get(request))
        picture = await run_in_threadpool(clip_picture, path, request.path_params["index"])
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})

    async def ask(self, request: Request) -> Response:
        """Lines of JSON: {"piece": text}, at the end {"done": true} or {"error": text}."""
        question = (await _body(request)).get("question")
        if not isinstance(question, str) or not 0 < len(question.strip()) <= LONGEST_QUESTION:
            return _error(400, f"A question has 1 to {LONGEST_QUESTION} characters")
        stored = await self._get(request)
        return StreamingResponse(self._answer(stored, question.strip()), media_type="application/x-ndjson")

    async def false_alarm(self, request: Request) -> Response:
        marked = (await _body(request)).get("marked")
        if not isinstance(marked, bool):
            return _error(400, "'marked' is true or false")
        stored = await self._get(request)
        await run_in_threadpool(self._store.mark_false_alarm, stored.event.id, marked)
        return await self.event(request)

    def _fresh(self, seen: dict[int, int]) -> list[tuple[int, Picture]]:
        found = ((camera, self._live.views[camera].picture(index)) for camera, index in seen.items())
        return [(camera, picture) for camera, picture in found if picture is not None]

    def _answer(self, stored: StoredEvent, question: str) -> Iterator[str]:
        try:
            for piece in self._asker.ask(stored, question):
                yield json.dumps({"piece": piece}) + "\n"
            yield json.dumps({"done": True}) + "\n"
        except UserError as error:
            yield json.dumps({"error": redact_text(str(error))}) + "\n"

    async def _get(self, request: Request) -> StoredEvent:
        try:
            return await run_in_threadpool(self._store.get, request.path_params["id"])
        except UserError as error:
            raise HTTPException(404, redact_text(str(error))) from error


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "The request is no JSON object")
    return body


def _seen(text: str, cameras: int) -> dict[int, int]:
    """{camera: index of the frame that the page shows} of '0:1204,1:-1'; what is no such pair is left out."""
    pairs = (re.fullmatch(r"(\d{1,4}):(-?\d{1,15})", part) for part in text.split(","))
    return {int(pair[1]): int(pair[2]) for pair in pairs if pair and int(pair[1]) < cameras}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # retention may have been faster
        raise HTTPException(404, "This picture is gone") from error


def _clip_of(stored: StoredEvent) -> Path:
    if stored.clip is None:
        raise HTTPException(404, stored.failed or "The clip of this event was not stored, or is gone")
    return stored.clip


def _error(status: int, what: str, why: str = "", fix: str = "") -> JSONResponse:
    return JSONResponse({"what": what, "why": why, "fix": fix}, status)


async def _user_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return _error(409, *(redact_text(part) for part in (error.what, error.why, error.fix)))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)


async def _too_large(request: Request, error: Exception) -> Response:
    return _error(413, "The request is too large")
