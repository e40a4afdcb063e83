"""The words of a building: devices, points, readings and their quality."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from core.faults import PlantroomError

Value: TypeAlias = float | int | bool | str | None


class Kind(enum.StrEnum):
    """What sort of value a point has."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    ENUM = "enum"
    TEXT = "text"


class Quality(enum.IntEnum):
    """How far a reading can be trusted; the numbers are stored and never change meaning."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class Reason(enum.IntEnum):
    """Why a reading has its quality; the numbers are stored, new ones are only appended."""

    NONE = 0
    STALE = 1
    RESTORED = 2
    OUT_OF_SERVICE = 3
    OFFLINE = 4
    TIMEOUT = 5
    FAULT = 6
    ERROR = 7

    @property
    def quality(self) -> Quality:
        """The one quality that goes with this reason."""
        return _QUALITY_OF[self]

    @property
    def keeps_value(self) -> bool:
        """Whether no new value came with it, so that the last one stands."""
        return self in (Reason.OFFLINE, Reason.TIMEOUT, Reason.ERROR)


_QUALITY_OF = {
    Reason.NONE: Quality.GOOD,
    Reason.STALE: Quality.UNCERTAIN,
    Reason.RESTORED: Quality.UNCERTAIN,
    Reason.OUT_OF_SERVICE: Quality.UNCERTAIN,
    Reason.OFFLINE: Quality.BAD,
    Reason.TIMEOUT: Quality.BAD,
    Reason.FAULT: Quality.BAD,
    Reason.ERROR: Quality.BAD,
}


class Flag(enum.IntFlag):
    """The four BACnet status flags (ASHRAE 135, BACnetStatusFlags), which suit other protocols too."""

    IN_ALARM = 1
    FAULT = 2
    OVERRIDDEN = 4
    OUT_OF_SERVICE = 8

    @property
    def reason(self) -> Reason:
        """What these flags say about the value they came with."""
        if self & Flag.FAULT:
            return Reason.FAULT
        return Reason.OUT_OF_SERVICE if self & Flag.OUT_OF_SERVICE else Reason.NONE


class Source(enum.IntEnum):
    """What a reading came from; the numbers are stored, new ones are only appended."""

    POLL = 0
    COV = 1
    READ = 2
    WRITE = 3
    IMPORTED = 4
    TREND_LOG = 5


class DeviceStatus(enum.StrEnum):
    """Whether a device answers; unknown until it has been asked."""

    ONLINE = "online"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


@attrs.frozen
class Device:
    """Something that is addressed on a network, as its plugin describes it.

    ``address`` is opaque to the kernel. ``attributes`` are the plugin's own facts: JSON values only.
    """

    id: str
    plugin: str
    name: str
    description: str = ""
    address: str = ""
    vendor: str = ""
    model: str = ""
    attributes: Mapping[str, Any] = attrs.field(factory=dict)

    def __hash__(self) -> int:
        return hash(self.id)

    def point(self, key: str, *, kind: Kind = Kind.NUMBER, name: str = "", **fields: Any) -> Point:
        """Describe a point of this device; ``fields`` are those of `Point`."""
        return Point(id=f"{self.id}.{key}", device_id=self.id, name=name or key, kind=kind, **fields)


@attrs.frozen
class Point:
    """One readable and perhaps writable value of a device, as its plugin describes it.

    ``unit`` is the BACnet standard's name (``degrees-celsius``), ``symbol`` how it is written (``°C``).
    ``states`` names the values of an enum (``{"1": "Off"}``) or boolean (``{"false": "Off"}``).
    ``commandable`` points have a priority array. ``interval`` is in seconds; None is the plugin's default.
    """

    id: str
    device_id: str
    name: str
    kind: Kind = Kind.NUMBER
    description: str = ""
    unit: str | None = None
    symbol: str | None = None
    states: Mapping[str, str] | None = None
    writable: bool = False
    commandable: bool = False
    min: float | None = None
    max: float | None = None
    resolution: float | None = None
    enabled: bool = True
    interval: float | None = None
    attributes: Mapping[str, Any] = attrs.field(factory=dict)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def key(self) -> str:
        """The part of the id behind the device's: ``analog-input.1``."""
        return self.id[len(self.device_id) + 1 :]


