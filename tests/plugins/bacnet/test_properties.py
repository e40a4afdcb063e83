"""Objects and properties through REST, on the real kernel, from bacpypes3's devices over real UDP."""

from __future__ import annotations

import asyncio

import pytest
from bacpypes3.app import Application
from bacpypes3.basetypes import (
    DailySchedule,
    DateRange,
    DeviceObjectPropertyReference,
    TimeValue,
)
from bacpypes3.constructeddata import AnyAtomic
from bacpypes3.errors import ExecutionError
from bacpypes3.object import ScheduleObject
from bacpypes3.primitivedata import ObjectIdentifier, Real
from structlog.testing import capture_logs

from core.testing import running

HERE = "127.0.0.94/8:47902"
THERE = "127.0.0.95/8:47902"
YAML = f"""
http: {{port: 0}}
plugins:
  bacnet:
    networks: [{{address: "{HERE}"}}]
    timeout: 0.4
    retries: 0
"""
AT = "/api/v1/bacnet/devices/2001/objects"
OUTPUT = f"{AT}/analog-output.1/properties"
SENSOR = f"{AT}/analog-input.1/properties"
WEEK = f"{AT}/schedule.1/properties/weekly-schedule"
POINT = "/api/v1/points/bacnet.2001.analog-output.1"


def schedule(bench):
    day = DailySchedule(daySchedule=[TimeValue(time=(6, 30, 0, 0), value=AnyAtomic(Real(21.0)))])
    reference = DeviceObjectPropertyReference(objectIdentifier=("analog-output", 1), propertyIdentifier="present-value")
    return bench.plain(
        ScheduleObject, "schedule", AnyAtomic(Real(20.0)),
        effectivePeriod=DateRange(startDate=(255, 255, 255, 255), endDate=(255, 255, 255, 255)),
        weeklySchedule=[day] * 7,
        listOfObjectPropertyReferences=[reference],
    )  # fmt: skip


@pytest.fixture
async def equipment(bench):
    return bench.device(
        THERE,
        2001,
        [
            bench.analog_input(1, description="Supply"),
            bench.analog_output(1, description="Valve"),
            schedule(bench),
        ],
    )


@pytest.fixture
async def site(equipment, plantroom):
    site = await plantroom(YAML)
    await site.value_of("bacnet.2001.analog-input.1")
    site.equipment = equipment
    return site


def logged(logs, event):
    return [line for line in logs if line["event"] == event]


async def test_all_objects_of_a_device_are_listed_those_too_that_are_no_points(site):
    reply = await site.api.get(AT)
    assert reply.status == 200
    items = {item["object_id"]: item["point_id"] for item in reply.json["items"]}
    assert items["analog-input.1"] == "bacnet.2001.analog-input.1"
    assert items["device.2001"] is None


async def test_an_object_shows_all_its_properties(site):
    reply = await site.api.get(f"{AT}/analog-input.1")
    assert (reply.status, reply.json["point_id"]) == (200, "bacnet.2001.analog-input.1")
    shown = {item["property"]: item.get("value") for item in reply.json["properties"]}
    assert shown["present-value"] == 21.5
    assert shown["units"] == "degrees-celsius"
    assert shown["status-flags"] == {"in-alarm": False, "fault": False, "overridden": False, "out-of-service": False}
    assert shown["object-identifier"] == "analog-input.1"
    device = await site.api.get(f"{AT}/device.2001")
    shown = {item["property"]: item.get("value") for item in device.json["properties"]}
    assert shown["protocol-services-supported"]["read-property"] is True
    assert "analog-output.1" in shown["object-list"]


async def test_an_object_of_a_device_that_reads_one_by_one_shows_all_that_its_property_list_names(site):
    site.equipment.knows_multiple = False
    reply = await site.api.get(f"{AT}/analog-output.1")
    shown = {item["property"]: item for item in reply.json["properties"]}
    assert shown["description"]["value"] == "Valve"
    assert shown["priority-array"]["value"] == [None] * 16
    assert shown["object-name"]["value"] == "ao-1"
    assert not [item for item in shown.values() if "error" in item]


