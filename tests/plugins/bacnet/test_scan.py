"""Finding devices and their points: by broadcast, at targets, behind routers, and whatever they cannot do."""

from __future__ import annotations

import pytest
from bacpypes3.local.analog import AnalogValueObject, AnalogValueObjectCmd
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.object import TrendLogObject

from core.errors import Invalid
from core.model import Kind
from plugins.bacnet.config import PointRule, Scan

HERE = "127.0.0.90/8:47900"


async def test_a_device_on_the_subnet_is_found_with_all_its_points(bench, start):
    bench.device(
        "127.0.0.91/8:47900",
        2001,
        [
            bench.analog_input(1, description="Room", minPresValue=-50.0, maxPresValue=50.0, resolution=0.1),
            bench.analog_output(1),
            AnalogValueObject(
                objectIdentifier=("analog-value", 1),
                objectName="plain",
                presentValue=1.0,
                units="no-units",
                **bench.ok,
                covIncrement=1.0,
            ),
            AnalogValueObjectCmd(
                objectIdentifier=("analog-value", 2),
                objectName="commanded",
                presentValue=1.0,
                units="kilowatts",
                **bench.ok,
                covIncrement=1.0,
                relinquishDefault=1.0,
            ),
            BinaryInputObject(
                objectIdentifier=("binary-input", 1),
                objectName="door",
                presentValue="active",
                polarity="normal",
                inactiveText="Closed",
                activeText="Open",
                **bench.ok,
            ),
            BinaryOutputObject(
                objectIdentifier=("binary-output", 1),
                objectName="fan",
                presentValue="inactive",
                polarity="normal",
                relinquishDefault="inactive",
                **bench.ok,
            ),
            MultiStateValueObject(
                objectIdentifier=("multi-state-value", 1),
                objectName="mode",
                presentValue=2,
                numberOfStates=3,
                stateText=["Off", "Heat", "Cool"],
                **bench.ok,
            ),
        ],
        description="A test device",
        location="Cellar",
    )
    house = await start(HERE)
    report = await house.scan()
    inventory = report.inventories["bacnet.2001"]
    device = inventory.device
    assert (device.name, device.vendor, device.model, device.address) == (
        "device-2001",
        "Test Works",
        "T-1",
        "127.0.0.91:47900",
    )
    assert device.description == "A test device"
    assert device.attributes["location"] == "Cellar"
    assert device.attributes["max_apdu"] == 1476
    assert report.warnings == []
    assert [point.key for point in inventory.points] == [
        "analog-input.1",
        "analog-output.1",
        "analog-value.1",
        "analog-value.2",
        "binary-input.1",
        "binary-output.1",
        "multi-state-value.1",
    ]
    room = report.point("bacnet.2001.analog-input.1")
    assert (room.name, room.description, room.kind, room.unit, room.symbol) == (
        "ai-1",
        "Room",
        Kind.NUMBER,
        "degrees-celsius",
        "°C",
    )
    assert (room.min, room.max, room.writable, room.commandable, room.interval) == (-50.0, 50.0, False, False, 10.0)
    assert room.resolution == pytest.approx(0.1)
    plain, commanded = report.point("bacnet.2001.analog-value.1"), report.point("bacnet.2001.analog-value.2")
    assert (plain.writable, plain.commandable, plain.unit) == (True, False, None)
    assert (commanded.writable, commanded.commandable, commanded.symbol) == (True, True, "kW")
    assert report.point("bacnet.2001.binary-input.1").states == {"false": "Closed", "true": "Open"}
    assert report.point("bacnet.2001.binary-output.1").commandable
    mode = report.point("bacnet.2001.multi-state-value.1")
    assert (mode.kind, mode.states) == (Kind.ENUM, {"1": "Off", "2": "Heat", "3": "Cool"})


async def test_devices_behind_a_router_are_found_and_can_be_addressed(bench, start):
    bench.router("127.0.0.92/8:47901", 2001, [3001, 3002, 3003], lambda: [bench.analog_input(1), bench.analog_input(2)])
    house = await start(HERE, targets=["127.0.0.92:47901"])
    report = await house.scan()
    assert sorted(report.inventories) == ["bacnet.3001", "bacnet.3002", "bacnet.3003"]
    inventory = report.inventories["bacnet.3002"]
    assert inventory.device.address == "2001:2@127.0.0.92:47901"
    assert inventory.device.attributes["network"] == 2001
    assert inventory.device.attributes["mac"] == "02"
    rows = await house.read(house.group(inventory))
    assert {value for value, _reason, _error in rows.values()} == {21.5}


