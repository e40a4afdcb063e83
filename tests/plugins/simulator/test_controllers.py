"""Field controllers: how many there are, what they have, and how they change."""

from __future__ import annotations

from collections import Counter

import pytest

from plugins.simulator.building import make_building
from plugins.simulator.controllers import Changing, change, make_controller, make_controllers
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.objects import ObjectType, Value


def values(devices: tuple[SimulatedDevice, ...]) -> list[Value]:
    return [data.value for device in devices for data in device.objects]


def test_controllers_stand_beside_the_building_which_stays_the_same() -> None:
    building, plain = make_building(1, controllers=3, points=20), make_building(1)
    assert building.point_count == plain.point_count + 60
    names = [(device.instance, device.name) for device in building.devices]
    assert names[: len(plain.devices)] == [(device.instance, device.name) for device in plain.devices]
    assert names[-3:] == [(10001, "FC-00001"), (10002, "FC-00002"), (10003, "FC-00003")]
    assert plain.controllers == ()


@pytest.mark.parametrize("points", [1, 7, 10, 100, 1000])
def test_a_controller_has_as_many_points_as_wanted_of_a_mix_of_types(points: int) -> None:
    device = make_controller(1, "C", points=points)
    types = Counter(data.type for data in device.objects)
    assert types.total() == points
    if points >= 10:
        assert [types[kind] * 10 // points for kind in (ObjectType.ANALOG_INPUT, ObjectType.ANALOG_VALUE)] == [6, 1]
        assert [types[kind] * 10 // points for kind in (ObjectType.BINARY_INPUT, ObjectType.MULTI_STATE_INPUT)] == [
            2,
            1,
        ]
    analog = [data for data in device.objects if data.type is ObjectType.ANALOG_INPUT]
    assert [data.value for data in analog] == [20.0 + data.instance for data in analog]
    assert len({data.name for data in device.objects}) == points


def test_a_change_always_gives_another_value_and_comes_round() -> None:
    for data in make_controller(1, "C", points=10).objects:
        first, seen = data.value, []
        for _ in range(100):
            before = data.value
            change(data)
            assert data.value != before
            assert data.value.__class__ is first.__class__
            seen.append(data.value)
        assert first in seen


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.1, 30), (0.25, 75), (1.0, 300)])
def test_each_second_a_share_of_the_points_changes(share: float, expected: int) -> None:
    controllers = make_controllers(10, points=30)
    before = values(controllers)
    changing = Changing(controllers, share=share, seed=1)
    for _ in range(16):
        changing.step(1 / 16)
    changed = sum(old != new for old, new in zip(before, values(controllers), strict=True))
    assert abs(changed - expected) <= (10 if share == 0.25 else 0)  # 7.5 points of 30: some have 7, some 8


def test_the_same_seed_changes_the_same_points() -> None:
    def picture(seed: int) -> list[Value]:
        controllers = make_controllers(4, points=20)
        changing = Changing(controllers, share=0.3, seed=seed)
        for _ in range(20):
            changing.step(0.5)
        return values(controllers)

    assert picture(7) == picture(7)
    assert picture(7) != picture(8)


def test_after_a_sleep_nothing_is_caught_up_and_without_controllers_nothing_happens() -> None:
    controllers = make_controllers(2, points=10)
    Changing(controllers, share=1.0, seed=1).step(3600.0)
    assert all(data.version == 1 for device in controllers for data in device.objects)
    Changing((), share=1.0, seed=1).step(1.0)
