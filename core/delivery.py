"""Delivers committed batches to all sinks: one pump for each, with the figures and names of them all."""

from __future__ import annotations

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeAlias

import structlog

from core.errors import PluginError
from core.owner import Owner
from core.pump import Figures, Pump, SinkState, Surroundings
from core.routes import Metric
from core.sinks import Sink

_NAME = re.compile(r"[a-z0-9_-]{1,64}")

Samples: TypeAlias = Iterable[tuple[Mapping[str, str], float]]


class Deliveries:
    """The sinks of the house; none is delivered to between `pause` and `resume`, nor before the first `resume`.

    A sink is named ``<plugin>.<sink>``, and so is its cursor in the history. ``read_names`` and ``keep_names`` keep the
    names over restarts: so a cursor is forgotten, and holds nothing in the history any more, once its plugin is no
    longer in the configuration, or runs without that sink. That of a disabled or failed plugin stays.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        read_names: Callable[[], Awaitable[Collection[str]]],
        keep_names: Callable[[Collection[str]], Awaitable[None]],
    ) -> None:
        self._with = surroundings
        self._read_names = read_names
        self._keep_names = keep_names
        self._pumps: dict[str, Pump] = {}
        self._figures: defaultdict[str, Figures] = defaultdict(Figures)
        self._closed = False

    @property
    def all(self) -> Mapping[str, Pump]:
        """What delivers to each sink, by name."""
        return self._pumps

    def add(self, plugin: str, sinks: Iterable[Sink], owner: Owner | None) -> list[Pump]:
        """Take in a plugin's sinks, to be delivered to from the next `resume` on.

        Raises PluginError for one that cannot be told from another, or whose bounds are none.
        """
        added = []
        for sink in sinks:
            name = f"{plugin}.{sink.name}"
            if not _NAME.fullmatch(sink.name):
                raise PluginError(f"sink {sink.name!r} needs a name of 1 to 64 of the characters a-z, 0-9, _ and -")
            if name in self._pumps:
                raise PluginError(f"two sinks are named {sink.name!r}: give each a name of its own")
            if sink.batch_samples < 1 or not 0 < sink.timeout_s < math.inf:
                raise PluginError(f"sink {sink.name!r} needs a `batch_samples` of 1 or more, and seconds to wait")
            pump = self._pumps[name] = Pump(name, sink, owner, self._with, self._figures[name])
            added.append(pump)
        return added

    async def remove(self, plugin: str) -> None:
        """Deliver nothing to a plugin's sinks any more; their cursors stay."""
        names = [name for name in self._pumps if _plugin_of(name) == plugin]
        await asyncio.gather(*(self._pumps.pop(name).stop() for name in names))

    async def pause(self) -> None:
        """Deliver nothing for now: the history is about to be another one, or none."""
        await asyncio.gather(*(pump.stop() for pump in self._pumps.values()))

    async def resume(self, *, configured: Collection[str], running: Collection[str]) -> None:
        """Deliver to all sinks, and forget those of plugins that are not configured, or run without them."""
        if self._closed:
            return
        try:
            await self._settle_names(configured, running)
        except Exception as error:  # the history's code, or the disk: the names are looked at again at the next start
            structlog.get_logger().warning("sink_names_not_settled", error=str(error))
        if not self._closed:
            for pump in self._pumps.values():
                pump.start()

    async def close(self) -> None:
        """Deliver nothing any more."""
        self._closed = True
        await self.pause()

    async def _settle_names(self, configured: Collection[str], running: Collection[str]) -> None:
        known, present = set(await self._read_names()), set(self._pumps)
        gone = {
            name for name in known - present if _plugin_of(name) in running or _plugin_of(name) not in configured
        }  # fmt: skip
        for name in sorted(gone):
            await self._with.services.history.forget(name)
            self._figures.pop(name, None)
            structlog.get_logger().info("sink_forgotten", sink=name)
        kept = (known | present) - gone
        if kept != known:
            await self._keep_names(kept)

    def metrics(self) -> list[Metric]:
        """Make the metrics, which count when they are scraped."""

        def of_each(figure: Callable[[Pump], float]) -> Callable[[], Samples]:
            return lambda: [
                ({"plugin": _plugin_of(name), "sink": name}, figure(pump)) for name, pump in self._pumps.items()
            ]

        made: list[tuple[str, str, str, Callable[[Pump], float]]] = [
            (
                "plantroom_sink_delivered_samples_total", "counter", "Samples that receivers have committed.",
                lambda pump: pump.figures.delivered_samples,
            ),
            (
                "plantroom_sink_unnamed_samples_total", "counter", "Samples delivered without their point, deleted.",
                lambda pump: pump.figures.unnamed_samples,
            ),
            (
                "plantroom_sink_lost_batches_total", "counter", "Batches removed before they could be delivered.",
                lambda pump: pump.figures.lost_batches,
            ),
            (
                "plantroom_sink_failures_total", "counter", "Times that connecting or delivering failed.",
                lambda pump: pump.figures.failures,
            ),
            (
                "plantroom_sink_behind_batches", "gauge", "Batches that wait to be delivered.",
                lambda pump: pump.behind,
            ),
            (
                "plantroom_sink_connected", "gauge", "1 while delivery goes well, 0 otherwise.",
                lambda pump: pump.state is SinkState.CONNECTED,
            ),
        ]  # fmt: skip
        return [Metric(name, kind, text, of_each(figure)) for name, kind, text, figure in made]


def _plugin_of(name: str) -> str:
    return name.partition(".")[0]
