"""One device's application layer: which services it offers, and how large its answers may be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bacpypes3.apdu import (
    ReadPropertyMultipleACK,
    ReadPropertyMultipleRequest,
    ReadRangeRequest,
    RejectPDU,
    SimpleAckPDU,
    SubscribeCOVRequest,
    WritePropertyMultipleError,
    WritePropertyMultipleRequest,
)
from bacpypes3.app import Application
from bacpypes3.appservice import ApplicationServiceAccessPoint
from bacpypes3.basetypes import ErrorType, ObjectPropertyReference, PropertyIdentifier, ReadAccessResult
from bacpypes3.comm import bind
from bacpypes3.errors import DecodingError, ExecutionError, InvalidTag, ObjectError, PropertyError
from bacpypes3.primitivedata import ObjectIdentifier
from bacpypes3.service.object import read_property_to_result_element

from plugins.simulator.objects import SimulatedObject
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.presented import PresentedDevice, PresentedObject
from plugins.simulator.server.rejects import rejected
from plugins.simulator.server.router import Port
from plugins.simulator.server.station import Station

SERVICES = ("read-property", "write-property", "who-is", "who-has")
SUBSCRIBE_COV = ("subscribe-cov",)
MULTIPLE_SERVICES = ("read-property-multiple", "write-property-multiple")
MULTIPLE_REQUESTS = (ReadPropertyMultipleRequest, WritePropertyMultipleRequest)
NEVER_OFFERED = (ReadRangeRequest, SubscribeCOVRequest)  # the latter is taken before it comes here
SEGMENT_HEADER_BYTES = 5
ANY_DEVICE = ObjectIdentifier(("device", 4194303))


class AccessPoint(ApplicationServiceAccessPoint):  # type: ignore[misc]
    """Keeps answers within the device's own APDU length, headers included, which bacpypes3 leaves out of account."""

    async def confirmation(self, pdu: Any) -> None:
        """Take what comes in, and reject at once what nobody understands."""
        no = rejected(bytes(pdu.pduData))
        if no is None:
            await super().confirmation(pdu)
        else:
            no.pduDestination = pdu.pduSource
            await self.request(no)

    async def sap_confirmation(self, apdu: Any) -> None:
        """Send an answer, in segments where it is long and both sides can."""
        for transaction in self.serverTransactions:
            if transaction.invokeID == apdu.apduInvokeID and transaction.pdu_address == apdu.pduDestination:
                longest = min(transaction.maxApduLengthAccepted, int(self.device_object.maxApduLengthAccepted))
                transaction.maxApduLengthAccepted = longest - SEGMENT_HEADER_BYTES
        await super().sap_confirmation(apdu)


class DeviceApplication(Application):  # type: ignore[misc]
    """Answers for one device as it is in one edition of its; ``written`` is told of each object that was written."""

    def __init__(
        self,
        station: Station,
        port: Port,
        *,
        clock: Callable[[], datetime],
        written: Callable[[SimulatedObject], None],
    ) -> None:
        super().__init__()
        quirks = station.quirks
        product = quirks.product
        self.station = station
        self.written = written
        multiple = product.read_property_multiple
        self._not_offered = NEVER_OFFERED if multiple else (*NEVER_OFFERED, *MULTIPLE_REQUESTS)
        presented = PresentedDevice(
            station.device,
            product,
            services=(
                *SERVICES,
                *(SUBSCRIBE_COV if product.subscribe_cov else ()),
                *(MULTIPLE_SERVICES if multiple else ()),
            ),
            revision=station.database_revision,
            clock=clock,
        )
        self.asap = AccessPoint(presented, self.device_info_cache)
        bind(self, self.asap, port)
        self.add_object(presented)
        for data in station.device.objects:
            packed = object_id(data).packed
            self.add_object(PresentedObject(data, error=quirks.errors.get(packed), mistyped=packed in quirks.mistyped))

    async def indication(self, apdu: Any) -> None:
        """Take a request; reject one for a service that bacpypes3 has, but the device does not offer."""
        if isinstance(apdu, self._not_offered):
            await self.response(RejectPDU(reason="unrecognizedService", context=apdu))
        else:
            await super().indication(apdu)

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        """Read a property, also of the device whose number is not known (15.5.2), which bacpypes3 does not find."""
        apdu.objectIdentifier = self._named(apdu.objectIdentifier)
        await super().do_ReadPropertyRequest(apdu)

    async def do_WritePropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        """Write a property; a value of the wrong datatype is an error, as the standard has it (15.9.1.3)."""
        try:
            await super().do_WritePropertyRequest(apdu)
        except (InvalidTag, DecodingError, ValueError, TypeError) as error:
            raise PropertyError("invalidDataType") from error

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        """Read properties of several objects; what cannot be read is an error in its own place."""
        results = []
        for specification in apdu.listOfReadAccessSpecs:
            identifier = self._named(specification.objectIdentifier)
            found = self.get_object_id(identifier)
            elements = [
                await read_property_to_result_element(found, name, reference.propertyArrayIndex)
                for reference in specification.listOfPropertyReferences
                for name in _names(found, reference.propertyIdentifier)
            ]
            results.append(ReadAccessResult(objectIdentifier=identifier, listOfResults=elements))
        await self.response(ReadPropertyMultipleACK(listOfReadAccessResults=results, context=apdu))

    async def do_WritePropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        """Write one property after the other, up to the first that cannot be written, which is named (15.10.1.3)."""
        for specification in apdu.listOfWriteAccessSpecs:
            identifier = self._named(specification.objectIdentifier)
            for each in specification.listOfProperties:
                try:
                    await self._write(identifier, each)
                except ExecutionError as error:
                    failed = ObjectPropertyReference(
                        objectIdentifier=identifier,
                        propertyIdentifier=each.propertyIdentifier,
                        propertyArrayIndex=each.propertyArrayIndex,
                    )
                    why = ErrorType(errorClass=error.errorClass, errorCode=error.errorCode)
                    no = WritePropertyMultipleError(errorType=why, firstFailedWriteAttempt=failed, context=apdu)
                    await self.response(no)
                    return
        await self.response(SimpleAckPDU(context=apdu))

    async def _write(self, identifier: ObjectIdentifier, wanted: Any) -> None:
        found = self.get_object_id(identifier)
        if found is None:
            raise ObjectError("unknownObject")
        datatype = found.get_property_type(wanted.propertyIdentifier)
        if datatype is None:
            raise PropertyError("unknownProperty")
        try:
            value = wanted.value.cast_out(datatype, null=wanted.priority is not None)
        except (InvalidTag, DecodingError, ValueError, TypeError) as error:
            raise PropertyError("invalidDataType") from error
        await found.write_property(wanted.propertyIdentifier, value, wanted.propertyArrayIndex, wanted.priority)

    def _named(self, identifier: ObjectIdentifier) -> ObjectIdentifier:
        return self.device_object.objectIdentifier if identifier == ANY_DEVICE else identifier


def _names(found: PresentedObject | PresentedDevice | None, asked: PropertyIdentifier) -> list[PropertyIdentifier]:
    """Spell out all, required and optional (ASHRAE 135, 15.7.3.1.2)."""
    if found is None or asked not in (PropertyIdentifier.all, PropertyIdentifier.required, PropertyIdentifier.optional):
        return [asked]
    names = found.property_names()
    if asked != PropertyIdentifier.all:
        required = found.required_names()
        names = [name for name in names if (name in required) == (asked == PropertyIdentifier.required)]
    return [PropertyIdentifier(name) for name in names]
