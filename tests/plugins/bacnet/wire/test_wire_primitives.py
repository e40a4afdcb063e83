"""Every primitive against bacpypes3's: what one writes, the other reads, and both write the same octets."""

from __future__ import annotations

import math
import struct

import bacpypes3.primitivedata as theirs
import pytest
from bacpypes3.pdu import PDUData
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import Bits, Date, Enumerated, ObjectId, Time
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.primitives import Primitive, shortest

SINGLES = st.floats(width=32, allow_nan=False)
DATATYPES = {
    "null": (primitives.encode_null, theirs.Null, st.none(), lambda _: None, lambda _: ()),
    "boolean": (primitives.encode_boolean, theirs.Boolean, st.booleans(), bool, bool),
    "unsigned": (primitives.encode_unsigned, theirs.Unsigned, st.integers(0, 2**32 - 1), int, int),
    "integer": (primitives.encode_integer, theirs.Integer, st.integers(-(2**31), 2**31 - 1), int, int),
    "real": (primitives.encode_real, theirs.Real, SINGLES, lambda value: shortest(float(value)), float),
    "double": (primitives.encode_double, theirs.Double, st.floats(allow_nan=False), float, float),
    "octet string": (primitives.encode_octet_string, theirs.OctetString, st.binary(max_size=300), bytes, bytes),
    "text": (primitives.encode_character_string, theirs.CharacterString, st.text(), str, str),
    "bit string": (
        primitives.encode_bit_string,
        theirs.BitString,
        st.from_type(Bits),
        lambda value: Bits(tuple(map(bool, value))),
        lambda bits: [int(bit) for bit in bits.bits],
    ),
    "enumerated": (primitives.encode_enumerated, theirs.Enumerated, st.integers(0, 2**32 - 1), Enumerated, int),
    "date": (
        primitives.encode_date,
        theirs.Date,
        st.from_type(Date),
        lambda value: Date(*value),
        lambda date: (date.year, date.month, date.day, date.weekday),
    ),
    "time": (
        primitives.encode_time,
        theirs.Time,
        st.from_type(Time),
        lambda value: Time(*value),
        lambda moment: (moment.hour, moment.minute, moment.second, moment.hundredths),
    ),
    "object id": (
        primitives.encode_object_id,
        theirs.ObjectIdentifier,
        st.from_type(ObjectId),
        lambda value: ObjectId(int(value[0]), value[1]),
        lambda object_id: (object_id.type, object_id.instance),
    ),
}


@pytest.mark.parametrize("name", DATATYPES)
def test_both_write_the_same_and_read_what_the_other_wrote(name):
    encode, their_class, values, to_ours, to_theirs = DATATYPES[name]

    @given(values)
    def check(value):
        written = encode() if value is None else encode(value)
        assert bytes(their_class(to_theirs(value)).encode().encode().pduData) == written
        read = to_ours(their_class.decode(theirs.TagList.decode(PDUData(written))))
        expected = shortest(value) if name == "real" else value
        assert read == expected
        (ours,) = decode_items(written)
        assert ours == expected
        assert type(ours) is type(expected) or name == "enumerated"

    check()


# Clause 20.2's examples.
EXAMPLES = {
    "00": None,
    "10": False,
    "11": True,
    "2148": 72,
    "3148": 72,
    "31b8": -72,
    "4442900000": 72.0,
    "55084052000000000000": 72.0,
    "631234ff": b"\x12\x34\xff",
    "751900546869732069732061204241436e657420737472696e6721": "This is a BACnet string!",
    "750a004672616ec3a7616973": "Français",
    "8203a8": Bits((True, False, True, False, True)),
    "9100": Enumerated(0),
    "a45b011804": Date(91, 1, 24, 4),
    "b405232d11": Time(5, 35, 45, 17),
    "c400c0000f": ObjectId(3, 15),
}


@pytest.mark.parametrize("octets", EXAMPLES)
def test_the_standard_s_examples_are_read(octets):
    (read,) = decode_items(bytes.fromhex(octets))
    assert read == EXAMPLES[octets]
    assert type(read) is type(EXAMPLES[octets])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_real_has_as_few_digits_as_it_takes_and_stays_the_same(value):
    short = shortest(value)
    assert struct.pack(">f", short) == struct.pack(">f", value)
    assert len(repr(short)) <= len(repr(value))


@pytest.mark.parametrize("value", [21.7, 0.1, 1e-45, -0.0, 3.4028234663852886e38, 16777217.0, 1.17549435e-38, math.inf])
def test_a_real_that_was_set_looks_like_it(value):
    (single,) = struct.unpack(">f", struct.pack(">f", value))
    assert struct.pack(">f", shortest(single)) == struct.pack(">f", value)


def test_a_real_that_was_set_with_six_digits_has_no_seventh():
    (single,) = struct.unpack(">f", struct.pack(">f", 0.000976577))
    assert (f"{single:.7g}", shortest(single)) == ("0.0009765771", 0.000976577)


@pytest.mark.parametrize("octets", ["3c344c41", "a35a8a67", "3de74d33"])
def test_a_real_that_takes_nine_digits_has_them(octets):
    (single,) = struct.unpack(">f", bytes.fromhex(octets))
    assert struct.pack(">f", shortest(single)).hex() == octets
    assert struct.pack(">f", float(f"{single:.8g}")).hex() != octets