async def test_two_routers_may_lead_to_networks_of_one_number(bench, start):
    bench.router("127.0.0.92/8:47901", 2001, [3001], lambda: [bench.analog_input(1, 1.0)])
    bench.router("127.0.0.93/8:47901", 2001, [3002], lambda: [bench.analog_input(1, 2.0)])
    house = await start(HERE, targets=["127.0.0.92:47901", "127.0.0.93:47901"])
    report = await house.scan()
    values = {}
    for name, inventory in report.inventories.items():
        rows = await house.read(house.group(inventory))
        values[name] = rows["analog-input.1"][0]
    assert values == {"bacnet.3001": 1.0, "bacnet.3002": 2.0}
    assert report.codes == ["router.conflict"]
    assert "Network 2001 is behind 127.0.0.92:47901 and 127.0.0.93:47901" in report.warnings[0][1]


@pytest.mark.parametrize(("apdu", "count"), [(50, 20), (206, 70), (480, 70)])
async def test_a_device_that_cannot_segment_tells_its_objects_by_index(bench, start, apdu, count):
    objects = [bench.analog_input(number, float(number)) for number in range(1, count + 1)]
    device = bench.device(
        "127.0.0.91/8:47900", 2001, objects, maxApduLengthAccepted=apdu, segmentationSupported="no-segmentation"
    )
    house = await start(HERE)
    report = await house.scan()
    inventory = report.inventories["bacnet.2001"]
    assert len(inventory.points) == count
    assert device.aborts < 10
    assert {point.unit for point in inventory.points} == {"degrees-celsius"}
    rows = await house.read(house.group(inventory))
    assert [rows[f"analog-input.{number}"][0] for number in range(1, count + 1)] == [
        float(number) for number in range(1, count + 1)
    ]


async def test_a_long_object_list_comes_in_segments(bench, start):
    bench.device("127.0.0.91/8:47900", 2001, [bench.analog_input(number) for number in range(1, 400)])
    house = await start(HERE)
    report = await house.scan()
    assert len(report.inventories["bacnet.2001"].points) == 399


async def test_state_texts_too_long_for_one_answer_are_asked_for_one_by_one(bench, start):
    texts = [f"A rather long name of state number {number}" for number in range(1, 9)]
    mode = MultiStateValueObject(
        objectIdentifier=("multi-state-value", 1),
        objectName="mode",
        presentValue=2,
        numberOfStates=8,
        stateText=texts,
        **bench.ok,
    )
    bench.device("127.0.0.91/8:47900", 2001, [mode], maxApduLengthAccepted=206, segmentationSupported="no-segmentation")
    house = await start(HERE)
    report = await house.scan()
    states = report.point("bacnet.2001.multi-state-value.1").states
    assert list(states.values()) == texts


async def test_a_device_without_multiple_reads_is_examined_one_property_at_a_time(bench, start):
    device = bench.device("127.0.0.91/8:47900", 2001, [bench.analog_input(1), bench.analog_output(1)])
    device.knows_multiple = False
    house = await start(HERE)
    report = await house.scan()
    assert [point.name for point in report.inventories["bacnet.2001"].points] == ["ai-1", "ao-1"]
    assert device.multiples == 1


@pytest.mark.parametrize("fault", ["chokes_on", "hangs_on"])
async def test_one_bad_object_loses_none_of_the_others(bench, start, fault):
    device = bench.device("127.0.0.91/8:47900", 2001, [bench.analog_input(number) for number in range(1, 7)])
    setattr(device, fault, 4)
    house = await start(HERE, timeout=0.05)
    report = await house.scan()
    points = {point.key: point for point in report.inventories["bacnet.2001"].points}
    assert len(points) == 6
    assert [points[f"analog-input.{number}"].name for number in (3, 5)] == ["ai-3", "ai-5"]


