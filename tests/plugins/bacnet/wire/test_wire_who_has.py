"""Who-Has and I-Have, against bacpypes3's."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import APDU, APCISequence, IHaveRequest, WhoHasLimits, WhoHasObject, WhoHasRequest
from bacpypes3.pdu import PDU
from bacpypes3.primitivedata import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import who_has
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.who_has import IHave, WhoHas

INSTANCES = st.integers(0, 0x3FFFFF)
OBJECTS = st.builds(ObjectId, st.sampled_from([0, 1, 2, 13, 20]), INSTANCES)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def by_bacpypes3(octets):
    return APCISequence.decode(APDU.decode(PDU(octets)))


@given(OBJECTS | NAMES, st.none() | st.tuples(INSTANCES, INSTANCES))
def test_a_who_has_is_the_same_as_bacpypes3_s_and_read_by_both(wanted, limits):
    octets = who_has.write_who_has(WhoHas(wanted, limits))
    thing = {"objectName": wanted} if isinstance(wanted, str) else {"objectIdentifier": (wanted.type, wanted.instance)}
    fields = {"object": WhoHasObject(**thing)}
    if limits is not None:
        low, high = limits
        fields["limits"] = WhoHasLimits(deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high)
    assert bytes(WhoHasRequest(**fields).encode().encode().pduData) == octets
    assert who_has.read_who_has(b"?" + octets, 1) == WhoHas(wanted, limits)


@given(INSTANCES, OBJECTS, NAMES)
def test_an_i_have_is_the_same_as_bacpypes3_s_and_read_by_both(device, object_id, name):
    octets = who_has.write_i_have(IHave(ObjectId(8, device), object_id, name))
    theirs = IHaveRequest(
        deviceIdentifier=ObjectIdentifier((8, device)),
        objectIdentifier=ObjectIdentifier((object_id.type, object_id.instance)),
        objectName=name,
    )
    assert bytes(theirs.encode().encode().pduData) == octets
    assert str(by_bacpypes3(octets).objectName) == name
    assert who_has.read_i_have(octets) == IHave(ObjectId(8, device), object_id, name)


@pytest.mark.parametrize("octets", [b"", b"\x10\x07", b"\x10\x08", b"\x10\x07\x09\x01", b"\x10\x07\x2c\0\0\0\1\0"])
def test_what_is_no_who_has_is_refused(octets):
    with pytest.raises(DecodeError):
        who_has.read_who_has(octets)


@pytest.mark.parametrize("cut", range(19))
def test_a_cut_i_have_is_refused(cut):
    whole = who_has.write_i_have(IHave(ObjectId(8, 1), ObjectId(0, 1), "name"))
    assert len(whole) == 19
    with pytest.raises(DecodeError):
        who_has.read_i_have(whole[:cut])
