"""Our words to bacpypes3's and back: requests on their way out, answers and refusals on their way in."""

from __future__ import annotations

from typing import Any

from bacpypes3.apdu import AbortPDU, ErrorPDU, ReadPropertyRequest, RejectPDU, WhoIsRequest
from bacpypes3.basetypes import Segmentation
from bacpypes3.pdu import GlobalBroadcast, IPv4Address, RemoteBroadcast, RemoteStation
from bacpypes3.primitivedata import ObjectIdentifier

from plugins.bacnet.addresses import Station
from plugins.bacnet.errors import Refusal
from plugins.bacnet.link import endpoint
from plugins.bacnet.protocol import IAm
from plugins.bacnet.wire import tags
from plugins.bacnet.wire.datatypes import ObjectId, Ref

_OPENS, _CLOSES = tags.opening(3), tags.closing(3)  # of a ReadProperty's answer (15.5)
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


def octets_in(value: Any) -> bytes:
    """Return a property's tagged octets, which bacpypes3 leaves between the tags that open and close it."""
    whole = bytes(value.tagList.encode().pduData)
    return whole[1:-1] if whole[:1] == _OPENS and whole[-1:] == _CLOSES else whole


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
    if station.network is None:
        return here
    if not station.mac:
        return RemoteBroadcast(station.network, route=here)
    return RemoteStation(station.network, station.mac, route=here)


def _object_id(object_id: ObjectId) -> Any:
    return ObjectIdentifier((object_id.type, object_id.instance))


def _error(error: Any) -> Refusal:
    return Refusal("error", str(error.errorCode), str(error.errorClass))
