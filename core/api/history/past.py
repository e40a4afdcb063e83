"""Answers the past of one point or several: samples, or what they come to by interval."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from aiohttp import web

from core.access import points_for
from core.api.history.answers import FailedPoint, HistoryPage, gap_answers, item_writer
from core.api.history.buckets import BucketRow
from core.api.history.questions import DEFAULT_LIMIT, Asked, HistoryBody, HistoryQuery, checked
from core.api.history.streams import ANSWERS_ALSO, JSON, VARY, media_type_of, rows_of, stream
from core.api.readings import POINT_ID
from core.clock import Clock
from core.cursors import Cursors
from core.errors import InvalidCursor, NotAcceptable, PlantroomError, PointNotFound
from core.problem import document
from core.registry import PointEntry, Registry
from core.replies import Answer
from core.routes import Route
from core.serialize import dumps
from core.services import History, Services

_ABOUT = (
    "Ascending in time, in pages of JSON; or all of it as NDJSON, CSV or Parquet, as `Accept` asks. It is summed up "
    "with `interval` or `aggregate`."
)


class Past:
    """The resources /api/v1/points/{point_id}/history, for reading, and /api/v1/history/query."""

    def __init__(self, registry: Registry, services: Services, cursors: Cursors, clock: Clock) -> None:
        self._registry = registry
        self._services = services
        self._cursors = cursors
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """The routes of these resources."""
        return [
            Route(
                "GET", "/api/v1/points/{point_id}/history", self.get, "Answer a point's past", query=HistoryQuery,
                answer=HistoryPage, answers_also=ANSWERS_ALSO, parameters=POINT_ID,
                errors=(PointNotFound, InvalidCursor, NotAcceptable), description=f"What was recorded of it. {_ABOUT}",
            ),
            Route(
                "POST", "/api/v1/history/query", self.query, "Answer the past of several points", body=HistoryBody,
                answer=HistoryPage, answers_also=ANSWERS_ALSO, errors=(InvalidCursor, NotAcceptable), minds_scope=True,
                description=f"Rows of one time stand together, in the order of the points. {_ABOUT}",
            ),
        ]  # fmt: skip

    async def get(self, request: web.Request, *, point_id: str, query: HistoryQuery) -> Answer | web.StreamResponse:
        """Answer the past of one point."""
        return await self._answer(request, query, [point_id], {0: self._registry.point(point_id)}, {})

    async def query(self, request: web.Request, *, body: HistoryBody) -> Answer | web.StreamResponse:
        """Answer the past of several points; one that is not there or not theirs fails alone, where it can be told."""
        ids = [*dict.fromkeys(body.point_ids)]
        entries, errors = points_for(request, self._registry, ids)
        by_place = {place: entries[point_id] for place, point_id in enumerate(ids) if point_id in entries}
        return await self._answer(request, body, ids, by_place, errors)

    async def _answer(
        self,
        request: web.Request,
        query: HistoryQuery,
        ids: Sequence[str],
        entries: dict[int, PointEntry],
        errors: dict[str, PlantroomError],
    ) -> Answer | web.StreamResponse:
        media_type = media_type_of(request)
        asked = checked(query, ids, entries, now=self._clock.utc(), cursors=self._cursors)
        if media_type != JSON:
            for error in errors.values():
                raise error
            return await stream(request, self._services.history, asked, media_type)
        return await self._page(self._services.history, asked, errors)

    async def _page(self, history: History, asked: Asked, errors: dict[str, PlantroomError]) -> Answer:
        limit = asked.limit or DEFAULT_LIMIT
        rows: list[Any] = []
        async with aclosing(rows_of(history, asked)) as blocks:
            async for block in blocks:
                rows += block
                if len(rows) > limit:
                    break
        cursor, end_ms = None, asked.end_ms
        if len(rows) > limit:
            cursor, end_ms = asked.cursor(self._cursors, *_position(rows[limit - 1])), _position(rows[limit])[0]
        gaps = await history.gaps(asked.begin_ms, end_ms) if asked.begin_ms < end_ms else ()
        around: dict[str, Any] = {"next_cursor": cursor, "gaps": [*gap_answers(gaps)]}
        if errors:
            around["errors"] = [FailedPoint(point_id=each, error=document(error)) for each, error in errors.items()]
        items = b",".join(map(item_writer(asked), rows[:limit]))
        return Answer(b'{"items":[%b],%b' % (items, dumps(around)[1:]), headers=VARY)


def _position(row: Any) -> tuple[int, int]:
    """Return what a page can go on behind: the time of a row, and the place of its point."""
    if isinstance(row, BucketRow):
        return row.start_ms, row.point.index
    time, index, *_rest = row
    return time, index
