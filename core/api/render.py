"""Writes points and readings as JSON: what is fixed of a point once, its reading spliced in."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import attrs
import orjson

from core.current import Content, CurrentReadings
from core.model import Flag, Kind, Reading, Reason, Source, Value, rfc3339
from core.registry import PointEntry, Registry
from core.routes import Header
from core.serialize import FieldInfo, dumps, field

EXAMPLE = "bacnet.2001.analog-value.1"
AGE = Header("Age", FieldInfo(description="Seconds since the reading was confirmed.", example=3, min=0), int)


def field_of_point_ids(*, most: int) -> Any:
    """Declare the field of a body that names from one point to so many."""
    return field(
        min_items=1, max_items=most, min_length=1, max_length=500, description="Ids of points.",
        example=[EXAMPLE, "bacnet.2001.analog-input.1"],
    )  # fmt: skip


_FLAGS = [[flag.name.lower() for flag in Flag if flag & bits and flag.name] for bits in range(16)]
_HOW = [
    [
        orjson.dumps(
            {
                "quality": reason.quality.name.lower(),
                "reason": None if reason is Reason.NONE else reason.name.lower(),
                "flags": flags,
            }
        )[1:-1]
        for flags in _FLAGS
    ]
    for reason in Reason
]
_SOURCES = [source.name.lower().encode() for source in Source]
_REST = [b".%03dZ" % milliseconds for milliseconds in range(1000)]
NEAR_HALF = 0.49  # of a millisecond: beyond it, the product's own error could decide which way it is rounded
_BITS_64 = range(-(2**63), 2**64)

ReasonName: TypeAlias = Literal[
    "stale", "restored", "out_of_service", "offline", "timeout", "fault", "error"
]  # fmt: skip

QualityName: TypeAlias = Literal["good", "uncertain", "bad"]
FlagName: TypeAlias = Literal["in_alarm", "fault", "overridden", "out_of_service"]
SourceName: TypeAlias = Literal["poll", "cov", "read", "write", "imported", "trend_log"]
Delivery: TypeAlias = Literal["live", "polled"]


@attrs.frozen(kw_only=True)
class ReadingAnswer:
    """A point's value at a time. `render_reading` writes what this describes."""

    value: Value = field(description="A number, boolean, text, or the integer of an enum.", example=21.5)
    text: str | None = field(description="The state text of an enum or boolean.")
    changed_at: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    quality: QualityName = field(description="How far to trust it.", example="good")
    reason: ReasonName | None = field(description="Why the quality is not good.")
    flags: tuple[FlagName, ...] = field(example=[])
    time: str = field(description="When it was last confirmed.", format="date-time", example="2026-01-31T12:04:55.120Z")
    source: SourceName = field(description="What it came from.", example="poll")


@attrs.frozen(kw_only=True)
class PointAnswer:
    """A point with its current reading. `PointRenderer` writes what this describes."""

    id: str = field(description="Stable: `<device id>.<object>`.", example=EXAMPLE)
    device_id: str = field(example="bacnet.2001")
    name: str = field(example="Supply air temperature setpoint")
    description: str = field(example="Supply air temperature setpoint")
    kind: Kind = field(example="number")
    unit: str | None = field(description="The BACnet standard's name.", example="degrees-celsius")
    symbol: str | None = field(description="How the unit is written.", example="°C")
    states: Mapping[str, str] | None = field(description="The names of an enum's or boolean's values.")
    writable: bool = field(example=True)
    commandable: bool = field(description="Whether it has a priority array.", example=True)
    min: float | None = field(description="The least that may be written.", example=10)
    max: float | None = field(description="The most that may be written.", example=30)
    resolution: float | None = field(description="The smallest step.", example=0.1)
    enabled: bool = field(description="Whether it is polled.", example=True)
    vanished: bool = field(description="Whether a full scan no longer found it.", example=False)
    interval: float | None = field(description="Seconds between polls.", example=5)
    delivery: Delivery = field(
        description="`live`: its device tells of each change, and it is polled only to verify that.", example="polled"
    )
    tags: tuple[str, ...] = field(example=["comfort"])
    attributes: Mapping[str, Any] = field(description="Its plugin's own facts.", example={"cov_increment": 0.1})
    reading: ReadingAnswer | None = field(
        description="Null before the first.",
        example={
            "value": 21.5, "text": None, "changed_at": "2026-01-31T12:00:00.000Z", "quality": "good",
            "reason": None, "flags": [], "time": "2026-01-31T12:04:55.120Z", "source": "poll",
        },
    )  # fmt: skip


def json_value(value: Value) -> Any:
    """Make a value fit for `dumps`, integers beyond 64 bits too."""
    if type(value) is int and value not in _BITS_64:
        return orjson.Fragment(str(value))
    return value


