"""Several short columns of numbers as one, compressed by zstd: of few rows it is smaller, and read faster, than each.

A table is: CRC-32 of what follows (u32), rows (u32), one byte for each column that tells how it is read
(`plugins.history.coding`), and compressed: the integers of all columns that are such, each as its difference to the one
before, then the numbers of all others; the first byte of each, the second of each, ...
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from plugins.history.coding import FLOAT64, INTEGER, narrowed, widened
from plugins.history.errors import DamagedHistory

LEVEL = 9
LARGEST = 1 << 24
WHOLE = 0xFF
_HEAD = struct.Struct("<IIB")


class _Decompressor(threading.local):
    """One for each thread: to make it takes longer than to use it."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Decompressor()


def pack_table(columns: Sequence[npt.NDArray[Any]]) -> bytes:
    """Write equally long columns of int64 and float64, of fewer than 256."""
    rows = len(columns[0])
    forms: list[int] = []
    whole: list[npt.NDArray[Any]] = [np.empty(0, np.int64)]
    others: list[npt.NDArray[Any]] = [np.empty(0)]
    for column in columns:
        form, narrow = (WHOLE, column) if column.dtype.kind == "i" else narrowed(column)
        if form & INTEGER:
            whole.append(np.diff(narrow.astype(np.int64), prepend=0))
        else:
            form = FLOAT64
            others.append(column)
        forms.append(form)
    steps = np.concatenate(whole)
    zigzag = ((steps << 1) ^ (steps >> 63)).astype("<i8")
    raw = _planes(zigzag) + _planes(np.concatenate(others).astype("<f8"))
    body = bytes(forms) + zstandard.ZstdCompressor(level=LEVEL).compress(raw)
    return _HEAD.pack(zlib.crc32(body, rows), rows, len(forms)) + body


def unpack_table(packed: memoryview) -> list[npt.NDArray[Any]]:
    """Read what `pack_table` wrote; raises DamagedHistory."""
    try:
        checksum, rows, count = _HEAD.unpack_from(packed)
        body = packed[_HEAD.size :]
        if zlib.crc32(body, rows) != checksum:
            raise DamagedHistory("A table does not have the checksum that it was written with.")
        raw = _zstd.decompress(body[count:], max_output_size=LARGEST)
    except (struct.error, zstandard.ZstdError) as error:
        raise DamagedHistory(f"A table cannot be read: {error}.") from error
    forms = body[:count].tolist()
    integers = sum(1 for form in forms if form & INTEGER)
    if len(raw) != 8 * rows * count:
        raise DamagedHistory("A table is not as long as it should be.")
    zigzag = _numbers(raw[: 8 * rows * integers], "<i8")
    steps = (zigzag >> 1) & (2**63 - 1) ^ -(zigzag & 1)
    whole = iter(np.cumsum(steps.reshape(integers, rows), axis=1))
    others = iter(_numbers(raw[8 * rows * integers :], "<f8").reshape(count - integers, rows))
    return [
        next(whole) if form == WHOLE else widened(form, next(whole)) if form & INTEGER else next(others)
        for form in forms
    ]


def _planes(numbers: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(len(numbers), 8).T).tobytes()


def _numbers(planes: bytes, kind: str) -> npt.NDArray[Any]:
    octets = np.frombuffer(planes, np.uint8).reshape(8, len(planes) // 8)
    return np.ascontiguousarray(octets.T).view(kind).ravel()
