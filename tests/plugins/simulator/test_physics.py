"""What happens in the building when time passes, without waiting for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pytest

from plugins.simulator.building import Building, make_building
from plugins.simulator.equipment.vav_box import VavBox
from plugins.simulator.objects import ObjectType, SimulatedObject, Value
from plugins.simulator.physics import Physics

HOUR_S = 3600.0
TEN_SECONDS_AT_60 = 600.0


@pytest.fixture
def building() -> Building:
    return make_building(1)


@pytest.fixture
def physics(building: Building) -> Physics:
    return Physics(building)


def every(building: Building, *types: ObjectType) -> list[SimulatedObject]:
    return [data for device in building.devices for data in device.objects if not types or data.type in types]


def values(objects: Iterable[SimulatedObject]) -> list[Value]:
    return [data.value for data in objects]


def named(building: Building, name: str) -> SimulatedObject:
    return next(data for data in every(building) if data.name == name)


def room(box: VavBox) -> float:
    return next(data for data in box.device.objects if data.name.endswith("Room Temperature")).number


@pytest.mark.parametrize("days", [0, 5])
def test_more_than_a_hundred_values_change_in_any_ten_seconds(building: Building, physics: Physics, days: int) -> None:
    physics.site.time += dt.timedelta(days=days)
    objects = every(building)
    before = values(objects)
    for _ in range(24 * 6):
        physics.step(TEN_SECONDS_AT_60)
        after = values(objects)
        assert sum(old != new for old, new in zip(before, after, strict=True)) >= 100
        before = after


@pytest.mark.parametrize("shift", [3.0, -3.0])
@pytest.mark.parametrize("hours", range(0, 24, 3))
def test_a_room_follows_its_set_point_whatever_the_hour(
    building: Building, physics: Physics, hours: int, shift: float
) -> None:
    physics.site.time += dt.timedelta(hours=hours)
    physics.step(HOUR_S)
    boxes = building.vav_boxes
    starts = [room(box) for box in boxes]
    for box in boxes:
        box.setpoint.write(box.setpoint.number + shift, 8)
    physics.step(20 * 60.0)
    for box, start in zip(boxes, starts, strict=True):
        assert (room(box) - start) * (1 if shift > 0 else -1) >= 0.3
    physics.step(2 * HOUR_S)
    for box in boxes:
        assert room(box) == pytest.approx(box.setpoint.number, abs=0.5)


def test_nothing_but_a_client_moves_a_set_point(building: Building, physics: Physics) -> None:
    setpoints = every(building, ObjectType.ANALOG_VALUE)
    before = values(setpoints)
    physics.step(12 * HOUR_S)
    assert values(setpoints) == before


def test_counters_and_totals_only_grow_and_the_electricity_meter_does_every_minute(
    building: Building, physics: Physics
) -> None:
    counters = every(building, ObjectType.ACCUMULATOR, ObjectType.LARGE_ANALOG_VALUE) + [
        data for data in every(building, ObjectType.POSITIVE_INTEGER_VALUE) if "Run Time" in data.name
    ]
    energy = named(building, "EM-1 Energy Import Pulses")
    for _ in range(12):
        before, energy_before = [data.number for data in counters], energy.number
        physics.step(HOUR_S / 60)
        physics.step(HOUR_S)
        assert all(data.number >= old for data, old in zip(counters, before, strict=True))
        assert energy.number > energy_before


def test_people_come_and_go_and_modes_change(building: Building, physics: Physics) -> None:
    watched = every(building, ObjectType.BINARY_INPUT, ObjectType.MULTI_STATE_INPUT, ObjectType.BINARY_VALUE)
    seen: dict[str, set[Value]] = {data.name: set() for data in watched}
    for _ in range(24 * 4):
        physics.step(HOUR_S / 4)
        for data in watched:
            seen[data.name].add(data.value)
    assert len(seen["VAV-1-01 Room Motion"]) == 2
    assert len(seen["AHU-1 Occupied"]) == 2
    assert len(seen["VAV-1-01 Controller State"]) >= 2
    assert sum(len(states) > 1 for states in seen.values()) >= 40


def test_a_weekend_is_quiet(building: Building, physics: Physics) -> None:
    physics.site.time += dt.timedelta(days=4)
    physics.step(4 * HOUR_S)
    on_friday = physics.site.people
    physics.site.time += dt.timedelta(days=1)
    physics.step(4 * HOUR_S)
    assert physics.site.time.weekday() == 5
    assert physics.site.people < on_friday


def test_an_operators_hand_on_the_damper_is_respected_and_let_go_again(building: Building, physics: Physics) -> None:
    box = building.vav_boxes[0]
    damper, position = (named(building, f"VAV-1-01 Damper {word}") for word in ("Command", "Position"))
    damper.write(100.0, 8)
    physics.step(600.0)
    assert damper.value == 100.0
    assert position.number == pytest.approx(100.0, abs=0.5)
    damper.relinquish(8)
    physics.step(1800.0)
    assert position.number < 90.0
    assert box.damper_fraction == position.number / 100.0


def test_a_room_cools_down_when_an_operator_switches_the_boilers_off(building: Building, physics: Physics) -> None:
    for number in (1, 2):
        named(building, f"B-{number} Enable").write(False, 8)
    for box in building.vav_boxes:
        box.setpoint.write(26.0, 8)
    physics.step(12 * HOUR_S)
    assert physics.site.hot_water < 40.0
    assert max(room(box) for box in building.vav_boxes) < 25.0


def test_no_fan_no_air(building: Building, physics: Physics) -> None:
    named(building, "AHU-1 Supply Fan").write(False, 8)
    physics.step(1800.0)
    assert named(building, "AHU-1 Duct Static Pressure").number < 2.0
    assert named(building, "AHU-1 Supply Fan Status").value is False
    assert named(building, "VAV-1-01 Air Flow").number < 30.0


def test_a_units_mode_and_a_lighting_scene_work(building: Building, physics: Physics) -> None:
    named(building, "AHU-2 Unit Mode").write(2, 8)
    named(building, "LC-1 Zone 1 Scene").write(4, 8)
    named(building, "LC-1 Zone 2 Scene").write(2, 8)
    named(building, "VAV-1-01 Purge").write(True, 8)
    physics.step(600.0)
    assert named(building, "AHU-2 Unit State").value == 1
    assert named(building, "LC-1 Zone 1 Light Level").value == 100.0
    assert named(building, "LC-1 Zone 2 Light Relay").value is False
    assert named(building, "VAV-1-01 Damper Command").value == 100.0


def test_the_second_chiller_and_boiler_help_when_the_first_cannot_do_it(building: Building, physics: Physics) -> None:
    for name in ("AHU-1", "AHU-2", "AHU-3"):
        named(building, f"{name} Cooling Valve Command").write(100.0, 8)
        named(building, f"{name} Supply Fan Speed Command").write(100.0, 8)
    for box in building.vav_boxes:
        for data in box.device.objects:
            if data.name.endswith(("Damper Command", "Reheat Valve Command")):
                data.write(100.0, 8)
    physics.step(3 * HOUR_S)
    assert named(building, "CHW-1 Plant State").value == 3
    assert named(building, "B-2 Flame").value is True
    named(building, "CHW-1 Lead Chiller").write(2, 8)
    physics.step(600.0)
    assert named(building, "CHW-1 Chilled Water Pump 2 Status").value is True
    assert named(building, "CHW-1 Chilled Water Pump 1 Status").value is False
