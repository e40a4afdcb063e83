"""Writes every error, whoever raised it, as one kind of answer: application/problem+json (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

from core.errors import (
    BodyTooLarge,
    Conflict,
    CredentialsRequired,
    Invalid,
    MethodNotAllowed,
    NotFound,
    PermissionDenied,
    PlantroomError,
    RequestError,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from core.serialize import dumps

CONTENT_TYPE = "application/problem+json"
INTERNAL = int(HTTPStatus.INTERNAL_SERVER_ERROR)
REFERENCE = "/api/v1/errors/"


class RequestTimedOut(RequestError):
    """The request did not arrive completely in time."""

    code = "request.timeout"
    status = 408
    title = "The request took too long to arrive"
    remedy = "Send it again, faster or in smaller parts."


class Misdirected(RequestError):
    """The request names a host that this server is not."""

    code = "request.misdirected"
    status = 421
    title = "Misdirected request"
    remedy = "Use the address that Plantroom prints when it is ready."


_BY_STATUS: dict[int, type[PlantroomError]] = {
    error.status: error
    for error in (
        CredentialsRequired,
        PermissionDenied,
        NotFound,
        MethodNotAllowed,
        Conflict,
        BodyTooLarge,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        Unavailable,
        RequestTimedOut,
        Misdirected,
    )
}


def document(error: PlantroomError, *, status: int | None = None) -> dict[str, Any]:
    """Write an error as a problem document, without what only a request knows; ``status`` overrides its own."""
    problem: dict[str, Any] = {
        "type": REFERENCE + error.code,
        "title": error.title,
        "status": error.status if status is None else status,
        "detail": error.detail if error.status != INTERNAL else error.remedy,
        "code": error.code,
    }
    if error.errors:
        problem["errors"] = error.errors
    return problem | error.extra


def answer(
    error: PlantroomError, request_id: str, *, instance: str | None = None, status: int | None = None
) -> web.Response:
    """Make the answer to a request that failed; ``instance`` is its path."""
    problem = document(error, status=status)
    if instance is not None:
        problem["instance"] = instance
    problem["request_id"] = request_id
    return web.Response(body=dumps(problem), status=problem["status"], headers=error.headers, content_type=CONTENT_TYPE)


def from_http(error: web.HTTPException) -> PlantroomError:
    """Turn an exception of aiohttp's, from its router, its reader or a plugin, into one of ours."""
    default = RequestError if error.status < INTERNAL else PlantroomError
    cls = _BY_STATUS.get(error.status, default)
    reason = error.reason if error.text in (None, f"{error.status}: {error.reason}") else error.text
    detail = f"{str(reason).rstrip('.')}. {cls.remedy}"
    if cls is Unavailable:
        ours: PlantroomError = Unavailable(detail)
    else:
        ours = cls(detail)
    kept = ("Allow", "Retry-After", "WWW-Authenticate")
    ours.headers.update({name: error.headers[name] for name in kept if name in error.headers})
    return ours
