"""SubscribeCOV and both notifications, against bacpypes3: cancellations, what is for ever, broken ones."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import (
    APDU,
    APCISequence,
    ConfirmedCOVNotificationRequest,
    SubscribeCOVRequest,
    UnconfirmedCOVNotificationRequest,
    UnconfirmedRequestSequence,
)
from bacpypes3.basetypes import PropertyValue
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import PDU, PDUData
from bacpypes3.primitivedata import ObjectIdentifier, TagList
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import apdu, cov, primitives, tags
from plugins.bacnet.wire.apdu import PduType, Service, UnconfirmedService
from plugins.bacnet.wire.datatypes import Bits, ObjectId
from plugins.bacnet.wire.errors import DecodeError

DEVICE, INPUT = ObjectId(8, 2001), ObjectId(0, 1)
VALUES = [(85, primitives.encode_real(21.5)), (111, primitives.encode_bit_string(Bits((False,) * 4)))]
NUMBER = st.integers(0, 2**32 - 1)


def theirs(object_id):
    return ObjectIdentifier((object_id.type, object_id.instance))


@given(NUMBER, st.from_type(ObjectId), st.none() | st.booleans(), st.none() | NUMBER)
def test_a_subscription_is_the_same_as_bacpypes3_s_and_read_by_both(process, monitored, confirmed, lifetime):
    ours = cov.Subscription(process, monitored, confirmed, lifetime)
    parameters = cov.write_subscription(ours)
    request = SubscribeCOVRequest(
        subscriberProcessIdentifier=process,
        monitoredObjectIdentifier=theirs(monitored),
        issueConfirmedNotifications=confirmed,
        lifetime=lifetime,
    )
    assert bytes(request.encode().pduData) == parameters
    assert cov.read_subscription(b"?" + parameters, 1) == ours
    assert ours.cancels is (confirmed is None and lifetime is None)


@pytest.mark.parametrize("kind", [ConfirmedCOVNotificationRequest, UnconfirmedCOVNotificationRequest])
def test_a_notification_is_the_same_as_bacpypes3_s_and_read_by_both(kind):
    octets = cov.write_notification(7, DEVICE, INPUT, 300, VALUES)
    listed = [
        PropertyValue(propertyIdentifier=number, value=AnyValue(TagList.decode(PDUData(value))))
        for number, value in VALUES
    ]
    request = kind(
        subscriberProcessIdentifier=7,
        initiatingDeviceIdentifier=theirs(DEVICE),
        monitoredObjectIdentifier=theirs(INPUT),
        timeRemaining=300,
        listOfValues=listed,
    )
    assert bytes(request.encode().pduData) == octets
    found = cov.read_notification(octets)
    assert found[:4] == (7, DEVICE, INPUT, 300)
    assert [(value.property_id, value.array_index, value.items(octets)) for value in found.values] == [
        (85, None, (21.5,)),
        (111, None, (Bits((False,) * 4),)),
    ]


def test_bacpypes3_reads_our_notifications():
    octets = cov.write_notification(7, DEVICE, INPUT, 0, VALUES)
    confirmed = APCISequence.decode(APDU.decode(PDU(apdu.write_request(Service.CONFIRMED_COV_NOTIFICATION, octets))))
    assert confirmed.timeRemaining == 0
    head = bytes((PduType.UNCONFIRMED_REQUEST << 4, UnconfirmedService.UNCONFIRMED_COV_NOTIFICATION))
    unconfirmed = UnconfirmedRequestSequence.decode(APDU.decode(PDU(head + octets)))
    assert unconfirmed.subscriberProcessIdentifier == 7


def test_a_value_that_is_an_element_and_names_a_priority_is_read():
    value = tags.opening(2) + primitives.encode_real(1.0) + tags.closing(2)
    listed = tags.context(0, b"\x57") + tags.context(1, b"\x08") + value + tags.context(3, b"\x08")
    octets = cov.write_notification(7, DEVICE, INPUT, 0, [])[:-1] + listed + tags.closing(4)
    (found,) = cov.read_notification(octets).values
    assert (found.property_id, found.array_index, found.items(octets)) == (87, 8, (1.0,))


BROKEN = {
    "nothing": b"",
    "cut off": cov.write_notification(7, DEVICE, INPUT, 0, VALUES)[:-1],
    "no values": cov.write_notification(7, DEVICE, INPUT, 0, [])[:-2],
    "octets behind": cov.write_notification(7, DEVICE, INPUT, 0, VALUES) + b"\0",
    "a property alone": cov.write_notification(7, DEVICE, INPUT, 0, [])[:-1] + tags.context(0, b"\x55") + b"\x4f",
    "another closing tag": cov.write_notification(7, DEVICE, INPUT, 0, [])[:-1] + tags.closing(3),
    "values in no group": cov.write_notification(7, DEVICE, INPUT, 0, [])[:-2] + primitives.encode_null(),
}


@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN)
def test_a_broken_notification_is_told_from_a_good_one(octets):
    with pytest.raises(DecodeError):
        cov.read_notification(octets)


def test_a_broken_subscription_is_told_from_a_good_one():
    good = cov.write_subscription(cov.Subscription(7, INPUT, True, 300))
    for octets in (b"", good[:-1], good + b"\0", good[2:]):
        with pytest.raises(DecodeError):
            cov.read_subscription(octets)
