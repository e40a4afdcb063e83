"""Shows where committed batches are delivered to, and how that goes."""

from __future__ import annotations

from typing import Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.cursors import Cursors
from core.delivery import Deliveries
from core.errors import InvalidCursor
from core.model import rfc3339
from core.pump import Pump, SinkState
from core.routes import Link, Route
from core.serialize import field

NAME = "sinks"


@attrs.frozen(kw_only=True)
class SinksQuery(ListQuery):
    """Which sinks to list; a filter given several times takes any of its values."""

    sort: Literal["name", "-name"] = field(default="name", description=SORT)
    plugin: tuple[str, ...] = field(default=(), description="Whose sinks.", example="file_sink")
    state: tuple[SinkState, ...] = field(default=(), description="How delivery goes.", example="connected")


@attrs.frozen(kw_only=True)
class PositionAnswer:
    """Where a committed batch stands in the history."""

    epoch: int = field(description="Another one where a history could not go on counting.", example=1)
    seq: int = field(description="One more with each batch of the epoch.", example=4711, min=0)


@attrs.frozen(kw_only=True)
class SinkAnswer:
    """Somewhere that committed batches are delivered to, and how that goes; it counts from when the process began."""

    name: str = field(description="`<plugin>.<sink>`.", example="file_sink.files")
    plugin: str = field(description="The plugin's key in the configuration.", example="file_sink")
    state: SinkState = field(description="`waiting`: for the history to run.", example="connected")
    error: str | None = field(description="Why it fails; it is tried again by itself.")
    failing_since: str | None = field(description="Since when it fails.", format="date-time")
    position: PositionAnswer | None = field(description="The last batch that the receiver has committed.")
    behind_batches: int = field(description="Batches that wait to be delivered.", example=0, min=0)
    delivered_samples: int = field(description="Samples that the receiver has committed.", example=120_000, min=0)
    unnamed_samples: int = field(description="Those of points that had been deleted.", example=0, min=0)
    lost_batches: int = field(
        description="Batches that the history removed before they could be delivered, at least.", example=0, min=0
    )
    failures: int = field(description="Times that connecting or delivering failed.", example=0, min=0)
    delivered_at: str | None = field(
        description="When something was last committed.", format="date-time", example="2026-01-31T12:00:00.000Z"
    )


class Sinks:
    """The resource /api/v1/sinks."""

    def __init__(self, deliveries: Deliveries, cursors: Cursors) -> None:
        self._deliveries = deliveries
        self._cursors = cursors

    @property
    def routes(self) -> list[Route]:
        """The route of this resource."""
        plugin = Link("GET", "/api/v1/plugins/{name}", {"name": "$response.body#/items/0/plugin"})
        return [
            Route(
                "GET", "/api/v1/sinks", self.list, "List sinks", query=SinksQuery, answer=ListAnswer[SinkAnswer],
                errors=(InvalidCursor,), links=(plugin,),
                description="Every sink of the plugins that run: how far it is, and why it fails where it does.",
            )
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: SinksQuery) -> ListAnswer[SinkAnswer]:
        """Answer a page of sinks."""
        pumps = self._deliveries.all

        def pick(name: str) -> Pump | None:
            pump = pumps[name]
            wanted = (not query.state or pump.state in query.state) and (
                not query.plugin or name.partition(".")[0] in query.plugin
            )
            return pump if wanted and found(query.q, name) else None

        listed = page(self._cursors, NAME, query, keys=sorted(pumps), pick=pick)
        return envelope(listed, [_answer(pump) for pump in listed.rows])


def _answer(pump: Pump) -> SinkAnswer:
    figures, position = pump.figures, pump.position
    return SinkAnswer(
        name=pump.name,
        plugin=pump.name.partition(".")[0],
        state=pump.state,
        error=pump.error,
        failing_since=rfc3339(pump.failing_since),
        position=None if position is None else PositionAnswer(epoch=position.epoch, seq=position.seq),
        behind_batches=pump.behind,
        delivered_samples=figures.delivered_samples,
        unnamed_samples=figures.unnamed_samples,
        lost_batches=figures.lost_batches,
        failures=figures.failures,
        delivered_at=rfc3339(pump.delivered_at),
    )