async def test_an_object_without_property_list_shows_what_its_type_may_have(site):
    async def old(apdu):
        if int(apdu.propertyIdentifier) == 371:
            raise ExecutionError(errorClass="property", errorCode="unknownProperty")
        await Application.do_ReadPropertyRequest(site.equipment, apdu)

    site.equipment.knows_multiple = False
    site.equipment.do_ReadPropertyRequest = old
    reply = await site.api.get(f"{AT}/analog-output.1")
    shown = {item["property"]: item for item in reply.json["properties"]}
    assert shown["description"]["value"] == "Valve"
    assert shown["units"]["value"] == "percent"
    assert "profile-name" not in shown, "what it does not have is left out, since it was only guessed"


async def test_a_property_is_read_whole_or_by_index(site):
    reply = await site.api.get(WEEK)
    day = {"day_schedule": [{"time": "06:30:00", "value": {"type": "real", "value": 21.0}}]}
    assert reply.json == {
        "device_id": "bacnet.2001", "object_id": "schedule.1", "property": "weekly-schedule", "index": None,
        "value": [day] * 7, "datatype": "array of daily-schedule",
    }  # fmt: skip
    reply = await site.api.get(WEEK, index="2")
    assert (reply.json["value"], reply.json["index"], reply.json["datatype"]) == (day, 2, "daily-schedule")
    reply = await site.api.get(WEEK, index="0")
    assert (reply.json["value"], reply.json["datatype"]) == (7, "unsigned")
    reply = await site.api.get(f"{OUTPUT}/85")
    assert (reply.json["property"], reply.json["value"]) == ("present-value", 10.0)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/bacnet/devices/9/objects", 404, "device.not_found"),
        ("/api/v1/bacnet/devices/9/objects/analog-input.1", 404, "device.not_found"),
        (f"{AT}/analog-input.77", 404, "bacnet.property_not_found"),
        (f"{AT}/nonsense", 404, "bacnet.property_not_found"),
        (f"{AT}/analog-input.77/properties/present-value", 404, "bacnet.property_not_found"),
        (f"{SENSOR}/priority-array", 404, "bacnet.property_not_found"),
        (f"{SENSOR}/nonsense", 404, "bacnet.property_not_found"),
        (f"{SENSOR}/all", 404, "bacnet.property_not_found"),
        (f"{SENSOR}/present-value?index=1", 404, "bacnet.property_not_found"),
        (f"{OUTPUT}/priority-array?index=17", 404, "bacnet.property_not_found"),
        (f"{OUTPUT}/priority-array?index=-1", 422, "request.invalid"),
    ],
)
async def test_what_is_not_there_is_said(site, path, status, code):
    reply = await site.api.get(path)
    assert (reply.status, reply.json["code"]) == (status, code)


async def test_silence_is_told_within_bounded_time(site):
    site.equipment.mute = True
    for path in (AT, f"{AT}/analog-input.1", f"{SENSOR}/description"):
        reply = await site.api.get(path)
        assert (reply.status, reply.json["code"]) == (504, "device.timeout")


async def test_a_property_is_written_read_back_and_on_record(site):
    key = {"Idempotency-Key": "k"}
    with capture_logs() as logs:
        reply = await site.api.put(f"{OUTPUT}/description", {"value": "Valve, heating"}, headers=key)
    assert reply.status == 200, reply.text
    assert (reply.json["value"], reply.json["datatype"], reply.json["verified"]) == (
        "Valve, heating", "character-string", True,
    )  # fmt: skip
    assert site.equipment.get_object_id(ObjectIdentifier("analog-output,1")).description == "Valve, heating"
    (line,) = logged(logs, "deed_done")
    assert (line["target"], line["before"], line["principal"]) == (
        "bacnet.2001.analog-output.1 description", "Valve", "anonymous",
    )  # fmt: skip
    assert line["after"]["value"] == "Valve, heating"
    requests = site.equipment.requests
    again = await site.api.put(f"{OUTPUT}/description", {"value": "Valve, heating"}, headers=key)
    assert (again.json, site.equipment.requests) == (reply.json, requests), "carried out once"
    other = await site.api.put(f"{OUTPUT}/description", {"value": "Other"}, headers=key)
    assert (other.status, other.json["code"]) == (422, "request.invalid")


