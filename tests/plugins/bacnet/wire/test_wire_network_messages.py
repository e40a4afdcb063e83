"""The network layer's own messages, against bacpypes3's and the standard's examples."""

from __future__ import annotations

import pytest
from bacpypes3.basetypes import NetworkNumberQuality
from bacpypes3.npdu import (
    NPDU,
    IAmRouterToNetwork,
    NetworkNumberIs,
    RejectMessageToNetwork,
    WhatIsNetworkNumber,
    WhoIsRouterToNetwork,
)
from bacpypes3.pdu import PDU
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import network_messages as messages
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.network_messages import MessageType, NetworkNumber, Rejection
from plugins.bacnet.wire.npdu import read_npdu

NETWORKS = st.integers(1, 65534)


def octets_of(message):
    return bytes(message.encode().pduData)


def at(octets):
    header = read_npdu(octets)
    assert not header.for_application
    return header.at


@given(st.none() | NETWORKS)
def test_a_who_is_router_is_the_same_as_bacpypes3_s_and_read_by_both(network):
    octets = messages.write_who_is_router(network)
    assert octets_of(WhoIsRouterToNetwork(network)) == octets
    assert messages.read_who_is_router(octets, at(octets)) == network


@given(st.lists(NETWORKS, max_size=50))
def test_an_i_am_router_is_the_same_as_bacpypes3_s_and_read_by_both(networks):
    octets = messages.write_i_am_router(networks)
    assert octets_of(IAmRouterToNetwork(networks)) == octets
    assert IAmRouterToNetwork.decode(NPDU.decode(PDU(octets))).iartnNetworkList == networks
    assert messages.read_i_am_router(octets, at(octets)) == tuple(networks)


@given(NETWORKS, st.booleans())
def test_a_network_number_is_the_same_as_bacpypes3_s_and_read_by_both(network, configured):
    octets = messages.write_number_is(NetworkNumber(network, configured))
    assert octets_of(NetworkNumberIs(network, int(configured))) == octets
    assert messages.read_number_is(octets, at(octets)) == (network, configured)


def test_a_number_that_bacpypes3_knows_by_configuration_is_read_as_such():
    octets = octets_of(NetworkNumberIs(100, NetworkNumberQuality.configured))
    assert messages.read_number_is(octets, at(octets)) == (100, True)


def test_a_what_is_network_number_is_the_same_as_bacpypes3_s():
    assert octets_of(WhatIsNetworkNumber()) == messages.write_what_is_number() == b"\x01\x80\x12"


@given(st.integers(0, 6), NETWORKS)
def test_a_rejection_of_bacpypes3_s_is_read(reason, network):
    octets = octets_of(RejectMessageToNetwork(reason, network))
    assert messages.read_rejection(octets, at(octets)) == Rejection(reason, network)


@pytest.mark.parametrize(
    ("reader", "octets"),
    [
        (messages.read_i_am_router, b"\x01\x80\x01\x07"),
        (messages.read_i_am_router, b"\x01\x80\x00"),
        (messages.read_i_am_router, b"\x01\x80"),
        (messages.read_number_is, b"\x01\x80\x13\x07\xd1"),
        (messages.read_number_is, b"\x01\x80\x13\x07\xd1\x01\x00"),
        (messages.read_who_is_router, b"\x01\x80\x00\x07"),
        (messages.read_rejection, b"\x01\x80\x03\x01\x07\xd1\x00"),
    ],
)
def test_what_is_none_is_refused(reader, octets):
    with pytest.raises(DecodeError):
        reader(octets, 2)


def test_the_types_have_the_numbers_of_the_standard():
    theirs = (WhoIsRouterToNetwork, IAmRouterToNetwork, RejectMessageToNetwork, WhatIsNetworkNumber, NetworkNumberIs)
    assert [int(kind.pduType) for kind in theirs] == list(MessageType)
