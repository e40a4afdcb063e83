"""Writes points and readings as JSON: what is fixed of a point once, its reading spliced in."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from core.model import Flag, Reading, Reason, Value, rfc3339
from core.registry import PointEntry, Registry
from core.serialize import dumps

_REASONS = {reason: None if reason is Reason.NONE else reason.name.lower() for reason in Reason}
_QUALITIES = {reason: reason.quality.name.lower() for reason in Reason}
_FLAGS = [[flag.name.lower() for flag in Flag if flag & bits and flag.name] for bits in range(16)]
_BITS_64 = range(-(2**63), 2**64)

_time = functools.lru_cache(maxsize=8192)(rfc3339)


def json_value(value: Value) -> Any:
    """Make a value fit for `dumps`, integers beyond 64 bits too."""
    if type(value) is int and value not in _BITS_64:
        return orjson.Fragment(str(value))
    return value


def render_reading(reading: Reading | None) -> tuple[bytes, bytes]:
    """Write a reading; answers its JSON, and what its ETag is made of: all but its time and source."""
    if reading is None:
        return b"null", b"null"
    tag = orjson.dumps(
        {
            "value": json_value(reading.value),
            "text": reading.text,
            "changed_at": _time(reading.changed_at),
            "quality": _QUALITIES[reading.reason],
            "reason": _REASONS[reading.reason],
            "flags": _FLAGS[reading.flags],
        }
    )
    rest = f',"time":"{_time(reading.time)}","source":"{reading.source.name.lower()}"}}'
    return tag[:-1] + rest.encode(), tag


class PointRenderer:
    """Writes points; the fixed part of each is kept until it changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._fixed: WeakKeyDictionary[PointEntry, tuple[tuple[object, ...], bytes]] = WeakKeyDictionary()

    def render(self, entry: PointEntry) -> tuple[bytes, bytes]:
        """Write a point with its reading; answers its JSON, and what its ETag is made of."""
        vanished, enabled, interval = entry.vanished or entry.device.vanished, entry.enabled, entry.interval
        key = (entry.version, vanished, enabled, interval)
        kept = self._fixed.get(entry)
        if kept is None or kept[0] != key:
            kept = self._fixed[entry] = key, _fixed_part(entry, vanished=vanished)
        fixed = kept[1]
        reading, tag = render_reading(self._registry.reading(entry))
        return b"%b%b}" % (fixed, reading), fixed + tag


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
        "tags": entry.overrides.tags,
        "attributes": point.attributes,
    }
    return dumps(fields)[:-1] + b',"reading":'


def age_header(reading: Reading | None, now: float) -> dict[str, str]:
    """Tell how old a reading is (RFC 9111, 5.1), in whole seconds."""
    return {} if reading is None else {"Age": str(max(0, int(now - reading.time)))}
