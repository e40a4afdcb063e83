"""Answers the current readings of points, read from their devices first where they are too old."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

import attrs
from aiohttp import web

from core import problem
from core.access import points_for
from core.api.reading_answers import ReadingAnswers
from core.api.render import AGE, EXAMPLE, ReadingAnswer, field_of_point_ids, render_reading
from core.callers import spend
from core.clock import Clock
from core.errors import (
    DeviceError,
    PlantroomError,
    PluginNotRunning,
    PointNotFound,
    every_error,
)
from core.exchange import Exchange
from core.json_schema import example_of
from core.operations import ProblemDocument
from core.policies import Work
from core.registry import PointEntry, Registry
from core.replies import Answer
from core.routes import Route
from core.serialize import UNSET, FieldInfo, Unset, dumps, field

T = TypeVar("T")
OLDEST_S = 86_400.0 * 366
POINT_ID = {"point_id": FieldInfo(description="The point's id, `<device id>.<object>`.", example=EXAMPLE)}


@attrs.frozen(kw_only=True)
class Freshness:
    """How old a reading may be, and what to answer where a newer one cannot be had."""

    max_age: float | None = field(
        default=None, min=0, max=OLDEST_S, example=60,
        description="Seconds; an older reading is read from its device first.",
    )  # fmt: skip
    on_error: Literal["last"] | None = field(
        default=None, example="last",
        description="`last`: answer the last reading with its quality instead of the error.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class ReadingsBody(Freshness):
    """Which points' readings to answer."""

    point_ids: tuple[str, ...] = field_of_point_ids(most=1000)


@attrs.frozen(kw_only=True)
class ReadingItem:
    """What became of one point of a batch: its reading, or the error."""

    point_id: str = field(example=EXAMPLE)
    reading: ReadingAnswer | Unset | None = field(default=UNSET, example=example_of(ReadingAnswer))
    error: ProblemDocument | Unset = field(default=UNSET)


@attrs.frozen
class BatchAnswer(Generic[T]):
    """What became of each, in the order asked; one that failed did so alone."""

    items: Sequence[T]


def family(*roots: type[PlantroomError]) -> tuple[type[PlantroomError], ...]:
    """List errors with all that is derived from them, by plugins too."""
    return tuple(dict.fromkeys(error for root in roots for error in every_error(root)))


class Readings:
    """The resources /api/v1/points/{point_id}/value, for reading, and /api/v1/readings."""

    def __init__(self, registry: Registry, exchange: Exchange, clock: Clock) -> None:
        self._registry = registry
        self._exchange = exchange
        self._answers = ReadingAnswers(registry, clock)

    @property
    def routes(self) -> list[Route]:
        """The routes of these resources."""
        one, many = "/api/v1/points/{point_id}/value", "/api/v1/readings/query"
        return [
            Route(
                "GET", one, self.get, "Answer a point's current reading", query=Freshness, answer=ReadingAnswer | None,
                errors=family(PointNotFound, PluginNotRunning, DeviceError), parameters=POINT_ID, sends=(AGE,),
                at_once=self.value_now,
                description="The reading of the last poll, or a newer one where `max_age` asks for it.",
            ),
            Route(
                "POST", many, self.query, "Answer the current readings of many points",
                body=ReadingsBody, answer=BatchAnswer[ReadingItem], minds_scope=True,
                description="Reads each device once for all of its points; a point that fails does so alone.",
            ),
        ]  # fmt: skip

    async def get(self, request: web.Request, *, point_id: str, query: Freshness) -> Answer:
        """Answer one reading, as it is or read anew."""
        entry = self._registry.point(point_id)
        errors = await self._refresh(request, [entry], query)
        if point_id in errors and not self._last_will_do(entry, query):
            raise errors[point_id]
        return self._answers.answer(entry)

    def value_now(self, *, point_id: str) -> Answer:
        """Answer one reading as it is, at once; raises PointNotFound."""
        return self._answers.answer(self._registry.point(point_id))

    async def _refresh(
        self, request: web.Request, entries: Sequence[PointEntry], freshness: Freshness
    ) -> dict[str, PlantroomError]:
        """Read what is too old, at the request's expense."""
        return await self._exchange.refresh(
            entries, max_age=freshness.max_age, spend=functools.partial(spend, request, Work.READ)
        )

    async def query(self, request: web.Request, *, body: ReadingsBody) -> Answer:
        """Answer many readings, each with its own success."""
        entries, errors = points_for(request, self._registry, body.point_ids)
        failed = await self._refresh(request, list(entries.values()), body)
        errors |= {each: error for each, error in failed.items() if not self._last_will_do(entries[each], body)}
        return batch_answer([self._item(each, entries.get(each), errors.get(each)) for each in body.point_ids])

    def _item(self, point_id: str, entry: PointEntry | None, error: PlantroomError | None) -> bytes:
        if error is not None:
            return failed_item(point_id, error)
        reading = None if entry is None else self._registry.reading(entry)
        return b'{"point_id":%b,"reading":%b}' % (dumps(point_id), render_reading(reading))

    def _last_will_do(self, entry: PointEntry, freshness: Freshness) -> bool:
        return freshness.on_error == "last" and self._registry.reading(entry) is not None


def failed_item(point_id: str, error: PlantroomError) -> bytes:
    """Write an item of a batch that failed alone."""
    return dumps({"point_id": point_id, "error": problem.document(error)})


def batch_answer(items: list[bytes], kind: type[Answer] = Answer) -> Answer:
    """Write the answer to a batch, its items in the order asked."""
    return kind(b'{"items":[' + b",".join(items) + b"]}")
