"""What goes wrong on a BACnet network, and which of Plantroom's errors that is for a reader or a writer.

PlantroomError
├── LinkFailed           503  our own end: a port that is taken, an address that this machine does not have
├── NotFound
│   └── PropertyNotFound 404  an object, a property or an element that the device does not have
├── Unavailable
│   └── NetworkBusy      503  a device's turn did not come, for all that is asked of others on its network
└── DeviceError
    └── UnusableValue    502  a value came that is not of the point's kind
Refusal                       a device's Error, Reject or Abort, inside this plugin only
"""

from __future__ import annotations

import attrs

from core.errors import DeviceError, Example, NotFound, Unavailable, any_of
from core.plugin import DeviceRefused, NotWritable, PlantroomError, PointNotFound, ValueNotSuitable
from plugins.bacnet.wire.apdu import PropertyError, name_of
from plugins.bacnet.wire.datatypes import Ref
from plugins.bacnet.wire.enumerations import ERROR_CLASSES, ERROR_CODES


class LinkFailed(PlantroomError):
    """The plugin cannot open its UDP port: it is taken, or the address is not this machine's."""

    code = "bacnet.link_failed"
    status = 503
    title = "The BACnet link cannot be opened"
    causes = any_of(
        "Another program on this machine has the UDP port, a second Plantroom perhaps: `ss -lunp` names it.",
        "The `address` is not one of this machine's, or not yet: the network may still be coming up.",
        "The address is right, but its prefix is not, so that the broadcast address cannot be listened on.",
    )
    remedy = "Correct the `address` under the plugin's `networks`, or stop the program that has the port."
    example = Example(
        "UDP port 47808 of 192.168.1.10 is taken by another program; stop it, or change "
        "plugins.bacnet.networks[0].address."
    )


class NetworkBusy(Unavailable):
    """A device's turn did not come in time: more is asked of its network than that can answer."""

    code = "bacnet.network_busy"
    title = "The device's network is busy"
    causes = any_of(
        "More points are polled behind one router than its MS/TP trunk can answer within a minute.",
        "Several devices on the trunk do not answer, and each is waited for.",
    )
    remedy = "Raise the `interval` of points on that network, or poll fewer of them; see the device's profile."
    example = Example(
        "bacnet.2001 was not asked: its network is busy with the others'.",
        "/api/v1/points/bacnet.2001.analog-input.1/value",
    )


class PropertyNotFound(NotFound):
    """The device has no such object, the object no such property, or the property no such element."""

    code = "bacnet.property_not_found"
    title = "Unknown object or property"
    causes = any_of(
        "The object id or the property's name is misspelt: they are written like analog-input.1 and present-value.",
        "The property is optional, and this device leaves it out.",
        "An `index` was given of a property that is no array, or beyond its end.",
        "The device was reprogrammed since the object was seen.",
    )
    remedy = (
        "GET .../devices/{instance}/objects lists a device's objects, and .../objects/{object_id} their properties."
    )
    example = Example(
        "bacnet.2001 does not have analog-input.1 profile-name (error property unknown-property).",
        "/api/v1/bacnet/devices/2001/objects/analog-input.1/properties/profile-name",
    )


class UnusableValue(DeviceError):
    """The device answered with a value that is not of the point's kind."""

    code = "bacnet.unusable_value"
    title = "The device's value cannot be used"
    causes = any_of(
        "The device was reprogrammed since the last scan, and the object is another one now.",
        "Its firmware answers with another datatype than the standard has for the object type.",
    )
    remedy = "Scan again if the device was changed; report the device to its vendor if not."
    example = Example(
        "bacnet.2001.analog-input.1 answered with str where a number belongs.",
        "/api/v1/points/bacnet.2001.analog-input.1/value",
    )