def _as_tuple(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(points)


@attrs.frozen
class Inventory:
    """A device and all the points it has.

    Where not all could be told, it is not ``complete``: points that are missing have not vanished. ``unread`` are ids
    of points that are there, but could not be asked what they are: what is known of them from before stays.
    """

    device: Device
    points: tuple[Point, ...] = attrs.field(converter=_as_tuple)
    complete: bool = True
    unread: frozenset[str] = frozenset()


@attrs.frozen
class Reading:
    """A point's value at a time; made from the columns only when someone asks.

    ``time`` is when the value was last confirmed, ``changed_at`` when value, quality or flags last changed:
    seconds since the Unix epoch.
    """

    value: Value
    text: str | None
    time: float
    changed_at: float
    reason: Reason
    flags: Flag
    source: Source

    @property
    def quality(self) -> Quality:
        return self.reason.quality


@attrs.frozen
class Command:
    """A write on its way to a device; every write in the house is one of these.

    ``id`` is the idempotency key. ``priority`` is 1 to 16 (ASHRAE 135, 19.2), None the driver's default.
    ``expires_at`` is UTC seconds: later than that it is refused unexecuted.
    """

    id: str
    principal: str
    origin: str
    point: Point
    value: Value = None
    relinquish: bool = False
    priority: int | None = None
    expires_at: float | None = None


@attrs.frozen
class WriteResult:
    """What the device showed when it was read back after a write.

    ``effective`` tells whether what was asked for is so: what was written holds the point, or the slot that was
    relinquished is empty. ``active_priority`` is None where nothing holds the point, where it has no priority array, or
    where that could not be read. ``priority`` is the one that was written at, None where the point has no priority
    array. ``verified`` tells whether the device shows what was written, in its slot where there is one; None: it could
    not be told.
    """

    value: Value
    flags: Flag
    effective: bool
    active_priority: int | None
    priority: int | None = None
    verified: bool | None = None


@attrs.frozen
class Taken:
    """What a write came to that the device took, and that could not be read back: why, and where it was written.

    Whoever asked is answered ``error``; ``priority`` is as in `WriteResult`.
    """

    error: PlantroomError
    priority: int | None = None


@attrs.frozen
class Written:
    """What a write came to: the reading afterwards, and what `WriteResult` says of it."""

    reading: Reading | None
    effective: bool
    active_priority: int | None
    priority: int | None = None
    verified: bool | None = None


@attrs.frozen
class Deed:
    """What a plugin does to a device of its own beside the writing of points, on the house's record.

    ``id`` is the idempotency key. ``target`` says what it is done to, ``request`` what is wanted of it: JSON values.
    """

    id: str
    principal: str
    origin: str
    device_id: str
    target: str
    request: Any


@attrs.frozen
class Done:
    """What a deed came to: what its target showed before and after, as JSON values.

    ``error`` says why it could not be read afterwards, and is what whoever asked is answered then.
    """

    before: Any
    after: Any
    error: PlantroomError | None = None


@attrs.frozen
class Priorities:
    """A commandable point's priority array: 16 values, None where a slot is empty."""

    slots: tuple[Value, ...]
    relinquish_default: Value

    @property
    def active(self) -> int | None:
        """The highest slot in use, 1 to 16, or None."""
        return next((number for number, value in enumerate(self.slots, 1) if value is not None), None)


def rfc3339(seconds: float | None) -> str | None:
    """Write a time as RFC 3339 UTC with milliseconds: ``2026-01-31T12:00:00.000Z``."""
    if seconds is None:
        return None
    moment = dt.datetime.fromtimestamp(round(seconds, 3), dt.UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
