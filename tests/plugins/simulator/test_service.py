"""Any devices served over real UDP: both halves at work on one socket."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bacpypes3.pdu import Address
from bacpypes3.primitivedata import Boolean, ObjectIdentifier, Real

from core.plugin import Context
from plugins.bacnet.wire import apdu, bvll, read_property_multiple, who_is
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.npdu import read_npdu, write_npdu
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.controllers import make_controller, make_controllers
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.process import BuildingProcess
from plugins.simulator.server.link import open_socket
from plugins.simulator.server.service import Service, mac_of

from .asking import NETWORK, PRESENT_VALUE, present_values, read, read_many, to
from .conftest import LONGEST_S, bacnet_client

NO_RANGE = 26
LARGEST_MB = 250


@asynccontextmanager
async def service_of(
    devices: tuple[SimulatedDevice, ...], port: int, direct: SimulatedDevice | None = None
) -> AsyncIterator[Service]:
    service = Service(devices, open_socket("127.0.0.1", port), network=NETWORK, direct=direct)
    try:
        yield service
    finally:
        await service.close()


@asynccontextmanager
async def asker(port: int) -> AsyncIterator[Any]:
    """A socket that sends one datagram after another and returns what comes back."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect(("127.0.0.1", port))

        async def ask(*datagrams: bytes, expected: int) -> list[bytes]:
            for datagram in datagrams:
                await loop.sock_sendall(own, datagram)
            async with asyncio.timeout(LONGEST_S):
                return [await loop.sock_recv(own, 2048) for _ in range(expected)]

        yield ask


