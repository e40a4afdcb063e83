"""Our words to bacpypes3's and back: requests on their way out, answers and refusals on their way in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bacpypes3.apdu import (
    AbortPDU,
    ErrorPDU,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectPDU,
    WhoIsRequest,
    WritePropertyRequest,
)
from bacpypes3.basetypes import PropertyReference, ReadAccessSpecification, Segmentation
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import GlobalBroadcast, IPv4Address, RemoteStation
from bacpypes3.primitivedata import ObjectIdentifier, Tag, TagClass, TagList

from plugins.bacnet.addresses import Station
from plugins.bacnet.errors import Refusal
from plugins.bacnet.link import endpoint
from plugins.bacnet.planner import Ref
from plugins.bacnet.protocol import Answer, IAm, Items
from plugins.bacnet.tags import decode
from plugins.bacnet.values import Encoded
from plugins.bacnet.wire.datatypes import Group, ObjectId

_NO_RESPONSE = 65  # bacpypes3's own abort reason for a device that does not answer


def who_is_requests(limits: tuple[int, int] | None, at: Station | None) -> list[Any]:
    """Ask everybody, behind routers too; or the one at an address and those behind it.

    A router hands on what is for all networks, while a plain device wants none named: so a target gets both.
    """
    if at is None:
        destinations = [GlobalBroadcast()]
    elif at.network is not None:
        destinations = [_address(at)]
    else:
        destinations = [_address(at), GlobalBroadcast(route=_address(at))]
    low, high = limits or (None, None)
    return [
        WhoIsRequest(deviceInstanceRangeLowLimit=low, deviceInstanceRangeHighLimit=high, destination=destination)
        for destination in destinations
    ]


def read_request(station: Station, ref: Ref) -> Any:
    """Make a ReadProperty."""
    return ReadPropertyRequest(
        objectIdentifier=_object_id(ref.object),
        propertyIdentifier=ref.property,
        propertyArrayIndex=ref.index,
        destination=_address(station),
    )


def read_multiple_request(station: Station, refs: Sequence[Ref]) -> Any:
    """Make a ReadPropertyMultiple; properties of one object that follow one another share its specification."""
    specifications: list[Any] = []
    last = None
    for ref in refs:
        if ref.object != last:
            last = ref.object
            empty = ReadAccessSpecification(objectIdentifier=_object_id(ref.object), listOfPropertyReferences=[])
            specifications.append(empty)
        reference = PropertyReference(propertyIdentifier=ref.property, propertyArrayIndex=ref.index)
        specifications[-1].listOfPropertyReferences.append(reference)
    return ReadPropertyMultipleRequest(listOfReadAccessSpecs=specifications, destination=_address(station))


def write_request(station: Station, ref: Ref, value: Sequence[Encoded], *, priority: int | None) -> Any:
    """Make a WriteProperty."""
    return WritePropertyRequest(
        objectIdentifier=_object_id(ref.object),
        propertyIdentifier=ref.property,
        propertyArrayIndex=ref.index,
        propertyValue=AnyValue(TagList([_tag(part) for part in value])),
        priority=priority,
        destination=_address(station),
    )


def is_silence(answer: Any) -> bool:
    """Tell whether bacpypes3 gave up waiting."""
    return isinstance(answer, AbortPDU) and int(answer.apduAbortRejectReason) == _NO_RESPONSE


def refusal_in(answer: Any) -> Refusal | None:
    """Return what a device refused with, None where it did as it was asked."""
    if isinstance(answer, ErrorPDU):
        return _error(answer)
    if isinstance(answer, RejectPDU | AbortPDU):
        kind = "reject" if isinstance(answer, RejectPDU) else "abort"
        return Refusal(kind, str(answer.apduAbortRejectReason))
    return None


def answers_in(ack: Any) -> dict[Ref, Answer]:
    """Sort the values of a ReadPropertyMultiple by what they are values of; a broken one spoils no other."""
    answers: dict[Ref, Answer] = {}
    for result in ack.listOfReadAccessResults:
        object_id = ObjectId(int(result.objectIdentifier[0]), int(result.objectIdentifier[1]))
        for element in result.listOfResults:
            index = element.propertyArrayIndex
            ref = Ref(object_id, int(element.propertyIdentifier), None if index is None else int(index))
            failure = element.readResult.propertyAccessError
            try:
                answers[ref] = items_in(element.readResult.propertyValue) if failure is None else _error(failure)
            except Refusal as refusal:
                answers[ref] = refusal
    return answers


def items_in(value: Any) -> Items:
    """Decode a property's value, which bacpypes3 leaves between the tags that open and close it."""
    try:
        match decode(value.tagList):
            case (Group() as whole,):
                return whole.items
            case items:
                return items
    except ValueError as error:
        raise Refusal("error", "undecodable-value", "property") from error


def i_am_in(apdu: Any, *, interface: str) -> IAm:
    """Read an I-Am that was heard on one of our interfaces."""
    return IAm(
        int(apdu.iAmDeviceIdentifier[1]),
        _station(apdu.pduSource, interface),
        int(apdu.maxAPDULengthAccepted),
        apdu.segmentationSupported in (Segmentation.segmentedBoth, Segmentation.segmentedTransmit),
        int(apdu.vendorID),
    )


def _station(address: Any, interface: str) -> Station:
    if address.addrNet is None:
        return Station(interface, *endpoint(address))
    return Station(interface, *endpoint(address.addrRoute), int(address.addrNet), bytes(address.addrAddr))


def _address(station: Station) -> Any:
    here = IPv4Address((station.ip, station.port))
    return here if station.network is None else RemoteStation(station.network, station.mac, route=here)


def _object_id(object_id: ObjectId) -> Any:
    return ObjectIdentifier((object_id.type, object_id.instance))


def _tag(part: Encoded) -> Any:
    return Tag(TagClass.application, part.number, len(part.octets) if part.lvt is None else part.lvt, part.octets)


def _error(error: Any) -> Refusal:
    return Refusal("error", str(error.errorCode), str(error.errorClass))
