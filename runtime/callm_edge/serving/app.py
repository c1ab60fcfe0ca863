"""The server as an ASGI app: for uvicorn, for Ray Serve, for tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from callm_edge import __version__
from callm_edge.serving.auth import Keys
from callm_edge.serving.engine import Engine
from callm_edge.serving.errors import ApiError
from callm_edge.serving.gate import CHAT, Gate, Load
from callm_edge.serving.limits import Limits
from callm_edge.serving.metrics import CONTENT_TYPE, Metrics
from callm_edge.serving.schemas import ChatRequest, Completion, Model, Models, Refused
from callm_edge.serving.service import Service

_logger = logging.getLogger(__name__)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refused} for status in (400, 401, 403, 404, 408, 413, 415, 429, 500, 503)
}
_FEW: dict[int | str, dict[str, Any]] = {status: {"model": Refused} for status in (401, 403)}


def create_app(
    engine: Engine, name: str = "mini", keys: Keys | None = None, limits: Limits | None = None, load: Load | None = None
) -> FastAPI:
    """engine: loaded. name: of the model, as clients ask for it. keys: None lets everybody on this machine ask.

    load: for who wants to see it, or to set `draining`.
    """
    limits, load, metrics = limits or Limits(), load or Load(), Metrics()
    service = Service(engine, name, limits, metrics, load)
    served = Model(id=name, created=service.created, video_embeddings_width=engine.width)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        load.draining = True
        service.close()

    # Its pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="callm-edge", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Gate, keys=keys, limits=limits, metrics=metrics, load=load)

    @app.post(
        CHAT,
        response_model=Completion,
        responses=_REFUSALS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}}},
            }
        },
    )
    async def chat(request: Request) -> Response:
        """Ask about a clip. With `stream: true` the answer comes as server-sent events."""
        return await service.answer(request)

    @app.get("/v1/models", responses=_FEW)
    async def models() -> Models:
        """What there is to ask."""
        return Models(data=[served])

    @app.get("/v1/models/{model}", responses=_FEW | {404: {"model": Refused}})
    async def model(model: str) -> Model:
        if model != service.name:
            raise ApiError(404, f"There is no model '{model[:100]}' here", "model_not_found", "model")
        return served

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"model": Refused}})
    async def readyz() -> dict[str, str]:
        """Whether requests are wanted here."""
        if not service.ready:
            raise ApiError(503, "The server is about to stop", "shutting_down", retry_s=5)
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses=_FEW)
    async def exposed() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        code = "not_found" if error.status_code == 404 else None
        body = ApiError(error.status_code, str(error.detail), code).body
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        # The traceback goes to the log; what is in it is none of the client's business.
        return JSONResponse(ApiError(500, "The server failed", "internal_error").body, 500)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            asked = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
            schema["components"]["schemas"] |= asked.pop("$defs") | {"ChatRequest": asked}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app
