"""Routers and the networks behind them, by their own messages; several networks and instances side by side."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from plugins.bacnet.addresses import parse_interface, parse_station
from plugins.bacnet.client import Client, Identity
from plugins.bacnet.config import Bbmd, Foreign, Network
from plugins.bacnet.routes.networks import NetworkRoutes
from plugins.bacnet.wire import bvll
from plugins.bacnet.wire import network_messages as messages
from plugins.bacnet.wire.bvll import Function
from plugins.bacnet.wire.network_messages import NetworkNumber

HERE = "127.0.0.90/8:47962"


def routes_of(house):
    return NetworkRoutes(house.plugin.driver, house.plugin.clients)


async def shown(house, *, search=False):
    routes = routes_of(house)
    answer = await (routes.search(None) if search else routes.list(None))
    return list(answer.items)


def behind(network):
    return {
        router.address: [(each.number, each.devices, each.announced, each.reachable) for each in router.networks]
        for router in network.routers
    }


def tell(house, npdu, *, sender="127.0.0.93", port=47962):
    """Send a datagram of the network layer to us, from an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind((sender, port))
        (client,) = house.plugin.clients.values()
        end.sendto(bvll.unicast(npdu), (client.interface.ip, client.interface.port))


async def test_routers_say_where_they_lead_and_what_our_network_is_called(bench, start):
    bench.router("127.0.0.92/8:47962", 2001, [3001, 3002])
    house = await start(HERE)
    (before,) = await shown(house)
    assert (before.state, before.number, list(before.routers)) == ("up", None, [])
    (after,) = await shown(house, search=True)
    assert (after.number, after.number_configured) == (100, True)
    assert behind(after) == {"127.0.0.92:47962": [(2001, 0, True, True)]}
    await house.scan()
    (found,) = await shown(house)
    assert behind(found) == {"127.0.0.92:47962": [(2001, 2, True, True)]}
    assert found.devices == 2
    assert list(found.conflicts) == []


async def test_a_scan_asks_routers_too_and_warns_of_two_that_claim_one_network(bench, start):
    bench.router("127.0.0.92/8:47962", 2001, [3001])
    bench.router("127.0.0.93/8:47962", 2001, [3002])
    house = await start(HERE)
    report = await house.scan()
    assert report.codes == ["router.conflict"]
    assert "127.0.0.92:47962 and 127.0.0.93:47962" in report.warnings[0][1]
    (network,) = await shown(house)
    assert [(each.network, each.routers) for each in network.conflicts] == [
        (2001, ["127.0.0.92:47962", "127.0.0.93:47962"])
    ]


async def test_a_search_forgets_routers_that_are_gone(bench, start):
    link, _devices = bench.router("127.0.0.92/8:47962", 2001, [3001])
    house = await start(HERE)
    (there,) = await shown(house, search=True)
    assert list(behind(there)) == ["127.0.0.92:47962"]
    await link.close()
    (gone,) = await shown(house, search=True)
    assert behind(gone) == {}


async def test_a_router_is_known_by_its_devices_where_it_says_nothing_of_itself(bench, start):
    bench.router("127.0.0.92/8:47963", 2001, [3001])
    house = await start(HERE)
    await house.scan(targets=("2001:*@127.0.0.92:47963",))
    (client,) = house.plugin.clients.values()
    client.routers.forget(float("inf"))
    (network,) = await shown(house)
    assert behind(network) == {"127.0.0.92:47963": [(2001, 1, False, True)]}


async def test_a_network_that_a_router_finds_no_way_to_is_shown_as_such(start, until):
    house = await start(HERE)
    (client,) = house.plugin.clients.values()
    tell(house, messages.write_i_am_router([5, 6]))
    await until(lambda: bool(list(client.routers)))
    tell(house, b"\x01\x80\x03\x01\x00\x05")
    await until(lambda: any(router.unreachable for router in client.routers))
    (network,) = await shown(house)
    assert behind(network) == {"127.0.0.93:47962": [(5, 0, True, False), (6, 0, True, True)]}
    tell(house, messages.write_i_am_router([5]))
    await until(lambda: not any(router.unreachable for router in client.routers))


async def test_what_makes_no_sense_and_what_comes_from_afar_says_nothing(start, until):
    house = await start(HERE)
    (client,) = house.plugin.clients.values()
    rubbish = [b"\x01\x80", b"\x01\x80\x01\x00", b"\x01\x80\x13\x00", b"\x01\x80\x77", b"\x01\x80\x03"]
    from_afar = b"\x01\x88\x00\x07\x01\x05" + messages.write_i_am_router([8])[2:]
    for npdu in (*rubbish, from_afar):
        tell(house, npdu)
    tell(house, messages.write_i_am_router([9]))
    await until(lambda: bool(list(client.routers)))
    assert [set(router.networks) for router in client.routers] == [{9}]


