"""The envelope of BACnet/IP, against bacpypes3's."""

from __future__ import annotations

import pytest
from bacpypes3.ipv4.bvll import LPCI, LPDU, ForwardedNPDU, OriginalBroadcastNPDU, OriginalUnicastNPDU
from bacpypes3.pdu import PDU, IPv4Address
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import bvll
from plugins.bacnet.wire.bvll import CARRIES_NPDU, Function
from plugins.bacnet.wire.errors import DecodeError


@given(st.binary(max_size=1497))
def test_an_envelope_is_the_same_as_bacpypes3_s(npdu):
    datagram = bvll.unicast(npdu)
    assert bytes(OriginalUnicastNPDU(npdu).encode().pduData) == datagram
    theirs = LPDU.decode(PDU(datagram))
    assert (theirs.bvlciFunction, theirs.bvlciLength, bytes(theirs.pduData)) == (0x0A, len(datagram), npdu)
    assert bvll.read_function(datagram) == Function.ORIGINAL_UNICAST_NPDU
    assert datagram[CARRIES_NPDU[Function.ORIGINAL_UNICAST_NPDU] :] == npdu


@given(st.binary(max_size=300))
def test_what_bacpypes3_forwards_or_broadcasts_is_found(npdu):
    forwarded = bytes(ForwardedNPDU(IPv4Address("10.0.0.7:47808"), npdu).encode().pduData)
    assert bvll.read_function(forwarded) == Function.FORWARDED_NPDU
    assert forwarded[CARRIES_NPDU[Function.FORWARDED_NPDU] :] == npdu
    broadcast = bytes(OriginalBroadcastNPDU(npdu).encode().pduData)
    assert bvll.read_function(broadcast) == Function.ORIGINAL_BROADCAST_NPDU
    assert broadcast[CARRIES_NPDU[Function.ORIGINAL_BROADCAST_NPDU] :] == npdu


def test_the_functions_have_the_numbers_that_bacpypes3_gives_them():
    theirs = {value for name, value in vars(LPCI).items() if isinstance(value, int) and not name.startswith("_")}
    assert {int(function) for function in Function} <= theirs


def test_a_function_that_the_standard_does_not_have_is_read_too():
    assert bvll.read_function(b"\x81\x7f\x00\x04") == 0x7F


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x81",
        b"\x81\x0a\x00",
        b"\x82\x0a\x00\x04",
        b"\x81\x0a\x00\x05",
        b"\x81\x0a\x00\x04x",
        b"\x01\x00\x10\x08",
    ],
)
def test_what_is_no_datagram_of_its_own_length_is_refused(datagram):
    with pytest.raises(DecodeError, match="datagram"):
        bvll.read_function(datagram)


@given(st.binary(max_size=12))
def test_any_octets_are_a_function_or_a_decode_error(octets):
    try:
        function = bvll.read_function(octets)
    except DecodeError:
        return
    assert function == octets[1]
