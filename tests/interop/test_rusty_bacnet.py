"""Devices on rusty-bacnet, which shares no code with bacpypes3: found, read, written, relinquished."""

from __future__ import annotations

import pytest

from core.model import Command, Kind
from plugins.bacnet.config import Cov, Foreign, Network, PointRule
from plugins.bacnet.properties.access import Access
from plugins.bacnet.properties.tables import property_name
from plugins.bacnet.wire.datatypes import ObjectId, Ref, parse_object_id

from .asking import PORT

CELSIUS = 62


def hundred_inputs(server):
    for number in range(1, 101):
        server.add_analog_input(number, f"input {number}", CELSIUS, 20.0 + number)


async def test_a_hundred_inputs_are_found_and_read(house, serve, rusty):
    await serve(1, hundred_inputs, segmentation_supported=rusty.Segmentation.BOTH)
    report = await house.scan()
    assert report.warnings == []
    inventory = report.inventories["bacnet.5001"]
    assert (inventory.device.name, inventory.device.address) == ("rusty-1", "127.0.0.81:47996")
    assert {(point.unit, point.symbol) for point in inventory.points} == {("degrees-celsius", "°C")}
    read = await house.values(inventory)
    assert read == {f"analog-input.{number}": 20.0 + number for number in range(1, 101)}


async def test_several_devices_answer_one_broadcast(house, serve):
    for number in (1, 2, 3):
        await serve(number, lambda server: server.add_analog_input(1, "input", CELSIUS, 21.0))
    assert sorted((await house.scan()).inventories) == ["bacnet.5001", "bacnet.5002", "bacnet.5003"]


async def test_a_point_is_written_with_priority_8_and_relinquished(house, serve):
    def fill(server):
        server.add_analog_value(1, "set-point")
        server.add_binary_output(1, "fan")
        server.add_multistate_output(1, "mode", 3)

    await serve(1, fill)
    report = await house.scan()
    for key, value in (("analog-value.1", 9.5), ("binary-output.1", True), ("multi-state-output.1", 3)):
        point = report.point(f"bacnet.5001.{key}")
        assert point.commandable
        before = await house.driver.priorities(point)
        result = await house.driver.write(Command("1", "me", "test", point, value, priority=8))
        assert (result.value, result.effective, result.active_priority) == (value, True, 8)
        assert (await house.driver.priorities(point)).slots[7] == value
        result = await house.driver.write(Command("2", "me", "test", point, relinquish=True, priority=8))
        assert (result.value, result.active_priority) == (before.relinquish_default, None)


EVERY_KIND = {
    "accumulator": (Kind.NUMBER, CELSIUS),
    "analog_output": (Kind.NUMBER, CELSIUS),
    "binary_input": (Kind.BOOLEAN,),
    "bit_string_value": (Kind.TEXT,),
    "character_string_value": (Kind.TEXT,),
    "color_temperature": (Kind.NUMBER,),
    "date_value": (Kind.TEXT,),
    "date_time_value": (Kind.TEXT,),
    "integer_value": (Kind.NUMBER,),
    "large_analog_value": (Kind.NUMBER,),
    "life_safety_point": (Kind.ENUM,),
    "lighting_output": (Kind.NUMBER,),
    "loop": (Kind.NUMBER, CELSIUS),
    "multistate_input": (Kind.ENUM, 4),
    "octet_string_value": (Kind.TEXT,),
    "positive_integer_value": (Kind.NUMBER,),
    "time_value": (Kind.TEXT,),
    "timer": (Kind.ENUM,),
}


async def test_every_kind_of_object_is_found_and_read(house, serve):
    def fill(server):
        for name, (_kind, *arguments) in EVERY_KIND.items():
            getattr(server, f"add_{name}")(1, name, *arguments)
        server.add_trend_log(1, "log")

    await serve(1, fill)
    inventory = (await house.scan()).inventories["bacnet.5001"]
    assert {point.name: point.kind for point in inventory.points} == {
        name: kind for name, (kind, *_) in EVERY_KIND.items()
    }
    assert inventory.device.attributes["skipped_objects"] == {"trend-log": 1}
    assert len(await house.values(inventory)) == len(EVERY_KIND)


async def test_an_object_list_that_is_longer_than_an_apdu_comes_in_segments(house, serve, rusty):
    def fill(server):
        for number in range(1, 601):
            server.add_analog_input(number, f"input {number}", CELSIUS, float(number))

    await serve(1, fill, segmentation_supported=rusty.Segmentation.BOTH)
    report = await house.scan()
    assert report.warnings == []
    assert len(report.inventories["bacnet.5001"].points) == 600


@pytest.mark.parametrize("limits", [{"rpm_max_result_elements": 10}, {"rpm_max_service_ack_bytes": 200}])
async def test_a_device_that_bears_small_requests_only_is_read_by_them(house, serve, limits):
    await serve(1, hundred_inputs, **limits)
    report = await house.scan()
    assert report.warnings == []
    inventory = report.inventories["bacnet.5001"]
    assert len(await house.values(inventory)) == 100
    (client,) = house.plugin.clients.values()
    refusals = client.tally.refusals
    assert refusals > 0
    assert len(await house.values(inventory)) == 100
    assert client.tally.refusals == refusals


