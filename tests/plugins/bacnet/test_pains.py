"""What users of other gateways complain of, each so that it cannot happen here."""

from __future__ import annotations

import asyncio
import struct

import pytest

from core.errors import DeviceTimeout
from core.model import Device, Reason
from core.plugin import PointGroup
from plugins.bacnet.traffic import PER_DEVICE
from plugins.bacnet.wire import apdu, bvll, npdu
from plugins.bacnet.wire import read_property_multiple as rpm

HERE = "127.0.0.90/8:47930"
ROUTER = ("127.0.0.91", 47930)
OK = b"\x82\x04\x00"


class Trunk(asyncio.DatagramProtocol):
    """A router with devices behind it that answer each after so many seconds, and one after the other if ``serial``.

    ``dead`` are the MACs that do not answer; ``most`` is how many requests were ever under way at once.
    """

    def __init__(self, delay_s, dead=(), *, serial=True):
        self.delay_s = delay_s
        self.dead = set(dead)
        self.under_way = self.most = self.requests = 0
        self.points = 0
        self._bus = asyncio.Semaphore(1 if serial else 1000)
        self._tasks = set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        header = npdu.read_npdu(data, bvll.HEADER)
        if data[header.at] >> 4:
            return
        self.requests += 1
        if header.destination.mac in self.dead:
            return
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        task = asyncio.create_task(self._answer(data, header, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data, header, address):
        async with self._bus:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
        self.under_way -= 1
        request = apdu.read_request(data, header.at)
        if request.service == apdu.Service.READ_PROPERTY:
            result = data[request.at :] + b"\x3e\x75\x02\x00x\x3f"
        else:
            result = self._result(data[request.at :])
        message = npdu.write_npdu(source=header.destination) + apdu.write_complex_ack(
            request.service, request.invoke_id, result
        )
        self.transport.sendto(bvll.unicast(message), address)

    def _result(self, parameters):
        octets = b""
        for ref in rpm.read_parameters(parameters):
            value = OK if ref.property == 111 else b"\x44" + struct.pack(">f", ref.object.instance)
            self.points += ref.property == 85
            octets += rpm.write_object(ref.object, rpm.write_element(ref, value))
        return octets


@pytest.fixture
async def trunk():
    transports = []

    async def lay(delay_s=0.0, dead=(), **options):
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: Trunk(delay_s, dead, **options), local_addr=ROUTER
        )
        transports.append(transport)
        return protocol

    yield lay
    for transport in transports:
        transport.close()


def group(house, mac, count, *, max_apdu=480):
    attributes = {"max_apdu": max_apdu, "instance": 2000 + mac}
    address = f"2001:{mac}@{ROUTER[0]}:{ROUTER[1]}"
    device = Device(
        id=f"bacnet.{2000 + mac}", plugin="bacnet", name=f"device {mac}", address=address, attributes=attributes
    )
    points = tuple(device.point(f"analog-input.{number}") for number in range(1, count + 1))
    return PointGroup(device, points, house.slots(count), 10.0)


def is_good(rows):
    return all(reason is Reason.NONE for _value, reason, _error in rows.values())


async def test_slow_trunks_are_asked_one_thing_at_a_time(start, trunk):
    bus = await trunk(0.03)
    house = await start(HERE, timeout=2.0, retries=1)
    groups = [group(house, mac, 40) for mac in range(1, 6)]
    network = None
    async with asyncio.timeout(30):
        while network is None or not network.pace.is_serial:
            assert all(is_good(rows) for rows in await asyncio.gather(*(house.read(each) for each in groups)))
            network = house.plugin.driver.profiles.get("bacnet.2001").lane.network
    bus.most = 0
    await asyncio.gather(*(house.read(each) for each in groups))
    assert network.pace.limit == bus.most == 1
    assert house.plugin.clients[HERE].engine.tally.repeats == 0, "nothing was lost in a queue of the bus"


async def test_fast_networks_behind_a_router_are_not_taken_for_slow_trunks(start, trunk):
    fast = await trunk(0.005, serial=False)
    house = await start(HERE, timeout=2.0)
    groups = [group(house, mac, 40) for mac in range(1, 9)]
    for _ in range(12):
        assert all(is_good(rows) for rows in await asyncio.gather(*(house.read(each) for each in groups)))
    assert fast.most > 1
    assert house.plugin.driver.profiles.get("bacnet.2001").lane.network.pace.limit > 2