async def test_a_structure_is_written_whole_or_an_element_of_it(site):
    day = {"day_schedule": [{"time": "07:00:00", "value": {"type": "real", "value": 22.5}}]}
    reply = await site.api.put(WEEK, {"value": day, "index": 3})
    assert (reply.status, reply.json["value"], reply.json["verified"]) == (200, day, True)
    week = [{"day_schedule": []}] * 7
    reply = await site.api.put(WEEK, {"value": week})
    assert (reply.status, reply.json["value"], reply.json["verified"]) == (200, week, True)


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "field"),
    [
        (f"{OUTPUT}/description", {"value": 5}, 422, "value.not_suitable", "value"),
        (WEEK, {"value": [{"x": 1}] * 7}, 422, "value.not_suitable", "value.0"),
        (f"{OUTPUT}/description", {"value": "x", "priority": 8}, 422, "request.invalid", "priority"),
        (f"{OUTPUT}/profile-name", {"value": 5}, 404, "bacnet.property_not_found", None),
        (f"{OUTPUT}/5000", {"value": 5}, 404, "bacnet.property_not_found", None),
        (f"{OUTPUT}/28", {"value": {"type": "real"}}, 422, "value.not_suitable", "value"),
        (f"{OUTPUT}/028", {"value": "x"}, 404, "bacnet.property_not_found", None),
        (f"{OUTPUT}/description", {}, 422, "request.invalid", "value"),
        (f"{OUTPUT}/description", {"value": "x" * 2000}, 422, "value.not_suitable", None),
        (f"{OUTPUT}/present-value", {"value": 5.0, "priority": 2}, 403, "write.priority_not_allowed", None),
        (f"{OUTPUT}/present-value", {"value": "warm"}, 422, "value.not_suitable", "value"),
        (f"{OUTPUT}/present-value", {"value": {"a": 1}}, 422, "value.not_suitable", "value"),
        (f"{SENSOR}/present-value", {"value": 5.0}, 409, "point.not_writable", None),
        (f"{SENSOR}/nonsense", {"value": 5.0}, 404, "bacnet.property_not_found", None),
        (f"{SENSOR}/5000", {"value": {"type": "real", "value": 1.0}}, 404, "bacnet.property_not_found", None),
    ],
)  # fmt: skip
async def test_a_wrong_write_of_a_property_says_what_would_suit(site, path, body, status, code, field):
    reply = await site.api.put(path, body)
    assert (reply.status, reply.json["code"]) == (status, code), reply.text
    assert [fault["field"] for fault in reply.json.get("errors", [])] == ([field] if field else [])


async def test_what_the_device_denies_is_a_conflict_and_other_refusals_are_its_words(site):
    refusal = ExecutionError(errorClass="property", errorCode="writeAccessDenied")

    async def refuse(_apdu):
        raise refusal

    site.equipment.do_WritePropertyRequest = refuse
    with capture_logs() as logs:
        reply = await site.api.put(f"{OUTPUT}/description", {"value": "x"})
        assert (reply.status, reply.json["code"]) == (409, "point.not_writable")
        refusal.errorCode = "deviceBusy"
        refusal.errorClass = "device"
        reply = await site.api.put(f"{OUTPUT}/description", {"value": "x"})
    assert (reply.status, reply.json["bacnet"]["kind"]) == (502, "error")
    assert [line["code"] for line in logged(logs, "deed_failed")] == ["point.not_writable", "device.refused"]


