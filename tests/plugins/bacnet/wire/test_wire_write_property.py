"""WriteProperty, against bacpypes3: with and without priority and index, broken requests."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import WritePropertyRequest
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import primitives, write_property
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError

VALUE = primitives.encode_real(21.5)
GOOD = write_property.write_parameters(Ref(ObjectId(1, 2), 85), VALUE, priority=8)


@given(st.from_type(Ref), st.none() | st.integers(1, 16))
def test_a_write_is_the_same_as_bacpypes3_s_and_read_again(ref, priority):
    octets = write_property.write_parameters(ref, VALUE, priority=priority)
    theirs = WritePropertyRequest(
        objectIdentifier=ObjectIdentifier((ref.object.type, ref.object.instance)),
        propertyIdentifier=ref.property,
        propertyArrayIndex=ref.index,
        propertyValue=AnyValue(TagList.decode(PDUData(VALUE))),
        priority=priority,
    )
    assert bytes(theirs.encode().pduData) == octets
    assert write_property.read_parameters(b"?" + octets, 1) == (ref, VALUE, priority)


@pytest.mark.parametrize("octets", [b"", GOOD[:-1], GOOD + b"\0", GOOD[:7] + b"\x44", GOOD[:7] + VALUE])
def test_a_broken_write_is_told_from_a_good_one(octets):
    with pytest.raises(DecodeError):
        write_property.read_parameters(octets)
