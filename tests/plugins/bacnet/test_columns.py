"""Learned layouts: the same readings as by decoding everything, whatever changes from one answer to the next."""

from __future__ import annotations

import math
import struct
from array import array

from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from core.model import Device, Kind, Reason, Source
from core.plugin import PointGroup
from plugins.bacnet.addresses import parse_station
from plugins.bacnet.polling import Part, plan_of
from plugins.bacnet.profile import Profile
from plugins.bacnet.template import Template, field_at
from plugins.bacnet.traffic import Traffic
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire import read_property_multiple as rpm
from plugins.bacnet.wire.apdu import PropertyError
from plugins.bacnet.wire.datatypes import Bits

DEVICE = Device(id="bacnet.7", plugin="bacnet", name="seven")
KINDS = {
    "analog-input": Kind.NUMBER,
    "binary-input": Kind.BOOLEAN,
    "multi-state-value": Kind.ENUM,
    "accumulator": Kind.NUMBER,
    "large-analog-value": Kind.NUMBER,
    "characterstring-value": Kind.TEXT,
    "integer-value": Kind.NUMBER,
    "schedule": Kind.NUMBER,
}

values = st.one_of(
    st.floats(width=32).map(primitives.encode_real),
    st.floats().map(primitives.encode_double),
    st.integers(0, 2**64 - 1).map(primitives.encode_unsigned),
    st.integers(0, 300).map(primitives.encode_unsigned),
    st.integers(-(2**31), 2**31 - 1).map(primitives.encode_integer),
    st.integers(0, 70_000).map(primitives.encode_enumerated),
    st.booleans().map(primitives.encode_boolean),
    st.text(max_size=4).map(primitives.encode_character_string),
    st.just(primitives.encode_null()),
    st.just(b"\xe1\x00"),
    st.just(b""),
    st.just(PropertyError(2, 32)),
)
flags = st.one_of(
    st.tuples(*[st.booleans()] * 4).map(lambda bits: primitives.encode_bit_string(Bits(bits))),
    st.just(PropertyError(2, 32)),
    st.just(primitives.encode_null()),
    st.tuples(st.integers(0, 12), st.integers(0, 255)).map(lambda octets: bytes((0x82, *octets))),
)


def parts_of(names):
    points = tuple(DEVICE.point(f"{name}.{number}", kind=KINDS[name]) for number, name in enumerate(names))
    group = PointGroup(DEVICE, points, array("I", range(len(points))), 10.0)
    station = parse_station("10.0.0.9", interface="here")
    profile = Profile.begin(7, station, 1476, Traffic(ManualClock()), can_segment=False)
    return plan_of(group, profile).asked


def answer(part, contents):
    """Write an answer: a value and flags for each point."""
    octets = b""
    for question, (value, flag) in zip(part.questions, contents, strict=True):
        elements = b"".join(
            rpm.write_element(ref, item) for ref, item in zip(question.refs, (value, flag), strict=False)
        )
        octets += rpm.write_object(question.refs[0].object, elements)
    return octets


def fresh(part):
    """Return the part as one that has learned nothing."""
    return Part(part.chunk, part.questions, part.refs, part.request, part.cost)


def columns(batch):
    return (
        [None if math.isnan(value) else value for value in batch.values],
        batch.reasons,
        batch.flags,
        batch.texts,
        batch.integers,
        {row: str(error) for row, error in batch.errors.items()},
    )


@given(st.data())
def test_a_learned_layout_gives_what_decoding_everything_gives(data):
    names = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    (part,) = parts_of(names)
    contents = [(data.draw(values), data.draw(flags)) for _ in names]
    for number in range(data.draw(st.integers(1, 6))):
        for index in data.draw(st.lists(st.integers(0, len(names) - 1), max_size=3)):
            contents[index] = data.draw(values), data.draw(flags)
        octets = answer(part, contents)
        learned = part.take(octets, time=float(number), source=Source.POLL)
        assert columns(learned) == columns(fresh(part).take(octets, time=0.0, source=Source.POLL))
        assert learned.time == number


@given(st.lists(st.floats(width=32), min_size=2, max_size=8))
def test_numbers_that_change_are_read_by_the_layout(numbers):
    (part,) = parts_of(["analog-input"])
    ok = primitives.encode_bit_string(Bits((False,) * 4))
    for number in numbers:
        batch = part.take(answer(part, [(primitives.encode_real(number), ok)]), time=1.0, source=Source.POLL)
        if math.isfinite(number):
            assert struct.unpack(">f", struct.pack(">f", batch.values[0])) == (number,)
            assert Reason(batch.reasons[0]) is Reason.NONE
        else:
            assert math.isnan(batch.values[0])
            assert Reason(batch.reasons[0]) is Reason.FAULT


def test_an_unchanged_answer_shares_all_columns_with_the_last():
    (part,) = parts_of(["analog-input", "binary-input"])
    ok = primitives.encode_bit_string(Bits((False,) * 4))
    octets = answer(part, [(primitives.encode_real(1.0), ok), (primitives.encode_enumerated(1), ok)])
    first = part.take(octets, time=1.0, source=Source.POLL)
    again = part.take(bytes(bytearray(octets)), time=2.0, source=Source.POLL)
    assert again.values is first.values
    assert (first.time, again.time) == (1.0, 2.0)


def test_a_layout_that_is_another_one_each_time_is_learned_ever_more_rarely():
    (part,) = parts_of(["characterstring-value"])
    ok = primitives.encode_bit_string(Bits((False,) * 4))
    learned = 0
    for number in range(200):
        before = part._columns
        octets = answer(part, [(primitives.encode_character_string("x" * (1 + number % 2)), ok)])
        assert part.take(octets, time=1.0, source=Source.POLL).texts == {0: "x" * (1 + number % 2)}
        learned += part._columns is not None and part._columns is not before
    assert learned < 12


@given(st.binary(max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_a_field_is_found_in_any_octets_or_not_and_never_an_exception(octets, start, end):
    start, end = sorted((min(start, len(octets)), min(end, len(octets))))
    field = field_at(octets, start, end)
    if field is not None:
        assert Template(octets, [field]).read(octets) is not None
        assert Template(octets, [field]).read(octets + b"\0") is None