async def test_a_write_without_answer_may_have_been_carried_out(site):
    async def ignore(_apdu):
        """Say nothing."""

    site.equipment.do_WritePropertyRequest = ignore
    reply = await site.api.put(f"{OUTPUT}/description", {"value": "x"})
    assert (reply.status, "may have been carried out" in reply.json["detail"]) == (504, True)


async def test_the_present_value_of_a_point_goes_the_way_of_points(site):
    with capture_logs() as logs:
        reply = await site.api.put(f"{OUTPUT}/present-value", {"value": 42.5, "priority": 9})
    assert (reply.status, reply.json["value"], reply.json["verified"]) == (200, 42.5, True)
    (line,) = logged(logs, "point_written")
    assert (line["point"], line["slot"]) == ("bacnet.2001.analog-output.1", 9)
    slots = (await site.api.get(f"{POINT}/priorities")).json["slots"]
    assert (slots[8]["value"], slots[8]["held_by"]) == (42.5, "anonymous")
    reply = await site.api.put(f"{OUTPUT}/present-value", {"value": None, "priority": 9})
    assert (reply.status, reply.json["value"]) == (200, 10.0)
    slots = (await site.api.get(f"{POINT}/priorities")).json["slots"]
    assert slots[8] == {"priority": 9, "value": None, "held_by": None, "since": None}


async def test_a_write_is_followed_from_the_request_to_the_slot_and_back(site):
    """REST, read-back, who holds which slot, and relinquish, over a restart."""
    reply = await site.api.put(f"{POINT}/value", {"value": 42.5})
    assert (reply.json["priority"], reply.json["verified"], reply.json["reading"]["value"]) == (16, True, 42.5)
    await site.api.put(f"{POINT}/value", {"value": 60.0, "priority": 8})
    reply = await site.api.put(f"{POINT}/value", {"value": 43.5})
    assert (reply.json["effective"], reply.json["verified"], reply.json["active_priority"]) == (False, True, 8)
    output = site.equipment.get_object_id(ObjectIdentifier("analog-output,1"))
    await output.write_property("presentValue", Real(99.0), None, 8)
    slots = (await site.api.get(f"{POINT}/priorities")).json["slots"]
    held = {slot["priority"]: slot["held_by"] for slot in slots if slot["value"] is not None}
    assert held == {8: None, 16: "anonymous"}, "another has written slot 8 since"
    reply = await site.api.delete(f"{POINT}/value", priority="8")
    assert (reply.json["reading"]["value"], reply.json["active_priority"]) == (43.5, 16)


async def test_a_sensor_is_taken_out_of_service_written_and_put_back(site):
    value = "/api/v1/points/bacnet.2001.analog-input.1/value"
    refused = await site.api.put(value, {"value": 5.0})
    assert refused.status == 409
    at = refused.json["detail"].split("PUT ")[1].split(" {")[0]
    with capture_logs() as logs:
        taken = await site.api.put(at, {"value": True})
    assert (taken.status, taken.json["value"], taken.json["verified"]) == (200, True, True)
    written = await site.api.put(value, {"value": 5.0})
    assert (written.status, written.json["reading"]["value"], written.json["priority"]) == (200, 5.0, None)
    assert (written.json["reading"]["quality"], written.json["reading"]["reason"]) == ("uncertain", "out_of_service")
    await site.api.put(at, {"value": False})
    assert (await site.api.put(value, {"value": 6.0})).status == 409
    assert [line["target"] for line in logged(logs, "deed_done")] == ["bacnet.2001.analog-input.1 out-of-service"]


