"""Checks that a value suits a point."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ValueNotSuitable
from core.model import Device, Kind, Point
from core.values import agrees, suitable

DEVICE = Device(id="demo.room", plugin="demo", name="Room")
SET_POINT = DEVICE.point("set-point", min=5.0, max=30.0, symbol="°C")
LAMP = DEVICE.point("lamp", kind=Kind.BOOLEAN, states={"false": "Off", "true": "On"})
MODE = DEVICE.point("mode", kind=Kind.ENUM, states={"1": "Off", "2": "Day", "3": "Night"})
LABEL = DEVICE.point("label", kind=Kind.TEXT)


@pytest.mark.parametrize(
    ("point", "given_value", "taken"),
    [
        (SET_POINT, 21.5, 21.5),
        (SET_POINT, 5, 5),
        (SET_POINT, 30.0, 30.0),
        (DEVICE.point("any"), -1e300, -1e300),
        (DEVICE.point("any"), 2**63, 2**63),
        (LAMP, True, True),
        (LAMP, "Off", False),
        (DEVICE.point("bare", kind=Kind.BOOLEAN), False, False),
        (MODE, 3, 3),
        (MODE, 2.0, 2),
        (MODE, "Night", 3),
        (DEVICE.point("bare", kind=Kind.ENUM), 0, 0),
        (LABEL, "", ""),
    ],
)
def test_a_value_that_suits_is_taken_as_the_point_has_it(point: Point, given_value: Any, taken: Any):
    result = suitable(point, given_value)
    assert (result, type(result)) == (taken, type(taken))


@pytest.mark.parametrize(
    ("point", "value", "says"),
    [
        (SET_POINT, "21", "takes a number"),
        (SET_POINT, True, "takes a number"),
        (SET_POINT, None, "takes a number"),
        (SET_POINT, math.nan, "takes a finite number"),
        (SET_POINT, -math.inf, "takes a finite number"),
        (SET_POINT, 4.9, "takes at least 5 °C"),
        (SET_POINT, 31, "takes at most 30 °C"),
        pytest.param(DEVICE.point("any"), 10**400, "takes a finite number", id="number-beyond-floats"),
        (DEVICE.point("any", max=3.5), 4, "takes at most 3.5"),
        (LAMP, 1, "takes one of true, false, 'Off', 'On'"),
        (LAMP, "on", "takes one of true, false"),
        (LAMP, None, "takes one of true, false"),
        (MODE, 9, "takes one of 1, 2, 3, 'Off', 'Day', 'Night'"),
        (MODE, 1.5, "takes one of 1, 2, 3"),
        (MODE, "Dusk", "takes one of 1, 2, 3"),
        (MODE, True, "takes one of 1, 2, 3"),
        (MODE, math.nan, "takes one of 1, 2, 3"),
        pytest.param(MODE, 10**400, "takes one of 1, 2, 3", id="state-beyond-floats"),
        (DEVICE.point("bare", kind=Kind.ENUM), -1, "takes one of a whole number from 0"),
        (DEVICE.point("odd", kind=Kind.ENUM, states={"low": "Low"}), "Low", "takes one of low, 'Low'"),
        (LABEL, 3, "takes text"),
        (LABEL, None, "takes text"),
    ],
)
def test_a_value_that_does_not_suit_is_refused_with_what_does(point: Point, value: Any, says: str):
    with pytest.raises(ValueNotSuitable) as refused:
        suitable(point, value)
    assert f"{point.id} {says}" in refused.value.detail
    (fault,) = refused.value.errors
    assert (fault.field, fault.code) == ("value", "value.not_suitable")
    assert fault.message.startswith("must be ")


numbers = st.none() | st.floats()
points = st.builds(
    DEVICE.point,
    st.just("any"),
    kind=st.sampled_from(Kind),
    min=numbers,
    max=numbers,
    symbol=st.none() | st.just("°C"),
    states=st.none() | st.dictionaries(st.text(max_size=3) | st.sampled_from(["1", "2", "true"]), st.text(max_size=2)),
)
scalars = st.none() | st.booleans() | st.integers() | st.integers().map(lambda n: n * 10**320) | st.floats() | st.text()
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=2), scalars, max_size=2)


@given(points, anything)
def test_whatever_is_given_comes_back_suitable_or_is_refused_as_not_suitable(point: Point, value: Any):
    try:
        taken = suitable(point, value)
    except ValueNotSuitable:
        return
    kinds = {Kind.NUMBER: int | float, Kind.BOOLEAN: bool, Kind.ENUM: int, Kind.TEXT: str}
    assert isinstance(taken, kinds[point.kind])
    assert point.kind is Kind.BOOLEAN or not isinstance(taken, bool)
    assert isinstance(taken, str) or math.isfinite(float(taken))
    assert suitable(point, taken) == taken


@pytest.mark.parametrize(
    ("written", "shown", "resolution", "agreed"),
    [
        (21.7, 21.700000762939453, None, True),
        (21.7, 21.8, None, False),
        (21.73, 21.7, 0.1, True),
        (21.73, 21.6, 0.1, False),
        (5, 5.0, None, True),
        (0.0, 1e-9, None, False),
        (True, True, None, True),
        (True, 1, None, False),
        ("a", "a", None, True),
        (1.0, None, None, False),
        (None, None, None, True),
    ],
)
def test_what_a_device_shows_is_compared_within_its_precision(written, shown, resolution, agreed):
    point = Point("demo.1.t", "demo.1", "t", resolution=resolution)
    assert agrees(point, written, shown) is agreed
