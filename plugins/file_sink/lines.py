"""Samples, losses and commits as lines of JSON, and a commit's line read back."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from core.model import Flag, Kind, Reason, Source, rfc3339
from core.plugin import Committed, Delivery, Position

ROWS_AT_ONCE = 250
COMMIT = b'{"commit":'
"""What the line of a commit begins with; a text in a sample has no line feed of its own, so nothing else does."""
_BITS_64 = range(-(2**63), 2**64)


@attrs.frozen
class Commit:
    """The end of a delivery: its position, and how many ``size`` bytes of lines before it have which checksum."""

    installation_id: str
    position: Position
    samples: int = 0
    size: int = 0
    crc32: int = 0

    def line(self) -> bytes:
        """Write it as a line."""
        said = {
            "installation_id": self.installation_id, "epoch": self.position.epoch, "seq": self.position.seq,
            "samples": self.samples, "bytes": self.size, "crc32": self.crc32,
        }  # fmt: skip
        return COMMIT + orjson.dumps(said) + b"}\n"


def read_commit(line: bytes) -> Commit | None:
    """Read the line of a commit; None for what is none."""
    try:
        said = orjson.loads(line)["commit"]
        numbers = [said[name] for name in ("epoch", "seq", "samples", "bytes", "crc32")]
        installation_id = said["installation_id"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    if not isinstance(installation_id, str) or not all(type(each) is int and each >= 0 for each in numbers):
        return None
    epoch, seq, samples, size, crc32 = numbers
    return Commit(installation_id, Position(epoch, seq), samples, size, crc32)


def lines_of(delivery: Delivery) -> Iterator[bytes]:
    """Write a delivery, in pieces of whole lines, with its commit as the last one."""
    size = crc32 = 0
    for piece in _samples_of(delivery):
        size, crc32 = size + len(piece), zlib.crc32(piece, crc32)
        yield piece
    yield Commit(delivery.installation_id, delivery.position, len(delivery), size, crc32).line()


def _samples_of(delivery: Delivery) -> Iterator[bytes]:
    if delivery.lost is not None:
        yield orjson.dumps({"lost": attrs.asdict(delivery.lost)}) + b"\n"
    for batch in delivery.batches:
        for start in range(0, len(batch.rows.slots), ROWS_AT_ONCE):
            yield b"".join(_rows(delivery, batch, start))


def _rows(delivery: Delivery, batch: Committed, start: int) -> Iterator[bytes]:
    slots, samples = batch.rows.slots, batch.rows.samples
    for row in range(start, min(start + ROWS_AT_ONCE, len(slots))):
        slot = slots[row]
        point = delivery.points.get(slot)
        value = samples.value(row, Kind.NUMBER if point is None else point.kind)
        yield b'{"point_id":%b,"slot":%d,"time":%b,"value":%b,%b}\n' % (
            b"null" if point is None else _json(point.id),
            slot,
            _time(samples.times[row]),
            _json(value),
            _how(samples.reasons[row], samples.flags[row], samples.sources[row]),
        )


def _json(value: Any) -> bytes:
    """Write a value; integers beyond 64 bits and text that is no Unicode, too."""
    if type(value) is int and value not in _BITS_64:
        return str(value).encode()
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


@functools.lru_cache(maxsize=64)
def _time(time_ms: int) -> bytes:
    """Write a time as text; one beyond the calendar as the number of milliseconds that it is."""
    try:
        return b'"%b"' % str(rfc3339(time_ms / 1000)).encode()
    except (ValueError, OverflowError, OSError):
        return b"%d" % time_ms


@functools.lru_cache(maxsize=1024)
def _how(reason: int, flags: int, source: int) -> bytes:
    """Write the rest of a sample."""
    found = Reason(reason)
    said = {
        "quality": found.quality.name.lower(),
        "reason": None if found is Reason.NONE else found.name.lower(),
        "flags": [flag.name.lower() for flag in Flag if flag & flags and flag.name],
        "source": Source(source).name.lower(),
    }
    return orjson.dumps(said)[1:-1]
