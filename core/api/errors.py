"""Serves the error reference: every code that an answer can have, what it means and what to do."""

from __future__ import annotations

from typing import Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import ErrorNotFound, InvalidCursor
from core.reference import ErrorEntry, entries
from core.routes import Cached, Link, Route
from core.serialize import FieldInfo, field

NAME = "errors"
FOREVER = Cached(3600.0)
"""It is the same for as long as the plugins are."""
PARAMETERS = {"code": FieldInfo(description="The error's code.", example="point.not_found")}


@attrs.frozen(kw_only=True)
class ErrorsQuery(ListQuery):
    """Which errors to list."""

    sort: Literal["code", "-code"] = field(default="code", description=SORT)


class ErrorReference:
    """The resource /api/v1/errors."""

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors

    @property
    def routes(self) -> list[Route]:
        """The routes of this resource; all public."""
        at, one = "/api/v1/errors", "/api/v1/errors/{code}"
        return [
            Route(
                "GET", at, self.list, "List errors", query=ErrorsQuery, answer=ListAnswer[ErrorEntry],
                cached=FOREVER,
                role=None, errors=(InvalidCursor,), links=_links("$response.body#/items/0/code"),
                description="Every error that Plantroom and the plugins loaded here can answer with.",
            ),
            Route(
                "GET", one, self.get, "Explain an error", answer=ErrorEntry, role=None, errors=(ErrorNotFound,),
                cached=FOREVER,
                parameters=PARAMETERS, links=_links("$response.body#/code"),
                description="What an error means, where it comes from, and what to do; a problem's `type` leads here.",
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: ErrorsQuery) -> ListAnswer[ErrorEntry]:
        """Answer a page of errors."""
        known = entries()

        def pick(code: str) -> ErrorEntry | None:
            entry = known[code]
            return entry if found(query.q, code, entry.title, entry.meaning, *entry.causes) else None

        return envelope(page(self._cursors, NAME, query, keys=list(known), pick=pick))

    async def get(self, _request: web.Request, *, code: str) -> ErrorEntry:
        """Answer one error."""
        entry = entries().get(code)
        if entry is None:
            raise ErrorNotFound(f"No error has the code {code!r}; GET /api/v1/errors lists them.")
        return entry


def _links(code: str) -> tuple[Link, ...]:
    """What can be asked about an error whose code is found there in an answer."""
    return (Link("GET", "/api/v1/errors/{code}", {"code": code}),)