def render_reading(reading: Reading | None) -> bytes:
    """Write a reading."""
    if reading is None:
        return b"null"
    content = reading.value, reading.text, reading.changed_at, reading.reason, reading.flags
    return next(_written([content])) + render_time(reading.time, reading.source)


def render_contents(
    current: CurrentReadings, entries: Sequence[PointEntry], overlays: Iterable[Reason]
) -> Iterator[bytes]:
    """Write the readings of points but for their ends, which `render_confirmed` writes.

    This is what an ETag is made of: an end tells time and source only. ``overlays`` are as `Registry` says.
    """
    slots, points = [entry.slot for entry in entries], [entry.point for entry in entries]
    return _written(current.contents(slots, points, overlays))


def _written(contents: Iterable[Content]) -> Iterator[bytes]:
    written = b""
    last: tuple[float, Reason, int] | None = None
    for value, text, changed_at, reason, flags in contents:
        how = changed_at, reason, flags
        if how != last:
            last, written = how, _how(changed_at, reason, flags)
        if changed_at == 0.0:
            yield b"null"
        elif text is None and type(value) is float:
            yield b'{"value":%b,"text":null,%b' % (orjson.dumps(value), written)
        else:
            yield b'{"value":%b,"text":%b,%b' % (orjson.dumps(json_value(value)), orjson.dumps(text), written)


@functools.lru_cache(maxsize=8192)
def _how(changed_at: float, reason: Reason, flags: int) -> bytes:
    """Write what many readings have in common that one batch brought."""
    return b'"changed_at":"%b",%b' % (_stamp(changed_at), _HOW[reason][flags])


def render_confirmed(current: CurrentReadings, slot: int) -> bytes:
    """Write the end of a slot's reading: when it was confirmed, and by what."""
    time = current.time(slot)
    return b"" if time == 0.0 else render_time(time, current.source(slot))


def render_time(time: float, source: Source) -> bytes:
    """Write the end of a reading that was confirmed at a time."""
    return b',"time":"%b","source":"%b"}' % (_stamp(time), _SOURCES[source])


def _stamp(seconds: float) -> bytes:
    """Write a time as `rfc3339` does, at less cost where another was within the same second."""
    exact = seconds * 1000
    milliseconds = round(exact)
    if abs(exact - milliseconds) > NEAR_HALF:
        milliseconds = round(round(seconds, 3) * 1000)
    second, rest = divmod(milliseconds, 1000)
    return _second(second) + _REST[rest]


@functools.lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    return str(rfc3339(second))[:-5].encode()


class PointRenderer:
    """Writes points; the fixed part of each is kept until it changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._fixed: WeakKeyDictionary[PointEntry, tuple[tuple[object, ...], bytes]] = WeakKeyDictionary()

    def render(self, entry: PointEntry) -> tuple[bytes, bytes]:
        """Write a point with its reading; answers its JSON, and what its ETag is made of."""
        registry, fixed = self._registry, self.fixed(entry)
        content = next(render_contents(registry.current, [entry], [registry.overlay(entry)]))
        return b"%b%b%b}" % (fixed, content, render_confirmed(registry.current, entry.slot)), fixed + content

    def fixed(self, entry: PointEntry) -> bytes:
        """Write what comes before a point's reading."""
        vanished, enabled, interval = entry.vanished or entry.device.vanished, entry.enabled, entry.interval
        key = (entry.version, vanished, enabled, interval)
        kept = self._fixed.get(entry)
        if kept is None or kept[0] != key:
            kept = self._fixed[entry] = key, _fixed_part(entry, vanished=vanished)
        return kept[1]


def _fixed_part(entry: PointEntry, *, vanished: bool) -> bytes:
    point = entry.point
    fields = {
        "id": point.id,
        "device_id": point.device_id,
        "name": entry.name,
        "description": point.description,
        "kind": point.kind,
        "unit": point.unit,
        "symbol": point.symbol,
        "states": point.states,
        "writable": point.writable,
        "commandable": point.commandable,
        "min": point.min,
        "max": point.max,
        "resolution": point.resolution,
        "enabled": entry.enabled,
        "vanished": vanished,
        "interval": entry.interval,
        "delivery": "polled" if entry.live_every is None else "live",
        "tags": entry.overrides.tags,
        "attributes": point.attributes,
    }
    return dumps(fields)[:-1] + b',"reading":'


def age_header(time: float, now: float) -> dict[str, str]:
    """Tell how old a reading is that was confirmed at a time (RFC 9111, 5.1), in whole seconds; 0.0: there is none."""
    return {} if time == 0.0 else {"Age": str(max(0, int(now - time)))}