async def test_many_devices_on_one_address_each_have_their_own_answers(start, trunk):
    await trunk()
    house = await start(HERE, timeout=2.0)
    groups = [group(house, mac, 3 + mac % 7) for mac in range(1, 101)]
    answers = await asyncio.gather(*(house.read(each) for each in groups))
    for each, rows in zip(groups, answers, strict=True):
        assert {key: value for key, (value, _reason, _error) in rows.items()} == {
            point.key: float(point.key.rpartition(".")[2]) for point in each.points
        }


async def test_dead_devices_on_one_address_delay_none_of_the_others(start, trunk):
    bus = await trunk(dead=[bytes((mac,)) for mac in range(1, 6)])
    house = await start(HERE, timeout=30.0)
    dead = [group(house, mac, 5) for mac in range(1, 6)]
    alive = [group(house, mac, 5) for mac in range(6, 31)]
    for each in dead:
        house.plugin.driver._profile(each.device).lane.silent = True
    waiting = [asyncio.create_task(house.read(each)) for each in (*dead, *dead)]
    async with asyncio.timeout(20):
        for _ in range(5):
            assert all(is_good(rows) for rows in await asyncio.gather(*(house.read(each) for each in alive)))
    assert not any(task.done() for task in waiting)
    assert bus.requests == 5 * len(alive) + len(dead), "a dead device costs one small request, whoever waits for it"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_polling_that_stopped_goes_on_when_the_device_is_back(start, trunk):
    bus = await trunk(dead=[b"\1"])
    house = await start(HERE, timeout=0.05)
    wanted = group(house, 1, 60)
    for _ in range(4):
        with pytest.raises(DeviceTimeout):
            await house.read(wanted)
    bus.dead.clear()
    assert is_good(await house.read(wanted))
    bus.requests = 0
    assert is_good(await house.read(wanted))
    assert bus.requests == len(house.plugin.driver._plan(wanted, house.plugin.driver.profiles.get("bacnet.2001")).asked)


async def test_too_many_points_are_read_with_as_few_requests_as_their_answers_fit_in(start, trunk):
    bus = await trunk(0.005, serial=False)
    house = await start(HERE, timeout=2.0)
    wanted = group(house, 1, 1400, max_apdu=1476)
    for _ in range(3):
        bus.requests = bus.most = 0
        rows = await house.read(wanted)
        assert len(rows) == 1400
        assert is_good(rows)
    assert bus.requests <= 1400 * 22 / 1400, "22 octets a point and its flags, into answers of 1476"
    assert bus.most <= PER_DEVICE


async def test_a_batch_is_not_lost_to_one_bad_object(bench, start):
    device = bench.device("127.0.0.92/8:47930", 2001, [bench.analog_input(number) for number in range(1, 30)])
    house = await start(HERE)
    report = await house.scan()
    wanted = house.group(report.inventories["bacnet.2001"])
    device.chokes_on = 17
    rows = await house.read(wanted)
    assert {key for key, (_value, reason, _error) in rows.items() if reason is not Reason.NONE} == set()
    await house.read(wanted)
    device.requests = 0
    await house.read(wanted)
    assert device.requests <= 4, "after the second time the bad one is asked for alone"


async def test_hangs_do_not_hold_the_house_up_and_fill_no_log(start, trunk, capsys):
    bus = await trunk(dead=[bytes((mac,)) for mac in range(1, 101)])
    house = await start(HERE, timeout=0.1)
    groups = [group(house, mac, 5) for mac in range(1, 101)]
    capsys.readouterr()
    turns, running = 0, True

    async def live():
        nonlocal turns
        while running:
            await asyncio.sleep(0)
            turns += 1

    living = asyncio.create_task(live())
    for _ in range(3):
        before = turns
        answers = await asyncio.gather(*(house.read(each) for each in groups), return_exceptions=True)
        assert all(isinstance(answer, DeviceTimeout) for answer in answers)
        assert turns - before > 20, "all else goes on meanwhile"
    running = False
    await living
    assert capsys.readouterr().out == "", "the kernel logs that a device is offline, once"
    assert bus.requests <= 3 * 100
