"""ReadProperty, against bacpypes3's and the standard's examples: indexes, vendors' own properties, broken answers."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import APDU, APCISequence, ReadPropertyACK, ReadPropertyRequest
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import PDU, PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import apdu, primitives, read_property, tags
from plugins.bacnet.wire.apdu import Service
from plugins.bacnet.wire.datatypes import Group, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError

HEADER = apdu.write_complex_ack(Service.READ_PROPERTY, 7, b"")
VALUES = {
    "a real": primitives.encode_real(21.5),
    "a boolean": b"\x11",
    "nothing": b"",
    "an array": b"\x00" * 15 + primitives.encode_real(1.0),
    "a long text": primitives.encode_character_string("x" * 300),
    "a group of the tag around it": tags.opening(3) + tags.context(3, b"\x01") + tags.closing(3),
    "groups in groups": tags.opening(40) + tags.opening(3) + b"\x91\x01" + tags.closing(3) + tags.closing(40),
}


def parts(theirs):
    index = theirs.propertyArrayIndex
    kind, instance = theirs.objectIdentifier
    return Ref(ObjectId(int(kind), instance), int(theirs.propertyIdentifier), None if index is None else int(index))


def asked_for(ref):
    return {
        "objectIdentifier": ObjectIdentifier((ref.object.type, ref.object.instance)),
        "propertyIdentifier": ref.property,
        "propertyArrayIndex": ref.index,
    }


def by_bacpypes3(octets):
    return APCISequence.decode(APDU.decode(PDU(octets)))


@given(st.from_type(Ref))
def test_a_request_is_the_same_as_bacpypes3_s_and_read_by_both(ref):
    parameters = read_property.write_parameters(ref)
    assert bytes(ReadPropertyRequest(**asked_for(ref)).encode().pduData) == parameters
    assert parts(by_bacpypes3(apdu.write_request(Service.READ_PROPERTY, parameters))) == ref
    assert read_property.read_parameters(b"?" + parameters, 1) == ref


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_an_answer_is_the_same_as_bacpypes3_s_and_read_by_both(value):
    @given(st.from_type(Ref))
    def check(ref):
        result = read_property.write_result(ref, value)
        theirs = by_bacpypes3(HEADER + result)
        assert parts(theirs) == ref
        # bacpypes3 leaves the tags around a value where they are, or the value without them where it has the type.
        assert bytes(theirs.propertyValue.tagList.encode().pduData) == tags.opening(3) + value + tags.closing(3)
        again = ReadPropertyACK(**asked_for(ref), propertyValue=AnyValue(TagList.decode(PDUData(value))))
        assert bytes(again.encode().pduData) == result

        found = read_property.read_result(HEADER + result, len(HEADER))
        assert found.ref == ref
        assert (HEADER + result)[found.start : found.end] == value

    check()


def test_the_standard_s_example_is_read_and_written():
    request = bytes.fromhex("00 00 01 0c 0c00000005 1955")
    header = apdu.read_request(request)
    assert header == (False, 50, 1, Service.READ_PROPERTY, 4)
    ref = read_property.read_parameters(request, header.at)
    assert ref == Ref(ObjectId(0, 5), 85)
    assert read_property.write_parameters(ref) == request[4:]
    answer = bytes.fromhex("30 01 0c 0c00000005 1955 3e 444290999a 3f")
    found = read_property.read_result(answer, 3)
    assert (found.ref, found.items(answer)) == (ref, (72.3,))
    assert apdu.write_complex_ack(12, 1, read_property.write_result(ref, primitives.encode_real(72.3))) == answer


def test_the_value_of_an_answer_is_decoded_where_it_is_asked_for():
    result = read_property.write_result(Ref(ObjectId(8, 1), 76, 0), VALUES["a group of the tag around it"])
    assert read_property.read_result(result).items(result) == (Group(3, (Group(3, (b"\x01",)),)),)
    broken = read_property.write_result(Ref(ObjectId(8, 1), 76), b"\xe1\x00")
    found = read_property.read_result(broken)
    with pytest.raises(DecodeError):
        found.items(broken)


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "0c000000",
        "0b000000 1955",
        "0c00000005",
        "0c00000005 18",
        "0c00000005 1d09" + "00" * 9,
        "0c00000005 1955 28",
        "0c00000005 1955 3901",
        "1c00000005 0955",
        "c400000005 1955",
    ],
)
def test_a_broken_request_is_refused(octets):
    for read in (read_property.read_parameters, read_property.read_result):
        with pytest.raises(DecodeError):
            read(bytes.fromhex(octets))


@pytest.mark.parametrize("octets", ["3e2105", "3e21053f00", "2e2f", "4e21054f", "3e4e3f", "3f", "3e3e3f"])
def test_a_broken_answer_is_refused(octets):
    with pytest.raises(DecodeError):
        read_property.read_result(bytes.fromhex("0c000000051955" + octets))


@given(st.from_type(Ref), st.sampled_from(list(VALUES.values())), st.data())
def test_no_octet_can_be_missing(ref, value, data):
    result = read_property.write_result(ref, value)
    cut = data.draw(st.integers(0, len(result) - 1))
    with pytest.raises(DecodeError):
        read_property.read_result(result[:cut])


@given(st.from_type(Ref), st.sampled_from(list(VALUES.values())), st.data())
def test_a_changed_octet_gives_a_value_or_a_decode_error(ref, value, data):
    result = bytearray(read_property.write_result(ref, value))
    for _ in range(data.draw(st.integers(1, 3))):
        result[data.draw(st.integers(0, len(result) - 1))] = data.draw(st.integers(0, 255))
    octets = bytes(result)
    try:
        found = read_property.read_result(octets)
        assert str(found.items(octets))
    except DecodeError:
        return


@given(st.binary(max_size=40), st.booleans())
def test_any_octets_are_a_message_or_a_decode_error(octets, begins_well):
    if begins_well:
        octets = b"\x0c\0\0\0\x05\x19\x55\x3e" + octets
    for read in (read_property.read_parameters, read_property.read_result):
        try:
            assert str(read(octets))
        except DecodeError:
            continue
