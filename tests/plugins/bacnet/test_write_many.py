"""Writing many points of a device: in few requests where it can, in order, each with its own success."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import Error, SimpleAckPDU, WritePropertyMultipleError
from bacpypes3.app import Application
from bacpypes3.basetypes import ErrorType, ObjectPropertyReference
from bacpypes3.errors import ExecutionError, UnrecognizedService
from bacpypes3.primitivedata import ObjectIdentifier, Real

from core.errors import DeviceTimeout, NotSent, NotWritable, PlantroomError, PriorityNotAllowed, ValueNotSuitable
from core.model import Command, WriteResult

HERE = "127.0.0.92/8:47904"
THERE = "127.0.0.93/8:47904"
COUNT = 12


class Watch:
    """A device whose writes are counted, and which can be told how to take those at once."""

    def __init__(self, equipment) -> None:
        self.equipment = equipment
        self.singles, self.multiples = [], []
        self.refusal = None
        self.silent = False
        equipment.do_WritePropertyRequest = self.single
        equipment.do_WritePropertyMultipleRequest = self.several

    async def single(self, apdu):
        self.singles.append(int(apdu.objectIdentifier[1]))
        if apdu.objectIdentifier[1] == 5:
            raise ExecutionError(errorClass="property", errorCode="writeAccessDenied")
        await Application.do_WritePropertyRequest(self.equipment, apdu)

    async def several(self, apdu):
        numbers = [int(spec.objectIdentifier[1]) for spec in apdu.listOfWriteAccessSpecs for _ in spec.listOfProperties]
        self.multiples.append(numbers)
        if self.silent:
            return
        if self.refusal is not None:
            raise self.refusal
        await Application.do_WritePropertyMultipleRequest(self.equipment, apdu)


@pytest.fixture
async def site(bench, start):
    """Twelve outputs of a device, and a way to write them at once."""
    device = bench.device(THERE, 2001, [bench.analog_output(number) for number in range(1, COUNT + 1)])
    house = await start(HERE)
    report = await house.scan()

    async def write(*wanted, **fields):
        commands = [
            Command(str(index), "x", "test", report.point(f"bacnet.2001.analog-output.{number}"), value, **fields)
            for index, (number, value) in enumerate(wanted)
        ]
        return await told(house, commands)

    write.watch, write.house, write.device = Watch(device), house, device
    write.profile = house.plugin.driver.profiles.get("bacnet.2001")
    return write


async def told(house, commands):
    results = {}
    async for found in house.plugin.driver.write_many(commands):
        results |= found
    return [results[index] for index in range(len(commands))]


def values(results):
    return [result.value if isinstance(result, WriteResult) else type(result) for result in results]


async def test_many_points_are_written_and_read_back_with_one_request_each_way(site):
    site.device.multiples = 0
    results = await site(*((number, float(number)) for number in range(1, COUNT + 1)), priority=9)
    assert values(results) == [float(number) for number in range(1, COUNT + 1)]
    assert all(result.verified and result.effective and result.active_priority == 9 for result in results)
    assert site.watch.multiples == [list(range(1, COUNT + 1))]
    assert (site.watch.singles, site.device.multiples) == ([], 1)


async def test_requests_are_no_longer_than_the_device_takes(bench, start):
    outputs = [bench.analog_output(number) for number in range(1, COUNT + 1)]
    device = bench.device(THERE, 2001, outputs, maxApduLengthAccepted=128, segmentationSupported="no-segmentation")
    house = await start(HERE)
    report = await house.scan()
    watch = Watch(device)
    longest = 0

    async def indication(apdu, hear=device.indication):
        nonlocal longest
        longest = max(longest, len(apdu.pduData) + 4)
        await hear(apdu)

    device.indication = indication
    points = [report.point(f"bacnet.2001.analog-output.{number}") for number in range(1, COUNT + 1) if number != 5]
    results = await told(house, [Command(p.key, "x", "test", p, 1.0, priority=9) for p in points])
    assert values(results) == [1.0] * (COUNT - 1)
    assert len(watch.multiples) > 1
    assert 0 < longest <= 128


async def test_what_the_device_refuses_fails_alone_and_the_rest_goes_on(site):
    async def several(apdu):
        refs = [(spec, each) for spec in apdu.listOfWriteAccessSpecs for each in spec.listOfProperties]
        site.watch.multiples.append([int(spec.objectIdentifier[1]) for spec, _each in refs])
        await failing_at(site.device, apdu, 5)

    site.device.do_WritePropertyMultipleRequest = several
    results = await site(*((number, float(number)) for number in (1, 3, 5, 7, 9)))
    assert values(results) == [1.0, 3.0, NotWritable, 7.0, 9.0]
    assert site.watch.multiples == [[1, 3, 5, 7, 9], [7, 9]], "what came before is written, what comes behind is not"
    assert site.watch.singles == []


async def failing_at(equipment, apdu, number):
    """Take writes in order up to one that fails, which is named (ASHRAE 135, 15.10.1.3.1)."""
    for spec in apdu.listOfWriteAccessSpecs:
        (each,) = spec.listOfProperties
        if spec.objectIdentifier[1] == number:
            error = WritePropertyMultipleError(
                errorType=ErrorType(errorClass="property", errorCode="write-access-denied"),
                firstFailedWriteAttempt=ObjectPropertyReference(
                    objectIdentifier=spec.objectIdentifier, propertyIdentifier=each.propertyIdentifier
                ),
                service_choice=16,
                context=apdu,
            )
            await equipment.response(error)
            return
        output = equipment.get_object_id(spec.objectIdentifier)
        await output.write_property(each.propertyIdentifier, each.value.cast_out(Real), None, each.priority)
    await equipment.response(SimpleAckPDU(context=apdu))


async def test_a_device_that_does_not_say_what_failed_is_written_to_one_by_one(site):
    async def plain(apdu):
        site.watch.multiples.append(None)
        await site.device.response(Error(errorClass="property", errorCode="write-access-denied", context=apdu))

    site.device.do_WritePropertyMultipleRequest = plain
    results = await site(*((number, float(number)) for number in (4, 5, 6)))
    assert values(results) == [4.0, NotWritable, 6.0]
    assert (site.watch.multiples, site.watch.singles) == ([None], [4, 5, 6])
    assert site.profile.write_multiple, "it knows the service"


async def test_a_device_that_does_not_know_the_service_is_not_asked_for_it_again(site):
    site.watch.refusal = UnrecognizedService()
    assert values(await site((1, 1.0), (2, 2.0))) == [1.0, 2.0]
    assert values(await site((3, 3.0), (4, 4.0))) == [3.0, 4.0]
    assert (site.watch.multiples, site.watch.singles) == ([[1, 2]], [1, 2, 3, 4])
    assert site.profile.write_multiple is False
    assert site.profile.learned()["write_property_multiple"] is False
    fresh = type(site.profile).begin(2001, site.profile.station, 1476, site.house.plugin.driver._reader.traffic,
                                     can_segment=site.profile.can_segment)  # fmt: skip
    fresh.recall(site.profile.learned(), 0.0)
    assert not fresh.writes_multiple(1.0)
    assert fresh.writes_multiple(3600.0), "it may have been mended"


async def test_two_writes_to_one_point_are_both_carried_out_in_order(site):
    results = await site((1, 5.0), (2, 6.0), (1, 7.0), (1, 8.0))
    assert values(results) == [5.0, 6.0, 7.0, 8.0]
    assert all(result.verified for result in results)
    assert site.watch.multiples == [[1, 2]]
    assert site.watch.singles == [1, 1]
    assert site.device.get_object_id(ObjectIdentifier("analog-output,1")).presentValue == 8.0


async def test_a_batch_without_answer_may_have_been_carried_out_and_nothing_follows_it(site):
    site.watch.silent = True
    results = await site((1, 5.0), (2, 6.0), (1, 7.0))
    assert values(results) == [DeviceTimeout, DeviceTimeout, NotSent]
    assert ["may have been carried out" in str(result) for result in results] == [True, True, False]
    assert (site.watch.multiples, site.watch.singles) == [[[1, 2]], []] or site.watch.singles == []


async def test_a_device_that_falls_silent_between_single_writes_gets_no_more(site):
    site.watch.refusal = UnrecognizedService()

    async def single(apdu):
        site.watch.singles.append(int(apdu.objectIdentifier[1]))
        if len(site.watch.singles) < 2:
            await Application.do_WritePropertyRequest(site.device, apdu)

    site.device.do_WritePropertyRequest = single
    results = await site((1, 5.0), (2, 6.0), (3, 7.0))
    assert values(results) == [5.0, DeviceTimeout, NotSent]
    assert site.watch.singles == [1, 2]
    assert "may have been" in str(results[1])


async def test_what_cannot_be_right_fails_alone_before_anything_is_sent(site):
    results = await site((1, 5.0), (2, "warm"), (3, 7.0))
    assert values(results) == [5.0, ValueNotSuitable, 7.0]
    assert site.watch.multiples == [[1, 3]]
    assert all(isinstance(result, PriorityNotAllowed) for result in await site((1, 5.0), (2, 6.0), priority=1))
    assert all(isinstance(result, PlantroomError) for result in await site((2, "warm")))
    assert site.watch.multiples == [[1, 3]]
