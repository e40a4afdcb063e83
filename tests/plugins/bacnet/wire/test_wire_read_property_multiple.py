"""ReadPropertyMultiple, against bacpypes3's and the standard's examples; what is broken spoils nothing else."""

from __future__ import annotations

import itertools

import pytest
from bacpypes3.apdu import (
    APDU,
    APCISequence,
    ErrorType,
    ReadAccessResult,
    ReadAccessSpecification,
    ReadPropertyMultipleACK,
    ReadPropertyMultipleRequest,
)
from bacpypes3.basetypes import PropertyReference, ReadAccessResultElement, ReadAccessResultElementChoice
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import PDU, PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import apdu, primitives, read_property_multiple, tags
from plugins.bacnet.wire.apdu import PropertyError, Service
from plugins.bacnet.wire.datatypes import Bits, Group, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.read_property_multiple import Element

HEADER = apdu.write_complex_ack(Service.READ_PROPERTY_MULTIPLE, 7, b"")
SOUND = [
    b"",
    b"\x00",
    b"\x10",
    b"\x11",
    primitives.encode_real(21.5),
    primitives.encode_unsigned(2**40),
    primitives.encode_double(0.1),
    primitives.encode_character_string("Grüße"),
    primitives.encode_character_string("x" * 300),
    primitives.encode_octet_string(bytes(70_000)),
    b"\x00" * 16,
    b"\x00" * 15 + primitives.encode_real(1.0),
    b"\x21\x4f",
    b"\x91\x4f\x91\x5f",
    b"\x11\x21\x4f",
    tags.context(0, b"\x4f"),
    tags.opening(4) + tags.closing(4),
    tags.opening(4) + tags.opening(5) + b"\x21\x1f" + tags.closing(5) + tags.closing(4),
    tags.opening(40) + tags.context(200, bytes(9)) + tags.closing(40),
]
# Values that have the shape of tagged octets, and mean nothing.
BROKEN = [b"\xe1\x00", b"\x20", b"\x43\x00\x00\x00", b"\xa1\x00", b"\x81\x09", b"\xf1\x14\x4f", b"\x70", b"\x01\x00"]
ERRORS = st.builds(PropertyError, st.integers(0, 255), st.integers(0, 65535))


def by_bacpypes3(octets):
    return APCISequence.decode(APDU.decode(PDU(octets)))


def their_id(object_id):
    return ObjectIdentifier((object_id.type, object_id.instance))


def our_ref(object_id, theirs):
    index = theirs.propertyArrayIndex
    found = ObjectId(int(object_id[0]), object_id[1])
    return Ref(found, int(theirs.propertyIdentifier), None if index is None else int(index))


def by_object(pairs):
    """Group what stands behind one another for the same object."""
    return [(key, list(group)) for key, group in itertools.groupby(pairs, key=lambda pair: pair[0].object)]


def write_answer(pairs):
    return b"".join(
        read_property_multiple.write_object(
            object_id, b"".join(read_property_multiple.write_element(ref, value) for ref, value in group)
        )
        for object_id, group in by_object(pairs)
    )


refs = st.lists(st.from_type(Ref), min_size=1, max_size=8)
# Several properties of one object, too.
refs = refs | st.builds(
    lambda refs, count: [Ref(refs[0].object, ref.property, ref.index) for ref in refs[:count]] + refs[count:],
    refs,
    st.integers(1, 8),
)


@given(refs)
def test_a_request_is_the_same_as_bacpypes3_s_and_read_by_both(refs):
    parameters = read_property_multiple.write_parameters(refs)
    theirs = ReadPropertyMultipleRequest(
        listOfReadAccessSpecs=[
            ReadAccessSpecification(
                objectIdentifier=their_id(object_id),
                listOfPropertyReferences=[
                    PropertyReference(propertyIdentifier=ref.property, propertyArrayIndex=ref.index) for ref, _ in group
                ],
            )
            for object_id, group in by_object([(ref, None) for ref in refs])
        ]
    )
    assert bytes(theirs.encode().pduData) == parameters
    read = by_bacpypes3(apdu.write_request(Service.READ_PROPERTY_MULTIPLE, parameters))
    assert refs == [
        our_ref(spec.objectIdentifier, reference)
        for spec in read.listOfReadAccessSpecs
        for reference in spec.listOfPropertyReferences
    ]
    assert read_property_multiple.read_parameters(b"??" + parameters, 2) == refs


