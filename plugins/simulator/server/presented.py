"""How plain objects and devices present themselves to bacpypes3: properties worked out when they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from bacpypes3.basetypes import (
    ErrorClass,
    ErrorCode,
    ObjectTypesSupported,
    OptionalUnsigned,
    PropertyIdentifier,
    Scale,
    Segmentation,
    ServicesSupported,
    StatusFlags,
)
from bacpypes3.constructeddata import Array, ArrayOf
from bacpypes3.errors import ExecutionError, ParameterOutOfRange, PropertyError
from bacpypes3.object import DeviceObject
from bacpypes3.primitivedata import CharacterString, Date, Null, ObjectIdentifier, Real, Time, Unsigned
from bacpypes3.vendor import get_vendor_info

from plugins.bacnet.wire import apdu
from plugins.simulator.device import Product, SimulatedDevice
from plugins.simulator.objects import ObjectType, SimulatedObject, ValueOutOfRange, WriteDenied
from plugins.simulator.server.values import decode, encode, encode_slot

PROTOCOL_REVISION = 22
COUNTER_LIMIT = 2**32 - 1


class PresentedObject:
    """One object as bacpypes3 wants to see it; the attributes in its spelling are part of that.

    ``error`` is what reads of it answer, if anything; one that is ``mistyped`` has a value of another datatype.
    """

    def __init__(
        self, data: SimulatedObject, *, error: apdu.PropertyError | None = None, mistyped: bool = False
    ) -> None:
        self.data = data
        self._error = error
        self._mistyped = mistyped
        self.objectIdentifier = ObjectIdentifier(f"{data.type},{data.instance}")
        self.objectName = data.name
        self._app: Any = None
        self._standard = get_vendor_info(0).get_object_class(self.objectIdentifier[0])
        self._fixed = _fixed_properties(data)
        self._encoded: dict[str, Any] = {}
        self._live: dict[str, Callable[[], Any]] = {
            "presentValue": self.present_value,
            "statusFlags": self.status_flags,
            "outOfService": lambda: data.out_of_service,
            "propertyList": self._property_list,
        }
        if data.priorities:
            self._live["priorityArray"] = self._priority_array
            self._live["relinquishDefault"] = lambda: encode(data.type, data.automatic)
            self._live["currentCommandPriority"] = self._current_priority

    def property_names(self) -> list[str]:
        """Name the properties that it has, in bacpypes3's spelling, the property list itself left out."""
        return [name for name in (*self._fixed, *self._live) if name != "propertyList"]

    def required_names(self) -> set[str]:
        """Name the properties that the standard requires of its type."""
        return {name for cls in self._standard.__mro__ for name in getattr(cls, "_required", ())}

    def get_property_type(self, identifier: PropertyIdentifier) -> Any:
        """Return the datatype of a property; raises PropertyError where it has none such."""
        name = identifier if isinstance(identifier, str) else identifier.attr
        if name not in self._fixed and name not in self._live:
            raise PropertyError("unknownProperty")
        return _datatype(self._standard, name)

    async def read_property(self, identifier: PropertyIdentifier, index: int | None = None) -> Any:
        """Read a property, or one element of an array; raises PropertyError."""
        name = identifier if isinstance(identifier, str) else identifier.attr
        if self._error is not None:
            raise ExecutionError(ErrorClass(self._error.error_class), ErrorCode(self._error.code))
        datatype = self.get_property_type(identifier)
        if self._mistyped and name == "presentValue":
            return _mistyped(self.data)
        value = self._read(name, datatype)
        if index is None:
            return value
        if not issubclass(datatype, Array):
            raise PropertyError("propertyIsNotAnArray")
        if index == 0:
            return Unsigned(len(value))
        if index > len(value):
            raise PropertyError("invalidArrayIndex")
        return value[index - 1]

    async def write_property(
        self, identifier: PropertyIdentifier, value: Any, index: int | None = None, priority: int | None = None
    ) -> None:
        """Write present-value or out-of-service; raises PropertyError, or a reject for a bad priority."""
        if priority is not None and not 1 <= priority <= 16:
            raise ParameterOutOfRange("priority")
        name = identifier.attr
        self.get_property_type(identifier)
        if index is not None and name not in ("priorityArray", "stateText", "propertyList"):
            raise PropertyError("propertyIsNotAnArray")
        if name not in ("presentValue", "outOfService"):
            raise PropertyError("writeAccessDenied")
        try:
            if name == "outOfService":
                self.data.set_out_of_service(out_of_service=bool(value))
            elif isinstance(value, Null):
                self.data.relinquish(priority)
            else:
                self.data.write(decode(self.data.type, value), priority)
        except WriteDenied as error:
            raise PropertyError("writeAccessDenied") from error
        except ValueOutOfRange as error:
            raise PropertyError("valueOutOfRange") from error
        self._app.written(self.data)

    def _read(self, name: str, datatype: Any) -> Any:
        live = self._live.get(name)
        if live is not None:
            value = live()
            return value if isinstance(value, datatype) else datatype(value)
        if name not in self._encoded:
            value = self._fixed[name]
            self._encoded[name] = value if isinstance(value, datatype) else datatype(datatype.cast(value))
        return self._encoded[name]

    def present_value(self) -> Any:
        """Return the present value as on the wire."""
        return encode(self.data.type, self.data.value)

    def status_flags(self) -> Any:
        """Return the status flags as on the wire."""
        return StatusFlags([0, 0, 0, int(self.data.out_of_service)])

    def _priority_array(self) -> Any:
        slots = [encode_slot(self.data.type, slot) for slot in self.data.priorities]
        return _datatype(self._standard, "priorityArray")(slots)

    def _current_priority(self) -> Any:
        priority = self.data.active_priority
        return OptionalUnsigned(null=Null(())) if priority is None else OptionalUnsigned(unsigned=Unsigned(priority))

    def _property_list(self) -> Any:
        general = ("objectIdentifier", "objectName", "objectType")
        names = [name for name in self.property_names() if name not in general]
        return ArrayOf(PropertyIdentifier)([PropertyIdentifier(name) for name in names])