@given(st.sampled_from(Function), st.binary(max_size=80), st.sampled_from([b"", b"\x01\x00\x10\x01", b"\x01\x80\x01"]))
def test_whatever_comes_is_heard_without_harm(function, octets, start):
    body = start + octets
    datagram = bytes((0x81, function)) + (len(body) + 4).to_bytes(2, "big") + body
    identity = Identity(599, "us", 1.0, 0)
    client = Client(parse_interface(HERE), identity, option="address", clock=SystemClock())
    (hear,) = client.link.hearers
    assert hear(datagram, ("127.0.0.93", 47962)) is False, "nobody waits for it"
    assert hear(octets, ("127.0.0.93", 47962)) is False


async def test_a_number_that_somebody_configured_counts_more_than_one_that_was_learned(start, until):
    house = await start(HERE)
    (client,) = house.plugin.clients.values()
    for number in (NetworkNumber(7, configured=False), NetworkNumber(8, configured=True)):
        tell(house, messages.write_number_is(number))
        await until(lambda number=number: client.routers.number == number)
    tell(house, messages.write_number_is(NetworkNumber(9, configured=False)))
    tell(house, messages.write_i_am_router([1]))
    await until(lambda: bool(list(client.routers)))
    assert client.routers.number == NetworkNumber(8, configured=True)


async def test_routers_are_heard_through_a_bbmd_by_their_own_address(bench, start, until):
    bench.router("127.0.0.92/8:47963", 2001, [3001], lambda: [bench.analog_input(1)])
    await start("127.0.0.91/8:47963", bbmd=Bbmd())
    house = await start(HERE, foreign=Foreign("127.0.0.91:47963", 60))
    (client,) = house.plugin.clients.values()
    await until(lambda: client.state == ("up", ""))
    (network,) = await shown(house, search=True)
    assert behind(network) == {"127.0.0.92:47963": [(2001, 0, True, True)]}
    assert (network.foreign.bbmd, network.foreign.registered, network.foreign.ttl) == ("127.0.0.91:47963", True, 60)
    assert network.foreign.since.endswith("Z")
    inventory = (await house.scan()).inventories["bacnet.3001"]
    assert (await house.read(house.group(inventory)))["analog-input.1"][0] == 21.5


async def test_a_registration_that_is_not_is_shown_with_its_reason(start):
    house = await start(HERE, foreign=Foreign("127.0.0.99:47963", 60))
    (network,) = await shown(house)
    assert (network.state, network.foreign.registered, network.foreign.since) == ("connecting", False, None)
    assert network.foreign.reason


async def test_our_own_tables_are_counted(start):
    house = await start(HERE, bbmd=Bbmd(("127.0.0.99:47963",)))
    (network,) = await shown(house)
    assert (network.bbmd.bdt_entries, network.bbmd.fdt_entries) == (2, 0)


async def test_a_target_may_be_a_whole_network_behind_a_router(bench, start):
    bench.router("127.0.0.92/8:47963", 2001, [3001, 3002])
    bench.router("127.0.0.93/8:47963", 2002, [3003])
    house = await start(HERE)
    report = await house.scan(targets=("2001:*@127.0.0.92:47963",))
    assert sorted(report.inventories) == ["bacnet.3001", "bacnet.3002"]
    assert report.warnings == []
    nobody = await house.scan(targets=("2009:*@127.0.0.92:47963",))
    assert nobody.codes == ["target.silent"]
    assert "2009:*@127.0.0.92:47963" in nobody.warnings[0][1]
    with pytest.raises(ValueError, match="a whole network"):
        parse_station("2001:*@127.0.0.92:47963")


async def test_two_networks_on_different_ports_are_one_house(bench, start):
    bench.device("127.0.0.91/8:47962", 2001, [bench.analog_input(1, 1.0)])
    bench.device("127.0.0.92/8:47963", 2002, [bench.analog_input(1, 2.0)])
    bench.router("127.0.0.93/8:47963", 2001, [3001], lambda: [bench.analog_input(1, 3.0)])
    house = await start(HERE, networks=(Network(HERE), Network("127.0.0.89/8:47963")))
    report = await house.scan()
    interfaces = {name: found.device.attributes["interface"] for name, found in report.inventories.items()}
    assert interfaces == {
        "bacnet.2001": HERE,
        "bacnet.2002": "127.0.0.89/8:47963",
        "bacnet.3001": "127.0.0.89/8:47963",
    }
    groups = [house.group(report.inventories[name]) for name in sorted(report.inventories)]
    rows = await asyncio.gather(*(house.read(group) for group in groups))
    assert [each["analog-input.1"][0] for each in rows] == [1.0, 2.0, 3.0]
    first, second = await shown(house)
    assert (first.interface, first.devices, list(first.routers)) == (HERE, 1, [])
    assert (second.interface, second.devices) == ("127.0.0.89/8:47963", 2)