def test_a_request_for_nothing_is_empty():
    assert read_property_multiple.write_parameters([]) == b""
    assert read_property_multiple.read_parameters(b"") == []
    assert read_property_multiple.read_result(b"") == []


@given(refs, st.data())
def test_an_answer_is_the_same_as_bacpypes3_s_and_read_by_both(refs, data):
    pairs = [(ref, data.draw(st.sampled_from(SOUND) | ERRORS)) for ref in refs]
    result = write_answer(pairs)

    def choice(value):
        if isinstance(value, PropertyError):
            error = ErrorType(errorClass=value.error_class, errorCode=value.code)
            return ReadAccessResultElementChoice(propertyAccessError=error)
        return ReadAccessResultElementChoice(propertyValue=AnyValue(TagList.decode(PDUData(value))))

    theirs = ReadPropertyMultipleACK(
        listOfReadAccessResults=[
            ReadAccessResult(
                objectIdentifier=their_id(object_id),
                listOfResults=[
                    ReadAccessResultElement(
                        propertyIdentifier=ref.property, propertyArrayIndex=ref.index, readResult=choice(value)
                    )
                    for ref, value in group
                ],
            )
            for object_id, group in by_object(pairs)
        ]
    )
    assert bytes(theirs.encode().pduData) == result

    read = [
        (our_ref(part.objectIdentifier, element), element.readResult)
        for part in by_bacpypes3(HEADER + result).listOfReadAccessResults
        for element in part.listOfResults
    ]
    octets = HEADER + result
    elements = read_property_multiple.read_result(octets, len(HEADER))
    for (ref, value), (their_ref, their_result), element in zip(pairs, read, elements, strict=True):
        assert ref == their_ref == element.ref
        if isinstance(value, PropertyError):
            error = their_result.propertyAccessError
            assert (int(error.errorClass), int(error.errorCode)) == value == element.error
        else:
            inside = bytes(their_result.propertyValue.tagList.encode().pduData)
            assert inside == tags.opening(4) + value + tags.closing(4)
            assert octets[element.start : element.end] == value
            assert element.error is None


# Annex F.3.7.
def test_the_standard_s_example_of_one_object_is_read_and_written():
    request = bytes.fromhex("00 04 f1 0e 0c00000010 1e 0955 0967 1f")
    header = apdu.read_request(request)
    assert header[:4] == (False, 1024, 0xF1, Service.READ_PROPERTY_MULTIPLE)
    asked = read_property_multiple.read_parameters(request, header.at)
    assert asked == [Ref(ObjectId(0, 16), 85), Ref(ObjectId(0, 16), 103)]
    assert read_property_multiple.write_parameters(asked) == request[4:]
    answer = bytes.fromhex("30 f1 0e 0c00000010 1e 2955 4e 444290999a 4f 2967 4e 9100 4f 1f")
    elements = read_property_multiple.read_result(answer, 3)
    assert [(element.ref, element.items(answer)) for element in elements] == [(asked[0], (72.3,)), (asked[1], (0,))]
    assert write_answer([(asked[0], b"\x44\x42\x90\x99\x9a"), (asked[1], b"\x91\x00")]) == answer[3:]


def test_the_standard_s_example_of_several_objects_and_an_error_is_read_and_written():
    request = bytes.fromhex("0c00000021 1e 0955 1f 0c00000032 1e 0955 1f 0c00000023 1e 0955 1f")
    asked = [Ref(ObjectId(0, number), 85) for number in (33, 50, 35)]
    assert read_property_multiple.read_parameters(request) == asked
    assert read_property_multiple.write_parameters(asked) == request
    answer = bytes.fromhex(
        "0c00000021 1e 2955 4e 4442293333 4f 1f"
        "0c00000032 1e 2955 5e 9101 911f 5f 1f"
        "0c00000023 1e 2955 4e 4443d9d99a 4f 1f"
    )
    first, second, third = read_property_multiple.read_result(answer)
    assert (first.items(answer), third.items(answer)) == ((42.3,), (435.7,))
    assert (second.ref, str(second.error)) == (asked[1], "object unknown-object")
    values = [b"\x44\x42\x29\x33\x33", PropertyError(1, 31), b"\x44\x43\xd9\xd9\x9a"]
    assert write_answer(list(zip(asked, values, strict=True))) == answer


