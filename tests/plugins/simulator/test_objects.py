"""Present values, commands and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.simulator.device import Product, SimulatedDevice
from plugins.simulator.objects import Access, ObjectType, SimulatedObject, ValueOutOfRange, WriteDenied

PRODUCT = Product("Maker", 64000, "Model", "1.0")


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice(1, "D-1", PRODUCT, "A device", "Somewhere")


def test_objects_are_named_after_their_device_and_counted_by_type(device: SimulatedDevice) -> None:
    first, second = device.actuator("Valve"), device.actuator("Damper")
    alarm = device.contact("Alarm", ("Normal", "Alarm"))
    assert [first.name, second.name] == ["D-1 Valve", "D-1 Damper"]
    assert [first.instance, second.instance, alarm.instance] == [1, 2, 1]


def test_an_operators_command_wins_over_the_controller_until_it_is_relinquished(device: SimulatedDevice) -> None:
    valve = device.actuator("Valve", 10.0)
    valve.write(80.0, 8)
    valve.set(20.0)
    assert (valve.value, valve.active_priority) == (80.0, 8)
    valve.write(5.0, 3)
    assert (valve.value, valve.active_priority) == (5.0, 3)
    valve.relinquish(3)
    valve.relinquish(8)
    assert (valve.value, valve.active_priority) == (20.0, None)


def test_a_write_without_priority_goes_to_slot_16(device: SimulatedDevice) -> None:
    fan = device.relay("Fan")
    fan.write(True)
    assert fan.is_on
    assert fan.active_priority == 16
    fan.relinquish()
    assert not fan.is_on


def test_a_writable_object_without_priority_array_keeps_what_is_written(device: SimulatedDevice) -> None:
    limit = device.setpoint("Limit", "kilowatts", span=(0.0, 10.0), value=5.0, access=Access.WRITABLE)
    limit.write(7.0, 8)
    assert (limit.value, limit.active_priority) == (7.0, None)
    with pytest.raises(WriteDenied):
        limit.relinquish(8)


def test_a_sensor_takes_writes_only_while_out_of_service(device: SimulatedDevice) -> None:
    sensor = device.temperature("Air", span=(0.0, 50.0), value=20.0)
    with pytest.raises(WriteDenied):
        sensor.write(21.0)
    sensor.set_out_of_service(out_of_service=True)
    sensor.write(30.0)
    sensor.set(22.0)
    assert sensor.value == 30.0
    sensor.set_out_of_service(out_of_service=False)
    assert sensor.value == 22.0
    with pytest.raises(WriteDenied):
        device.actuator("Valve").set_out_of_service(out_of_service=True)


@pytest.mark.parametrize("value", [-0.1, 100.1, math.nan, math.inf])
def test_analog_values_out_of_range_are_refused(device: SimulatedDevice, value: float) -> None:
    with pytest.raises(ValueOutOfRange):
        device.actuator("Valve").write(value, 8)


@pytest.mark.parametrize("value", [0, 4, 2.0])
def test_states_that_do_not_exist_are_refused(device: SimulatedDevice, value: int) -> None:
    with pytest.raises(ValueOutOfRange):
        device.mode("Mode", ("A", "B", "C")).write(value)


def test_what_is_no_number_has_no_number(device: SimulatedDevice) -> None:
    with pytest.raises(TypeError):
        _ = device.text("Note", "hello").number


@given(value=st.floats(allow_nan=False, allow_infinity=False), resolution=st.sampled_from([0.01, 0.1, 1.0]))
def test_measured_values_stay_in_range_and_are_rounded(value: float, resolution: float) -> None:
    sensor = SimulatedObject(
        type=ObjectType.ANALOG_INPUT,
        instance=1,
        name="S",
        description="",
        automatic=0.0,
        minimum=-40.0,
        maximum=60.0,
        resolution=resolution,
    )
    sensor.set(value)
    assert -40.0 <= sensor.number <= 60.0
    assert sensor.number / resolution == pytest.approx(round(sensor.number / resolution))
