"""Writes through REST to equipment that fails at the worst moment: nothing is lost, done twice, or done otherwise."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import AbortPDU, AbortReason, SimpleAckPDU
from bacpypes3.app import Application
from bacpypes3.basetypes import PriorityArray, PriorityValue
from bacpypes3.errors import ExecutionError, UnrecognizedService
from bacpypes3.object import AnalogValueObject
from bacpypes3.primitivedata import ObjectIdentifier, Real

HERE = "127.0.0.94/8:47900"
THERE = "127.0.0.95/8:47900"
YAML = f"""
http: {{port: 0}}
plugins:
  bacnet:
    networks: [{{address: "{HERE}"}}]
    timeout: 0.4
    retries: 0
    write: {{priorities: [8, 16]}}
"""
AT = "/api/v1/bacnet/devices/2001/objects"
ID = "bacnet.2001.analog-output.1"
POINT = f"/api/v1/points/{ID}"
KEY = {"Idempotency-Key": "k"}
PRESENT_VALUE, PRIORITY_ARRAY, RELINQUISH_DEFAULT = 85, 87, 104
BUSY = ExecutionError(errorClass="device", errorCode="deviceBusy")


class Watch:
    """Equipment that counts what is written to it, and does after a write what a test wants."""

    def __init__(self, equipment) -> None:
        self.equipment = equipment
        self.written: list[tuple[str, int | None]] = []
        self.then = lambda: None
        equipment.do_WritePropertyRequest = self.write

    async def write(self, apdu):
        self.written.append((str(apdu.objectIdentifier), apdu.priority))
        await Application.do_WritePropertyRequest(self.equipment, apdu)
        self.then()

    def refuse_reads(self, prop, error=BUSY):
        """Refuse to read a property, one by one and among others."""

        async def read(apdu):
            if int(apdu.propertyIdentifier) == prop:
                raise error
            await Application.do_ReadPropertyRequest(self.equipment, apdu)

        self.equipment.knows_multiple = False
        self.equipment.do_ReadPropertyRequest = read

    def fall_silent(self):
        self.equipment.mute = True


@pytest.fixture
async def site(bench, plantroom):
    equipment = bench.device(THERE, 2001, [bench.analog_input(1), bench.analog_output(1, description="Old")])
    site = await plantroom(YAML)
    await site.value_of("bacnet.2001.analog-input.1")
    site.equipment, site.watch = equipment, Watch(equipment)
    return site


@pytest.fixture
def late(site, bench):
    """Add an output that no scan has found, so that it is no point; return where its present value is."""
    site.equipment.add_object(bench.analog_output(7))
    return f"{AT}/analog-output.7/properties/present-value"


async def recorded(site):
    return await site.kernel.storage.read("SELECT id, result FROM commands")


# read-back


@pytest.mark.parametrize("place", [f"{POINT}/value", f"{AT}/analog-output.1/properties/present-value"])
async def test_a_write_that_was_taken_and_not_read_back_is_on_record_and_not_sent_again(site, place):
    site.watch.then = site.watch.fall_silent
    wanted = {"value": 44.0, "priority": 8}
    first = await site.api.put(place, wanted, headers=KEY)
    assert (first.status, first.json["code"], "had taken the write" in first.json["detail"]) == (
        504, "device.timeout", True,
    )  # fmt: skip
    assert len(await recorded(site)) == 1
    site.equipment.mute = False
    again = await site.api.put(place, wanted, headers=KEY)
    assert (again.status, again.json["detail"]) == (504, first.json["detail"])
    assert len(site.watch.written) == 1
    slots = (await site.api.get(f"{POINT}/priorities")).json["slots"]
    assert (slots[7]["value"], slots[7]["held_by"]) == (44.0, "anonymous")


async def test_a_read_back_that_the_device_refuses_is_its_words_and_the_write_is_on_record(site):
    site.watch.then = lambda: site.watch.refuse_reads(PRESENT_VALUE)
    answers = [await site.api.put(f"{POINT}/value", {"value": 5.0, "priority": 8}, headers=KEY) for _ in range(2)]
    assert [(each.status, each.json["bacnet"]["code"]) for each in answers] == [(502, "device-busy")] * 2
    assert "had taken the write" in answers[0].json["detail"]
    assert (len(site.watch.written), len(await recorded(site))) == (1, 1)


async def test_a_property_that_was_taken_and_not_read_back_is_on_record_and_not_sent_again(site):
    place = f"{AT}/analog-output.1/properties/description"
    site.watch.then = site.watch.fall_silent
    first = await site.api.put(place, {"value": "Valve"}, headers=KEY)
    site.equipment.mute = False
    again = await site.api.put(place, {"value": "Valve"}, headers=KEY)
    assert [each.status for each in (first, again)] == [504, 504]
    assert "had taken the write" in again.json["detail"]
    assert (len(site.watch.written), len(await recorded(site))) == (1, 1)


async def test_what_a_present_value_is_answered_with_is_what_the_write_read_back(site):
    reads = []

    async def read(apdu):
        reads.append(int(apdu.propertyIdentifier))
        await Application.do_ReadPropertyRequest(site.equipment, apdu)

    site.equipment.knows_multiple = False
    site.equipment.do_ReadPropertyRequest = read
    reply = await site.api.put(f"{AT}/analog-output.1/properties/present-value", {"value": 5.0, "priority": 8})
    assert (reply.json["value"], reply.json["datatype"], reply.json["verified"]) == (5.0, "real", True)
    assert reads.count(PRESENT_VALUE) == 1


async def test_a_write_that_the_device_drops_is_not_effective(site):
    async def drop(apdu):
        await site.equipment.response(SimpleAckPDU(context=apdu))

    site.equipment.do_WritePropertyRequest = drop
    reply = await site.api.put(f"{POINT}/value", {"value": 99.0, "priority": 8})
    assert (reply.json["effective"], reply.json["verified"], reply.json["active_priority"]) == (False, False, None)


# at the priority that was asked for


async def test_a_busy_device_is_not_taken_for_one_without_priority_array(site, late):
    site.watch.refuse_reads(PRIORITY_ARRAY)
    reply = await site.api.put(late, {"value": 5.0, "priority": 8})
    assert (reply.status, reply.json["bacnet"]["code"]) == (502, "device-busy")
    assert site.watch.written == []
    assert await recorded(site) == []


async def test_the_slot_proves_the_write_of_a_present_value_that_is_no_point(site, late):
    await site.api.put(late, {"value": 5.0, "priority": 8})
    weaker = await site.api.put(late, {"value": 6.0, "priority": 16})
    assert (weaker.json["value"], weaker.json["verified"]) == (5.0, True)
    gone = await site.api.put(late, {"value": None, "priority": 16})
    assert (gone.json["value"], gone.json["verified"]) == (5.0, True)
    assert site.watch.written == [("analog-output,7", 8), ("analog-output,7", 16), ("analog-output,7", 16)]


async def test_a_priority_means_nothing_where_there_is_no_priority_array_and_is_refused(site, bench):
    site.equipment.add_object(bench.analog_input(7))
    place = f"{AT}/analog-input.7/properties/present-value"
    for path, name in ((place, "input.7"), ("/api/v1/points/bacnet.2001.analog-input.1/value", "input.1")):
        reply = await site.api.put(path, {"value": 5.0, "priority": 8})
        assert (reply.status, reply.json["code"]) == (409, "point.not_writable")
        assert f"{name} has no priority array; leave `priority` out" in reply.json["detail"]
    assert site.watch.written == []


@pytest.mark.parametrize("body", [{"index": 1, "value": {"real": 55.0}}, {"value": [None] * 16}])
async def test_a_priority_array_is_not_written_to_itself(site, body):
    reply = await site.api.put(f"{AT}/analog-output.1/properties/priority-array", body)
    assert (reply.status, reply.json["code"]) == (409, "point.not_writable")
    assert "write analog-output.1 present-value at a `priority`" in reply.json["detail"]
    assert site.watch.written == []


async def test_a_present_value_is_not_written_by_index(site):
    reply = await site.api.put(f"{AT}/analog-output.1/properties/present-value", {"index": 1, "value": 55.0})
    assert (reply.status, reply.json["errors"][0]["field"]) == (422, "index")
    assert site.watch.written == []


async def test_a_point_stays_commandable_though_its_device_could_not_tell_so_once(bench, plantroom):
    value = bench.plain(
        AnalogValueObject, "analog-value", 5.0, units="percent", eventState="normal", outOfService=False,
        priorityArray=PriorityArray([PriorityValue(null=()) for _ in range(16)]), relinquishDefault=5.0,
    )  # fmt: skip
    equipment = bench.device(THERE, 2001, [bench.analog_input(1), value])
    site = await plantroom(YAML)
    await site.value_of("bacnet.2001.analog-input.1")
    path = "/api/v1/points/bacnet.2001.analog-value.1"
    assert (await site.api.get(path)).json["commandable"]

    async def read(apdu):
        if int(apdu.propertyIdentifier) in {RELINQUISH_DEFAULT, PRIORITY_ARRAY}:
            abort = AbortPDU(True, apdu.apduInvokeID, AbortReason.outOfResources)
            abort.pduDestination = apdu.pduSource
            await Application.response(equipment, abort)
            return
        await Application.do_ReadPropertyRequest(equipment, apdu)

    equipment.knows_multiple = False
    equipment.do_ReadPropertyRequest = read
    job = (await site.api.post("/api/v1/scans", {})).json["id"]

    async def is_over():
        return (await site.api.get(f"/api/v1/jobs/{job}")).json["state"] == "succeeded"

    await site.until(is_over)
    assert (await site.api.get(path)).json["commandable"]
    del equipment.do_ReadPropertyRequest
    watch = Watch(equipment)
    reply = await site.api.put(f"{path}/value", {"value": 9.0, "priority": 8})
    assert (reply.status, watch.written) == (200, [("analog-value,1", 8)])


# once


async def test_a_batch_that_broke_off_is_gone_on_with_when_it_is_sent_again(site):
    async def unknown(_apdu):
        raise UnrecognizedService

    site.equipment.do_WritePropertyMultipleRequest = unknown
    writes = [{"point_id": ID, "value": 1.0, "priority": 8}, {"point_id": ID, "value": 2.0, "priority": 16}]
    site.watch.then = lambda: len(site.watch.written) < 2 or site.watch.fall_silent()
    first = await site.api.post("/api/v1/writes", {"writes": writes}, headers=KEY)
    assert [item.get("verified", item.get("error", {}).get("status")) for item in first.json["items"]] == [True, 504]
    site.equipment.mute = False
    again = await site.api.post("/api/v1/writes", {"writes": writes}, headers=KEY)
    assert again.json["items"][0]["verified"] is True
    assert "had taken the write" in again.json["items"][1]["error"]["detail"]
    assert len(site.watch.written) == 2


async def test_a_repeated_write_is_answered_though_its_device_is_silent(site, late):
    wanted = {"value": 5.0, "priority": 8}
    first = await site.api.put(late, wanted, headers=KEY)
    site.equipment.mute = True
    again = await site.api.put(late, wanted, headers=KEY)
    assert (again.status, again.json) == (200, first.json)


async def test_a_write_that_was_not_sent_is_sent_when_it_is_asked_for_again(site, late):
    site.equipment.mute = True
    first = await site.api.put(late, {"value": 5.0, "priority": 8}, headers=KEY)
    assert (first.status, "Nothing was written" in first.json["detail"]) == (504, True)
    assert await recorded(site) == []
    site.equipment.mute = False
    assert (await site.api.put(late, {"value": 5.0, "priority": 8}, headers=KEY)).status == 200


async def test_a_key_that_was_used_for_another_write_is_refused_the_same_way_everywhere(site):
    place = f"{AT}/analog-output.1/properties/present-value"
    assert (await site.api.put(f"{POINT}/value", {"value": 5.0, "priority": 8}, headers=KEY)).status == 200
    for path in (f"{POINT}/value", place):
        reply = await site.api.put(path, {"value": 6.0, "priority": 8}, headers=KEY)
        assert (reply.status, reply.json["code"]) == (422, "request.invalid")
        assert [(fault["field"], fault["code"]) for fault in reply.json["errors"]] == [("Idempotency-Key", "reused")]


# values


@pytest.mark.parametrize("prop", ["present-value", "description", "9999", "object-list"])
@pytest.mark.parametrize("depth", [70, 250, 450, 700])
async def test_a_value_deeper_than_any_is_refused(site, prop, depth):
    value: object = 1
    for _ in range(depth):
        value = [value]
    reply = await site.api.put(f"{AT}/analog-output.1/properties/{prop}", {"value": value})
    assert (reply.status, reply.json["code"]) == (422, "value.not_suitable")


@pytest.mark.parametrize("value", [[], {"type": "bit-string", "value": ""}, {"type": "group", "tag": 1, "items": []}])
async def test_a_value_that_no_point_can_have_does_not_suit(site, value):
    reply = await site.api.put(f"{AT}/analog-output.1/properties/present-value", {"value": value})
    assert (reply.status, reply.json["code"]) == (422, "value.not_suitable")
    assert site.equipment.get_object_id(ObjectIdentifier("analog-output,1")).presentValue == Real(10.0)