@functools.cache
def _datatype(standard: Any, name: str) -> Any:
    """Look up the datatype that the standard gives a property of an object class."""
    return standard.get_property_type(name)


def _mistyped(data: SimulatedObject) -> Any:
    """Make a present value of another datatype: a number as text, what is no number as a real."""
    value = data.value
    if data.type.is_binary or not isinstance(value, float | int):
        return Real(float(value is True))
    return CharacterString(f"{value:g}")


def _fixed_properties(data: SimulatedObject) -> dict[str, Any]:
    """Gather what never changes, by bacpypes3's names; what the object does not have is left out."""
    kind = data.type
    fixed: dict[str, Any] = {
        "objectIdentifier": ObjectIdentifier(f"{kind},{data.instance}"),
        "objectName": data.name,
        "objectType": kind.value,
        "description": data.description,
        "eventState": "normal",
        "reliability": "noFaultDetected",
        "units": data.units,
        "resolution": data.resolution,
        "minPresValue": data.minimum,
        "maxPresValue": data.maximum,
    }
    if kind.startswith("analog-") or kind is ObjectType.LARGE_ANALOG_VALUE:
        fixed["covIncrement"] = data.cov_increment
    if kind in (ObjectType.INTEGER_VALUE, ObjectType.POSITIVE_INTEGER_VALUE):
        fixed["units"] = data.units or "noUnits"
        fixed["covIncrement"] = 1
    if kind is ObjectType.ACCUMULATOR:
        fixed["scale"] = Scale(integerScale=0)
        fixed["maxPresValue"] = COUNTER_LIMIT
    if kind.is_multi_state:
        fixed["numberOfStates"] = len(data.states)
        fixed["stateText"] = list(data.states)
    if kind.is_binary:
        fixed["inactiveText"], fixed["activeText"] = data.states
        if kind is not ObjectType.BINARY_VALUE:
            fixed["polarity"] = "normal"
    return {name: value for name, value in fixed.items() if value is not None}


class PresentedDevice(DeviceObject):  # type: ignore[misc]
    """The Device object of a simulated device; its clock is the building's. It takes no writes."""

    def __init__(
        self,
        device: SimulatedDevice,
        product: Product,
        *,
        services: Iterable[str],
        revision: int,
        clock: Callable[[], datetime],
    ) -> None:
        identifier = ObjectIdentifier(("device", device.instance))
        types = {data.type for data in device.objects}
        super().__init__(
            objectIdentifier=identifier,
            objectName=device.name,
            description=device.description,
            location=device.location,
            systemStatus="operational",
            vendorName=product.vendor,
            vendorIdentifier=product.vendor_id,
            modelName=product.model,
            firmwareRevision=product.firmware,
            applicationSoftwareVersion=product.firmware,
            protocolVersion=1,
            protocolRevision=PROTOCOL_REVISION,
            protocolServicesSupported=_bits(ServicesSupported, services),
            protocolObjectTypesSupported=_bits(ObjectTypesSupported, {*types, "device"}),
            objectList=[identifier, *(ObjectIdentifier(f"{data.type},{data.instance}") for data in device.objects)],
            maxApduLengthAccepted=product.max_apdu,
            segmentationSupported=Segmentation("segmentedBoth" if product.segmentation else "noSegmentation"),
            apduTimeout=3000,
            numberOfApduRetries=3,
            deviceAddressBinding=[],
            databaseRevision=revision,
            utcOffset=0,
            daylightSavingsStatus=False,
            **({"maxSegmentsAccepted": 64, "apduSegmentTimeout": 2000} if product.segmentation else {}),
        )
        self._clock = clock

    def property_names(self) -> list[str]:
        """Name the properties that it has, in bacpypes3's spelling, the property list itself left out."""
        return [name for name in self._elements if getattr(self, name) is not None] + ["localDate", "localTime"]

    def required_names(self) -> set[str]:
        """Name the properties that the standard requires of a Device object."""
        return {name for cls in type(self).__mro__ for name in getattr(cls, "_required", ())}

    async def read_property(self, identifier: PropertyIdentifier, index: int | None = None) -> Any:
        """Read a property, or one element of an array; raises PropertyError."""
        name = identifier if isinstance(identifier, str) else identifier.attr
        if name == "localDate":
            return Date(self._clock().date())
        if name == "localTime":
            return Time(self._clock().time())
        if name == "propertyList":
            general = ("objectIdentifier", "objectName", "objectType")
            names = [PropertyIdentifier(each) for each in self.property_names() if each not in general]
            return ArrayOf(PropertyIdentifier)(names)
        return await super().read_property(identifier, index)

    async def write_property(self, *_request: Any) -> None:
        """Refuse every write."""
        raise PropertyError("writeAccessDenied")


def _bits(datatype: Any, names: Iterable[str]) -> Any:
    return datatype(";".join(names))
