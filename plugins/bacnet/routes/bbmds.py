"""REST: the tables of BBMDs, others' and our own, to look at and to change."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import attrs
from aiohttp import web

from core.errors import FieldFault, Invalid
from core.plugin import DeviceRefused, DeviceTimeout, FieldInfo, Role, Route, field
from plugins.bacnet.addresses import parse_station
from plugins.bacnet.client import Client
from plugins.bacnet.discovery.bbmd import named, refused
from plugins.bacnet.discovery.requested import nearest
from plugins.bacnet.wire.bvll_tables import BdtEntry, End, FdtEntry, ResultCode

_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_ADDRESS = rf"(22[0-3]|2[01][0-9]|1[0-9]{{2}}|[1-9][0-9]?)(\.{_OCTET}){{3}}(:{_PORT})?"
_BITS = r"(255|254|252|248|240|224|192|128|0)"
_MASK = rf"255\.255\.255\.{_BITS}|255\.255\.{_BITS}\.0|255\.{_BITS}\.0\.0|{_BITS}\.0\.0\.0"
_PARAMETERS = {
    "address": FieldInfo(description="The BBMD's address and UDP port.", pattern=_ADDRESS, example="10.0.0.1:47808")
}
_REFUSED = "A BBMD that refuses is 502, with the name of its BVLC-Result in `bacnet.code`; one that is silent is 504."


@attrs.frozen
class BdtItem:
    """A BBMD in a broadcast distribution table."""

    address: str = field(pattern=_ADDRESS, description="Its address and UDP port.", example="10.0.0.1:47808")
    mask: str = field(
        default="255.255.255.255", pattern=_MASK, example="255.255.255.255",
        description="Its broadcast distribution mask: all ones, unless routers let directed broadcasts through.",
    )  # fmt: skip


@attrs.frozen
class FdtItem:
    """A foreign device that is registered."""

    address: str = field(example="10.0.7.9:47808")
    ttl: int = field(description="For how many seconds it registered.", example=300)
    remaining: int = field(
        description="In how many seconds it will be forgotten, unless it registers again.", example=254
    )


@attrs.frozen
class BbmdAnswer:
    """A BBMD's tables."""

    address: str = field(example="10.0.0.1:47808")
    ours: bool = field(description="Whether it is we.", example=False)
    bdt: Collection[BdtItem] = field(description="The broadcast distribution table.")
    fdt: Collection[FdtItem] = field(description="The foreign devices.")


@attrs.frozen
class BdtBody:
    """What the whole table is to be."""

    entries: tuple[BdtItem, ...] = field(max_items=100, description="All BBMDs, the one that is written to included.")


@attrs.frozen
class RemoveBody:
    """Whom to forget."""

    address: str = field(pattern=_ADDRESS, description="A foreign device that is registered.", example="10.0.7.9:47808")


