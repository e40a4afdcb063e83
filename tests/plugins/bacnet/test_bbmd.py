"""The tables of BBMDs: others' are read and written over the wire, our own where we are one."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from core.errors import DeviceRefused, DeviceTimeout, Invalid
from core.plugin import Role
from plugins.bacnet.config import Bbmd, Foreign
from plugins.bacnet.routes.bbmds import BbmdRoutes, BdtBody, BdtItem, RemoveBody
from plugins.bacnet.wire import bvll, bvll_tables
from plugins.bacnet.wire.bvll import Function
from plugins.bacnet.wire.bvll_tables import BdtEntry, End, FdtEntry, ResultCode

HERE = "127.0.0.90/8:47955"
OTHER = ("127.0.0.91", 47955)
AT = "127.0.0.91:47955"


class Tables(asyncio.DatagramProtocol):
    """A BBMD that lets its tables be written, or answers each request with one datagram."""

    def __init__(self):
        self.bdt = (BdtEntry(End(*OTHER), "255.255.255.255"),)
        self.fdt = [FdtEntry(End("10.0.7.9", 47808), 300, 250)]
        self.reply = None
        self.requests = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        function = bvll.read_function(data)
        if function in bvll.CARRIES_NPDU:
            return
        self.requests.append(function)
        reply = self.reply if self.reply is not None else self.answer(function, data)
        self.transport.sendto(reply, address)

    def answer(self, function, data):
        if function == Function.READ_BROADCAST_DISTRIBUTION_TABLE:
            return bvll_tables.write_bdt_ack(self.bdt)
        if function == Function.READ_FOREIGN_DEVICE_TABLE:
            return bvll_tables.write_fdt_ack(self.fdt)
        if function == Function.WRITE_BROADCAST_DISTRIBUTION_TABLE:
            self.bdt = bvll_tables.read_bdt(data)
            return bvll_tables.write_result(0)
        gone = [each for each in self.fdt if data == bvll_tables.write_delete_foreign(each.address)]
        self.fdt = [each for each in self.fdt if each not in gone]
        return bvll_tables.write_result(0 if gone else ResultCode.DELETE_FOREIGN_DEVICE_TABLE_ENTRY_NAK)


@pytest.fixture
async def tables():
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Tables, local_addr=OTHER)
    yield protocol
    transport.close()


@pytest.fixture
async def routes(start):
    house = await start(HERE, timeout=0.1)
    return BbmdRoutes(house.plugin.clients)


async def test_the_tables_of_another_bbmd_are_read(tables, routes):
    found = await routes.show(None, address=AT)
    assert attrs.asdict(found) == {
        "address": AT,
        "ours": False,
        "bdt": [{"address": AT, "mask": "255.255.255.255"}],
        "fdt": [{"address": "10.0.7.9:47808", "ttl": 300, "remaining": 250}],
    }


async def test_a_table_is_written_and_read_back(tables, routes):
    entries = (BdtItem(AT), BdtItem("10.0.0.1", "255.255.255.0"))
    found = await routes.write(None, address=AT, body=BdtBody(entries))
    assert [(each.address, each.mask) for each in found.bdt] == [
        (AT, "255.255.255.255"),
        ("10.0.0.1:47808", "255.255.255.0"),
    ]
    assert tables.bdt[1] == BdtEntry(End("10.0.0.1", 47808), "255.255.255.0")


async def test_a_foreign_device_is_removed(tables, routes):
    found = await routes.remove(None, address=AT, body=RemoveBody("10.0.7.9:47808"))
    assert list(found.fdt) == []
    with pytest.raises(DeviceRefused) as caught:
        await routes.remove(None, address=AT, body=RemoveBody("10.0.7.9:47808"))
    assert caught.value.extra["bacnet"]["code"] == "delete-foreign-device-table-entry-nak"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (bvll_tables.write_result(0x20), "read-broadcast-distribution-table-nak"),
        (bvll_tables.write_result(0x99), "result-0x0099"),
        (b"\x81\x03\x00\x05\x00", "undecodable-answer"),
    ],
)
async def test_what_a_bbmd_refuses_with_is_said(tables, routes, reply, code):
    tables.reply = reply
    with pytest.raises(DeviceRefused) as caught:
        await routes.show(None, address=AT)
    assert caught.value.extra["bacnet"] == {"kind": "result", "class": None, "code": code}
    assert AT in str(caught.value)


@pytest.mark.parametrize(
    "reply", [b"", b"\x81", b"\x81\x00\x00\x05\x00", bvll_tables.write_fdt_ack(()), bvll_tables.write_result(0x60)]
)
async def test_what_answers_nothing_is_waited_past(tables, routes, reply):
    tables.reply = reply
    with pytest.raises(DeviceTimeout, match=AT):
        await routes.show(None, address=AT)


async def test_requests_to_one_bbmd_do_not_mix(tables, routes):
    answers = await asyncio.gather(*(routes.show(None, address=AT) for _ in range(20)))
    assert {str(answer) for answer in answers} == {str(answers[0])}
    assert len(tables.requests) == 40


async def test_a_plain_device_says_that_it_is_no_bbmd(bench, start):
    bench.device("127.0.0.92/8:47955", 2001)
    house = await start(HERE, timeout=0.2)
    with pytest.raises(DeviceRefused, match=r"read-broadcast-distribution-table-nak \(0x0020\)"):
        await BbmdRoutes(house.plugin.clients).show(None, address="127.0.0.92:47955")


async def test_silence_is_a_time_out(start):
    house = await start(HERE, timeout=0.05, retries=1)
    with pytest.raises(DeviceTimeout, match=r"127\.0\.0\.99:47808 did not answer within 0\.1 s"):
        await BbmdRoutes(house.plugin.clients).show(None, address="127.0.0.99")


async def test_where_there_is_no_way_it_is_said(start):
    house = await start(HERE)
    with pytest.raises(DeviceTimeout, match="cannot be asked"):
        await BbmdRoutes(house.plugin.clients).show(None, address="192.0.2.1:47808")


@pytest.mark.parametrize(
    "text", ["nowhere", "0.0.0.0", "224.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "5:1@10.0.0.1", "127.255.255.255"]
)
async def test_what_is_no_address_is_invalid(start, text):
    house = await start(HERE)
    with pytest.raises(Invalid):
        await BbmdRoutes(house.plugin.clients).show(None, address=text)


async def test_our_own_tables_are_shown_written_and_used(bench, start, until):
    far = bench.device("127.0.0.92/8:47956", 2002)
    ours = await start("127.0.0.90/32:47955", bbmd=Bbmd())
    foreign = await start("127.0.0.89/32:47955", foreign=Foreign("127.0.0.90:47955", 60), timeout=0.3)
    (client,) = foreign.plugin.clients.values()
    await until(lambda: client.state == ("up", ""))
    routes, at = BbmdRoutes(ours.plugin.clients), "127.0.0.90:47955"
    found = await routes.show(None, address=at)
    assert found.ours
    assert [each.address for each in found.bdt] == [at]
    assert [(each.address, each.ttl) for each in found.fdt] == [("127.0.0.89:47955", 60)]
    over_the_wire = await BbmdRoutes(foreign.plugin.clients).show(None, address=at)
    assert attrs.evolve(over_the_wire, ours=True).bdt == found.bdt
    assert (await foreign.scan()).inventories == {}
    written = await routes.write(None, address=at, body=BdtBody((BdtItem(at), BdtItem("127.0.0.92:47956"))))
    assert [each.address for each in written.bdt] == [at, "127.0.0.92:47956"]
    assert list((await foreign.scan()).inventories) == ["bacnet.2002"]
    assert far.requests > 0
    removed = await routes.remove(None, address=at, body=RemoveBody("127.0.0.89:47955"))
    assert list(removed.fdt) == []
    with pytest.raises(DeviceRefused, match="delete-foreign-device-table-entry-nak"):
        await routes.remove(None, address=at, body=RemoveBody("127.0.0.89:47955"))


async def test_an_address_of_ours_that_is_no_bbmd_says_so_as_it_says_to_others(start):
    house = await start(HERE)
    routes, at = BbmdRoutes(house.plugin.clients), "127.0.0.90:47955"
    with pytest.raises(DeviceRefused, match="read-broadcast-distribution-table-nak"):
        await routes.show(None, address=at)
    with pytest.raises(DeviceRefused, match="write-broadcast-distribution-table-nak"):
        await routes.write(None, address=at, body=BdtBody(()))
    with pytest.raises(DeviceRefused, match="delete-foreign-device-table-entry-nak"):
        await routes.remove(None, address=at, body=RemoveBody("10.0.7.9:47808"))


@pytest.mark.parametrize(
    ("entries", "field", "why"),
    [
        ((), "entries", "add 127.0.0.90:47955"),
        (("127.0.0.92:47955",), "entries", "add 127.0.0.90:47955"),
        (("127.0.0.90:47955", "127.0.0.92:47955", "127.0.0.92:47955"), "entries.2.address", "there twice"),
        (("127.0.0.90:47955",) * 2, "entries.1.address", "there twice"),
    ],
)
async def test_a_table_by_which_our_bbmd_would_not_work_is_refused(start, entries, field, why):
    house = await start(HERE, bbmd=Bbmd(("127.0.0.99:47955",)))
    routes, at = BbmdRoutes(house.plugin.clients), "127.0.0.90:47955"
    before = await routes.show(None, address=at)
    with pytest.raises(Invalid, match=why) as caught:
        await routes.write(None, address=at, body=BdtBody(tuple(BdtItem(each) for each in entries)))
    assert [fault.field for fault in caught.value.errors] == [field]
    assert await routes.show(None, address=at) == before


async def test_whoever_has_us_send_to_any_address_is_an_operator(start):
    house = await start(HERE)
    roles = {(route.method, route.path): route.role for route in BbmdRoutes(house.plugin.clients).routes}
    assert roles["GET", "/bbmds/{address}"] is Role.OPERATOR
