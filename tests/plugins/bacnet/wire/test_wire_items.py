"""The values of properties: one datum, several, groups in one another, and bacpypes3's constructed ones."""

from __future__ import annotations

import pytest
from bacpypes3 import basetypes as theirs
from bacpypes3.constructeddata import ArrayOf, SequenceOf
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import ClosingTag, ContextTag, Null, ObjectIdentifier, OpeningTag, Real, TagList
from hypothesis import example, given
from hypothesis import strategies as st

from plugins.bacnet.wire import primitives, tags
from plugins.bacnet.wire.datatypes import Bits, Date, Enumerated, Group, ObjectId, Time
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import DEEPEST, decode_items

WRITERS = {
    bool: primitives.encode_boolean,
    int: primitives.encode_integer,
    float: primitives.encode_double,
    str: primitives.encode_character_string,
    bytes: primitives.encode_octet_string,
    Enumerated: primitives.encode_enumerated,
    Bits: primitives.encode_bit_string,
    Date: primitives.encode_date,
    Time: primitives.encode_time,
    ObjectId: primitives.encode_object_id,
}
TAG_NUMBERS = st.integers(0, 20) | st.just(254)

primitive = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1).map(Enumerated),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=300),
    *(st.from_type(datatype) for datatype in (Bits, Date, Time, ObjectId)),
)
in_context = st.builds(lambda number, octets: Group(number, (octets,)), TAG_NUMBERS, st.binary(max_size=300))
datum = st.recursive(
    primitive | in_context.map(lambda group: (group,)),
    lambda inner: st.builds(Group, TAG_NUMBERS, st.lists(inner, max_size=4).map(tuple)),
    max_leaves=10,
)


def written(value):
    """Write a datum; a context-tagged one comes in a tuple of its own, to be told from a group of octets."""
    if value is None:
        return primitives.encode_null()
    if isinstance(value, tuple):
        ((number, (octets,)),) = ((group.number, group.items) for group in value)
        return tags.context(number, octets)
    if isinstance(value, Group):
        return tags.opening(value.number) + b"".join(map(written, value.items)) + tags.closing(value.number)
    return WRITERS[type(value)](value)


def plain(value):
    """Return what is read of a datum as `written` takes it."""
    if isinstance(value, tuple):
        return value[0]
    return Group(value.number, tuple(map(plain, value.items))) if isinstance(value, Group) else value


def of_theirs(value):
    return bytes(value.encode().encode().pduData)


@given(st.lists(datum, max_size=6), st.binary(max_size=3), st.binary(max_size=3))
def test_what_is_written_is_read_back_wherever_it_stands(values, before, behind):
    octets = b"".join(map(written, values))
    expected = tuple(map(plain, values))
    assert decode_items(octets) == expected
    assert decode_items(before + octets + behind, len(before), len(before) + len(octets)) == expected


@given(st.lists(datum, max_size=6))
def test_bacpypes3_finds_the_same_tags(values):
    octets = b"".join(map(written, values))
    found = TagList.decode(PDUData(octets))
    assert bytes(found.encode().pduData) == octets


@given(st.lists(st.floats(width=32, allow_nan=False) | st.none(), max_size=16))
def test_arrays_of_bacpypes3_are_read(values):
    array = ArrayOf(theirs.PriorityValue)(
        [theirs.PriorityValue(null=Null(())) if v is None else theirs.PriorityValue(real=Real(v)) for v in values]
    )
    assert decode_items(of_theirs(array)) == tuple(v if v is None else primitives.shortest(v) for v in values)


@given(st.lists(st.from_type(ObjectId), max_size=60))
def test_object_lists_of_bacpypes3_are_read(ids):
    array = ArrayOf(ObjectIdentifier)([ObjectIdentifier((one.type, one.instance)) for one in ids])
    assert decode_items(of_theirs(array)) == tuple(ids)


