"""Writes every error, whoever raised it, as one kind of answer: application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from core.errors import (
    BodyTooLarge,
    Conflict,
    CredentialsRequired,
    Example,
    FieldFault,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PermissionDenied,
    PlantroomError,
    RequestError,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
    any_of,
)
from core.replies import Reply
from core.serialize import dumps

CONTENT_TYPE = "application/problem+json"
INTERNAL = int(HTTPStatus.INTERNAL_SERVER_ERROR)
REFERENCE = "/api/v1/errors/"


class RequestTimedOut(RequestError):
    """The request did not arrive completely in time."""

    code = "request.timeout"
    status = 408
    title = "The request took too long to arrive"
    causes = any_of(
        "The headers took longer than 20 s, or the body longer than 60 s: the line is slow, or the sender stalls.",
        "Content-Length announces more than is sent, so that the rest is waited for.",
    )
    remedy = "Send it again, faster or in smaller parts."
    example = Example("The body did not arrive within 60 s.", "/api/v1/writes")


class Overdue(Unavailable):
    """What was to answer did not do so in the time that its route has; whether it did its work is not known."""

    code = "request.overdue"
    title = "There was no answer in time"
    causes = any_of(
        "What the route waits for, such as another server, is slow or does not answer.",
        "A plugin's handler waits for something that never comes.",
    )
    remedy = "Look whether it was done, then try again; the log tells of the request by its id."
    example = Example("There was no answer within 10 s.", "/api/v1/weather/forecast")


class Misdirected(RequestError):
    """The request names a host that this server is not."""

    code = "request.misdirected"
    status = 421
    title = "Misdirected request"
    causes = any_of(
        "Plantroom serves this machine only, and a proxy passes its own public name on as the Host header.",
        "`http.hosts` lists the names that it answers to, and this one is not among them.",
        "A web page has pointed a name of its own at this machine, to reach what it should not.",
    )
    remedy = "Use the address that Plantroom prints when it is ready; let a proxy send that one as the Host."
    example = Example("This server does not answer to that name; use http://127.0.0.1:8080.", "/api/v1")


_BY_STATUS: dict[int, type[PlantroomError]] = {
    error.status: error
    for error in (
        CredentialsRequired,
        PermissionDenied,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
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
    return describe(type(error), error.detail, errors=error.errors, extra=error.extra, status=status)


def describe(
    error: type[PlantroomError],
    detail: str,
    *,
    errors: Sequence[FieldFault] = (),
    extra: Mapping[str, Any] | None = None,
    status: int | None = None,
) -> dict[str, Any]:
    """Write what an error of this class says; one of status 500 says its remedy instead of the detail."""
    problem: dict[str, Any] = {
        "type": REFERENCE + error.code,
        "title": error.title,
        "status": error.status if status is None else status,
        "detail": detail if error.status != INTERNAL else error.remedy,
        "code": error.code,
    }
    if errors:
        problem["errors"] = tuple(errors)
    return problem | dict(extra or {})


def reply(error: PlantroomError, request_id: str, *, instance: str | None = None, status: int | None = None) -> Reply:
    """Make the reply to a request that failed; ``instance`` is its path."""
    problem = document(error, status=status)
    if instance is not None:
        problem["instance"] = instance
    problem["request_id"] = request_id
    return Reply(problem["status"], dumps(problem), CONTENT_TYPE, tuple(error.headers.items()))


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