class BbmdRoutes:
    """The routes; ``clients`` are our networks, by interface."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = clients

    @property
    def routes(self) -> list[Route]:
        """Show the tables, write the one, remove from the other."""
        at, errors = "/bbmds/{address}", (DeviceRefused, DeviceTimeout)
        return [
            Route(
                "GET", at, self.show, "Show a BBMD's tables", answer=BbmdAnswer, role=Role.OPERATOR, errors=errors,
                parameters=_PARAMETERS,
                description="Reads the broadcast distribution table and the foreign devices, with two requests to the "
                f"address. {_REFUSED}",
            ),
            Route(
                "PUT", f"{at}/bdt", self.write, "Write a BBMD's broadcast distribution table", body=BdtBody,
                answer=BbmdAnswer, role=Role.ADMIN, errors=errors, parameters=_PARAMETERS,
                description="Replaces the table, reads it back and answers it. Many BBMDs refuse this, as the standard "
                f"lets them; our own takes it until the next start, when the configuration holds again; it wants "
                f"each BBMD once, itself among them. {_REFUSED}",
            ),
            Route(
                "POST", f"{at}/fdt/remove", self.remove, "Remove a foreign device from a BBMD", body=RemoveBody,
                answer=BbmdAnswer, role=Role.ADMIN, errors=errors, parameters=_PARAMETERS,
                description=f"Ends a registration, and answers the tables as they are then. {_REFUSED}",
            ),
        ]  # fmt: skip

    async def show(self, _request: web.Request, *, address: str) -> BbmdAnswer:
        """Answer the tables."""
        return await self._tables(_end(address))

    async def write(self, _request: web.Request, *, address: str, body: BdtBody) -> BbmdAnswer:
        """Write the broadcast distribution table, and answer what it is then."""
        bbmd = _end(address)
        entries = [BdtEntry(_end(each.address), each.mask) for each in body.entries]
        client = self._own(bbmd)
        if client is None:
            await self._nearest(bbmd).bbmds.write_bdt(bbmd, entries)
        elif client.own_bbmd is None:
            raise refused(bbmd, ResultCode.WRITE_BROADCAST_DISTRIBUTION_TABLE_NAK)
        else:
            _check_own(bbmd, entries)
            client.own_bbmd.bdt = entries
        return await self._tables(bbmd)

    async def remove(self, _request: web.Request, *, address: str, body: RemoveBody) -> BbmdAnswer:
        """Remove a foreign device, and answer who is left."""
        bbmd, device = _end(address), _end(body.address)
        client = self._own(bbmd)
        if client is None:
            await self._nearest(bbmd).bbmds.remove_foreign(bbmd, device)
        elif client.own_bbmd is None or not client.own_bbmd.remove_foreign(device):
            raise refused(bbmd, ResultCode.DELETE_FOREIGN_DEVICE_TABLE_ENTRY_NAK)
        return await self._tables(bbmd)

    async def _tables(self, bbmd: End) -> BbmdAnswer:
        client = self._own(bbmd)
        if client is None:
            requests = self._nearest(bbmd).bbmds
            return _answer(bbmd, await requests.bdt(bbmd), await requests.fdt(bbmd), ours=False)
        if client.own_bbmd is None:
            raise refused(bbmd, ResultCode.READ_BROADCAST_DISTRIBUTION_TABLE_NAK)
        return _answer(bbmd, client.own_bbmd.bdt, client.own_bbmd.fdt, ours=True)

    def _own(self, bbmd: End) -> Client | None:
        """Return the client that has this address itself."""
        return next((each for each in self._clients.values() if _is_at(each, bbmd)), None)

    def _nearest(self, bbmd: End) -> Client:
        client = nearest(self._clients, parse_station(named(bbmd)))
        if bbmd.ip == client.interface.broadcast:
            raise _invalid("address", f"{bbmd.ip} is everybody in our subnet; name one BBMD.")
        return client


def _is_at(client: Client, end: End) -> bool:
    return (client.interface.ip, client.interface.port) == end


def _answer(bbmd: End, bdt: Sequence[BdtEntry], fdt: Sequence[FdtEntry], *, ours: bool) -> BbmdAnswer:
    return BbmdAnswer(
        named(bbmd),
        ours,
        [BdtItem(named(each.address), each.mask) for each in bdt],
        [FdtItem(named(each.address), each.ttl_s, each.remaining_s) for each in fdt],
    )


def _check_own(bbmd: End, entries: Sequence[BdtEntry]) -> None:
    """Refuse a table by which our BBMD would not work (J.4.3); raises Invalid, which names the entry."""
    ends = [each.address for each in entries]
    if bbmd not in ends:
        raise _invalid("entries", f"A BBMD's table has to have the BBMD itself; add {named(bbmd)}.")
    for index, end in enumerate(ends):
        if end in ends[:index]:
            raise _invalid(f"entries.{index}.address", f"{named(end)} is there twice; name each BBMD once.")


def _invalid(field_name: str, why: str) -> Invalid:
    return Invalid(why, errors=[FieldFault(field_name, Invalid.code, why)])


def _end(text: str) -> End:
    if re.fullmatch(_ADDRESS, text) is None:
        why = f"'{text}' is not a BBMD's address; write it like 10.0.0.1:47808."
        raise Invalid(why, errors=[FieldFault("address", "pattern", why)])
    station = parse_station(text)
    return End(station.ip, station.port)
