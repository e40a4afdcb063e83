"""Devices on @bacnet-js/client, which shares no code with bacpypes3: found, read, written, subscribed to."""

from __future__ import annotations

import pytest

from core.model import Command, Kind
from core.testing import StartPlantroom
from plugins.bacnet.config import Cov, Network, PointRule

from .asking import PORT
from .house import HERE

NULL, BOOLEAN, UNSIGNED, SIGNED, REAL, DOUBLE, OCTETS, TEXT, BITS, ENUMERATED, DATE, TIME = range(12)
UNITS, STATES, STATE_COUNT, ACTIVE, INACTIVE = "117", "110", "74", "4", "46"
CELSIUS = [{"type": ENUMERATED, "value": 62}]


def bacnet_object(kind, name, tag, value, **fields):
    """Describe an object with instance 1, as node/objects.js wants it."""
    return {"type": kind, "instance": 1, "name": name, "value": {"type": tag, "value": value}, **fields}


TEMPERATURE = bacnet_object(0, "temperature", REAL, 21.5, properties={UNITS: CELSIUS})
SET_POINT = bacnet_object(2, "set-point", REAL, 20.0, commandable=True, properties={UNITS: CELSIUS})
FAN = bacnet_object(4, "fan", ENUMERATED, 0, commandable=True)
MODE = bacnet_object(
    14, "mode", UNSIGNED, 1, commandable=True,
    properties={
        STATE_COUNT: [{"type": UNSIGNED, "value": 3}],
        STATES: [{"type": TEXT, "value": text} for text in ("Off", "On", "Auto")],
    },
)  # fmt: skip

EVERY_KIND = {
    "temperature": (TEMPERATURE, Kind.NUMBER, 21.5),
    "set-point": (SET_POINT, Kind.NUMBER, 20.0),
    "contact": (bacnet_object(3, "contact", ENUMERATED, 1), Kind.BOOLEAN, 1.0),
    "fan": (FAN, Kind.BOOLEAN, 0.0),
    "mode": (MODE, Kind.ENUM, 1.0),
    "meter": (bacnet_object(23, "meter", UNSIGNED, 4_000_000_000), Kind.NUMBER, 4e9),
    "offset": (bacnet_object(45, "offset", SIGNED, -12), Kind.NUMBER, -12.0),
    "count": (bacnet_object(48, "count", UNSIGNED, 12), Kind.NUMBER, 12.0),
    "energy": (bacnet_object(46, "energy", DOUBLE, 1234.5678), Kind.NUMBER, 1234.5678),
    "note": (bacnet_object(40, "note", TEXT, "Küche"), Kind.TEXT, "Küche"),
    "bits": (bacnet_object(39, "bits", BITS, {"value": [5], "bitsUsed": 3}), Kind.TEXT, "101"),
    "key": (bacnet_object(47, "key", OCTETS, [1, 254]), Kind.TEXT, "01fe"),
}


def npm_point(report, key):
    return report.point(f"bacnet.6001.{key}")


async def test_several_devices_answer_one_broadcast(house, serve_npm):
    for number in (1, 2, 3):
        await serve_npm(number, [TEMPERATURE])
    report = await house.scan()
    assert report.warnings == []
    assert sorted(report.inventories) == ["bacnet.6001", "bacnet.6002", "bacnet.6003"]
    device = report.inventories["bacnet.6001"].device
    assert (device.name, device.address, device.vendor) == ("npm-1", f"127.0.0.81:{PORT}", "bacnet-js")


async def test_one_that_hears_no_broadcasts_is_found_by_its_address(start, serve_npm):
    await serve_npm(1, [TEMPERATURE])
    house = await start(network=Network(f"127.0.0.80/32:{PORT}", (f"127.0.0.81:{PORT}",)))
    assert sorted((await house.scan()).inventories) == ["bacnet.6001"]


@pytest.mark.parametrize("without", [(), ("readPropertyMultiple",)])
async def test_every_kind_of_object_is_found_and_read(house, serve_npm, without):
    await serve_npm(1, [described for described, _kind, _value in EVERY_KIND.values()], without=without)
    report = await house.scan()
    assert report.warnings == []
    inventory = report.inventories["bacnet.6001"]
    assert {point.name: point.kind for point in inventory.points} == {
        name: kind for name, (_described, kind, _value) in EVERY_KIND.items()
    }
    names = {point.key: point.name for point in inventory.points}
    read = {names[key]: value for key, value in (await house.values(inventory)).items()}
    assert read == {name: value for name, (_described, _kind, value) in EVERY_KIND.items()}
    assert npm_point(report, "multi-state-output.1").states == {"1": "Off", "2": "On", "3": "Auto"}
    assert npm_point(report, "analog-input.1").unit == "degrees-celsius"


