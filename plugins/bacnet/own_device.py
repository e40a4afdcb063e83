"""What we are to others on the network: our Device object, and how a request that we do not understand is answered."""

from __future__ import annotations

from typing import Any

from bacpypes3.apdu import APDU, APCISequence, RejectPDU
from bacpypes3.appservice import ApplicationServiceAccessPoint
from bacpypes3.basetypes import ObjectTypesSupported, ServicesSupported
from bacpypes3.errors import RejectException
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import PDU
from bacpypes3.primitivedata import ObjectIdentifier

from plugins.bacnet.wire.apdu import Service, read_request
from plugins.bacnet.wire.errors import DecodeError

ANY_DEVICE = ObjectIdentifier(("device", 4194303))
"""The id by which a Device object may be read of a device whose number is not known (ASHRAE 135, 15.5.2)."""

_EXECUTED = (
    "confirmed-cov-notification",
    "read-property",
    "read-property-multiple",
    "write-property",
    "i-am",
    "i-have",
    "unconfirmed-cov-notification",
    "who-has",
    "who-is",
)
_TAKEN_HERE = {
    Service.CONFIRMED_COV_NOTIFICATION,
    Service.READ_PROPERTY,
    Service.READ_PROPERTY_MULTIPLE,
    Service.WRITE_PROPERTY,
}


class OurDevice(DeviceObject):  # type: ignore[misc]
    """Our Device object, which tells the truth of what we understand (12.11.11, 12.11.12)."""

    @property
    def protocolServicesSupported(self) -> Any:  # noqa: N802 - bacpypes3's name, and so below
        """The services that we execute; bacpypes3 would name those that it has functions for."""
        return ServicesSupported(";".join(_EXECUTED))

    @protocolServicesSupported.setter
    def protocolServicesSupported(self, _value: Any) -> None:  # noqa: N802
        """Take no other, as bacpypes3's own does not."""

    @property
    def protocolObjectTypesSupported(self) -> Any:  # noqa: N802
        """The only type of object that we have."""
        return ObjectTypesSupported("device")

    @protocolObjectTypesSupported.setter
    def protocolObjectTypesSupported(self, _value: Any) -> None:  # noqa: N802
        """Take no other, as bacpypes3's own does not."""


class AccessPoint(ApplicationServiceAccessPoint):  # type: ignore[misc]
    """Rejects requests that are not executed or cannot be decoded; bacpypes3 leaves most of them without an answer."""

    async def confirmation(self, pdu: Any) -> None:
        """Take what comes in, and say no at once to what is to be rejected (5.4.5.1)."""
        rejected = _rejected(bytes(pdu.pduData))
        if rejected is None:
            await super().confirmation(pdu)
        else:
            rejected.pduDestination = pdu.pduSource
            await self.request(rejected)


def _rejected(message: bytes) -> Any:
    """Make the Reject that answers a confirmed request; None: it can be executed, or it is something else."""
    try:
        request = read_request(message)
    except DecodeError:
        return None
    if request.service not in _TAKEN_HERE:
        return RejectPDU(request.invoke_id, "unrecognizedService")
    if request.segmented:
        return None
    try:
        APCISequence.decode(APDU.decode(PDU(message)))
    except RejectException as error:
        return RejectPDU(request.invoke_id, error.rejectReason)
    except Exception:  # bacpypes3 raises what it likes where parameters make no sense
        return RejectPDU(request.invoke_id, "invalidTag")
    return None