# bacpypes3 writes whole numbers of at most 32 bits.
@given(st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_of_64_bits_are_read_back_and_by_bacpypes3(unsigned, signed):
    octets = primitives.encode_unsigned(unsigned) + primitives.encode_integer(signed)
    assert decode_items(octets) == (unsigned, signed)
    found = theirs.TagList.decode(PDUData(octets))
    assert theirs.Unsigned.decode(found) == unsigned
    assert theirs.Integer.decode(found) == signed


@given(st.binary(min_size=4, max_size=4))
def test_every_four_octets_are_a_real(octets):
    (read,) = decode_items(b"\x44" + octets)
    assert struct.pack(">f", read) == octets or math.isnan(read)


@given(st.integers(0, 20), st.binary(max_size=20))
def test_any_octets_are_a_value_of_a_datatype_or_none(number, octets):
    try:
        value = primitives.decode(number, octets)
    except DecodeError:
        return
    assert value is None or str(value) is not None


WRONG = {
    Primitive.NULL: (1, 4),
    Primitive.UNSIGNED: (0, 9, 2000),
    Primitive.INTEGER: (0, 9, 2000),
    Primitive.REAL: (0, 3, 5, 8),
    Primitive.DOUBLE: (0, 4, 7, 9),
    Primitive.CHARACTER_STRING: (0,),
    Primitive.BIT_STRING: (0,),
    Primitive.ENUMERATED: (0, 9, 2000),
    Primitive.DATE: (0, 3, 5),
    Primitive.TIME: (0, 3, 5),
    Primitive.OBJECT_IDENTIFIER: (0, 3, 5),
}


@pytest.mark.parametrize(("number", "length"), [(number, length) for number in WRONG for length in WRONG[number]])
def test_a_datum_of_the_wrong_length_is_refused(number, length):
    with pytest.raises(DecodeError, match="octets"):
        primitives.decode(number, bytes(length))


@pytest.mark.parametrize("number", [13, 14, 15, 254])
def test_an_application_tag_that_the_standard_does_not_have_is_refused(number):
    with pytest.raises(DecodeError, match="which the standard does not have"):
        primitives.decode(number, b"x")


@pytest.mark.parametrize("octets", [b"\x08\xff", b"\xff\xff", b"\x01"])
def test_a_bit_string_with_more_unused_bits_than_bits_is_refused(octets):
    with pytest.raises(DecodeError, match="unused bits"):
        primitives.decode(Primitive.BIT_STRING, octets)
    with pytest.raises(DecodeError, match="unused bits"):
        primitives.decode(Primitive.BIT_STRING, b"\xff" + bytes(40))


def test_the_longest_bit_string_that_a_datagram_can_have_is_read():
    read = primitives.decode(Primitive.BIT_STRING, b"\x03" + b"\xf0" * 65_000)
    assert read.bits == ((True,) * 4 + (False,) * 4) * 64_999 + (True,) * 4 + (False,)


@given(st.from_type(Bits))
def test_bits_are_read_as_they_were_written(bits):
    assert decode_items(primitives.encode_bit_string(bits)) == (bits,)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\0Gr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"\4\0G\0r", "Gr"),
        (b"\4\xd8\x3d\xdd\x25", "\N{FIRE}"),
        (b"\4\0G\0", "G\N{REPLACEMENT CHARACTER}"),
        (b"\4\xd8\x3d", "\N{REPLACEMENT CHARACTER}"),
        (b"\3\0\0\0G", "G"),
        (b"\3\0\0\xd8\x3d", "\N{REPLACEMENT CHARACTER}"),
        (b"\5Gr\xfc", "Grü"),
        (b"\1\x03\x52\x81", "ü"),
        (b"\1\xff\xffab", "ab"),
        (b"\1\xff\xff\x81", "\N{REPLACEMENT CHARACTER}"),
        (b"\1", ""),
        (b"\x02xyz", "xyz"),
        (b"\xffxyz", "xyz"),
        (b"\0\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"\0", ""),
    ],
)
def test_every_character_set_is_read_and_a_broken_character_replaced(octets, text):
    assert primitives.decode(Primitive.CHARACTER_STRING, octets) == text


def test_no_code_page_is_more_than_a_text():
    for page in range(0, 65536, 7):
        assert primitives.decode(Primitive.CHARACTER_STRING, b"\1" + page.to_bytes(2, "big") + b"ab") is not None


@given(st.integers(0, 2**64 - 1))
def test_a_whole_number_takes_as_few_octets_as_it_can(number):
    octets = primitives.unsigned_octets(number)
    assert primitives.unsigned_in(octets) == number
    assert len(octets) == 1 or octets[0] != 0
    assert primitives.unsigned_in(octets.rjust(8, b"\0")) == number


@pytest.mark.parametrize(
    ("encode", "value"),
    [
        (primitives.encode_unsigned, -1),
        (primitives.encode_enumerated, -1),
        (primitives.encode_real, 1e39),
        (primitives.encode_real, -1e39),
    ],
)
def test_what_a_datatype_cannot_hold_is_not_written(encode, value):
    with pytest.raises(OverflowError):
        encode(value)
