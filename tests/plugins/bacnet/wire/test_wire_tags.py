"""Tags, against bacpypes3's: numbers from 15 on, lengths from 5, 254 and 65536 on, groups in one another."""

from __future__ import annotations

import pytest
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import ClosingTag, ContextTag, OpeningTag, Tag, TagClass
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import tags
from plugins.bacnet.wire.errors import DecodeError

NUMBERS = st.integers(0, 14) | st.integers(15, 254)
LENGTHS = (0, 1, 4, 5, 6, 253, 254, 255, 65535, 65536, 70_000)


def theirs(octets):
    data = PDUData(octets)
    tag = Tag.decode(data)
    assert not data.pduData
    return tag


def octets_of(tag):
    return bytes(tag.encode().pduData)


@given(NUMBERS, st.binary(max_size=600))
def test_a_context_tag_is_one_to_bacpypes3_and_back(number, octets):
    written = tags.context(number, octets)
    tag = theirs(written)
    assert (tag.tag_class, tag.tag_number, bytes(tag.tag_data)) == (TagClass.context, number, octets)
    assert octets_of(ContextTag(number, octets)) == written
    assert tags.read_context(written, 0, number) == (octets, len(written))
    found = tags.read_tag(written, 0)
    assert (found.context, found.opening, found.closing, found.length) == (True, False, False, len(octets))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("number", [0, 14, 15, 254])
def test_a_datum_of_any_length_is_one_to_bacpypes3_and_back(number, length):
    octets = bytes(length)
    for written in (tags.context(number, octets), tags.application(6, octets)):
        assert bytes(theirs(written).tag_data) == octets
        assert octets_of(theirs(written)) == written
        found = tags.read_tag(written, 0)
        assert (found.end, written[found.at : found.end]) == (len(written), octets)
        for cut in range(1, min(len(written), 9)):
            with pytest.raises((DecodeError, IndexError)):
                tags.read_tag(written[:-cut], 0)


@given(NUMBERS)
def test_opening_and_closing_tags_are_those_of_bacpypes3(number):
    assert tags.opening(number) == octets_of(OpeningTag(number))
    assert tags.closing(number) == octets_of(ClosingTag(number))
    opening, closing = (tags.read_tag(written, 0) for written in (tags.opening(number), tags.closing(number)))
    assert (opening.number, opening.opening, opening.closing) == (number, True, False)
    assert (closing.number, closing.opening, closing.closing) == (number, False, True)
    assert opening.length == closing.length == 0


@given(st.binary(max_size=12))
def test_any_octets_are_the_tag_that_bacpypes3_finds(octets):
    data = PDUData(octets)
    try:
        tag = Tag.decode(data)
    except Exception:  # bacpypes3 has several ways to say no
        with pytest.raises((DecodeError, IndexError)):
            tags.read_tag(octets, 0)
        return
    at = len(octets) - len(data.pduData)
    if octets[0] & 0x0E == 0x06:  # bacpypes3 takes an opening tag of the application class, which there is none of
        with pytest.raises(DecodeError, match="not context specific"):
            tags.read_tag(octets, 0)
        return
    found = tags.read_tag(octets, 0)
    assert (found.number, found.end) == (tag.tag_number, at)
    assert found.length == tag.tag_lvt
    assert found.opening == (tag.tag_class == TagClass.opening)
    assert found.closing == (tag.tag_class == TagClass.closing)
    assert found.context == (tag.tag_class != TagClass.application)


@pytest.mark.parametrize("octets", [b"\x3e", b"\x3f", b"\x29\x00", b"\x21\x00", b"\xf9\x04\x00", b"\x4a\x00"])
def test_another_tag_where_one_must_stand_is_refused(octets):
    with pytest.raises(DecodeError):
        tags.read_context(octets, 0, 3)
    with pytest.raises(DecodeError):
        tags.read_application(octets, 0, 3)


def test_an_application_tag_is_read_where_it_must_stand():
    assert tags.read_application(b"\xff\x91\x05\xff", 1, 9) == (b"\x05", 3)
    with pytest.raises(DecodeError, match="application tag 9 is missing"):
        tags.read_application(b"\x99\x05", 0, 9)


@pytest.mark.parametrize(
    ("octets", "is_there"),
    [(b"\x29\x01", True), (b"\x2d\x05", True), (b"\x2e", False), (b"\x2f", False), (b"\x21\x01", False), (b"", False)],
)
def test_a_context_tag_that_may_stand_there_is_told_from_any_other(octets, is_there):
    assert tags.is_context(octets, 0, 2) is is_there


nested = st.recursive(
    st.builds(tags.context, NUMBERS, st.binary(max_size=300))
    | st.sampled_from([b"\x10", b"\x11", b"\x00", b"\x21\x05"]),
    lambda inner: st.builds(
        lambda number, parts: tags.opening(number) + b"".join(parts) + tags.closing(number),
        NUMBERS,
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@given(st.lists(nested, max_size=4), NUMBERS, st.binary(max_size=4))
def test_the_end_of_a_group_is_found_whatever_stands_in_it(parts, number, behind):
    inside = b"".join(parts)
    assert tags.skip_group(inside + tags.closing(number) + behind, 0, number) == len(inside)


@pytest.mark.parametrize("octets", [b"\x4e\x3f", b"\x5f", b"\x4e\x5e\x4f\x5f\x3f"])
def test_groups_that_overlap_are_refused(octets):
    with pytest.raises(DecodeError, match=r"closing tag \d without its opening"):
        tags.skip_group(octets, 0, 3)


def test_a_group_that_never_ends_ends_with_the_octets():
    for octets in (b"", b"\x21\x05", b"\x4e" * 60_000):
        with pytest.raises(IndexError):
            tags.skip_group(octets, 0, 3)