async def test_a_silent_device_is_told_of_and_holds_up_nobody(bench, start):
    bench.device("127.0.0.91/8:47900", 2001).mute = True
    bench.device("127.0.0.92/8:47900", 2002, [bench.analog_input(1)])
    house = await start(HERE)
    report = await house.scan()
    assert list(report.inventories) == ["bacnet.2002"]
    assert report.codes == ["device.unreadable"]
    assert "bacnet.2001 at 127.0.0.91:47900" in report.warnings[0][1]


async def test_a_device_with_our_own_number_is_told_of_and_not_listed(bench, start):
    bench.device("127.0.0.91/8:47900", 599)
    house = await start(HERE)
    report = await house.scan()
    assert report.inventories == {}
    assert "device.own_number" in report.codes


async def test_an_empty_network_says_why_it_may_be_so(start):
    house = await start(HERE, targets=["127.0.0.99:47900"])
    report = await house.scan()
    assert report.codes == ["target.silent", "scan.nothing_found"]
    assert "firewall" in report.warnings[1][2]
    assert "127.0.0.99:47900" in report.warnings[0][1]


async def test_only_the_wanted_numbers_are_looked_for(bench, start):
    for number in (1, 2, 3):
        bench.device(f"127.0.0.{number + 90}/8:47900", 2000 + number)
    house = await start(HERE, scan=Scan(interval=None, instances=("2002-2003",)))
    assert house.plugin.driver.scan_interval_s is None
    assert sorted((await house.scan()).inventories) == ["bacnet.2002", "bacnet.2003"]
    assert sorted((await house.scan(instances=(2001, "2003-2009"))).inventories) == ["bacnet.2001", "bacnet.2003"]


async def test_a_scan_of_a_target_asks_nobody_else(bench, start):
    bench.device("127.0.0.91/8:47900", 2001)
    bench.device("127.0.0.92/8:47900", 2002)
    house = await start(HERE)
    report = await house.scan(targets=("127.0.0.92:47900", "127.0.0.98:47900"))
    assert list(report.inventories) == ["bacnet.2002"]
    assert report.codes == ["target.silent"]
    assert report.steps[-1] == ("examine", 1, 1)


@pytest.mark.parametrize("request_", [{"targets": ("nowhere",)}, {"instances": ("5-1",)}, {"instances": (True,)}])
async def test_a_request_that_makes_no_sense_is_invalid(start, request_):
    house = await start(HERE)
    with pytest.raises(Invalid) as caught:
        await house.scan(**request_)
    assert caught.value.errors[0].field in ("targets.0", "instances.0")


async def test_rules_of_the_configuration_set_interval_and_polling(bench, start):
    bench.device("127.0.0.91/8:47900", 2001, [bench.analog_input(1), bench.analog_input(2), bench.analog_output(1)])
    rules = (
        PointRule("bacnet.2001.*", interval=60.0),
        PointRule("*.analog-output.*", enabled=False),
        PointRule("*.analog-input.2", interval=5.0, enabled=True),
    )
    house = await start(HERE, points=rules, interval=20.0)
    points = (await house.scan()).inventories["bacnet.2001"].points
    assert [(point.key, point.interval, point.enabled) for point in points] == [
        ("analog-input.1", 60.0, True),
        ("analog-input.2", 5.0, True),
        ("analog-output.1", 60.0, False),
    ]


async def test_an_i_am_that_nobody_asked_for_is_a_sign_of_life(bench, start, until):
    house = await start(HERE)
    device = bench.device("127.0.0.91/8:47900", 2001)
    device.i_am()
    await until(lambda: "bacnet.2001" in house.seen)


async def test_objects_without_a_present_value_are_counted_not_listed(bench, start):
    trend = TrendLogObject(objectIdentifier=("trend-log", 1), objectName="log")
    bench.device("127.0.0.91/8:47900", 2001, [trend, bench.analog_input(1)])
    house = await start(HERE)
    inventory = (await house.scan()).inventories["bacnet.2001"]
    assert [point.key for point in inventory.points] == ["analog-input.1"]
    assert inventory.device.attributes["skipped_objects"] == {"trend-log": 1}
    assert inventory.device.attributes["objects"] == 3
