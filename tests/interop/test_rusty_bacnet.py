"""Devices on rusty-bacnet, which shares no code with bacpypes3: found, read, written, relinquished."""

from __future__ import annotations

from core.model import Command, Kind

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
