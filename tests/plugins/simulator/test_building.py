"""What the building promises about its devices and objects."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from plugins.simulator.building import FIRST_INSTANCE, Building, make_building
from plugins.simulator.objects import Access, ObjectType
from plugins.simulator.physics import Physics


@pytest.fixture(scope="module")
def building() -> Building:
    made = make_building(1)
    Physics(made)
    return made


def picture(seed: int) -> list[Any]:
    made = make_building(seed)
    Physics(made)
    return [
        (device.instance, device.name, device.product, data.type, data.instance, data.name, data.value)
        for device in made.devices
        for data in device.objects
    ]


def test_there_are_enough_devices_of_several_vendors_and_kinds(building: Building) -> None:
    assert len(building.devices) >= 24
    assert len({device.product.vendor for device in building.devices}) >= 5
    assert [device.instance for device in building.devices] == list(
        range(FIRST_INSTANCE, FIRST_INSTANCE + len(building.devices))
    )


def test_there_are_enough_points_of_all_common_types(building: Building) -> None:
    types = Counter(data.type for device in building.devices for data in device.objects)
    assert building.point_count == types.total() >= 600
    assert set(types) == set(ObjectType)


def test_clients_meet_devices_of_every_ability(building: Building) -> None:
    products = {device.product for device in building.devices}
    assert {product.max_apdu for product in products} == {1476, 480, 206}
    assert {product.segmentation for product in products} == {True, False}
    simple = [device for device in building.devices if not device.product.read_property_multiple]
    assert 1 <= len(simple) <= 2


def test_names_are_unique_within_a_device_and_begin_with_its_name(building: Building) -> None:
    for device in building.devices:
        names = [data.name for data in device.objects]
        assert len(set(names)) == len(names)
        assert all(name.startswith(f"{device.name} ") for name in names)


def test_every_analog_value_can_be_written_five_units_up_and_down(building: Building) -> None:
    for device in building.devices:
        for data in device.objects:
            if data.type is ObjectType.ANALOG_VALUE:
                assert data.access is not Access.READ_ONLY
                start = data.number
                for value in (start - 5.0, start + 5.0, start):
                    data.write(value, 8)
                    assert data.value == value


def test_the_same_seed_gives_the_same_building_with_the_same_values() -> None:
    assert picture(7) == picture(7)


def test_another_seed_gives_another_building() -> None:
    assert picture(1) != picture(2)
