"""The tables of the standard, against another implementation's."""

from __future__ import annotations

import pytest
from bacpypes3.basetypes import EngineeringUnits, PropertyIdentifier
from bacpypes3.primitivedata import ObjectType
from bacpypes3.vendor import get_vendor_info

from plugins.bacnet.objects import TYPES, Datatype, Prop, object_of
from plugins.bacnet.units import NO_UNITS, unit_name, unit_symbol
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.enumerations import type_name, type_number

# Where bacpypes3 spells a unit otherwise than ASHRAE 135-2020 does.
SPELT_OTHERWISE = {232, 234, 237, 245, 247}
PRIMITIVES = {
    Datatype.BOOLEAN: "Boolean",
    Datatype.UNSIGNED: "Unsigned",
    Datatype.INTEGER: "Integer",
    Datatype.REAL: "Real",
    Datatype.DOUBLE: "Double",
    Datatype.OCTET_STRING: "OctetString",
    Datatype.CHARACTER_STRING: "CharacterString",
    Datatype.BIT_STRING: "BitString",
    Datatype.DATE: "Date",
    Datatype.TIME: "Time",
    Datatype.OBJECT_ID: "ObjectIdentifier",
    Datatype.DATETIME: "DateTime",
}


def test_units_have_the_names_of_the_standard():
    for number, name in EngineeringUnits._asn1_map.items():
        if number not in SPELT_OTHERWISE and number != NO_UNITS:
            assert unit_name(number) == name


def test_units_are_written_as_people_write_them():
    assert [unit_symbol(number) for number in (62, 98, 48, 85, 95)] == ["°C", "%", "kW", "m³/s", None]
    assert (unit_name(NO_UNITS), unit_name(50_000), unit_symbol(50_000)) == (None, "unit-50000", None)


def test_object_types_have_the_numbers_of_the_standard():
    theirs = {name.replace("-", ""): number for number, name in ObjectType._asn1_map.items()}
    for number, kind in TYPES.items():
        assert theirs.get(kind.name.replace("-", ""), number) == number
    for number in range(65):
        assert type_number(type_name(number)) == number


def test_property_numbers_are_those_of_the_standard():
    theirs = {name.replace("-", ""): number for number, name in PropertyIdentifier._asn1_map.items()}
    for prop in Prop:
        assert theirs[prop.name.lower().replace("_", "")] == prop


def test_present_values_have_the_datatypes_of_the_standard():
    classes = get_vendor_info(0)
    for number, kind in TYPES.items():
        object_class = classes.get_object_class(number)
        wanted = PRIMITIVES.get(kind.datatype)
        if object_class is not None and wanted is not None:
            lineage = [base.__name__ for base in object_class.get_property_type(Prop.PRESENT_VALUE).__mro__]
            assert wanted in lineage, kind.name


@pytest.mark.parametrize("key", ["analog-input.1", "datetimepattern-value.4194303"])
def test_a_point_s_key_is_its_object(key):
    kind, object_id = object_of(key)
    assert str(object_id) == key
    assert kind.number == object_id.type


@pytest.mark.parametrize(
    "key", ["device.1", "analog-input", "analog-input.x", "analog-input.4194304", "type-200.1", ""]
)
def test_other_keys_are_no_objects_with_a_present_value(key):
    with pytest.raises(ValueError, match="not an object"):
        object_of(key)


def test_a_vendor_s_own_type_has_a_name_too():
    assert str(ObjectId(200, 5)) == "type-200.5"
