"""Errors as RFC 9457 problems: what happened, and what to do next, in the same sentences as everywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from interlock import errors
from interlock.reading.secrets import redact

MEDIA = "application/problem+json"

_log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[errors.InterlockError], int, str], ...] = (
    (errors.NotFoundError, 404, "not-found"),
    (errors.UsageError, 422, "bad-request"),
    (errors.ConfigError, 422, "configuration"),
    (errors.PlanError, 422, "no-plan"),
    (errors.ApprovalError, 409, "vote-does-not-count"),
    (errors.CircuitOpenError, 409, "circuit-open"),
    (errors.WorkspaceError, 409, "workspace"),
    (errors.StoreError, 503, "store"),
    (errors.MissingExtraError, 501, "missing-extra"),
)
"""The first kind that fits gives the status and the last part of the problem's type."""


class Invalid(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    what: str


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str = Field(description="A stable name: urn:interlock:problem:…")
    title: str
    status: int
    detail: str = ""
    errors: list[Invalid] = Field(default_factory=list)


class ProblemError(Exception):
    """Raised by a surface when a request is refused before any use-case is reached."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        super().__init__(detail)


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    invalid: list[Invalid] | None = None,
) -> Response:
    """The answer that says what went wrong."""
    said = Problem(
        type=f"urn:interlock:problem:{kind}", title=HTTPStatus(status).phrase, status=status, detail=redact(detail),
        errors=invalid or [],
    )  # fmt: skip
    body = orjson.dumps(said.model_dump(mode="json"))
    return Response(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA)


def of_error(error: errors.InterlockError) -> Response:
    """The answer for an error that Interlock raised on purpose."""
    for kind, status, word in STATUS:
        if isinstance(error, kind):
            return problem(status, word, str(error), headers={"Retry-After": "5"} if status == 503 else None)  # noqa: PLR2004 - unavailable
    return problem(409, "refused", str(error))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these error statuses."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA: {"schema": _REF}}} for status in statuses
    }


_REF = {"$ref": "#/components/schemas/Problem"}
ALWAYS = (400, 401, 403, 413, 421, 422, 429, 503)
"""What any call that needs a token may answer besides its own."""


def _invalid(error: RequestValidationError) -> Response:
    found = [
        Invalid(where=".".join(str(part) for part in item["loc"]), what=redact(str(item["msg"])))
        for item in error.errors()
    ]
    said = "; ".join(f"{one.where}: {one.what}" for one in found[:3])
    return problem(422, "bad-request", said, invalid=found)


def _of_http(error: HTTPException) -> Response:
    words = {404: "not-found", 405: "no-such-method", 400: "bad-request"}
    return problem(error.status_code, words.get(error.status_code, "refused"), str(error.detail), headers=error.headers)


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""

    async def answer(_request: Request, error: Exception) -> Response:
        match error:
            case ProblemError():
                return problem(error.status, error.kind, error.detail, headers=error.headers)
            case errors.InterlockError():
                return of_error(error)
            case RequestValidationError():
                return _invalid(error)
            case HTTPException():
                return _of_http(error)
            case _:
                _log.error("a request failed", exc_info=error)
                return problem(500, "broken", "something in Interlock broke; its log says more")

    for kind in (ProblemError, errors.InterlockError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
