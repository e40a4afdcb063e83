"""Answers the last sample of points before a time."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from aiohttp import web

from core.access import points_for
from core.api.history.answers import SampleAnswer, sample_json
from core.api.history.questions import time_field
from core.api.readings import POINT_ID, BatchAnswer, batch_answer, failed_item
from core.api.render import EXAMPLE, field_of_point_ids
from core.clock import Clock
from core.errors import PointNotFound
from core.json_schema import example_of
from core.operations import ProblemDocument
from core.registry import PointEntry, Registry
from core.replies import Answer
from core.routes import Route
from core.samples import milliseconds
from core.serialize import UNSET, Unset, dumps, field
from core.services import Services


@attrs.frozen(kw_only=True)
class LatestQuery:
    """Before which time."""

    before: str | None = field(
        default=None, max_length=50, format="date-time", example="2026-02-01T00:00:00Z",
        description="Before which time (RFC 3339); now otherwise.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class LatestBody(LatestQuery):
    """Of which points, before which time."""

    point_ids: tuple[str, ...] = field_of_point_ids(most=1000)


@attrs.frozen(kw_only=True)
class LatestItem:
    """What became of one point of a batch: its sample, null where there is none, or the error."""

    point_id: str = field(example=EXAMPLE)
    sample: SampleAnswer | Unset | None = field(default=UNSET, example=example_of(SampleAnswer))
    error: ProblemDocument | Unset = field(default=UNSET)


class Latest:
    """The resources /api/v1/points/{point_id}/history/latest and /api/v1/history/latest."""

    def __init__(self, registry: Registry, services: Services, clock: Clock) -> None:
        self._registry = registry
        self._services = services
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """The routes of these resources."""
        one, many = "/api/v1/points/{point_id}/history/latest", "/api/v1/history/latest"
        return [
            Route(
                "GET", one, self.get, "Answer a point's last sample before a time", query=LatestQuery,
                answer=SampleAnswer | None, errors=(PointNotFound,), parameters=POINT_ID,
                description="What was recorded of it last, before that time; null where nothing was.",
            ),
            Route(
                "POST", many, self.query, "Answer the last samples of many points before a time", body=LatestBody,
                answer=BatchAnswer[LatestItem], minds_scope=True,
                description="What was recorded of each last, before that time; a point that fails does so alone.",
            ),
        ]  # fmt: skip

    async def get(self, _request: web.Request, *, point_id: str, query: LatestQuery) -> Answer:
        """Answer one sample."""
        entry = self._registry.point(point_id)
        return Answer((await self._samples([entry], query)).get(entry.slot, b"null"))

    async def query(self, request: web.Request, *, body: LatestBody) -> Answer:
        """Answer many samples, each with its own success."""
        entries, errors = points_for(request, self._registry, body.point_ids)
        samples = await self._samples([*entries.values()], body)

        def item(point_id: str) -> bytes:
            if point_id in errors:
                return failed_item(point_id, errors[point_id])
            sample = samples.get(entries[point_id].slot, b"null")
            return b'{"point_id":%b,"sample":%b}' % (dumps(point_id), sample)

        return batch_answer([item(point_id) for point_id in body.point_ids])

    async def _samples(self, entries: Sequence[PointEntry], query: LatestQuery) -> dict[int, bytes]:
        """Write the last sample of each point that has one, by slot."""
        if query.before is None:
            before = milliseconds(self._clock.utc()) + 1
        else:
            before = max(time_field(query.before, "before"), 0)
        found = await self._services.history.latest([entry.slot for entry in entries], before)
        by_slot = {entry.slot: entry for entry in entries}
        return {slot: b"{" + sample_json(by_slot[slot], found.samples, row) for row, slot in enumerate(found.slots)}
