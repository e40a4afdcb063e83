"""The network layer's header, against bacpypes3's: destinations, sources, hops, broadcasts, network messages."""

from __future__ import annotations

import pytest
from bacpypes3.npdu import NPDU
from bacpypes3.pdu import PDU, GlobalBroadcast, RemoteBroadcast, RemoteStation
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import npdu
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import GLOBAL_NETWORK, MOST_HOPS, Npdu, Place

NETWORKS = st.integers(1, 65534)
STATIONS = st.builds(Place, NETWORKS, st.binary(min_size=1, max_size=18))
DESTINATIONS = st.one_of(
    st.none(), STATIONS, st.builds(Place, NETWORKS, st.just(b"")), st.just(Place(GLOBAL_NETWORK, b""))
)


def to_theirs(place):
    if place is None:
        return None
    if place.network == GLOBAL_NETWORK:
        return GlobalBroadcast()
    return RemoteStation(place.network, place.mac) if place.mac else RemoteBroadcast(place.network)


def to_ours(address):
    if address is None:
        return None
    if address.addrType == address.globalBroadcastAddr:
        return Place(GLOBAL_NETWORK, b"")
    return Place(address.addrNet, bytes(address.addrAddr or b""))


@given(DESTINATIONS, st.none() | STATIONS, st.booleans(), st.integers(0, 255), st.binary(max_size=20))
def test_both_write_the_same_header_and_read_what_the_other_wrote(destination, source, expects_reply, hops, message):
    header = npdu.write_npdu(destination=destination, source=source, expects_reply=expects_reply, hops=hops)
    theirs = NPDU(message)
    theirs.npduDADR, theirs.npduSADR, theirs.npduHopCount = to_theirs(destination), to_theirs(source), hops
    theirs.pduExpectingReply, theirs.pduNetworkPriority = expects_reply, 0
    assert bytes(theirs.encode().pduData) == header + message

    read = NPDU.decode(PDU(header + message))
    assert (to_ours(read.npduDADR), to_ours(read.npduSADR)) == (destination, source)
    assert (read.pduExpectingReply, bytes(read.pduData)) == (expects_reply, message)

    found = npdu.read_npdu(b"??" + header + message, 2)
    assert found == Npdu(header[1], destination, source, MOST_HOPS if destination is None else hops, len(header) + 2)
    assert found.for_application
    assert bool(found.control & npdu.EXPECTS_REPLY) == expects_reply


def test_a_message_of_the_network_layer_is_none_for_the_application():
    found = npdu.read_npdu(b"\x01\x80\x01\x07\xd1")
    assert not found.for_application
    assert (found.destination, found.source, found.at) == (None, None, 2)


def test_a_header_of_the_standard_is_read():
    found = npdu.read_npdu(bytes.fromhex("01 2c 0005 01 07 07d1 06 0a000001bac0 fe"))
    assert found == Npdu(0x2C, Place(5, b"\x07"), Place(2001, bytes.fromhex("0a000001bac0")), 254, 16)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "end too early"),
        ("01", "end too early"),
        ("0200", "version 2"),
        ("0008 ", "version 0"),
        ("0108 0005", "end too early"),
        ("0108 0005 02 07", "within an address"),
        ("0120 0005 01 07", "end too early"),
        ("0108 0005 00", "a source that is no station"),
        ("0108 ffff 01 07", "a source that is no station"),
    ],
)
def test_a_broken_header_is_refused_with_the_reason(octets, reason):
    with pytest.raises(DecodeError, match=reason):
        npdu.read_npdu(bytes.fromhex(octets))


@given(st.binary(max_size=24).map(lambda octets: b"\x01" + octets))
def test_any_octets_are_a_header_to_both_or_to_neither(octets):
    try:
        theirs = NPDU.decode(PDU(octets))
    except Exception:  # bacpypes3 has several ways to say no, also to the network messages that we do not look into
        theirs = None
    try:
        ours = npdu.read_npdu(octets)
    except DecodeError:
        assert theirs is None
        return
    if theirs is not None:
        their_source = to_ours(theirs.npduSADR)
        assert ours.source == their_source
        if ours.destination is not None and ours.destination.network != GLOBAL_NETWORK:
            assert ours.destination == to_ours(theirs.npduDADR)
        assert ours.for_application == (theirs.npduNetMessage is None)
    else:
        assert not ours.for_application
