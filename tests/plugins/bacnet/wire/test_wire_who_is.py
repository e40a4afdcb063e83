"""Who-Is and I-Am, against bacpypes3's and the standard's examples."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import APDU, APCISequence, IAmRequest, WhoIsRequest
from bacpypes3.pdu import PDU
from bacpypes3.primitivedata import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import who_is
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.who_is import IAm, Segmentation

INSTANCES = st.integers(0, 0x3FFFFF)
I_AMS = st.builds(
    IAm,
    st.builds(ObjectId, st.just(8), INSTANCES),
    st.integers(0, 65535),
    st.sampled_from(Segmentation).map(int),
    st.integers(0, 65535),
)


def by_bacpypes3(octets):
    return APCISequence.decode(APDU.decode(PDU(octets)))


@given(st.none() | st.tuples(INSTANCES, INSTANCES))
def test_a_who_is_is_the_same_as_bacpypes3_s_and_read_by_both(limits):
    low, high = limits or (None, None)
    octets = who_is.write_who_is(limits)
    theirs = WhoIsRequest(deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high)
    assert bytes(theirs.encode().encode().pduData) == octets
    read = by_bacpypes3(octets)
    assert (read.deviceInstanceRangeLowLimit, read.deviceInstanceRangeHighLimit) == (low, high)
    assert who_is.read_who_is(b"?" + octets, 1) == limits


@given(I_AMS)
def test_an_i_am_is_the_same_as_bacpypes3_s_and_read_by_both(i_am):
    octets = who_is.write_i_am(i_am)
    theirs = IAmRequest(
        iAmDeviceIdentifier=ObjectIdentifier((8, i_am.device.instance)),
        maxAPDULengthAccepted=i_am.max_apdu,
        segmentationSupported=i_am.segmentation,
        vendorID=i_am.vendor_id,
    )
    assert bytes(theirs.encode().encode().pduData) == octets
    read = by_bacpypes3(octets)
    assert read.iAmDeviceIdentifier[1] == i_am.device.instance
    numbers = (read.maxAPDULengthAccepted, read.segmentationSupported, read.vendorID)
    assert tuple(map(int, numbers)) == i_am[1:]
    assert who_is.read_i_am(b"?" + octets, 1) == i_am


def test_the_standard_s_examples_are_read_and_written():
    for octets, limits in (("1008 0903 1903", (3, 3)), ("1008", None)):
        assert who_is.read_who_is(bytes.fromhex(octets)) == limits
        assert who_is.write_who_is(limits) == bytes.fromhex(octets)
    octets = bytes.fromhex("1000 c402000003 220400 9103 2163")
    i_am = IAm(ObjectId(8, 3), 1024, Segmentation.NONE, 99)
    assert who_is.read_i_am(octets) == i_am
    assert who_is.write_i_am(i_am) == octets


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "10",
        "1000",
        "0008",
        "1008 0903",
        "1008 1903",
        "1008 0903 1903 00",
        "1008 08 18",
        "1008 0903 0903",
        "1008 2103 2103",
        "1008 0d09" + "00" * 9 + "1903",
    ],
)
def test_what_is_no_who_is_is_refused(octets):
    with pytest.raises(DecodeError):
        who_is.read_who_is(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "1008",
        "1000",
        "1000 c402000003 220400 9103",
        "1000 c402000003 220400 9103 2163 00",
        "1000 220400 9103 2163 c402000003",
        "1000 c402000003 11 9103 2163",
        "1000 c402000003 31fb 9103 2163",
        "1000 c402000003 220400 2103 2163",
        "1000 c402000003 220400 9103 9163",
        "1000 c3020000 220400 9103 2163",
        "1000 0c02000003 220400 9103 2163",
        "1000 c402000003 20 9103 2163",
    ],
)
def test_what_is_no_i_am_is_refused(octets):
    with pytest.raises(DecodeError):
        who_is.read_i_am(bytes.fromhex(octets))


@given(st.binary(max_size=24), st.sampled_from([b"", b"\x10\x08", b"\x10\x00", b"\x10\x00\xc4\x02\x00\x00\x03"]))
def test_any_octets_are_a_message_or_a_decode_error(octets, beginning):
    for read in (who_is.read_who_is, who_is.read_i_am):
        try:
            assert read(beginning + octets) is None or str(read(beginning + octets))
        except DecodeError:
            continue
