"""How a column of numbers is written: by the smallest type that loses nothing, compressed by pcodec."""

from __future__ import annotations

import struct
import zlib
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, standalone

from plugins.history.columns import Values
from plugins.history.errors import DamagedHistory

LEVEL = ChunkConfig(compression_level=4)
DECIMALS = (0, 1, 2, 3)
LARGEST = 2**31 - 1

FLOAT64, _FLOAT32, _SINGLE = 0x00, 0x10, 0x20
"""How values are written: as they are; as float32; or (with the number of decimals) as integers, of float32 or not."""
INTEGER = 0x40

_HEAD = struct.Struct("<IB")


def pack(column: npt.NDArray[Any], form: int = 0) -> bytes:
    """Write a column, with a checksum and one byte that tells the reader how to take it."""
    body = cast("bytes", standalone.simple_compress(np.ascontiguousarray(column), LEVEL))
    return _HEAD.pack(zlib.crc32(body, form), form) + body


def unpack(packed: bytes | memoryview) -> tuple[npt.NDArray[Any], int]:
    """Read a column that `pack` wrote; raises DamagedHistory."""
    try:
        checksum, form = _HEAD.unpack_from(packed)
        body = bytes(packed[_HEAD.size :])
        if zlib.crc32(body, form) != checksum:
            raise DamagedHistory("A column does not have the checksum that it was written with.")
        column = standalone.simple_decompress(body)
    except (struct.error, RuntimeError) as error:
        raise DamagedHistory(f"A column cannot be read: {error}.") from error
    if column is None:
        raise DamagedHistory("A column is empty that should not be.")
    return column, form


def pack_values(values: Values) -> bytes:
    """Write numbers so that each is read bit by bit as it was; NaN is read as NaN."""
    form, column = narrowed(values)
    return pack(column, form)


def unpack_values(packed: bytes | memoryview) -> Values:
    """Read what `pack_values` wrote; raises DamagedHistory."""
    column, form = unpack(packed)
    return widened(form, column)


def narrowed(values: Values) -> tuple[int, npt.NDArray[Any]]:
    """Return the narrowest column that gives the same values back, and how it is to be read."""
    if np.isfinite(values).all() and not (np.signbit(values) & (values == 0)).any():
        for form in (*(INTEGER | decimals for decimals in DECIMALS), *(_SINGLE | INTEGER | d for d in DECIMALS[1:])):
            column = _scaled(values, form & 0x0F)
            if column is not None and (widened(form, column) == values).all():
                return form, column
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if np.array_equal(single.astype(np.float64), values, equal_nan=True):
        return _FLOAT32, single
    return FLOAT64, values


def _scaled(values: Values, decimals: int) -> npt.NDArray[np.int32] | None:
    """Return values in units of their last decimal; None where these do not fit."""
    if np.abs(values).max(initial=0) > LARGEST // 10**decimals:
        return None
    scaled = np.rint(values * 10**decimals) if decimals else values
    return cast("npt.NDArray[np.int32]", scaled.astype(np.int32))


def widened(form: int, column: npt.NDArray[Any]) -> Values:
    """Return the values that `narrowed` made a column of."""
    if not form & INTEGER:
        return column.astype(np.float64)
    scale = 10 ** (form & 0x0F)
    values: Values = column / scale if scale > 1 else column.astype(np.float64)
    return values.astype(np.float32).astype(np.float64) if form & _SINGLE else values
