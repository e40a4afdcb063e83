"""The object types of BACnet that have a present value, and what their properties make of a point."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import partial

import attrs

from core.plugin import Kind
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId

DEVICE = 8


class Prop(enum.IntEnum):
    """The property identifiers that we ask for (ASHRAE 135, BACnetPropertyIdentifier)."""

    ACTIVE_TEXT = 4
    APPLICATION_SOFTWARE_VERSION = 12
    COV_INCREMENT = 22
    DESCRIPTION = 28
    FIRMWARE_REVISION = 44
    INACTIVE_TEXT = 46
    LOCATION = 58
    MAX_APDU_LENGTH_ACCEPTED = 62
    MAX_PRES_VALUE = 65
    MIN_PRES_VALUE = 69
    MODEL_NAME = 70
    NUMBER_OF_STATES = 74
    OBJECT_LIST = 76
    OBJECT_NAME = 77
    OUT_OF_SERVICE = 81
    OUTPUT_UNITS = 82
    PRESENT_VALUE = 85
    PRIORITY_ARRAY = 87
    RELINQUISH_DEFAULT = 104
    RESOLUTION = 106
    SEGMENTATION_SUPPORTED = 107
    STATE_TEXT = 110
    STATUS_FLAGS = 111
    UNITS = 117
    VENDOR_NAME = 121
    PROTOCOL_REVISION = 139
    DATABASE_REVISION = 155


class Datatype(enum.StrEnum):
    """How a present value is encoded."""

    BOOLEAN = "boolean"
    UNSIGNED = "unsigned"
    INTEGER = "integer"
    REAL = "real"
    DOUBLE = "double"
    OCTET_STRING = "octet-string"
    CHARACTER_STRING = "character-string"
    BIT_STRING = "bit-string"
    ENUMERATED = "enumerated"
    DATE = "date"
    TIME = "time"
    OBJECT_ID = "object-id"
    DATETIME = "datetime"
    ANY = "any"


class Commandable(enum.Enum):
    """Whether objects of a type have a priority array."""

    NEVER = enum.auto()
    OPTIONAL = enum.auto()
    ALWAYS = enum.auto()


@attrs.frozen
class ObjectType:
    """What a type's present value is; ``about`` are the properties that describe it beyond name and description."""

    number: int
    name: str
    datatype: Datatype
    kind: Kind = Kind.TEXT
    writable: bool = False
    commandable: Commandable = Commandable.NEVER
    status_flags: bool = True
    about: tuple[Prop, ...] = ()
    unit: int | None = None
    states: Mapping[str, str] | None = None
    limits: tuple[float, float] | None = None


_LIMITS = (Prop.MIN_PRES_VALUE, Prop.MAX_PRES_VALUE)
_MEASURED = (Prop.UNITS, *_LIMITS, Prop.RESOLUTION)
_TWO_STATES = (Prop.INACTIVE_TEXT, Prop.ACTIVE_TEXT)
_MANY_STATES = (Prop.NUMBER_OF_STATES, Prop.STATE_TEXT)


def _states(*names: str) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


_LIFE_SAFETY = _states(
    "quiet",
    "pre-alarm",
    "alarm",
    "fault",
    "fault-pre-alarm",
    "fault-alarm",
    "not-ready",
    "active",
    "tamper",
    "test-alarm",
    "test-active",
    "test-fault",
    "test-fault-alarm",
    "holdup",
    "duress",
    "tamper-alarm",
    "abnormal",
    "emergency-power",
    "delayed",
    "blocked",
    "local-alarm",
    "general-alarm",
    "supervisory",
    "test-supervisory",
)
_LIGHT = _states("off", "on", "warn", "warn-off", "warn-relinquish", "stop")
_DOOR = _states("lock", "unlock", "pulse-unlock", "extended-pulse-unlock")
_SHED = _states("shed-inactive", "shed-request-pending", "shed-compliant", "shed-non-compliant")
_TIMER = _states("idle", "running", "expired")


_number = partial(ObjectType, kind=Kind.NUMBER)
_value = partial(ObjectType, writable=True, commandable=Commandable.OPTIONAL)
_output = partial(ObjectType, writable=True, commandable=Commandable.ALWAYS)

