"""What a device's answers, and its refusals, say of a point."""

from __future__ import annotations

import pytest

from core.errors import NotWritable
from core.model import Command, Device, Kind
from plugins.bacnet.config import Write
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import Prop
from plugins.bacnet.points import has_priority_array
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.writing.outgoing import outgoing

VALUE = ObjectId(2, 1)
NO_SUCH = Refusal("error", "unknown-property", "property")
BUSY = Refusal("error", "device-busy", "device")


@pytest.mark.parametrize(
    ("default", "array", "has_one"),
    [
        ((20.0,), None, True),
        (NO_SUCH, None, False),
        (Refusal("error", "unknown-object", "object"), None, False),
        (BUSY, None, None),
        (Refusal("error", "read-access-denied", "property"), None, None),
        (Refusal("abort", "out-of-resources"), (None,) * 16, True),
        (BUSY, NO_SUCH, False),
        (BUSY, BUSY, None),
    ],
)
def test_only_a_property_that_the_device_does_not_have_makes_a_point_one_without_priority_array(
    default, array, has_one
):
    answers = {Ref(VALUE, Prop.RELINQUISH_DEFAULT): default}
    if array is not None:
        answers[Ref(VALUE, Prop.PRIORITY_ARRAY)] = array
    assert has_priority_array(VALUE, answers) is has_one
    assert has_priority_array(ObjectId(1, 1), answers) is True, "an output always has one"
    assert has_priority_array(ObjectId(0, 1), answers) is False, "an input never"


@pytest.mark.parametrize(
    ("kind", "code", "passing"),
    [
        ("abort", "out-of-resources", True),
        ("abort", "other", True),
        ("abort", "undecodable-answer", True),
        ("reject", "buffer-overflow", True),
        ("reject", "unrecognized-service", False),
        ("error", "device-busy", True),
        ("error", "service-request-denied", False),
        ("error", "unknown-property", False),
        ("error", "read-access-denied", False),
    ],
)
def test_a_refusal_that_says_nothing_of_the_object_is_passing(kind, code, passing):
    assert Refusal(kind, code).is_passing is passing


@pytest.mark.parametrize("key", ["loop.1", "schedule.1", "accumulator.1"])
def test_what_is_read_only_and_no_input_is_not_written_out_of_service_either(key):
    point = Device(id="bacnet.2001", plugin="bacnet", name="d").point(key, kind=Kind.NUMBER)
    with pytest.raises(NotWritable, match="read-only"):
        outgoing(Command("1", "x", "test", point, 5.0), Write())
