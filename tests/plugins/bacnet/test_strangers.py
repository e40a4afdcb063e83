"""Devices that answer what no device should, byte by byte."""

from __future__ import annotations

import asyncio
import struct

import attrs
import pytest
from bacpypes3.errors import ExecutionError, RejectException

from core.errors import DeviceRefused, DeviceTimeout
from core.model import Command, Device, Kind, Reason, Taken
from core.plugin import PointGroup
from plugins.bacnet.addresses import parse_station
from plugins.bacnet.config import OwnDevice
from plugins.bacnet.errors import Refusal, UnusableValue
from plugins.bacnet.objects import DEVICE, Datatype, Prop
from plugins.bacnet.requests import write_one
from plugins.bacnet.values import encode
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.write_property import Written

HERE = "127.0.0.90/8:47920"
THERE = ("127.0.0.91", 47920)
INVOKE_ID, SERVICE = 8, 9


class Stranger(asyncio.DatagramProtocol):
    """Answers each confirmed request with octets of our making: a function of the whole request."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.requests += 1
        apdu = self.answer(data)
        if apdu is not None:
            npdu = b"\x01\x00" + apdu
            self.transport.sendto(struct.pack(">BBH", 0x81, 0x0A, len(npdu) + 4) + npdu, address)


@pytest.fixture
async def stranger():
    transports = []

    async def meet(answer):
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(lambda: Stranger(answer), local_addr=THERE)
        transports.append(transport)
        return protocol

    yield meet
    for transport in transports:
        transport.close()


def ack(request, body):
    return bytes([0x30, request[INVOKE_ID], request[SERVICE]]) + body


def group(house, *keys):
    device = Device(id="bacnet.2001", plugin="bacnet", name="stranger", address="127.0.0.91:47920")
    return PointGroup(device, tuple(device.point(key) for key in keys), house.slots(len(keys)), 10.0)


def result(instance, prop, value):
    """Write one object's part of a ReadPropertyMultiple's answer."""
    return b"\x0c" + struct.pack(">I", instance) + b"\x1e\x29" + bytes([prop]) + b"\x4e" + value + b"\x4f\x1f"


async def test_an_answer_that_cannot_be_decoded_is_a_refusal_not_a_hang(start, stranger):
    await stranger(lambda request: ack(request, b"\x0c\xff"))
    house = await start(HERE)
    rows = await house.read(group(house, "analog-input.1", "analog-input.2"))
    for _value, reason, error in rows.values():
        assert reason is Reason.ERROR
        assert isinstance(error, DeviceRefused)
        assert error.extra["bacnet"]["code"] == "undecodable-answer"


async def test_one_broken_value_spoils_no_other(start, stranger):
    real = b"\x44" + struct.pack(">f", 21.5)
    parts = [
        result(1, 85, real),
        result(2, 85, b"\xe1\x00"),
        result(3, 85, b"\x75\x03\x00hi"),
        result(5, 85, b"\x21\x07"),
    ]
    await stranger(lambda request: ack(request, b"".join(parts)))
    house = await start(HERE)
    rows = await house.read(group(house, *(f"analog-input.{number}" for number in range(1, 6))))
    assert rows["analog-input.1"][0] == 21.5
    assert rows["analog-input.2"][2].extra["bacnet"]["code"] == "undecodable-value"
    assert rows["analog-input.3"][2].code == "bacnet.unusable_value"
    assert rows["analog-input.4"][2].extra["bacnet"]["code"] == "missing-from-answer"
    assert rows["analog-input.5"][0] == 7.0


async def test_random_answers_never_end_the_polling(start, stranger):
    seed = iter(range(10_000))
    await stranger(lambda request: ack(request, bytes((next(seed) * 37 + 11) % 256 for _ in range(23))))
    house = await start(HERE, timeout=0.1)
    wanted = group(house, "analog-input.1", "binary-value.2", "characterstring-value.3")
    for _ in range(3):
        rows = await house.read(wanted)
        assert {reason for _value, reason, _error in rows.values()} <= {Reason.ERROR, Reason.FAULT, Reason.NONE}


async def test_a_read_that_is_cancelled_leaves_nothing_behind(start, stranger):
    protocol = await stranger(lambda _request: None)
    house = await start(HERE, timeout=5.0)
    wanted = group(house, "analog-input.1")
    reading = asyncio.create_task(house.plugin.driver.read(wanted))
    async with asyncio.timeout(2):
        while not protocol.requests:
            await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    stack = house.plugin.clients[HERE]._stack
    assert stack._outstanding == {}
    assert stack.asap.clientTransactions == []
    protocol.answer = lambda request: ack(
        request, result(1, 85, b"\x44\x41\xac\x00\x00") + result(1, 111, b"\x82\x04\x00")
    )
    assert (await house.read(wanted))["analog-input.1"][0] == 21.5


async def test_an_answer_to_nobody_s_question_is_ignored(start, stranger):
    def answer(request):
        return bytes([0x30, (request[INVOKE_ID] + 1) % 256, request[SERVICE]]) + b"\x0c\xff"

    await stranger(answer)
    house = await start(HERE, timeout=0.1)
    with pytest.raises(DeviceTimeout):
        await house.read(group(house, "analog-input.1"))


async def test_an_address_without_a_way_to_it_is_a_timeout_that_says_why(start):
    house = await start(HERE)
    wanted = group(house, "analog-input.1")
    lost = attrs.evolve(wanted, device=attrs.evolve(wanted.device, address="10.255.255.1:47808"))
    with pytest.raises(DeviceTimeout, match=r"did not answer \(.+\)"):
        await house.read(lost)


async def test_a_priority_array_that_cannot_be_read_does_not_fail_the_write(bench, start):
    device = bench.device("127.0.0.91/8:47920", 2001, [bench.analog_output(1)])
    house = await start(HERE)
    point = (await house.scan()).point("bacnet.2001.analog-output.1")
    read = device.do_ReadPropertyRequest

    async def without_priority_array(apdu):
        if apdu.propertyIdentifier == Prop.PRIORITY_ARRAY:
            raise ExecutionError(errorClass="device", errorCode="operationalProblem")
        await read(apdu)

    device.do_ReadPropertyRequest = without_priority_array
    device.knows_multiple = False
    result = await house.plugin.driver.write(Command("1", "x", "test", point, 5.0, priority=9))
    assert (result.value, result.effective, result.active_priority) == (5.0, True, None)
    assert (result.priority, result.verified) == (9, True), "the present value tells it, where it is as written"
    with pytest.raises(DeviceRefused):
        await house.plugin.driver.priorities(point)


async def test_a_priority_array_of_another_length_is_refused(start, stranger):
    await stranger(lambda request: ack(request, b"\x0c\x00\x40\x00\x01\x19\x57\x3e\x00\x00\x00\x3f"))
    house = await start(HERE)
    wanted = group(house, "analog-output.1")
    await house.read(wanted)
    point = attrs.evolve(wanted.points[0], writable=True, commandable=True)
    with pytest.raises(DeviceRefused) as caught:
        await house.plugin.driver.priorities(point)
    assert caught.value.extra["bacnet"]["code"] == "undecodable-value"


async def test_a_write_whose_result_cannot_be_read_says_so(bench, start):
    device = bench.device("127.0.0.91/8:47920", 2001, [bench.analog_output(1)])
    house = await start(HERE)
    point = (await house.scan()).point("bacnet.2001.analog-output.1")
    taken = await refuse_reads(device, house, point)
    assert isinstance(taken, Taken)
    assert (taken.priority, taken.error.extra["bacnet"]["code"]) == (16, "device-busy")
    with pytest.raises(UnusableValue, match="where a boolean belongs"):
        await house.plugin.driver.priorities(attrs.evolve(point, kind=Kind.BOOLEAN))


async def refuse_reads(device, house, point):
    async def refuse(_apdu):
        raise ExecutionError(errorClass="device", errorCode="deviceBusy")

    device.do_ReadPropertyRequest = device.do_ReadPropertyMultipleRequest = refuse
    try:
        return await house.plugin.driver.write(Command("1", "x", "test", point, 5.0))
    finally:
        del device.do_ReadPropertyRequest, device.do_ReadPropertyMultipleRequest


async def test_an_object_list_that_is_refused_whole_is_read_by_index(bench, start):
    device = bench.device("127.0.0.91/8:47920", 2001, [bench.analog_input(number) for number in range(1, 4)])
    read = device.do_ReadPropertyRequest

    async def by_index_only(apdu):
        if apdu.propertyIdentifier == Prop.OBJECT_LIST and apdu.propertyArrayIndex is None:
            raise ExecutionError(errorClass="device", errorCode="operationalProblem")
        await read(apdu)

    device.do_ReadPropertyRequest = by_index_only
    house = await start(HERE)
    assert len((await house.scan()).inventories["bacnet.2001"].points) == 3


async def test_a_device_without_object_list_is_told_of(bench, start):
    device = bench.device("127.0.0.91/8:47920", 2001, [bench.analog_input(1)])

    class Unfit(RejectException):
        rejectReason = "other"  # noqa: N815 - bacpypes3's name

    async def none_of_it(_apdu):
        raise Unfit

    device.do_ReadPropertyRequest = none_of_it
    house = await start(HERE)
    report = await house.scan()
    assert report.codes == ["device.unreadable"]
    assert "reject other" in report.warnings[0][1]


async def test_nobody_on_the_network_can_change_our_own_device(start):
    await start(HERE)
    other = await start("127.0.0.89/8:47920", device=OwnDevice(instance=600, name="Other"))
    client = next(iter(other.plugin.clients.values()))
    station = parse_station("127.0.0.90:47920")
    name = Ref(ObjectId(DEVICE, 599), Prop.OBJECT_NAME)
    assert decode_items(await client.read_long(station, name)) == ("Plantroom",)
    assert list((await other.scan()).inventories) == ["bacnet.599"]
    profile = other.plugin.driver.profiles.get("bacnet.599")
    write = Written(name, b"".join(encode(Datatype.CHARACTER_STRING, "Mine")), None)
    with pytest.raises(Refusal, match="write-access-denied"):
        await other.plugin.driver._reader.ask(profile, write_one(profile.path, write))