async def test_a_present_value_that_is_no_point_is_written_at_a_priority_only_where_it_has_an_array(
    site, bench, equipment
):
    watched = []

    async def watch(apdu):
        watched.append((str(apdu.objectIdentifier), apdu.priority))
        await Application.do_WritePropertyRequest(equipment, apdu)

    equipment.do_WritePropertyRequest = watch
    late = bench.analog_output(7)
    equipment.add_object(late)
    equipment.add_object(bench.analog_input(7))
    at = f"{AT}/analog-output.7/properties/present-value"
    assert (await site.api.put(at, {"value": 5.0})).json["value"] == 5.0
    assert (await site.api.put(at, {"value": 6.0, "priority": 9})).json["value"] == 6.0
    assert (await site.api.put(at, {"value": None, "priority": 9})).json["value"] == 5.0
    assert (await site.api.put(at, {"value": 6.0, "priority": 1})).status == 403
    await site.api.put(f"{AT}/analog-input.7/properties/present-value", {"value": 5.0})
    assert watched == [
        ("analog-output,7", 16), ("analog-output,7", 9), ("analog-output,7", 9), ("analog-input,7", None),
    ]  # fmt: skip


async def test_many_properties_are_read_at_once_and_each_fails_alone(site, bench):
    bench.device("127.0.0.96/8:47902", 2002, [bench.analog_input(1)])
    wanted = [
        (2001, "analog-output.1", "present-value", None),
        (2001, "analog-output.1", "priority-array", 3),
        (2001, "analog-output.1", "nonsense", None),
        (2001, "analog-input.9", "present-value", None),
        (9, "analog-input.1", "present-value", None),
        (2001, "analog-input.1", "units", None),
    ]
    body = [
        {"instance": instance, "object_id": object_id, "property": name} | ({"index": index} if index else {})
        for instance, object_id, name, index in wanted
    ]
    site.equipment.multiples = 0
    reply = await site.api.post("/api/v1/bacnet/properties/query", {"properties": body})
    items = reply.json["items"]
    assert (reply.status, site.equipment.multiples) == (200, 1)
    assert [item.get("value", "none") for item in items] == [10.0, None, "none", "none", "none", "degrees-celsius"]
    assert [item["error"]["status"] if "error" in item else None for item in items] == [None, None, 404, 404, 404, None]
    assert [item["property"] for item in items] == [name for _instance, _object, name, _index in wanted]
    assert (await site.api.post("/api/v1/bacnet/properties/query", {"properties": []})).status == 422


async def test_a_long_value_comes_in_segments_where_the_device_sends_them(bench, plantroom):
    inputs = [bench.analog_input(number) for number in range(1, 60)]
    bench.device(THERE, 2001, inputs, maxApduLengthAccepted=128)
    site = await plantroom(YAML)
    await site.value_of("bacnet.2001.analog-input.1")
    reply = await site.api.get(f"{AT}/device.2001/properties/object-list")
    assert len(reply.json["value"]) == 60
    assert (await site.api.get(f"{AT}/device.2001")).status == 200


async def test_who_holds_a_slot_is_known_again_after_a_restart(equipment, tmp_path):
    for value in (42.5, None):
        async with running(YAML, tmp_path) as site:
            await site.value_of("bacnet.2001.analog-output.1")
            if value is not None:
                assert (await site.api.put(f"{POINT}/value", {"value": value, "priority": 9})).status == 200
            slots = (await site.api.get(f"{POINT}/priorities")).json["slots"]
            assert (slots[8]["value"], slots[8]["held_by"]) == (42.5, "anonymous")


async def test_a_deed_waits_for_a_write_to_the_same_device(site):
    order, gate = [], asyncio.Event()

    async def slow(apdu):
        order.append(str(apdu.propertyIdentifier))
        if len(order) == 1:
            await gate.wait()
        await Application.do_WritePropertyRequest(site.equipment, apdu)

    site.equipment.do_WritePropertyRequest = slow
    first = asyncio.create_task(site.api.put(f"{POINT}/value", {"value": 5.0}))
    await site.until(lambda: order)
    second = asyncio.create_task(site.api.put(f"{OUTPUT}/description", {"value": "x"}))
    gate.set()
    assert [(await first).status, (await second).status] == [200, 200]
    assert order == ["present-value", "description"]
