"""Lists points with their readings, shows one, and takes what people change about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope_around, found, page
from core.api.overrides import Patch, changing
from core.api.pages import PointPage, PointPages
from core.api.readings import POINT_ID
from core.api.render import AGE, PointAnswer, PointRenderer, QualityName, age_header
from core.callers import principal_of
from core.clock import Clock
from core.cursors import Cursors
from core.errors import InvalidCursor, PointNotFound
from core.model import Kind
from core.principals import Role, Scope
from core.registry import PointEntry, Registry
from core.replies import Answer
from core.routes import Cached, Link, Route
from core.serialize import field

NAME = "points"
READINGS_KEPT_S = 1.0
"""How late a reading may turn stale in an answer that is given again."""


@attrs.frozen(kw_only=True)
class PointsQuery(ListQuery):
    """Which points to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "name", "-name"] = field(default="id", description=SORT)
    device_id: tuple[str, ...] = field(default=(), description="Ids of devices.", example="bacnet.2001")
    plugin: tuple[str, ...] = field(default=(), description="Plugin instances.", example="bacnet")
    kind: tuple[Kind, ...] = field(default=(), description="What sort of values.", example="number")
    unit: tuple[str, ...] = field(default=(), description="Units, by BACnet's names.", example="degrees-celsius")
    writable: bool | None = field(default=None, description="Whether it can be written.", example=False)
    quality: tuple[QualityName, ...] = field(
        default=(), description="Qualities of the current reading.", example="good"
    )
    tag: tuple[str, ...] = field(default=(), description="Tags, one of which a point has.", example="comfort")


def _links(point: str) -> tuple[Link, ...]:
    """What can be asked about a point that is found there in an answer."""
    at, of_point = "/api/v1/points/{point_id}", {"point_id": f"{point}/id"}
    return (
        Link("GET", at, of_point),
        Link("PATCH", at, of_point),
        Link("GET", f"{at}/value", of_point),
        Link("GET", f"{at}/priorities", of_point),
        Link("GET", f"{at}/history", of_point),
        Link("GET", "/api/v1/devices/{device_id}", {"device_id": f"{point}/device_id"}),
    )


class Points:
    """The resource /api/v1/points."""

    def __init__(self, registry: Registry, cursors: Cursors, clock: Clock) -> None:
        self._registry = registry
        self._cursors = cursors
        self._clock = clock
        self._renderer = PointRenderer(registry)
        self._pages = PointPages(registry)
        self._by_name: tuple[int, list[tuple[str | float, ...]]] = (-1, [])

    @property
    def routes(self) -> list[Route]:
        """The routes of this resource."""
        at, one = "/api/v1/points", "/api/v1/points/{point_id}"
        return [
            Route(
                "GET", at, self.list, "List points", query=PointsQuery, answer=ListAnswer[PointAnswer],
                errors=(InvalidCursor,), links=_links("$response.body#/items/0"), minds_scope=True,
                cached=Cached(READINGS_KEPT_S, self._stamp),
                description="Points with their current readings.",
            ),
            Route(
                "GET", one, self.get, "Show a point", answer=PointAnswer, errors=(PointNotFound,),
                cached=Cached(READINGS_KEPT_S, self._stamp), parameters=POINT_ID, sends=(AGE,),
                links=_links("$response.body#"),
                description="What a point is, with its current reading.",
            ),
            Route(
                "PATCH", one, self.patch, "Change a point's name, tags, interval, or whether it is polled",
                body=Patch, answer=PointAnswer, role=Role.ADMIN, errors=(PointNotFound,), parameters=POINT_ID,
                sends=(AGE,), links=_links("$response.body#"),
                description="A field that is not mentioned stays; null gives it back to the plugin.",
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request, *, query: PointsQuery) -> Answer:
        """Answer a page of points, of those within the principal's scope."""
        scope = principal_of(request).scope
        key = query, scope
        page = self._pages.take(key) or self._page(query, scope)
        answer = page.answer()
        if not query.quality:  # which points have a quality is another matter with each reading
            self._pages.keep(key, page)
        return answer

    def _stamp(self) -> tuple[int, int, int]:
        """Tell points, readings and devices from what they were."""
        registry = self._registry
        return registry.version, registry.current.revision, registry.statuses

    def _page(self, query: PointsQuery, scope: Scope | None) -> PointPage:
        registry = self._registry

        def pick(key: str) -> PointEntry | None:
            entry = registry.point(key)
            return entry if entry.within(scope) and self._matches(entry, query) else None

        if query.sort.endswith("name"):
            named = page(self._cursors, NAME, query, keys=self._names(), pick=lambda key: pick(str(key[-1])))
        else:
            named = page(self._cursors, NAME, query, keys=self._ids(query), pick=pick)
        fixed = [self._renderer.fixed(entry) for entry in named.rows]
        return PointPage(registry, self._clock, entries=named.rows, fixed=fixed, around=envelope_around(named))

    async def get(self, _request: web.Request, *, point_id: str) -> Answer:
        """Answer a point."""
        return self._answer(self._registry.point(point_id))

    async def patch(self, _request: web.Request, *, point_id: str, body: Patch) -> Answer:
        """Change a point."""
        return self._answer(self._registry.override_point(point_id, changing(body)))

    def _answer(self, entry: PointEntry) -> Answer:
        rendered, tag = self._renderer.render(entry)
        return Answer(rendered, tag=tag, headers=age_header(self._registry.current.time(entry.slot), self._clock.utc()))

    def _ids(self, query: PointsQuery) -> Sequence[str]:
        """All ids that can match, in order: those of the devices that are asked for, or all."""
        if not query.device_id:
            return self._registry.point_ids()
        wanted = [self._registry.device(each) for each in set(query.device_id) if self._registry.has_device(each)]
        return sorted(point_id for device in wanted for point_id in device.points)

    def _names(self) -> Sequence[tuple[str | float, ...]]:
        """All (name, id), in order."""
        registry = self._registry
        if self._by_name[0] != registry.version:
            names = sorted((registry.point(each).name.casefold(), each) for each in registry.point_ids())
            self._by_name = registry.version, [*names]
        return self._by_name[1]

    def _matches(self, entry: PointEntry, query: PointsQuery) -> bool:
        point = entry.point
        quality = self._registry.quality(entry) if query.quality else None
        return (
            (not query.device_id or point.device_id in query.device_id)
            and (not query.plugin or entry.device.device.plugin in query.plugin)
            and (not query.kind or point.kind in query.kind)
            and (not query.unit or point.unit in query.unit)
            and (query.writable is None or point.writable is query.writable)
            and (not query.tag or any(tag in query.tag for tag in entry.overrides.tags))
            and found(query.q, point.id, entry.name, point.description)
            and (not query.quality or (quality is not None and quality.name.lower() in query.quality))
        )