async def test_what_a_device_has_no_room_to_subscribe_to_is_polled(start, serve):
    def fill(server):
        for number in range(1, 5):
            server.add_analog_input(number, f"input {number}", CELSIUS, 20.0 + number)

    await serve(1, fill, cov_policy={"max_subscriptions_per_peer": 2})
    house = await start(points=(PointRule("*", cov=True),))
    inventory = (await house.scan()).inventories["bacnet.5001"]
    house.driver.watch(house.group(inventory))
    await house.until(
        lambda: sorted(each.state for each in house.driver.subscriptions) == ["live", "live", "refused", "refused"]
    )
    assert len(await house.values(inventory)) == 4


@pytest.mark.parametrize("confirmed", [True, False])
async def test_changes_of_value_are_told_of_until_we_leave(start, serve, rusty, confirmed):
    def fill(server):
        server.add_analog_input(1, "temperature", CELSIUS, 20.0)
        server.add_binary_input(1, "contact")

    server = await serve(1, fill)
    device = rusty.ObjectIdentifier(rusty.ObjectType.DEVICE, 5001)
    temperature = rusty.ObjectIdentifier(rusty.ObjectType.ANALOG_INPUT, 1)
    house = await start(points=(PointRule("*", cov=True),), cov=Cov(confirmed=confirmed))
    inventory = (await house.scan()).inventories["bacnet.5001"]
    await house.watch(inventory)
    slot = [point.key for point in inventory.points].index("analog-input.1")
    assert house.told(slot) == [20.0]
    await server.set_present_value_local(temperature, rusty.PropertyValue.real(25.5))
    await house.until(lambda: house.told(slot) == [20.0, 25.5])

    active = rusty.PropertyIdentifier.ACTIVE_COV_SUBSCRIPTIONS
    assert len((await server.read_property(device, active)).value) == 2
    await house.driver.subscriptions.close()
    assert (await server.read_property(device, active)).value == []


async def test_a_bbmd_takes_us_as_a_foreign_device_and_hands_our_broadcasts_on(start, serve, rusty):
    def fill(server):
        server.add_analog_input(1, "input", CELSIUS, 21.0)

    await serve(1, fill, bbmd=rusty.Bbmd(accept_foreign_devices=True))
    await serve(2, fill)
    house = await start(network=Network(f"127.0.0.80/32:{PORT}", foreign=Foreign(f"127.0.0.81:{PORT}", 60)))
    (client,) = house.plugin.clients.values()
    await house.until(lambda: client.state == ("up", ""))
    assert sorted((await house.scan()).inventories) == ["bacnet.5001", "bacnet.5002"]


async def test_several_points_are_written_at_once_each_in_its_slot(house, serve):
    def fill(server):
        for number in range(1, 31):
            server.add_analog_value(number, f"set-point {number}")

    await serve(1, fill)
    report = await house.scan()
    points = [report.point(f"bacnet.5001.analog-value.{number}") for number in range(1, 31)]
    commands = [Command(point.key, "me", "test", point, float(at), priority=9) for at, point in enumerate(points)]
    results = [result async for told in house.driver.write_many(commands) for result in told.values()]
    assert [result.value for result in results] == [float(at) for at in range(30)]
    assert {(result.priority, result.active_priority, result.verified) for result in results} == {(9, 9, True)}
    commands = [Command(point.key, "me", "test", point, relinquish=True, priority=9) for point in points]
    results = [result async for told in house.driver.write_many(commands) for result in told.values()]
    assert {(result.active_priority, result.verified) for result in results} == {(None, True)}
    profile = house.driver.profiles.get("bacnet.5001")
    assert profile.write_multiple


async def test_every_property_of_every_kind_of_object_is_of_the_standards_shape(house, serve):
    def fill(server):
        for name, (_kind, *arguments) in EVERY_KIND.items():
            getattr(server, f"add_{name}")(1, name, *arguments)
        server.add_trend_log(1, "log")

    await serve(1, fill)
    await house.scan()
    profile = house.driver.profiles.get("bacnet.5001")
    access = Access(house.driver._ctx, house.driver.reader)
    ((objects,),) = [[shown.value for shown in await access.read(profile, [Ref(ObjectId(8, 5001), 76)])]]
    odd = []
    for text in objects:
        for shown in await access.read_object(profile, parse_object_id(text)):
            if shown.error is None and shown.datatype is None:
                odd.append(f"{text} {property_name(shown.ref.property)}")  # noqa: PERF401 - reads better
    assert len(objects) == len(EVERY_KIND) + 2
    assert {name for name in odd if not name.startswith("color-temperature")} == {  # a type that bacpypes3 has not
        "accumulator.1 pulse-rate",  # rusty-bacnet has a real where the standard has an unsigned
        "life-safety-point.1 maintenance-required",  # and a boolean for an enumeration
    }
