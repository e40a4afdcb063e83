"""The properties of a Device object in octets, as `prepared` has those of the others; they change with its objects."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.apdu import PropertyError
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.enumerations import type_number
from plugins.bacnet.wire.who_is import IAm, Segmentation
from plugins.simulator.device import Product, SimulatedDevice
from plugins.simulator.server.octets import bits_octets, number_of, object_id
from plugins.simulator.server.prepared import NOT_AN_ARRAY, element, listed
from plugins.simulator.server.presented import PROTOCOL_REVISION
from plugins.simulator.server.properties import Property

DEVICE = type_number("device")

_SERVICES = (12, 15, 33, 34)  # read-property, write-property, who-has, who-is
_SUBSCRIBE_COV = (5,)
_MULTIPLE_SERVICES = (14, 16)  # read-property-multiple, write-property-multiple
_KNOWN_SERVICES = 49
_KNOWN_TYPES = 63


class PreparedDevice:
    """The Device object of a simulated device; its clock, and what it does not have, are left to bacpypes3.

    ``product`` is what the device can do at present, ``instance`` another number that it claims. When objects come or
    go, another one is made, with another ``revision``.
    """

    def __init__(
        self, device: SimulatedDevice, *, product: Product, revision: int = 1, instance: int | None = None
    ) -> None:
        self._device = device
        self._product = product
        self._revision = revision
        self.identifier = ObjectId(DEVICE, device.instance if instance is None else instance)

    @property
    def i_am(self) -> IAm:
        """What the device says of itself when it is looked for."""
        product = self._product
        return IAm(self.identifier, product.max_apdu, self._segmentation, product.vendor_id)

    def find(self, number: int, index: int | None = None) -> bytes | PropertyError | None:
        """Look up a property, or one element of the object list; None, where only bacpypes3 knows."""
        if number == Property.OBJECT_LIST:
            return element(self._object_list, index)
        found = self._fixed.get(number)
        if found is None or index is None:
            return found
        return None if number == Property.PROPERTY_LIST else NOT_AN_ARRAY

    @property
    def _segmentation(self) -> Segmentation:
        return Segmentation.BOTH if self._product.segmentation else Segmentation.NONE

    @functools.cached_property
    def _object_list(self) -> tuple[bytes, ...]:
        own = primitives.encode_object_id(self.identifier)
        return own, *(primitives.encode_object_id(object_id(data)) for data in self._device.objects)

    @functools.cached_property
    def _fixed(self) -> Mapping[int, bytes]:
        fixed = self._properties()
        numbers = [*fixed, Property.LOCAL_DATE, Property.LOCAL_TIME]
        fixed[Property.PROPERTY_LIST] = b"".join(listed(numbers))
        return fixed

    def _properties(self) -> dict[int, bytes]:
        """Write all that never changes, in the order of the property list."""
        device, product = self._device, self._product
        services = (
            *_SERVICES,
            *(_SUBSCRIBE_COV if product.subscribe_cov else ()),
            *(_MULTIPLE_SERVICES if product.read_property_multiple else ()),
        )
        types = {number_of(data.type) for data in device.objects} | {DEVICE}
        segmented = product.segmentation
        text, unsigned, enumerated = (
            primitives.encode_character_string,
            primitives.encode_unsigned,
            primitives.encode_enumerated,
        )
        return {
            Property.OBJECT_IDENTIFIER: primitives.encode_object_id(self.identifier),
            Property.OBJECT_NAME: text(device.name),
            Property.OBJECT_TYPE: enumerated(DEVICE),
            Property.DESCRIPTION: text(device.description),
            Property.SYSTEM_STATUS: enumerated(0),
            Property.VENDOR_NAME: text(product.vendor),
            Property.VENDOR_IDENTIFIER: unsigned(product.vendor_id),
            Property.MODEL_NAME: text(product.model),
            Property.FIRMWARE_REVISION: text(product.firmware),
            Property.APPLICATION_SOFTWARE_VERSION: text(product.firmware),
            Property.LOCATION: text(device.location),
            Property.PROTOCOL_VERSION: unsigned(1),
            Property.PROTOCOL_REVISION: unsigned(PROTOCOL_REVISION),
            Property.PROTOCOL_SERVICES_SUPPORTED: bits_octets(_KNOWN_SERVICES, services),
            Property.PROTOCOL_OBJECT_TYPES_SUPPORTED: bits_octets(_KNOWN_TYPES, types),
            Property.OBJECT_LIST: b"",  # an array: see find
            Property.MAX_APDU_LENGTH_ACCEPTED: unsigned(product.max_apdu),
            Property.SEGMENTATION_SUPPORTED: enumerated(self._segmentation),
            **({Property.MAX_SEGMENTS_ACCEPTED: unsigned(64)} if segmented else {}),
            Property.UTC_OFFSET: primitives.encode_integer(0),
            Property.DAYLIGHT_SAVINGS_STATUS: primitives.encode_boolean(False),
            **({Property.APDU_SEGMENT_TIMEOUT: unsigned(2000)} if segmented else {}),
            Property.APDU_TIMEOUT: unsigned(3000),
            Property.NUMBER_OF_APDU_RETRIES: unsigned(3),
            Property.DEVICE_ADDRESS_BINDING: b"",
            Property.DATABASE_REVISION: unsigned(self._revision),
        }
