"""Writing: what suits goes out at an allowed priority, is read back, and a refusal is told in our words."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import SimpleAckPDU
from bacpypes3.app import Application
from bacpypes3.basetypes import DateTime
from bacpypes3.errors import ExecutionError, RejectException
from bacpypes3.local.analog import AnalogValueObject
from bacpypes3.local.binary import BinaryOutputObject
from bacpypes3.local.multistate import MultiStateOutputObject
from bacpypes3.object import (
    CharacterStringValueObject,
    DateTimeValueObject,
    DateValueObject,
    OctetStringValueObject,
    PositiveIntegerValueObject,
    TimeValueObject,
)
from bacpypes3.primitivedata import ObjectIdentifier, PropertyIdentifier

from core.errors import (
    DeviceRefused,
    DeviceTimeout,
    NotSent,
    NotWritable,
    PointNotFound,
    PriorityNotAllowed,
    Unavailable,
    ValueNotSuitable,
)
from core.model import Command, Flag, Priorities, Taken
from plugins.bacnet.config import Write

HERE = "127.0.0.90/8:47903"
THERE = "127.0.0.91/8:47903"


@pytest.fixture
async def equipment(bench):
    return bench.device(
        THERE,
        2001,
        [
            bench.analog_input(1),
            bench.analog_output(1, minPresValue=0.0, maxPresValue=100.0),
            AnalogValueObject(
                objectIdentifier=("analog-value", 1),
                objectName="av",
                presentValue=1.0,
                units="no-units",
                **bench.ok,
                covIncrement=1.0,
            ),
            BinaryOutputObject(
                objectIdentifier=("binary-output", 1),
                objectName="fan",
                presentValue="inactive",
                polarity="normal",
                relinquishDefault="inactive",
                inactiveText="Off",
                activeText="On",
                **bench.ok,
            ),
            MultiStateOutputObject(
                objectIdentifier=("multi-state-output", 1),
                objectName="mode",
                presentValue=1,
                numberOfStates=3,
                stateText=["Off", "Heat", "Cool"],
                relinquishDefault=1,
                **bench.ok,
            ),
            bench.plain(CharacterStringValueObject, "characterstring-value", "hello"),
            bench.plain(OctetStringValueObject, "octetstring-value", b"\1\2"),
            bench.plain(DateValueObject, "date-value", (126, 1, 31, 6)),
            bench.plain(TimeValueObject, "time-value", (13, 45, 0, 0)),
            bench.plain(DateTimeValueObject, "datetime-value", DateTime(date=(126, 1, 31, 6), time=(13, 45, 0, 0))),
            bench.plain(PositiveIntegerValueObject, "positive-integer-value", 3, units="no-units"),
        ],
    )


@pytest.fixture
async def write(equipment, start):
    """Write to a point of the equipment: its key, a value or None to relinquish, a priority."""
    house = await start(HERE)
    report = await house.scan()

    async def write(key, value=None, *, priority=None, **fields):
        point = report.point(f"bacnet.2001.{key}")
        command = Command("1", "somebody", "test", point, value, relinquish=value is None, priority=priority, **fields)
        return await house.plugin.driver.write(command)

    write.house, write.report = house, report
    return write


async def test_a_write_takes_its_priority_and_is_read_back(write, equipment):
    result = await write("analog-output.1", 42.5, priority=9)
    assert (result.value, result.flags, result.effective, result.active_priority) == (42.5, Flag(0), True, 9)
    result = await write("analog-output.1", 50.0, priority=8)
    assert (result.value, result.effective, result.active_priority) == (50.0, True, 8)
    result = await write("analog-output.1", 60.0)
    assert (result.value, result.effective, result.active_priority) == (50.0, False, 8)
    assert (result.priority, result.verified) == (16, True), "its slot holds it, though another is stronger"
    result = await write("analog-output.1", 60.0, priority=12)
    assert (result.value, result.effective, result.active_priority) == (50.0, False, 8)
    result = await write("analog-output.1", priority=8)
    assert (result.value, result.effective, result.active_priority) == (42.5, True, 9)
    result = await write("analog-output.1", priority=12)
    assert (result.effective, result.active_priority) == (True, 9), "its slot is empty, which was asked for"
    result = await write("analog-output.1", priority=9)
    assert (result.value, result.effective, result.active_priority) == (60.0, True, 16)
    result = await write("analog-output.1")
    assert (result.value, result.effective, result.active_priority) == (10.0, True, None)
    assert (result.priority, result.verified) == (16, True)


async def test_the_priority_array_shows_who_holds_the_point(write):
    await write("analog-output.1", 42.5, priority=9)
    point = write.report.point("bacnet.2001.analog-output.1")
    priorities = await write.house.plugin.driver.priorities(point)
    assert priorities == Priorities((*[None] * 8, 42.5, *[None] * 7), 10.0)
    assert priorities.active == 9
    with pytest.raises(NotWritable):
        await write.house.plugin.driver.priorities(write.report.point("bacnet.2001.analog-value.1"))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("binary-output.1", True, True),
        ("binary-output.1", "On", True),
        ("multi-state-output.1", 2, 2),
        ("multi-state-output.1", "Cool", 3),
        ("analog-value.1", 7, 7.0),
        ("characterstring-value.1", "Grüße", "Grüße"),
        ("octetstring-value.1", "0a1b", "0a1b"),
        ("date-value.1", "2026-12-24", "2026-12-24"),
        ("time-value.1", "06:30:00.50", "06:30:00.50"),
        ("datetime-value.1", "2026-12-24T06:30:00", "2026-12-24T06:30:00"),
        ("positive-integer-value.1", 123456, 123456),
    ],
)
async def test_a_suitable_value_arrives_as_it_was_meant(write, key, value, shown):
    result = await write(key, value)
    assert (result.value, result.effective, result.verified) == (shown, True, True)
    assert result.priority == (16 if write.report.point(f"bacnet.2001.{key}").commandable else None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("analog-output.1", "warm"),
        ("analog-output.1", True),
        ("analog-output.1", float("nan")),
        ("analog-output.1", float("inf")),
        ("analog-output.1", 101),
        ("analog-value.1", 1e39),
        ("binary-output.1", 1),
        ("binary-output.1", "Perhaps"),
        ("multi-state-output.1", 9),
        ("multi-state-output.1", "Dry"),
        ("characterstring-value.1", 5),
        ("octetstring-value.1", "xyz"),
        ("date-value.1", "2026-02-30"),
        ("time-value.1", "25:00:00"),
        ("positive-integer-value.1", -1),
        ("positive-integer-value.1", 1.5),
    ],
)
async def test_a_value_that_does_not_suit_is_refused_before_anything_is_sent(write, equipment, key, value):
    equipment.requests = 0
    with pytest.raises(ValueNotSuitable) as caught:
        await write(key, value)
    assert caught.value.errors[0].field == "value"
    assert equipment.requests == 0


@pytest.mark.parametrize(
    ("key", "value", "priority", "error"),
    [
        ("analog-output.1", 5.0, 2, PriorityNotAllowed),
        ("analog-output.1", 5.0, 17, PriorityNotAllowed),
        ("analog-output.1", None, 1, PriorityNotAllowed),
        ("analog-value.1", None, None, NotWritable),
        ("analog-value.1", 5.0, 9, NotWritable),
        ("analog-input.1", 5.0, 9, NotWritable),
    ],
)
async def test_what_is_not_allowed_is_refused_before_anything_is_sent(write, equipment, key, value, priority, error):
    equipment.requests = 0
    with pytest.raises(error):
        await write(key, value, priority=priority)
    assert equipment.requests == 0


async def test_the_configuration_says_which_priorities_may_be_used(equipment, start):
    house = await start(HERE, write=Write(priorities=(5, 16), default_priority=16))
    point = (await house.scan()).point("bacnet.2001.analog-output.1")
    result = await house.plugin.driver.write(Command("1", "x", "test", point, 5.0))
    assert result.active_priority == 16
    result = await house.plugin.driver.write(Command("2", "x", "test", point, 6.0, priority=5))
    assert result.active_priority == 5


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (ExecutionError(errorClass="property", errorCode="valueOutOfRange"), ValueNotSuitable),
        (ExecutionError(errorClass="property", errorCode="invalidDataType"), ValueNotSuitable),
        (ExecutionError(errorClass="property", errorCode="writeAccessDenied"), NotWritable),
        (ExecutionError(errorClass="object", errorCode="unknownObject"), PointNotFound),
        (ExecutionError(errorClass="property", errorCode="unknownProperty"), PointNotFound),
        (ExecutionError(errorClass="device", errorCode="deviceBusy"), DeviceRefused),
    ],
)
async def test_a_refusal_of_the_device_is_told_in_our_words(write, equipment, refusal, error):
    async def refuse(_apdu):
        raise refusal

    equipment.do_WritePropertyRequest = refuse
    with pytest.raises(error) as caught:
        await write("analog-output.1", 5.0)
    if error is DeviceRefused:
        assert caught.value.extra == {"bacnet": {"kind": "error", "class": "device", "code": "device-busy"}}


async def test_a_reject_names_its_kind(write, equipment):
    class Refused(RejectException):
        rejectReason = "other"  # noqa: N815 - bacpypes3's name

    async def refuse(_apdu):
        raise Refused

    equipment.do_WritePropertyRequest = refuse
    with pytest.raises(DeviceRefused) as caught:
        await write("analog-output.1", 5.0)
    assert caught.value.extra == {"bacnet": {"kind": "reject", "class": None, "code": "other"}}


async def test_silence_is_a_timeout(write, equipment):
    equipment.mute = True
    with pytest.raises(DeviceTimeout, match="The write may have been carried out"):
        await write("analog-output.1", 5.0)


async def test_a_device_that_was_never_reached_is_not_written_to(write, start):
    other = await start("127.0.0.89/8:47903")
    point = write.report.point("bacnet.2001.analog-output.1")
    with pytest.raises(Unavailable):
        await other.plugin.driver.write(Command("1", "x", "test", point, 5.0))


async def test_a_short_apdu_does_not_hide_the_priority_array(bench, start):
    bench.device(
        THERE, 2001, [bench.analog_output(1)], maxApduLengthAccepted=50, segmentationSupported="no-segmentation"
    )
    house = await start(HERE)
    point = (await house.scan()).point("bacnet.2001.analog-output.1")
    for priority in (8, 9, 10, 11, 12, 13, 14, 15, 16):
        result = await house.plugin.driver.write(Command("1", "x", "test", point, float(priority), priority=priority))
        assert result.active_priority == 8
    assert (await house.plugin.driver.priorities(point)).slots[7:10] == (8.0, 9.0, 10.0)


async def test_an_input_takes_a_value_only_while_its_object_is_out_of_service(write, equipment):
    sensor = equipment.get_object_id(ObjectIdentifier("analog-input,1"))
    with pytest.raises(NotWritable, match=r"objects/analog-input\.1/properties/out-of-service") as caught:
        await write("analog-input.1", 5.0)
    assert caught.value.status == 409
    assert sensor.presentValue == 21.5
    sensor.outOfService = True
    result = await write("analog-input.1", 5.0)
    assert (result.value, result.priority, result.verified) == (5.0, None, True)
    sensor.outOfService = False
    with pytest.raises(NotWritable):
        await write("analog-input.1", 6.0)


async def test_an_input_that_cannot_be_taken_out_of_service_says_so(write, equipment):
    async def refuse(apdu):
        if apdu.propertyIdentifier == PropertyIdentifier.outOfService:
            raise ExecutionError(errorClass="property", errorCode="unknownProperty")
        await Application.do_ReadPropertyRequest(equipment, apdu)

    equipment.do_ReadPropertyRequest = refuse
    with pytest.raises(NotWritable, match="cannot be taken out of service"):
        await write("analog-input.1", 5.0)


async def test_an_output_out_of_service_is_written_and_its_flags_say_so(write, equipment):
    equipment.get_object_id(ObjectIdentifier("analog-output,1")).outOfService = True
    result = await write("analog-output.1", 5.0)
    assert (result.flags, result.verified) == (Flag.OUT_OF_SERVICE, True)


async def test_a_value_that_the_device_does_not_keep_is_not_verified(write, equipment):
    async def ignore(apdu):
        await equipment.response(SimpleAckPDU(context=apdu))

    equipment.do_WritePropertyRequest = ignore
    result = await write("analog-output.1", 5.0)
    assert (result.value, result.effective, result.verified) == (10.0, False, False)
    result = await write("analog-value.1", 5.0)
    assert (result.value, result.priority, result.effective, result.verified) == (1.0, None, False, False)


async def test_a_value_longer_than_the_devices_messages_is_refused_before_it_is_sent(bench, start):
    text = bench.plain(CharacterStringValueObject, "characterstring-value", "hello")
    device = bench.device(THERE, 2001, [text], maxApduLengthAccepted=128)
    house = await start(HERE)
    point = (await house.scan()).point("bacnet.2001.characterstring-value.1")
    device.requests = 0
    with pytest.raises(ValueNotSuitable, match="124 octets"):
        await house.plugin.driver.write(Command("1", "x", "test", point, "x" * 200))
    assert device.requests == 0


async def test_nothing_is_ever_written_at_a_priority_that_was_not_asked_for(write, equipment, until):
    """Watch the wire: whatever is asked for, allowed or not, one by one or at once."""
    watched: list[tuple[str, int | None]] = []

    async def single(apdu):
        watched.append((str(apdu.objectIdentifier), apdu.priority))
        await Application.do_WritePropertyRequest(equipment, apdu)

    async def several(apdu):
        for spec in apdu.listOfWriteAccessSpecs:
            for each in spec.listOfProperties:
                watched.append((str(spec.objectIdentifier), each.priority))  # noqa: PERF401 - reads better
        await Application.do_WritePropertyMultipleRequest(equipment, apdu)

    equipment.do_WritePropertyRequest, equipment.do_WritePropertyMultipleRequest = single, several
    expected: list[tuple[str, int | None]] = []
    asked = [*range(18), None]
    for priority in asked:
        try:
            await write("analog-output.1", 5.0, priority=priority)
        except PriorityNotAllowed:
            assert priority not in range(3, 17)
        else:
            expected.append(("analog-output,1", priority or 16))
        if priority in range(3, 17):
            await write("analog-output.1", priority=priority)
            expected.append(("analog-output,1", priority))
    assert watched == expected
    watched.clear()
    points = [write.report.point(f"bacnet.2001.{key}") for key in ("analog-output.1", "analog-value.1")]
    commands = [Command("1", "x", "test", point, 6.0, priority=number) for number in asked for point in points]
    async for _told in write.house.plugin.driver.write_many(commands):
        pass
    assert watched == [*(("analog-output,1", number) for number in (*range(3, 17), 16)), ("analog-value,1", None)]


async def test_a_device_that_falls_silent_behind_a_write_has_taken_it(write, equipment):
    async def last_word(apdu):
        await Application.do_WritePropertyRequest(equipment, apdu)
        equipment.mute = True

    equipment.do_WritePropertyRequest = last_word
    result = await write("analog-output.1", 5.0)
    assert isinstance(result, Taken)
    assert isinstance(result.error, DeviceTimeout) and "had taken the write" in str(result.error)
    assert result.priority == 16


async def test_an_input_of_a_silent_device_is_not_written(write, equipment):
    equipment.mute = True
    with pytest.raises(NotSent, match="Nothing was written"):
        await write("analog-input.1", 5.0)
