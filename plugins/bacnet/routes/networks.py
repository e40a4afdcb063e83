"""REST: our networks, the routers on them and where they lead, and device numbers that more than one device has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import attrs
from aiohttp import web

from core.model import rfc3339
from core.plugin import Role, Route, field
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client, LinkState
from plugins.bacnet.discovery.bbmd import named
from plugins.bacnet.driver import BacnetDriver


@attrs.frozen
class BehindAnswer:
    """A network behind a router."""

    number: int = field(min=1, max=65534, example=2001)
    devices: int = field(description="How many devices there are known.", min=0, example=12)
    announced: bool = field(description="Whether the router says that it leads there.", example=True)
    reachable: bool = field(description="Whether the router has not said that it finds no way there.", example=True)


@attrs.frozen
class RouterAnswer:
    """A router, as it says itself and as devices behind it were found."""

    address: str = field(example="127.0.0.1:47809")
    networks: Collection[BehindAnswer] = field(description="The networks behind it, by number.")


@attrs.frozen
class ForeignAnswer:
    """Our registration with a BBMD."""

    bbmd: str = field(example="10.0.0.1:47808")
    ttl: int = field(description="For how many seconds we register at a time.", example=300)
    registered: bool = field(example=True)
    since: str | None = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    reason: str = field(description="Why we are not registered; empty while we are.", example="")


@attrs.frozen
class OwnBbmdAnswer:
    """What we are to other subnets, where we are a BBMD."""

    bdt_entries: int = field(description="How many BBMDs are in our table, we included.", min=0, example=2)
    fdt_entries: int = field(description="How many foreign devices are registered with us.", min=0, example=1)


@attrs.frozen
class ConflictAnswer:
    """A network that more than one router says it leads to."""

    network: int = field(example=2001)
    routers: Collection[str] = field(example=["10.0.0.2:47808", "10.0.0.3:47808"])


@attrs.frozen(kw_only=True)
class NetworkAnswer:
    """One interface of ours, and what is known of the network that it is on."""

    interface: str = field(example="127.0.0.1/8:47808")
    state: LinkState = field(example="up")
    reason: str = field(description="Why it is not up.", example="")
    number: int | None = field(description="What the network is called, where a router says so.", example=100)
    number_configured: bool | None = field(
        description="Whether somebody configured that number; false where the router only learned it.", example=True
    )
    foreign: ForeignAnswer | None = field(description="Where we are a foreign device.")
    bbmd: OwnBbmdAnswer | None = field(description="Where we are a BBMD.")
    devices: int = field(description="How many devices are known on it, those behind routers included.", example=29)
    routers: Collection[RouterAnswer] = field(description="The routers on it.")
    conflicts: Collection[ConflictAnswer] = field(description="Networks that two routers claim.", example=[])


@attrs.frozen
class NetworksAnswer:
    """All interfaces of ours."""

    items: Collection[NetworkAnswer] = field(description="One for each entry of `networks` in the configuration.")
    next_cursor: None = field(default=None, description="Always null: there is one page.")


@attrs.frozen
class DuplicateAnswer:
    """A device number that more than one device has."""

    instance: int = field(example=2001)
    addresses: Collection[str] = field(example=["10.0.0.7:47808", "10.0.0.8:47808"])
    listed: str | None = field(
        description="The address of the device that is listed, which was there first; null where none is.",
        example="10.0.0.7:47808",
    )
    since: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")


@attrs.frozen
class DuplicatesAnswer:
    """The duplicates of now."""

    items: Collection[DuplicateAnswer] = field(description="By device number.")
    next_cursor: None = field(default=None, description="Always null: there is one page.")


class NetworkRoutes:
    """The routes; ``clients`` are the networks, by interface."""

    def __init__(self, driver: BacnetDriver, clients: Mapping[str, Client]) -> None:
        self._driver = driver
        self._clients = clients

    @property
    def routes(self) -> list[Route]:
        """Show, search, and name duplicates."""
        return [
            Route(
                "GET", "/networks", self.list, "Show our networks and the routers on them", answer=NetworksAnswer,
                description="Each interface of ours with its state, our registration or tables, and the routers known.",
            ),
            Route(
                "POST", "/networks/search", self.search, "Ask routers where they lead", answer=NetworksAnswer,
                role=Role.OPERATOR,
                description="Asks Who-Is-Router-To-Network and What-Is-Network-Number on all networks, waits for the "
                "answers for a few seconds, and answers what is known then. What no router says again is forgotten.",
            ),
            Route(
                "GET", "/duplicates", self.duplicates, "List device numbers that two devices have",
                answer=DuplicatesAnswer,
                description="A device that was there first stays listed, also while it is silent and another claims "
                "its number; where it cannot be told, none is. It ends when only one device has the number, which is "
                "looked at once a minute and with each scan; one that is silent is given up after three times.",
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request) -> NetworksAnswer:
        """Answer what is known."""
        return NetworksAnswer([self._network(client) for client in self._clients.values()])

    async def search(self, _request: web.Request) -> NetworksAnswer:
        """Ask, and answer what is known then."""
        await self._driver.inquiry.routers()
        return NetworksAnswer([self._network(client) for client in self._clients.values()])

    async def duplicates(self, _request: web.Request) -> DuplicatesAnswer:
        """Answer the duplicates of now."""
        return DuplicatesAnswer(
            [
                DuplicateAnswer(
                    each.instance,
                    [str(place) for place in each.places],
                    None if each.kept is None else str(each.kept),
                    str(rfc3339(each.since)),
                )
                for each in self._driver.duplicates
            ]
        )

    def _network(self, client: Client) -> NetworkAnswer:
        state, reason = client.state
        number, own = client.routers.number, client.own_bbmd
        stations = [
            profile.station
            for _id, profile in self._driver.profiles
            if profile.station.interface == str(client.interface)
        ]
        return NetworkAnswer(
            interface=str(client.interface),
            state=state,
            reason=reason,
            number=None if number is None else number.network,
            number_configured=None if number is None else number.configured,
            foreign=_foreign(client),
            bbmd=None if own is None else OwnBbmdAnswer(len(own.bdt), len(own.fdt)),
            devices=len(stations),
            routers=_routers(client, stations),
            conflicts=[
                ConflictAnswer(network, [str(router) for router in routers])
                for network, routers in client.routers.conflicts().items()
            ],
        )


def _foreign(client: Client) -> ForeignAnswer | None:
    found = client.registration
    if found is None:
        return None
    return ForeignAnswer(named(found.bbmd), found.ttl_s, found.registered, rfc3339(found.since), found.reason)


def _routers(client: Client, stations: Collection[Station]) -> list[RouterAnswer]:
    """Put together what routers say and where devices were found."""
    known = {router.station: router for router in client.routers}
    counts = Counter((station.router, station.network) for station in stations if station.router is not None)
    networks: dict[Station, set[int]] = {station: set(router.networks) for station, router in known.items()}
    for station in stations:
        if station.router is not None and station.network is not None:
            networks.setdefault(station.router, set()).add(station.network)
    answers = []
    for station, numbers in sorted(networks.items(), key=lambda item: str(item[0])):
        router = known.get(station)
        behind = [
            BehindAnswer(
                number,
                counts[station, number],
                announced=router is not None and number in router.networks,
                reachable=router is None or number not in router.unreachable,
            )
            for number in sorted(numbers)
        ]
        answers.append(RouterAnswer(str(station), behind))
    return answers