_TABLE = (
    _number(0, "analog-input", Datatype.REAL, about=_MEASURED),
    _output(1, "analog-output", Datatype.REAL, Kind.NUMBER, about=_MEASURED),
    _value(2, "analog-value", Datatype.REAL, kind=Kind.NUMBER, about=_MEASURED),
    ObjectType(3, "binary-input", Datatype.ENUMERATED, Kind.BOOLEAN, about=_TWO_STATES),
    _output(4, "binary-output", Datatype.ENUMERATED, Kind.BOOLEAN, about=_TWO_STATES),
    _value(5, "binary-value", Datatype.ENUMERATED, kind=Kind.BOOLEAN, about=_TWO_STATES),
    ObjectType(6, "calendar", Datatype.BOOLEAN, Kind.BOOLEAN, status_flags=False),
    _number(7, "command", Datatype.UNSIGNED, writable=True, status_flags=False),
    _number(12, "loop", Datatype.REAL, about=(Prop.OUTPUT_UNITS,)),
    ObjectType(13, "multi-state-input", Datatype.UNSIGNED, Kind.ENUM, about=_MANY_STATES),
    _output(14, "multi-state-output", Datatype.UNSIGNED, Kind.ENUM, about=_MANY_STATES),
    ObjectType(17, "schedule", Datatype.ANY, Kind.NUMBER, about=(Prop.PRESENT_VALUE,)),
    _value(19, "multi-state-value", Datatype.UNSIGNED, kind=Kind.ENUM, about=_MANY_STATES),
    ObjectType(21, "life-safety-point", Datatype.ENUMERATED, Kind.ENUM, states=_LIFE_SAFETY),
    ObjectType(22, "life-safety-zone", Datatype.ENUMERATED, Kind.ENUM, states=_LIFE_SAFETY),
    _number(23, "accumulator", Datatype.UNSIGNED, about=(Prop.UNITS, Prop.MAX_PRES_VALUE)),
    _number(24, "pulse-converter", Datatype.REAL, about=(Prop.UNITS,)),
    ObjectType(28, "load-control", Datatype.ENUMERATED, Kind.ENUM, states=_SHED),
    _output(30, "access-door", Datatype.ENUMERATED, Kind.ENUM, states=_DOOR),
    ObjectType(31, "timer", Datatype.ENUMERATED, Kind.ENUM, states=_TIMER),
    _value(39, "bitstring-value", Datatype.BIT_STRING),
    _value(40, "characterstring-value", Datatype.CHARACTER_STRING),
    _value(41, "datepattern-value", Datatype.DATE),
    _value(42, "date-value", Datatype.DATE),
    _value(43, "datetimepattern-value", Datatype.DATETIME),
    _value(44, "datetime-value", Datatype.DATETIME),
    _value(45, "integer-value", Datatype.INTEGER, kind=Kind.NUMBER, about=_MEASURED),
    _value(46, "large-analog-value", Datatype.DOUBLE, kind=Kind.NUMBER, about=_MEASURED),
    _value(47, "octetstring-value", Datatype.OCTET_STRING),
    _value(48, "positive-integer-value", Datatype.UNSIGNED, kind=Kind.NUMBER, about=_MEASURED),
    _value(49, "timepattern-value", Datatype.TIME),
    _value(50, "time-value", Datatype.TIME),
    ObjectType(52, "alert-enrollment", Datatype.OBJECT_ID, Kind.TEXT, status_flags=False),
    _output(54, "lighting-output", Datatype.REAL, Kind.NUMBER, unit=98, limits=(0.0, 100.0)),
    _output(55, "binary-lighting-output", Datatype.ENUMERATED, Kind.ENUM, states=_LIGHT),
    _number(60, "staging", Datatype.REAL, writable=True, about=(Prop.UNITS, *_LIMITS)),
    _number(64, "color-temperature", Datatype.UNSIGNED, writable=True, status_flags=False, unit=63, about=_LIMITS),
)

TYPES = {entry.number: entry for entry in _TABLE}
_BY_NAME = {entry.name: entry for entry in _TABLE}


def object_of(key: str) -> tuple[ObjectType, ObjectId]:
    """Return the type and id that a point's key (``analog-input.1``) stands for; raises ValueError."""
    name, _, instance = key.partition(".")
    kind = _BY_NAME.get(name)
    if kind is None or not (instance.isascii() and instance.isdigit() and int(instance) <= NO_INSTANCE):
        raise ValueError(f"'{key}' is not an object with a present value")
    return kind, ObjectId(kind.number, int(instance))
