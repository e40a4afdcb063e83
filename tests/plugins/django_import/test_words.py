from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Kind
from plugins.bacnet.objects import TYPES, Commandable
from plugins.bacnet.units import unit_name, unit_symbol
from plugins.bacnet.wire.enumerations import OBJECT_TYPES
from plugins.django_import import words
from plugins.django_import.words import NoPoint, object_type, unit


@pytest.mark.parametrize(
    "spelling", ["analogInput", "analog-input", "Analog Input", "ANALOG_INPUT", "analog_input", "AI", "ai", "0"]
)
def test_a_type_is_read_in_all_usual_spellings(spelling: str) -> None:
    assert (object_type(spelling).name, object_type(spelling).kind) == ("analog-input", Kind.NUMBER)


@pytest.mark.parametrize("spelling", ["degreesCelsius", "degrees-celsius", "DEGREES_CELSIUS", "62", "°C", "degC"])
def test_a_unit_is_read_in_all_usual_spellings(spelling: str) -> None:
    assert unit(spelling) == words.Unit("degrees-celsius", "°C")


@pytest.mark.parametrize("spelling", ["no-units", "noUnits", "95"])
def test_no_units_is_no_unit(spelling: str) -> None:
    assert unit(spelling) is None


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [("analogInptu", "did you mean analog-input"), ("5000", "is unknown"), ("", "is unknown"), ("²", "is unknown")],
)
def test_an_unknown_type_is_told_with_what_is_near(spelling: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        object_type(spelling)


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [
        ("degreesCelcius", "did you mean degrees-celsius"),
        ("°", "degrees-phase or degrees-angular"),
        ("furlongs!", "is unknown"),
        ("9999", "is unknown"),
    ],
)
def test_an_unknown_unit_is_told_with_what_is_near(spelling: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        unit(spelling)


@pytest.mark.parametrize("spelling", ["device", "trendLog", "8", "notification-class"])
def test_a_type_without_a_value_is_no_point(spelling: str) -> None:
    with pytest.raises(NoPoint):
        object_type(spelling)


def test_types_and_units_are_those_of_the_plugin_that_will_read_them() -> None:
    ours = {number: (name, kind, output) for number, (name, kind, output) in words._TYPES.items()}
    theirs = {each.number: (each.name, each.kind, each.commandable is Commandable.ALWAYS) for each in TYPES.values()}
    assert ours == theirs
    assert {number: name for number, name in OBJECT_TYPES.items() if number not in TYPES} == words._WITHOUT_VALUE
    for number, (name, symbol) in words._UNITS.items():
        assert (unit_name(number) or "no-units", unit_symbol(number) or "") == (name, symbol)
    assert set(words._WRITTEN_OTHERWISE.values()) <= set(words._SYMBOLS)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (object_type, unit):
        try:
            read(text)
        except ValueError as error:
            assert str(error)