async def test_a_point_is_written_with_priority_8_and_relinquished(house, serve_npm):
    await serve_npm(1, [SET_POINT, FAN, MODE])
    report = await house.scan()
    for key, value in (("analog-value.1", 9.5), ("binary-output.1", True), ("multi-state-output.1", 3)):
        point = npm_point(report, key)
        assert point.commandable
        before = await house.driver.priorities(point)
        result = await house.driver.write(Command("1", "me", "test", point, value, priority=8))
        assert (result.value, result.effective, result.active_priority) == (value, True, 8)
        result = await house.driver.write(Command("2", "me", "test", point, value, priority=16))
        assert (result.effective, result.active_priority) == (False, 8)
        assert [slot for slot in (await house.driver.priorities(point)).slots if slot is not None] == [value, value]
        for priority in (8, 16):
            result = await house.driver.write(Command("3", "me", "test", point, relinquish=True, priority=priority))
        assert (result.value, result.active_priority) == (before.relinquish_default, None)


@pytest.mark.parametrize("confirmed", [True, False])
async def test_changes_of_value_are_told_of_until_we_leave(start, serve_npm, confirmed):
    device = await serve_npm(1, [TEMPERATURE, SET_POINT])
    house = await start(points=(PointRule("*", cov=True),), cov=Cov(confirmed=confirmed))
    inventory = (await house.scan()).inventories["bacnet.6001"]
    await house.watch(inventory)
    slot = [point.key for point in inventory.points].index("analog-input.1")
    assert house.told(slot) == [21.5]
    await device.call("set", {"type": 0, "instance": 1}, {"type": REAL, "value": 25.5})
    await house.until(lambda: house.told(slot) == [21.5, 25.5])
    if confirmed:
        for _each in range(3):
            await device.event("acknowledged")
        assert device.waiting("unacknowledged") == []
    asked = [(await device.event("subscribed"))["payload"] for _each in inventory.points]
    assert {each["lifetime"] for each in asked} == {600}
    await house.driver.subscriptions.close()
    gone = [(await device.event("cancelled"))["payload"] for _each in inventory.points]
    assert {each["subscriberProcessId"] for each in gone} == {each["subscriberProcessId"] for each in asked}


async def test_a_device_without_change_of_value_is_polled(start, serve_npm):
    await serve_npm(1, [TEMPERATURE], without=("subscribeCov",))
    house = await start(points=(PointRule("*", cov=True),))
    inventory = (await house.scan()).inventories["bacnet.6001"]
    house.driver.watch(house.group(inventory))
    await house.until(lambda: [each.state for each in house.driver.subscriptions] == ["refused"])
    assert await house.values(inventory) == {"analog-input.1": 21.5}


CONFIGURATION = f"""
plugins:
  bacnet:
    interval: 1
    timeout: 0.4
    networks: [{{address: "{HERE}"}}]
    points: [{{match: "*.analog-input.*", cov: true}}]
"""


async def test_a_device_is_found_written_and_told_of_through_rest(plantroom: StartPlantroom, serve_npm):
    device = await serve_npm(1, [TEMPERATURE, SET_POINT])
    house = await plantroom(CONFIGURATION)
    assert await house.value_of("bacnet.6001.analog-input.1") == 21.5
    value = "/api/v1/points/bacnet.6001.analog-value.1/value"
    written = await house.api.put(value, {"value": 9.5, "priority": 8})
    assert (written.json["reading"]["value"], written.json["effective"], written.json["active_priority"]) == (
        9.5,
        True,
        8,
    )
    relinquished = await house.api.delete(value, priority="8")
    assert (relinquished.json["reading"]["value"], relinquished.json["active_priority"]) == (20.0, None)
    await device.event("acknowledged")
    await device.call("set", {"type": 0, "instance": 1}, {"type": REAL, "value": 25.5})

    async def told():
        reading = (await house.get("/api/v1/points/bacnet.6001.analog-input.1"))["reading"]
        return reading if reading["value"] == 25.5 else None

    assert (await house.until(told))["source"] == "cov"
