"""Who-Is, Who-Has and Who-Is-Router for whoever wants to know: tells what was answered, and examines nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.plugin import Clock
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client
from plugins.bacnet.config import BacnetConfig
from plugins.bacnet.discovery.calls import Discovery
from plugins.bacnet.discovery.claims import Claims
from plugins.bacnet.discovery.requested import configured_targets, ranges_of, targets_of
from plugins.bacnet.protocol import IAm
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.who_has import IHave


class Inquiry:
    """Questions to everybody; each ends a few seconds after the last answer, within 20 s."""

    def __init__(
        self, config: BacnetConfig, clock: Clock, clients: Mapping[str, Client], discovery: Discovery, claims: Claims
    ) -> None:
        self._config = config
        self._clock = clock
        self._clients = clients
        self._discovery = discovery
        self._claims = claims

    async def who_is(self, instances: Sequence[int | str], targets: Sequence[str]) -> list[IAm]:
        """Return who answers, by number; raises Invalid for numbers and targets that make no sense."""
        ranges, asked = ranges_of(instances), targets_of(self._clients, targets)
        broadcast = () if targets else self._clients.values()
        call = await self._discovery.call(ranges, broadcast, asked or self._configured())
        found = [i_am for _instance, places in sorted(call.answers.items()) for i_am in places.values()]
        for i_am in found:
            if i_am.instance != self._config.device.instance:
                self._claims.note(i_am)
        return found

    async def who_has(self, wanted: ObjectId | str, instances: Sequence[int | str]) -> list[tuple[IHave, Station]]:
        """Return who has an object, by number; raises Invalid for numbers that make no sense."""
        ranges = ranges_of(instances)
        search = await self._discovery.search(wanted, ranges, self._clients.values(), self._configured())
        return sorted(search.answers.values(), key=lambda answer: answer[0].device.instance)

    async def routers(self) -> None:
        """Ask all routers where they lead; what none of them says again is forgotten."""
        started = self._clock.monotonic()
        await self._discovery.routers(self._clients.values(), self._configured())
        for client in self._clients.values():
            client.routers.forget(started)

    def _configured(self) -> list[tuple[Client, Station]]:
        return configured_targets(self._config, self._clients)