@attrs.frozen
class Refusal(Exception):
    """A device's own words: ``kind`` is error, reject or abort; names are those of the standard, with hyphens.

    ``error_class`` is empty for rejects and aborts. ``failed`` is which of several writes was the first to fail.
    """

    kind: str
    code: str
    error_class: str = ""
    failed: Ref | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.error_class} {self.code}".replace("  ", " ")

    @property
    def service_is_missing(self) -> bool:
        """Whether the device does not know the service at all."""
        return (self.kind, self.code) in _SERVICE_IS_MISSING

    @property
    def answer_is_too_long(self) -> bool:
        """Whether a shorter request would do."""
        return (self.kind, self.code) in _ANSWER_IS_TOO_LONG

    @property
    def is_of_length(self) -> bool:
        """Whether it says that what was asked for is too long for an answer, and nothing else."""
        return self.answer_is_too_long and self.code != "out-of-resources"

    @property
    def is_passing(self) -> bool:
        """Whether it says nothing of what was asked for, but that it could not be asked for now.

        So does every abort and reject, but those that tell of a service that the device does not have at all.
        """
        return (self.kind != "error" and not self.service_is_missing) or self.code in _PASSING

    @property
    def object_is_missing(self) -> bool:
        """Whether the device does not have the object."""
        return self.code == "unknown-object"


def refused_with(error: PropertyError, *, failed: Ref | None = None) -> Refusal:
    """Name what a device's error is."""
    return Refusal("error", name_of(ERROR_CODES, error.code), name_of(ERROR_CLASSES, error.error_class), failed)


_SERVICE_IS_MISSING = {
    ("reject", "unrecognized-service"),
    ("error", "service-request-denied"),
    ("error", "optional-functionality-not-supported"),
}
_ANSWER_IS_TOO_LONG = {
    ("abort", "buffer-overflow"),
    ("abort", "segmentation-not-supported"),
    ("abort", "apdu-too-long"),
    ("abort", "out-of-resources"),
    ("reject", "buffer-overflow"),
    ("reject", "too-many-arguments"),
}
_PASSING = {
    "busy",
    "communication-disabled",
    "configuration-in-progress",
    "device-busy",
    "internal-error",
    "missing-from-answer",
    "operational-problem",
    "other",
    "out-of-memory",
    "timeout",
    "undecodable-value",
}
NOTHING_WRITTEN = "Nothing was written."
TAKEN = "It had taken the write, and could not be read back."
_NOT_FOUND = {"unknown-object", "unknown-property"}
_NO_ELEMENT = {"invalid-array-index", "property-is-not-an-array"}
_DENIED = {"write-access-denied", "access-denied"}
_NOT_SUITABLE = {
    "value-out-of-range",
    "invalid-data-type",
    "invalid-datatype",
    "datatype-not-supported",
    "character-set-not-supported",
    "invalid-value-in-this-state",
    "parameter-out-of-range",
    "invalid-parameter-data-type",
    "invalid-parameter-datatype",
    "inconsistent-parameters",
    "invalid-tag",
    "undefined-enumeration",
    "no-space-to-write-property",
}


def read_error(refusal: Refusal, what: str) -> PlantroomError:
    """Say what a refused read means for whoever asked for ``what``."""
    if refusal.code in _NOT_FOUND:
        return PointNotFound(f"The device does not have {what} ({refusal}); a scan refreshes its points.")
    return _refused(refusal, what)


def write_error(refusal: Refusal, what: str) -> PlantroomError:
    """Say what a refused write means for whoever wrote to ``what``."""
    if refusal.code in _DENIED:
        return NotWritable(f"The device denies writing to {what} ({refusal}).")
    if refusal.code in _NOT_SUITABLE:
        return ValueNotSuitable(f"The device does not take this value for {what} ({refusal}).")
    return read_error(refusal, what)


def property_error(refusal: Refusal, device_id: str, what: str) -> PlantroomError:
    """Say what a refusal means for whoever reads or writes a property."""
    if refusal.code in _NOT_FOUND | _NO_ELEMENT:
        return PropertyNotFound(f"{device_id} does not have {what} ({refusal}).")
    return write_error(refusal, f"{what} of {device_id}")


def unread_error(refusal: Refusal, what: str) -> DeviceRefused:
    """Say that ``what`` was written and is not shown."""
    return _refused(refusal, what, f" {TAKEN}")


def _refused(refusal: Refusal, what: str, more: str = "") -> DeviceRefused:
    words = {"kind": refusal.kind, "class": refusal.error_class or None, "code": refusal.code}
    return DeviceRefused(f"The device refused {what}: {refusal}.{more}", extra={"bacnet": words})
