"""One request from its bytes to an answer: parse and decode, encode in a batch, speak; and the threads for it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from callm_edge.serving.batching import Batcher
from callm_edge.serving.conversation import Conversation, read_conversation
from callm_edge.serving.engine import Engine
from callm_edge.serving.errors import ApiError
from callm_edge.serving.gate import CANCELLED, Load
from callm_edge.serving.generation import Odds, Piece, Sampling
from callm_edge.serving.limits import Limits
from callm_edge.serving.metrics import Metrics
from callm_edge.serving.schemas import (
    Answer,
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    Finish,
    Logprobs,
    TokenLogprob,
    TopLogprob,
    Usage,
)

T = TypeVar("T")
_DECODERS = 2  # threads, and with them pictures in full size in memory
_LOWEST = -9999.0  # what OpenAI writes for a probability of 0; JSON has no infinity


class Service:
    """Answers chat requests with one engine. name: of the model, as clients ask for it."""

    def __init__(self, engine: Engine, name: str, limits: Limits, metrics: Metrics, load: Load) -> None:
        self.name, self.created = name, int(time.time())
        self._engine, self._limits, self._metrics, self._load = engine, limits, metrics, load
        self._readers = ThreadPoolExecutor(_DECODERS, "reader")
        self._speakers = ThreadPoolExecutor(limits.parallel, "speaker")
        self._batcher = Batcher(engine.encode, limits.batch, limits.waiting, metrics.batches.observe)

    @property
    def ready(self) -> bool:
        return self._batcher.alive and not self._load.draining

    def close(self) -> None:
        """Finish what is being worked on, and end all threads."""
        self._readers.shutdown(cancel_futures=True)
        self._speakers.shutdown(cancel_futures=True)
        self._batcher.close()

    async def answer(self, request: Request) -> Response:
        """Raises ApiError. A client that goes away frees what works for it: at the next token, or in its queue."""
        cancelled: threading.Event = request.scope[CANCELLED]
        began = time.perf_counter()
        raw = await request.body()
        self._observe("body", began)
        return await _unless_gone(request, self._answer(raw, cancelled))

    async def _answer(self, raw: bytes, cancelled: threading.Event) -> Response:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        asked, talk = await loop.run_in_executor(self._readers, self._read, raw, cancelled)
        began = self._observe("pictures", began)
        video = talk.video
        if video is None:
            assert talk.pictures is not None
            video = await asyncio.wrap_future(self._batcher.submit(talk.pictures))
            began = self._observe("encode", began)
        prompt_tokens, pieces = await self._speak(video, talk, _sampling(asked, self._limits), cancelled)
        self._observe("first_token", began)
        spoken = _Spoken(asked, f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), prompt_tokens)
        if asked.stream:
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return StreamingResponse(self._stream(spoken, pieces), media_type="text/event-stream", headers=headers)
        async for piece in pieces:
            spoken.add(piece)
        self._count(spoken)
        return Response(spoken.completion().model_dump_json(), media_type="application/json")

    def _read(self, raw: bytes, cancelled: threading.Event) -> tuple[ChatRequest, Conversation]:
        if cancelled.is_set():
            raise ApiError(499, "The client is gone")
        try:
            asked = ChatRequest.model_validate_json(raw)
        except ValidationError as error:
            raise _malformed(error) from None  # its text would quote pictures
        if asked.model != self.name:
            message = f"There is no model '{asked.model[:100]}' here, only '{self.name}'"
            raise ApiError(404, message, "model_not_found", "model")
        return asked, read_conversation(asked.messages, self._limits, self._engine.width, self._engine.side)

    async def _speak(
        self, video: np.ndarray, talk: Conversation, sampling: Sampling, cancelled: threading.Event
    ) -> tuple[int, AsyncIterator[Piece]]:
        """Tokens of the prompt, and the pieces; the first of them is there already."""
        loop = asyncio.get_running_loop()
        # Never longer than an answer has tokens: a client that reads slowly holds up nobody else's.
        arrived: asyncio.Queue[int | Piece | Exception | None] = asyncio.Queue()

        def post(what: int | Piece | Exception | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.put_nowait, what)

        def work() -> None:
            try:
                if not cancelled.is_set():
                    reply = self._engine.reply(video, talk, sampling, cancelled.is_set)
                    post(reply.prompt_tokens)
                    for piece in reply.pieces:
                        post(piece)
            except Exception as error:
                post(error)
            finally:
                post(None)

        async def take() -> int | Piece | None:
            found = await arrived.get()
            if isinstance(found, Exception):
                raise found
            return found

        self._speakers.submit(work)
        prompt_tokens = await take()
        first = await take() if prompt_tokens is not None else None
        if first is None:
            raise ApiError(499, "The client is gone")
        assert isinstance(prompt_tokens, int)

        async def pieces() -> AsyncIterator[Piece]:
            piece: int | Piece | None = first
            while piece is not None:
                assert isinstance(piece, Piece)
                yield piece
                piece = await take()

        return prompt_tokens, pieces()

    async def _stream(self, spoken: _Spoken, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
        yield spoken.chunk(Delta(role="assistant", content=""))
        try:
            async with aclosing(pieces):  # type: ignore[type-var]
                async for piece in pieces:
                    spoken.add(piece)
                    if piece.text or piece.odds:
                        yield spoken.chunk(Delta(content=piece.text), odds=piece.odds)
        except Exception as error:
            # The status has been sent; clients of this API look for an error among the chunks.
            yield f"data: {json.dumps(ApiError(500, 'The model failed', 'internal_error').body)}\n\n".encode()
            raise error
        yield spoken.chunk(Delta(), finish=spoken.finish)
        if spoken.asked.stream_options and spoken.asked.stream_options.include_usage:
            yield spoken.last_chunk()
        yield b"data: [DONE]\n\n"
        self._count(spoken)

    def _observe(self, step: str, began: float) -> float:
        now = time.perf_counter()
        self._metrics.steps.labels(step).observe(now - began)
        return now

    def _count(self, spoken: _Spoken) -> None:
        self._observe("answer", spoken.began)
        self._metrics.tokens.labels("prompt").inc(spoken.prompt_tokens)
        self._metrics.tokens.labels("completion").inc(spoken.tokens)


@dataclass
class _Spoken:
    """An answer while it is being said, and how it is written for the client."""

    asked: ChatRequest
    id: str
    created: int
    prompt_tokens: int

    def __post_init__(self) -> None:
        self.texts: list[str] = []
        self.odds: list[Odds] = []
        self.tokens = 0
        self.finish: Finish = "length"
        self.began = time.perf_counter()

    def add(self, piece: Piece) -> None:
        self.texts.append(piece.text)
        self.odds += piece.odds
        self.tokens, self.finish = piece.tokens, piece.finish or self.finish

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens,
            total_tokens=self.prompt_tokens + self.tokens,
        )

    def completion(self) -> Completion:
        choice = Choice(
            message=Answer(content="".join(self.texts)),
            logprobs=_logprobs(self.odds) if self.asked.logprobs else None,
            finish_reason=self.finish,
        )
        return Completion(id=self.id, created=self.created, model=self.asked.model, choices=[choice], usage=self.usage)

    def chunk(self, delta: Delta, odds: tuple[Odds, ...] = (), finish: Finish | None = None) -> bytes:
        choice = ChunkChoice(delta=delta, logprobs=_logprobs(odds) if odds else None, finish_reason=finish)
        return self._event([choice], None)

    def last_chunk(self) -> bytes:
        return self._event([], self.usage)

    def _event(self, choices: list[ChunkChoice], usage: Usage | None) -> bytes:
        chunk = Chunk(id=self.id, created=self.created, model=self.asked.model, choices=choices, usage=usage)
        fields = chunk.model_dump(mode="json")
        for choice in fields["choices"]:
            choice["delta"] = {name: value for name, value in choice["delta"].items() if value is not None}
        return f"data: {json.dumps(fields, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _sampling(asked: ChatRequest, limits: Limits) -> Sampling:
    wanted = asked.max_completion_tokens or asked.max_tokens or limits.max_tokens
    return Sampling(
        max_tokens=min(wanted, limits.max_tokens),
        temperature=asked.temperature or 0.0,
        top_p=asked.top_p or 1.0,
        seed=asked.seed,
        stop=tuple(asked.stops),
        top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
    )


def _logprobs(odds: list[Odds] | tuple[Odds, ...]) -> Logprobs:
    def fields(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": max(_LOWEST, logprob), "bytes": list(token.encode())}

    return Logprobs(
        content=[
            TokenLogprob(
                **fields(one.token, one.logprob), top_logprobs=[TopLogprob(**fields(*other)) for other in one.top]
            )
            for one in odds
        ]
    )


def _malformed(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    why = f"{where}: {first['msg']}" if where else str(first["msg"])
    return ApiError(400, why[:500], "invalid_request", where[:200] or None)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, but no longer than the client waits."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ApiError(499, "The client is gone")  # which nobody reads
        return doing.result()
    finally:
        for task in (doing, leaving):
            task.cancel()