def test_constructed_values_of_bacpypes3_are_read():
    day = theirs.DailySchedule(
        daySchedule=SequenceOf(theirs.TimeValue)([theirs.TimeValue(time=(8, 0, 0, 0), value=Real(21.5))])
    )
    assert decode_items(of_theirs(day)) == (Group(0, (Time(8, 0, 0, 0), 21.5)),)
    reference = theirs.DeviceObjectPropertyReference(
        objectIdentifier=("analog-input", 300), propertyIdentifier=70_000, propertyArrayIndex=3
    )
    assert decode_items(of_theirs(reference)) == (
        Group(0, (b"\x00\x00\x01\x2c",)),
        Group(1, (b"\x01\x11\x70",)),
        Group(2, (b"\x03",)),
    )
    stamp = theirs.TimeStamp(dateTime=theirs.DateTime(date=(126, 1, 31, 6), time=(1, 2, 3, 4)))
    assert decode_items(of_theirs(stamp)) == (Group(2, (Date(126, 1, 31, 6), Time(1, 2, 3, 4))),)
    special = theirs.SpecialEvent(
        period=theirs.SpecialEventPeriod(calendarEntry=theirs.CalendarEntry(date=(126, 12, 24, 4))),
        listOfTimeValues=SequenceOf(theirs.TimeValue)([theirs.TimeValue(time=(0, 0, 0, 0), value=Null(()))]),
        eventPriority=5,
    )
    assert decode_items(of_theirs(special)) == (
        Group(0, (Group(0, (b"\x7e\x0c\x18\x04",)),)),
        Group(2, (Time(0, 0, 0, 0), None)),
        Group(3, (b"\x05",)),
    )


@given(st.lists(st.integers(0, 254), max_size=DEEPEST), st.binary(min_size=1, max_size=300))
def test_groups_of_bacpypes3_s_tags_keep_their_shape(numbers, octets):
    found = TagList([*map(OpeningTag, numbers), ContextTag(17, octets), *map(ClosingTag, reversed(numbers))])
    expected = (Group(17, (octets,)),)
    for number in reversed(numbers):
        expected = (Group(number, expected),)
    assert decode_items(bytes(found.encode().pduData)) == expected


def test_no_octets_are_no_data():
    assert decode_items(b"") == ()
    assert decode_items(b"\x3e\x3f") == (Group(3, ()),)


def test_a_datum_with_its_length_in_more_octets_than_it_takes_is_read_as_well():
    for octets in (
        b"\x25\x02\x01\x00",
        b"\x25\xfe\x00\x02\x01\x00",
        b"\x25\xff\x00\x00\x00\x02\x01\x00",
        b"\xf2\x02\x01\x00",
    ):
        assert decode_items(octets) == (256,)
    assert decode_items(b"\x15\x01") == (True,)


@given(st.binary(max_size=80))
@example(b"\x0e" * 80)
@example(b"\x75\xff\xff\xff\xff\xff")
def test_any_octets_are_data_or_a_decode_error(octets):
    try:
        read = decode_items(octets)
    except DecodeError:
        return
    assert isinstance(read, tuple)


@given(st.lists(datum, min_size=1, max_size=4), st.data())
def test_a_value_cut_short_is_a_shorter_one_or_a_decode_error(values, data):
    octets = b"".join(map(written, values))
    cut = data.draw(st.integers(0, len(octets) - 1))
    whole = tuple(map(plain, values))
    for arguments in ((octets[:cut],), (octets, 0, cut)):
        try:
            read = decode_items(*arguments)
        except DecodeError:
            continue
        assert read == whole[: len(read)]
        assert len(read) < len(whole)


def test_groups_may_stand_so_deep_in_one_another_and_no_deeper():
    deepest = tags.opening(1) * DEEPEST + tags.closing(1) * DEEPEST
    assert isinstance(decode_items(deepest)[0], Group)
    with pytest.raises(DecodeError, match="more than 32 deep"):
        decode_items(tags.opening(1) + deepest + tags.closing(1))
    with pytest.raises(DecodeError, match="more than 32 deep"):
        decode_items(tags.opening(1) * 65_000)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\x3e", "opening tag without its closing"),
        (b"\x3f", "closing tag without its opening"),
        (b"\x3e\x4f", "closing tag without its opening"),
        (b"\x3e\x4e\x3f\x4f", "closing tag without its opening"),
        (b"\x26", "opening or closing tag 2 that is not context specific"),
        (b"\xd1\x00", "application tag 13"),
        (b"\xf1\x0f\x00", "application tag 15"),
        (b"\x44\x00\x00\x00", "announces 4 octets, and 3 follow"),
        (b"\x25\xfe\x00", "end too early"),
        (b"\x25", "end too early"),
        (b"\xf9", "end too early"),
    ],
)
def test_broken_data_are_refused_with_the_reason(octets, reason):
    with pytest.raises(DecodeError, match=reason):
        decode_items(octets)


@pytest.mark.parametrize("value", [b"\x22\x01\x00", b"\x3e\x22\x01\x00\x3f", b"\x65\x05hello"])
def test_a_datum_that_reaches_beyond_its_value_is_refused(value):
    for cut in range(1, len(value)):
        with pytest.raises(DecodeError):
            decode_items(value + b"\x21\x05", 0, len(value) - cut)