def resident_mb(pid: int | None) -> float:
    """How much memory a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def values_in(answer: bytes) -> list[Any]:
    at = read_npdu(answer, bvll.HEADER).at + 3
    return [element.items(answer)[0] for element in read_property_multiple.read_result(answer, at)]


async def test_a_write_through_bacpypes3_is_seen_by_the_next_fast_read(port: int) -> None:
    devices = make_controllers(3, points=30)
    async with service_of(devices, port), bacnet_client(port) as client, asker(port) as ask:
        await client.who_is_there(expected=3)
        request = to(10002, read_many(present_values(devices[1])))
        point = next(n for n, data in enumerate(devices[1].objects) if data.priorities)
        for value in (30.0, 31.5, 32.0):
            assert await client.write(10002, "analog-value,1", Real(value), priority=8) is None
            [answer] = await ask(request, expected=1)
            assert values_in(answer)[point] == value
        assert await client.write(10002, "analog-input,1", Boolean(True), name="out-of-service") is None
        assert await client.write(10002, "analog-input,1", Real(-7.0)) is None
        [answer] = await ask(request, expected=1)
        assert values_in(answer)[0] == -7.0
        devices[1].objects[1].set(55.0)
        [answer] = await ask(request, expected=1)
        assert values_in(answer)[1] == 55.0


async def test_only_devices_that_need_bacpypes3_get_it(port: int) -> None:
    devices = make_controllers(20, points=10)
    async with service_of(devices, port) as service, bacnet_client(port) as client, asker(port) as ask:
        assert len(await client.who_is_there(expected=20)) == 20
        assert await client.read(10005, "analog-input,6") == 26.0
        await ask(bvll.unicast(write_npdu() + bytes.fromhex("10072c00000001")), expected=20)
        assert not service._applications
        assert len(await client.read_many(10005, "analog-input,1", ["all"])) > 10
        assert [station.device.instance for station in service._applications] == [10005]
        service.check_subscribers()


async def test_a_subscriber_is_told_of_a_changed_value(port: int) -> None:
    devices = make_controllers(2, points=10)
    async with service_of(devices, port) as service, bacnet_client(port) as client:
        await client.who_is_there(expected=2)
        identifier = ObjectIdentifier("analog-input,1")
        async with (
            asyncio.timeout(LONGEST_S),
            client.change_of_value(client.address(10001), identifier, 1, False, 60) as subscription,
        ):
            seen = [await subscription.get_value(), await subscription.get_value()]
            devices[0].objects[0].set(40.0)
            service.check_subscribers()
            seen.append(await subscription.get_value())
        assert [float(value) for name, value in seen if str(name) == "present-value"] == [21.0, 40.0]


async def test_a_device_on_the_port_itself_is_served_by_both_halves(port: int) -> None:
    direct = make_controller(999, "Direct", points=300)
    async with service_of(make_controllers(2, points=10), port, direct), bacnet_client(port) as client:
        assert await client.who_is_there(expected=3) == {999, 10001, 10002}
        assert client.address(999) == Address(client.server)
        assert await client.read(999, "analog-input,6") == 26.0
        assert await client.read(999, "device,4194303", "object-name") == "Direct"
        assert len(await client.read(999, "device,999", "object-list")) == 301
        assert await client.write(999, "analog-value,1", Real(24.5), priority=8) is None
        assert await client.read(999, "analog-value,1") == 24.5
        assert await client.read(10001, "analog-value,1") == 21.0


async def test_a_thousand_devices_are_all_found_by_a_socket_that_holds_few_datagrams(port: int) -> None:
    async with service_of(make_controllers(1000, points=1), port), asker(port) as ask:
        answers = await ask(bvll.unicast(write_npdu() + who_is.write_who_is()), expected=1000)
        found = {who_is.read_i_am(answer, read_npdu(answer, bvll.HEADER).at).device.instance for answer in answers}
        assert found == set(range(10_001, 11_001))


async def test_the_answer_to_a_forwarded_broadcast_goes_to_its_origin(port: int) -> None:
    loop = asyncio.get_running_loop()
    async with service_of(make_controllers(3, points=1), port), asker(port) as ask:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as origin:
            origin.setblocking(False)
            origin.bind(("127.0.0.1", 0))
            where = socket.inet_aton("127.0.0.1") + origin.getsockname()[1].to_bytes(2, "big")
            for limits, count in ((None, 3), ((10002, 10002), 1)):
                npdu = write_npdu() + who_is.write_who_is(limits)
                await ask(b"\x81\x04" + (len(npdu) + 10).to_bytes(2, "big") + where + npdu, expected=0)
                async with asyncio.timeout(LONGEST_S):
                    answers = [await loop.sock_recv(origin, 1500) for _ in range(count)]
                assert all(answer[1] == bvll.Function.ORIGINAL_UNICAST_NPDU for answer in answers)


async def test_a_burst_of_requests_is_answered_in_full(port: int) -> None:
    devices = make_controllers(20, points=50)
    async with service_of(devices, port), asker(port) as ask:
        requests = [
            to(device.instance, read_many(present_values(device), invoke_id=n)) for n, device in enumerate(devices)
        ]
        for _ in range(3):
            answers = await ask(*requests, expected=len(requests))
            assert {answer[12] for answer in answers} == set(range(20))
            assert all(len(values_in(answer)) == 50 for answer in answers)


async def test_what_is_neither_read_nor_known_is_rejected_in_words_of_the_standard(port: int) -> None:
    async with service_of(make_controllers(1, points=1), port), asker(port) as ask:
        [answer] = await ask(to(10001, bytes((0, 5, 9, NO_RANGE)) + bytes.fromhex("0c000000011955")), expected=1)
        assert answer[11:].hex() == "600909"


def test_each_device_has_an_address_of_its_own() -> None:
    instances = (*range(1, 3000), 10_001, 20_000, 65_535, 65_536, 4_194_302)
    assert len({mac_of(instance) for instance in instances}) == len(instances)
    assert [mac_of(instance).hex() for instance in (2001, 2029, 10_001)] == ["01", "1d", "2711"]


async def test_a_process_with_a_thousand_devices_of_a_hundred_points_stays_small(context: Context, port: int) -> None:
    config = SimulatorConfig(port=port, controllers=1000, points=100)
    child = BuildingProcess(config, context.log)
    await child.start()
    try:
        async with asker(port) as ask:
            refs = [Ref(ObjectId(0, 1 + n), PRESENT_VALUE) for n in range(50)]
            for instance in range(10_001, 11_001):
                [answer] = await ask(to(instance, read_many(refs)), expected=1)
                assert len(values_in(answer)) == 50
            [answer] = await ask(to(2001, read(refs[0])), expected=1)
            assert answer[read_npdu(answer, bvll.HEADER).at] == apdu.PduType.COMPLEX_ACK << 4
        assert resident_mb(child.pid) < LARGEST_MB
    finally:
        await child.stop()
