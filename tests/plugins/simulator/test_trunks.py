"""Trunks: further networks behind the port, each a bus on which one message travels at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from plugins.bacnet.wire import bvll, primitives, read_property
from plugins.bacnet.wire.apdu import PduType, Service
from plugins.bacnet.wire.npdu import Place
from plugins.simulator.server.bus import MOST_WAITING, REPLY_TIMEOUT_S, Bus
from plugins.simulator.server.properties import Property
from plugins.simulator.testing import ManualTimer, Simulate
from plugins.simulator.trunks import TrunkOptions, make_trunks

from .conftest import LONGEST_S, bacnet_client
from .wire import Wire, place_of, ref, wire_to

LATENCY_S, BAUD = 0.1, 9600
TRUNK = {"network": 3001, "controllers": 3, "points": 20, "latency": LATENCY_S, "baud": BAUD}
FIRST, SECOND, THIRD, NOBODY = (Place(3001, bytes((mac,))) for mac in (1, 2, 3, 99))
WHO_IS_ROUTER = "018000"


class Rail:
    """A bus with a timer, and what has happened when."""

    def __init__(self) -> None:
        self.timer = ManualTimer()
        self.bus = Bus(1, latency=LATENCY_S, baud=BAUD, timer=self.timer)
        self.happened: list[tuple[float, str]] = []

    def note(self, name: str) -> None:
        self.happened.append((round(self.timer.time(), 4), name))

    def ask(self, name: str, *, octets: int | None) -> None:
        """Ask somebody who answers with so many octets, or not at all."""

        def run() -> None:
            self.note(f"ask {name}")
            if octets is not None:
                self.bus.answer(name, octets, lambda: self.note(f"answer {name}"))

        self.bus.ask(name, run)


def test_answers_take_their_time_one_after_the_other() -> None:
    rail = Rail()
    rail.ask("a", octets=86)
    rail.ask("b", octets=38)
    rail.timer.advance(10)
    assert rail.happened == [(0.0, "ask a"), (0.2, "answer a"), (0.2, "ask b"), (0.35, "answer b")]


def test_a_dead_device_costs_the_bus_its_reply_timeout() -> None:
    rail = Rail()
    rail.ask("dead", octets=None)
    rail.ask("b", octets=38)
    rail.timer.advance(REPLY_TIMEOUT_S - 0.001)
    assert rail.happened == [(0.0, "ask dead")]
    rail.timer.advance(10)
    assert rail.happened[1:] == [(REPLY_TIMEOUT_S, "ask b"), (round(REPLY_TIMEOUT_S + 0.15, 4), "answer b")]


def test_an_answer_in_time_is_awaited_and_a_late_one_travels_by_itself() -> None:
    rail = Rail()
    rail.ask("slow", octets=None)
    rail.ask("b", octets=None)
    rail.timer.advance(0.2)
    rail.bus.answer("slow", 38, lambda: rail.note("answer slow"))
    rail.timer.advance(0.3)
    assert rail.happened == [(0.0, "ask slow"), (0.35, "answer slow"), (0.35, "ask b")]
    rail.timer.advance(0.5)
    rail.bus.answer("b", 38, lambda: rail.note("answer b"))
    rail.timer.advance(1.0)
    assert rail.happened[3:] == [(1.15, "answer b")]


def test_what_nobody_asked_for_waits_its_turn() -> None:
    rail = Rail()
    rail.ask("a", octets=86)
    rail.bus.carry(38, lambda: rail.note("news"))
    rail.timer.advance(10)
    assert rail.happened == [(0.0, "ask a"), (0.2, "answer a"), (0.35, "news")]


def test_what_waits_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    rail = Rail()
    for _ in range(MOST_WAITING + 10):
        rail.ask("dead", octets=None)
    rail.timer.advance(REPLY_TIMEOUT_S * (MOST_WAITING + 20))
    assert len(rail.happened) == MOST_WAITING + 1
    assert [record.message for record in caplog.records] == ["trunk 1 is overrun: messages are being dropped"]


def test_controllers_are_numbered_through_all_trunks() -> None:
    trunks = make_trunks([TrunkOptions(network=3001, controllers=2, points=5), TrunkOptions(network=3002, points=10)])
    numbers = [[device.instance for device in trunk.devices] for trunk in trunks]
    assert numbers == [[20001, 20002], list(range(20003, 20011))]
    assert [len(trunk.devices[0].objects) for trunk in trunks] == [5, 10]
    assert trunks[1].devices[0].name == "TC-00003"
    assert trunks[0].devices[0].product.segmentation is False


async def ask_all(wire: Wire, places: Sequence[Place]) -> None:
    for place in places:
        parameters = read_property.write_parameters(ref("analog-input.1"))
        await wire.send(place, wire.request(Service.READ_PROPERTY, parameters))


async def served(wire: Wire, count: int) -> None:
    """Wait until so many datagrams have been taken: whoever is on the fast network answers behind them."""
    for _ in range(count):
        assert (await wire.read(10001, "analog-input.1")).npdu.source == place_of(10001)


async def test_reads_over_a_trunk_come_one_after_the_other(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, trunks=[TRUNK], timer=timer)
    async with wire_to(simulation.address) as wire:
        await ask_all(wire, [FIRST, SECOND, THIRD])
        await served(wire, 1)
        for place in (FIRST, SECOND, THIRD):
            timer.advance(LATENCY_S)
            await served(wire, 1)
            timer.advance(0.05)
            heard = await wire.hear()
            assert (heard.npdu.source, heard.value) == (place, 21.0)


async def test_a_device_that_is_dead_or_missing_delays_its_neighbours_on_the_trunk_only(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, trunks=[TRUNK, TRUNK | {"network": 3002}], timer=timer)
    simulation.inject("silent", devices=[20001])
    async with wire_to(simulation.address) as wire:
        await ask_all(wire, [FIRST, NOBODY, SECOND, Place(3002, b"\x01")])
        await served(wire, 1)
        timer.advance(LATENCY_S + 0.05)
        assert (await wire.hear()).npdu.source == Place(3002, b"\x01")
        timer.advance(2 * REPLY_TIMEOUT_S - 0.1)
        await served(wire, 1)
        timer.advance(0.1)
        assert (await wire.hear()).npdu.source == SECOND


async def test_what_bacpypes3_answers_travels_on_the_trunk_too(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1, trunks=[TRUNK | {"latency": 0.0, "baud": 10_000_000}])
    async with wire_to(simulation.address) as wire:
        assert (await wire.write(FIRST, "analog-value.1", primitives.encode_real(30.0))).type is PduType.SIMPLE_ACK
        assert (await wire.read(FIRST, "analog-value.1")).value == 30.0
        assert (await wire.read(FIRST, "device.20001", Property.LOCAL_DATE)).type is PduType.COMPLEX_ACK
        everything = await wire.read_many(FIRST, [ref("analog-input.1", Property.ALL)])
        assert "TC-00001 Temperature 1" in everything.values


async def test_the_router_tells_of_all_its_networks(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1, trunks=[TRUNK, TRUNK | {"network": 3002}])
    host, _, port = simulation.address.partition(":")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect((host, int(port)))
        for network, told in (("", "07d10bb90bba"), ("0bba", "0bba"), ("07d1", "07d1")):
            await loop.sock_sendall(own, bvll.unicast(bytes.fromhex(WHO_IS_ROUTER + network)))
            async with asyncio.timeout(LONGEST_S):
                assert (await loop.sock_recv(own, 2048))[4:].hex() == "018001" + told


async def test_somebody_elses_client_finds_and_subscribes_to_devices_on_trunks(simulate: Simulate) -> None:
    simulation = await simulate(controllers=2, trunks=[TRUNK | {"latency": 0.001, "baud": 115_200}])
    async with bacnet_client(int(simulation.address.partition(":")[2])) as client:
        assert await client.who_is_there(expected=5) == {10001, 10002, 20001, 20002, 20003}
        assert str(client.address(20002)).partition("@")[0] == "3001:2"
        assert await client.read(20002, "analog-input,6") == 26.0
        identifier = await client.parse_object_identifier("analog-input,1")
        async with (
            asyncio.timeout(LONGEST_S),
            client.change_of_value(client.address(20003), identifier, 1, True, 60) as subscription,
        ):
            seen = [await subscription.get_value(), await subscription.get_value()]
            simulation.devices[20003].objects[0].set(40.0)
            simulation.tell()
            seen.append(await subscription.get_value())
        assert [float(value) for name, value in seen if str(name) == "present-value"] == [21.0, 40.0]
