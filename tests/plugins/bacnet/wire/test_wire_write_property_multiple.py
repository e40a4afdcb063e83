"""WritePropertyMultiple, against bacpypes3: requests, its own form of error, and broken ones."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import WritePropertyMultipleRequest
from bacpypes3.basetypes import PropertyValue, WriteAccessSpecification
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import apdu, primitives, write_property_multiple
from plugins.bacnet.wire.apdu import PropertyError
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.write_property import Written
from plugins.bacnet.wire.write_property_multiple import Failure

VALUE = primitives.encode_real(21.5)
WRITES = st.lists(st.builds(Written, st.from_type(Ref), st.just(VALUE), st.none() | st.integers(1, 16)), max_size=5)
GOOD = write_property_multiple.write_parameters(
    [Written(Ref(ObjectId(1, 2), 85), VALUE, 8), Written(Ref(ObjectId(1, 2), 28, 3), VALUE, None)]
)


@given(WRITES)
def test_writes_are_the_same_as_bacpypes3_s_and_read_again(writes):
    octets = b"".join(write_property_multiple.write_parameters([write]) for write in writes)
    theirs = WritePropertyMultipleRequest(
        listOfWriteAccessSpecs=[
            WriteAccessSpecification(
                objectIdentifier=ObjectIdentifier((ref.object.type, ref.object.instance)),
                listOfProperties=[
                    PropertyValue(
                        propertyIdentifier=ref.property,
                        propertyArrayIndex=ref.index,
                        value=AnyValue(TagList.decode(PDUData(value))),
                        priority=priority,
                    )
                ],
            )
            for ref, value, priority in writes
        ]
    )
    assert bytes(theirs.encode().pduData) == octets
    assert write_property_multiple.read_parameters(octets) == writes
    assert write_property_multiple.read_parameters(write_property_multiple.write_parameters(writes)) == writes
    assert sum(map(write_property_multiple.size, writes)) == len(octets)


def test_properties_of_one_object_share_its_specification():
    assert GOOD.count(ObjectId(1, 2).packed.to_bytes(4, "big")) == 1


@given(st.from_type(Ref) | st.none())
def test_an_error_says_which_write_failed_first(ref):
    failure = Failure(PropertyError(2, 40), ref)
    octets = write_property_multiple.write_error(7, failure)
    assert octets[:3] == bytes((0x50, 7, 16))
    assert write_property_multiple.read_error(octets, 3) == failure


def test_an_error_in_the_plain_form_does_not_say_it():
    octets = apdu.write_error(16, 7, PropertyError(2, 40))
    assert write_property_multiple.read_error(octets, 3) == Failure(PropertyError(2, 40), None)


@pytest.mark.parametrize("octets", [GOOD[:-1], GOOD + b"\0", GOOD[:5] + GOOD[6:], GOOD[:6] + b"\x44", GOOD[:8] + VALUE])
def test_broken_writes_are_told_from_good_ones(octets):
    with pytest.raises(DecodeError):
        write_property_multiple.read_parameters(octets)


@given(st.binary(max_size=40))
def test_octets_by_chance_are_an_error_in_one_way_only(octets):
    for decode in (write_property_multiple.read_parameters, write_property_multiple.read_error):
        try:
            decode(octets)
        except DecodeError:
            continue
