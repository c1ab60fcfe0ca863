"""Refusals in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """What a client did wrong, or why it has to come back later.

    status: of HTTP. message: for people. code: for programs, as OpenAI names it where it has such a case. param: which
    part of the request. retry_s: seconds after which trying again makes sense, or None where it never does.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param, self.retry_s = status, message, code, param, retry_s

    @property
    def body(self) -> dict[str, Any]:
        return {
            "error": {"message": self.message, "type": _type(self.status), "param": self.param, "code": self.code},
        }

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Retry-After": str(self.retry_s)} if self.retry_s is not None else {}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def _type(status: int) -> str:
    named = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return named.get(status, "server_error" if status >= 500 else "invalid_request_error")
