"""The error reference: every code that an answer can have, what it means and what to do."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import attrs
from aiohttp import web

from core.api.lists import ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import ErrorNotFound, InvalidCursor, PlantroomError, every_error
from core.routes import Route
from core.serialize import field

NAME = "errors"


@attrs.frozen(kw_only=True)
class ErrorsQuery(ListQuery):
    """Which errors to list."""

    sort: Literal["code", "-code"] = field(default="code")


class ErrorReference:
    """The resource /api/v1/errors."""

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors

    @property
    def routes(self) -> list[Route]:
        """The routes of this resource; all public."""
        at, one = "/api/v1/errors", "/api/v1/errors/{code}"
        return [
            Route("GET", at, self.list, "List errors", query=ErrorsQuery, role=None, errors=(InvalidCursor,)),
            Route("GET", one, self.get, "Explain an error", role=None, errors=(ErrorNotFound,)),
        ]

    async def list(self, _request: web.Request, *, query: ErrorsQuery) -> dict[str, object]:
        """Answer a page of errors."""
        errors = _by_code()

        def pick(code: str) -> dict[str, Any] | None:
            entry = _entry(errors[code])
            return entry if found(query.q, code, entry["title"], entry["meaning"]) else None

        return envelope(page(self._cursors, NAME, query, keys=sorted(errors), pick=pick))

    async def get(self, _request: web.Request, *, code: str) -> dict[str, Any]:
        """Answer one error."""
        error = _by_code().get(code)
        if error is None:
            raise ErrorNotFound(f"No error has the code {code!r}; GET /api/v1/errors lists them.")
        return _entry(error)


def _by_code() -> dict[str, type[PlantroomError]]:
    """All errors; where a subclass kept its parent's code, the parent explains it."""
    errors: dict[str, type[PlantroomError]] = {}
    for error in every_error():
        errors.setdefault(error.code, error)
    return errors


def _entry(error: type[PlantroomError]) -> dict[str, Any]:
    return {
        "code": error.code,
        "status": error.status,
        "title": error.title,
        "meaning": inspect.getdoc(error) or error.title,
        "remedy": error.remedy,
    }
