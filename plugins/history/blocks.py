"""Sealed blocks: the samples of up to 64 points over a time, of which one point can be read alone.

A block is a container (`plugins.history.containers`). Its common section has the times of all points together, each
once; a part has the rows' positions in them, values, status, and side columns. Positions are left out where each row's
is its own number, status where every row's is 0, side columns where there are none.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import zstandard

from plugins.history import sides
from plugins.history.coding import pack, pack_values, unpack, unpack_values
from plugins.history.columns import NOTHING, Columns, Times, joined
from plugins.history.containers import Body, opened, written
from plugins.history.errors import DamagedHistory

MAGIC = b"PRB\x01"
FEW_ROWS = 400


def encode(columns: Columns) -> bytes:
    """Write rows of at most `POINTS` points, which are ordered by slot and time, each time once."""
    times, positions = np.unique(columns.times, return_inverse=True)
    return written(
        MAGIC,
        columns.slots,
        pack(times),
        lambda start, end: _packed(columns.part(start, end), positions[start:end]),
        few_rows=FEW_ROWS,
    )


def _packed(columns: Columns, positions: npt.NDArray[np.int64]) -> list[bytes]:
    whole = np.array_equal(positions, np.arange(len(positions)))
    side = sides.written(columns.texts, columns.integers)
    return [
        b"" if whole else pack(positions.astype(np.uint32)),
        pack_values(columns.values),
        pack(columns.status) if columns.status.any() else b"",
        zstandard.ZstdCompressor(write_checksum=True).compress(side) if side else b"",
    ]


class Block:
    """A block that is there to be read; raises DamagedHistory where it is not what was written."""

    def __init__(self, body: Body) -> None:
        self._container = opened(body, MAGIC)

    def of(self, slot: int) -> Columns:
        """Return one point's rows, by time."""
        place = self._container.place(slot)
        if place is None:
            return NOTHING
        part, start, end = place
        rows = self._part(part)
        return rows if len(rows) == end - start else rows.part(start, end)

    def all(self) -> Columns:
        """Return every row, by slot and time."""
        return joined([self._part(part) for part in range(self._container.parts)])

    @cached_property
    def _times(self) -> Times:
        return unpack(self._container.common())[0].astype(np.int64)

    def _part(self, part: int) -> Columns:
        slots = self._container.slots_of(part)
        positions, values, status, side = self._container.of_part(part)
        numbers = unpack_values(values)
        times = self._times[unpack(positions)[0]] if positions else self._times[: len(slots)]
        codes = unpack(status)[0].astype(np.uint32) if status else np.zeros(len(slots), np.uint32)
        if not len(slots) == len(numbers) == len(times) == len(codes):
            raise DamagedHistory("The columns of a block are not equally long.")
        texts, integers = _read_side(side) if side else ({}, {})
        return Columns(slots, times, numbers, codes, texts, integers)


def _read_side(packed: memoryview) -> tuple[dict[int, str], dict[int, int]]:
    try:
        raw = zstandard.ZstdDecompressor().decompress(packed)
    except (zstandard.ZstdError, MemoryError) as error:
        raise DamagedHistory(f"The texts of a block cannot be read: {error}.") from error
    return sides.read(raw)