def test_an_element_says_what_it_is_about_and_has_its_value():
    ref = Ref(ObjectId(1023, 0x3FFFFF), 70_000, 2**32 - 1)
    octets = write_answer([(ref, SOUND[-1]), (ref, primitives.encode_bit_string(Bits((True, False))))])
    first, second = read_property_multiple.read_result(octets)
    assert first == Element(ref.object.packed, ref.property, ref.index, first.start, first.end, None)
    assert first.items(octets) == (Group(40, (Group(200, (bytes(9),)),)),)
    assert second.items(octets) == (Bits((True, False)),)


@given(refs, st.data())
def test_a_broken_value_spoils_no_other(refs, data):
    pairs = [(ref, data.draw(st.sampled_from(SOUND + BROKEN) | ERRORS)) for ref in refs]
    octets = write_answer(pairs)
    elements = read_property_multiple.read_result(octets)
    for (ref, value), element in zip(pairs, elements, strict=True):
        assert element.ref == ref
        if value in BROKEN:
            with pytest.raises(DecodeError):
                element.items(octets)
        elif isinstance(value, PropertyError):
            assert element.error == value
        else:
            assert octets[element.start : element.end] == value
            element.items(octets)


@given(refs, st.data())
def test_an_answer_cut_short_is_a_shorter_one_or_a_decode_error(refs, data):
    octets = write_answer([(ref, data.draw(st.sampled_from(SOUND[:10]))) for ref in refs])
    whole = read_property_multiple.read_result(octets)
    short = octets[: data.draw(st.integers(0, len(octets) - 1))]
    try:
        elements = read_property_multiple.read_result(short)
    except DecodeError:
        return
    assert elements == whole[: len(elements)]
    assert len(elements) < len(whole)


def test_any_octets_are_a_message_or_a_decode_error():
    begin = b"\x0c\0\0\0\x05\x1e"

    @given(st.sampled_from([b"", begin, begin + b"\x29\x55", begin + b"\x29\x55\x4e"]), st.binary(max_size=40))
    def check(beginning, octets):
        octets = beginning + octets
        for read in (read_property_multiple.read_parameters, read_property_multiple.read_result):
            try:
                found = read(octets)
            except DecodeError:
                continue
            for element in found:
                if isinstance(element, Element):
                    assert 0 < element.start <= element.end < len(octets)

    check()


@given(refs, st.data())
def test_a_changed_octet_gives_elements_or_a_decode_error(refs, data):
    octets = bytearray(write_answer([(ref, data.draw(st.sampled_from(SOUND[:10] + SOUND[11:]))) for ref in refs]))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    answer = bytes(octets)
    try:
        elements = read_property_multiple.read_result(answer)
    except DecodeError:
        return
    for element in elements:
        try:
            assert str(element.items(answer))
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "octets",
    [
        "0c",
        "0c00000005",
        "0c00000005 1e",
        "0c00000005 2e 2955 4e2105 4f 1f",
        "0d04 00000005 1e 1f",
        "0c00000005 1e 28 4e2105 4f 1f",
        "0c00000005 1e 2d09 000000000000000000 4e2105 4f 1f",
        "0c00000005 1e 2955 38 4e2105 4f 1f",
        "0c00000005 1e 2955 1f",
        "0c00000005 1e 2955 3e2105 3f 1f",
        "0c00000005 1e 2955 5e9101 5f 1f",
        "0c00000005 1e 2955 3e91029120 5f 1f",
        "0c00000005 1e 2955 5e9101 9100 4f 1f",
        "0c00000005 1e 2955 4e2105",
        "0c00000005 1e 2955 4e22",
        "0c00000005 1e 2955 4e2105 5f 1f",
        "0c00000005 1e 2955 4e2105 4f",
        "0c00000005 1e 2955 4e2105 4f 1f 00",
        "0c00000005 1e 2955 4e 0e 4f 0f 1f",
    ],
)
def test_an_answer_with_a_broken_frame_is_refused(octets):
    with pytest.raises(DecodeError):
        read_property_multiple.read_result(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "octets",
    ["0c00000005", "0c00000005 1e", "0c00000005 1e 0955", "0c00000005 1e 08 1f", "0c00000005 1e 0955 18 1f", "00"],
)
def test_a_broken_request_is_refused(octets):
    with pytest.raises(DecodeError):
        read_property_multiple.read_parameters(bytes.fromhex(octets))
