"""The journal's blobs: the rows of one commit, in the order in which they came.

A blob is: magic ``PRJ`` and version (4 bytes), CRC-32 of what follows, number of rows (u32), and compressed by zstd:
the columns one behind the other (of values the first byte of each, the second of each, ...), then the side columns.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import zstandard

from plugins.history import sides
from plugins.history.columns import Columns
from plugins.history.errors import DamagedHistory

MAGIC = b"PRJ\x01"
LEVEL = 1
_HEAD = struct.Struct("<4sII")
LARGEST = 1 << 30


def encode(columns: Columns) -> bytes:
    """Write rows."""
    rows = len(columns)
    planes = np.ascontiguousarray(columns.values.astype("<f8").view(np.uint8).reshape(rows, 8).T)
    steps = np.diff(columns.times, prepend=0).astype("<i8")
    raw = b"".join(
        [np.diff(columns.slots.astype(np.int64), prepend=0).astype("<i4").tobytes(), steps.tobytes(),
         planes.tobytes(), columns.status.astype("<u4").tobytes(), sides.written(columns.texts, columns.integers)]
    )  # fmt: skip
    body = zstandard.ZstdCompressor(level=LEVEL).compress(raw)
    return _HEAD.pack(MAGIC, zlib.crc32(body, rows), rows) + body


def decode(blob: bytes) -> Columns:
    """Read what `encode` wrote; raises DamagedHistory."""
    if not isinstance(blob, bytes):  # as SQLite may have it in a damaged file
        raise DamagedHistory("A batch of the journal is none.")
    try:
        magic, checksum, rows = _HEAD.unpack_from(blob)
    except struct.error as error:
        raise DamagedHistory("A batch of the journal is cut off.") from error
    body = blob[_HEAD.size :]
    if magic != MAGIC or zlib.crc32(body, rows) != checksum:
        raise DamagedHistory("A batch of the journal does not have the checksum that it was written with.")
    try:
        raw = zstandard.ZstdDecompressor().decompress(body, max_output_size=LARGEST)
        slots, steps, planes, status, side = np.split(
            np.frombuffer(raw, np.uint8), np.cumsum([4 * rows, 8 * rows, 8 * rows, 4 * rows])
        )
        texts, integers = sides.read(side.tobytes())
        return Columns(
            np.cumsum(slots.view("<i4"), dtype=np.int64).astype(np.uint32),
            np.cumsum(steps.view("<i8"), dtype=np.int64),
            np.ascontiguousarray(planes.reshape(8, rows).T).view("<f8").ravel(),
            status.view("<u4").astype(np.uint32),
            texts,
            integers,
        )
    except (zstandard.ZstdError, ValueError, MemoryError) as error:
        raise DamagedHistory(f"A batch of the journal cannot be read: {error}.") from error
